"""JSON Lines: one object on each line, all with the names of the first.

A number stays the text it is written in and is judged as the same text in a CSV would be: 1.10 is
never a float on its way to a decimal, and 1e3 is no integer. `null` is the one null. A missing name
is not null: whether a program left out a value or misspelt its name cannot be told from the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, NoReturn

from psp.errors import IntakeRefused

from ._cells import Unreadable
from ._source import Lines, Numbered, Source, batched

# Half of a pair of surrogates is no character: no UTF-8 can write it, and no index keep it.
_HALF: Final = re.compile("[\ud800-\udfff]")
_HALF_CELL: Final = Unreadable("holds half of a character (\\ud800 to \\udfff alone)")


class _NotUsable(ValueError):
    """What JSON allows, or Python's reader does, and a table cannot hold."""


def open_json_lines(file: BinaryIO, shown_name: str) -> Source:
    """Read the first object for the names of the columns.

    Raises:
        IntakeRefused: A line is not one JSON object, or has a name twice. Also raised by `rows`.
    """
    lines = Lines(file, shown_name)
    objects = _objects(lines, shown_name)
    first = next(objects, None)
    header = list(first[1]) if first else []
    if not first or not header or any(map(_HALF.search, header)):
        raise IntakeRefused(
            f"{shown_name} has no names of columns in its first object. Write every name and value."
        )
    return Source(
        shown_name,
        header,
        has_nulls=True,
        batches=batched(_rows(first, objects, header)),
        bytes_done=lambda: lines.bytes_done,
    )


def _objects(lines: Lines, shown_name: str) -> Iterator[tuple[int, dict[str, object]]]:
    for text in lines:
        if text.isspace():  # An empty line is not a row.
            continue
        try:
            found = _DECODER.decode(text)
        except (ValueError, RecursionError) as exc:
            # The words of JSONDecodeError name a place and never a value; so do ours.
            said = exc.msg if isinstance(exc, json.JSONDecodeError) else str(exc)
            said = "nested too deep" if isinstance(exc, RecursionError) else said
            raise IntakeRefused(
                f"{shown_name}, line {lines.line}: not one JSON object ({said}); nothing after it"
                " can be read safely. Write one object on each line."
            ) from None
        if not isinstance(found, dict):
            raise IntakeRefused(
                f"{shown_name}, line {lines.line}: not a JSON object, so it names no columns."
                " Write one object on each line."
            )
        yield lines.line, found


def _rows(
    first: tuple[int, dict[str, object]],
    rest: Iterator[tuple[int, dict[str, object]]],
    header: Sequence[str],
) -> Iterator[Numbered]:
    names = frozenset(header)
    yield first[0], _cells(first[1], header)
    for line, found in rest:
        if found.keys() == names:
            yield line, _cells(found, header)
        else:
            yield line, [_unlike(found, names)]


def _cells(found: dict[str, object], header: Sequence[str]) -> list[object]:
    cells = [found[name] for name in header]
    for at, cell in enumerate(cells):
        if type(cell) is str and not cell.isascii() and _HALF.search(cell):
            cells[at] = _HALF_CELL
    return cells


def _unlike(found: dict[str, object], names: frozenset[str]) -> Unreadable:
    missing = sorted(names - found.keys())
    if missing:
        return Unreadable(f"has no {missing[0]!r}, which the first line has; null must be written")
    # Not named: a name that no other line has may well be a value.
    unknown = len(found.keys() - names)
    return Unreadable(f"has {unknown} names that the first line has not")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotUsable("a name stands twice in one object")
    return found


def _no_number(_name: str) -> NoReturn:
    raise _NotUsable("NaN and Infinity are not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_once, parse_float=str, parse_int=str, parse_constant=_no_number
)
