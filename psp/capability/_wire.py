"""Taking one element of a positional array that came from somebody else.

Python says `True == 1 == 1.0`. A signed statement must not: each taker looks at the exact type
before it looks at the value. All of them raise ValueError and nothing else; whoever reads a whole
token or plan turns that into its own one exception.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import msgpack

from ._limits import NAME_BYTES_MAX, NAMES_REMEMBERED_MAX

Wire: TypeAlias = "bool | int | str | bytes | Sequence[Wire]"
"""What may stand in a canonical array: no map, no float, no null, no extension type."""


def encode(wire: Wire) -> bytes:
    """Give the canonical bytes: the shortest MessagePack form of each element."""
    packed: bytes = msgpack.packb(wire, use_bin_type=True)
    return packed


def decode_untrusted(data: bytes) -> object:
    """Decode exactly one MessagePack object of a caller that has already bounded its size.

    Raises:
        ValueError: For bytes that are not one object. Nothing else is raised.
    """
    try:
        value: object = msgpack.unpackb(
            data, raw=False, use_list=True, strict_map_key=True, max_ext_len=0, max_map_len=0
        )
        return value
    except (ValueError, TypeError, RecursionError) as exc:
        # Bad UTF-8, trailing bytes, cut ends and limits are ValueErrors; nesting is a ValueError
        # in the C decoder and a RecursionError in the pure Python one.
        problem = type(exc).__name__
    # Outside, so that nothing leads to msgpack's error: it carries the bytes, and a tool that
    # reports errors with all their causes would carry them on.
    raise ValueError(f"not one MessagePack object ({problem})")


def take_list(wire: object, length: int | None = None) -> list[object]:
    if not isinstance(wire, list | tuple):
        raise ValueError(f"an array was expected, not {type(wire).__name__}")
    if length is not None and len(wire) != length:
        raise ValueError(f"an array of {length} elements was expected, not of {len(wire)}")
    return list(wire)


def take_int(wire: object, low: int, high: int) -> int:
    if type(wire) is not int:  # A bool is an int to isinstance.
        raise ValueError(f"an integer was expected, not {type(wire).__name__}")
    if not low <= wire <= high:
        raise ValueError(f"the integer {wire} is not in {low}..{high}")
    return wire


def take_bytes(wire: object, size: int) -> bytes:
    if type(wire) is not bytes or len(wire) != size:
        raise ValueError(f"{size} bytes were expected, not {type(wire).__name__}")
    return wire


def take_text(wire: object) -> str:
    if type(wire) is not str:
        raise ValueError(f"text was expected, not {type(wire).__name__}")
    return wire


def take_sorted_names(wire: object) -> list[str]:
    """Take an array of names in strictly rising order: no name twice, one order only."""
    names = [check_name(take_text(name)) for name in take_list(wire)]
    if any(left >= right for left, right in pairwise(names)):
        raise ValueError("names must stand in rising order, each once")
    return names


@lru_cache(maxsize=NAMES_REMEMBERED_MAX)  # Every meet asks again about the same few columns.
def check_name(name: str) -> str:
    """Return a table, column, object or method name that is fit to be signed and printed.

    Not printable covers control, bidi and zero-width characters: two names that look the same on a
    screen and are not would let a signer approve what they cannot see.

    Raises:
        ValueError: Empty, too long, not printable, or not in the composed form NFC.
    """
    if not name or not name.isprintable():
        raise ValueError(f"{name!r} is not a name: it is empty or has characters that do not print")
    if len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise ValueError(f"a name of more than {NAME_BYTES_MAX} bytes: {name[:40]!r}…")
    if not unicodedata.is_normalized("NFC", name):
        raise ValueError(f"the name {name!r} is not in the composed form NFC")
    return name
