"""A session of the cases as docs/protocol.md shows it.

`python -m psp.conformance._document < docs/protocol.md` writes the text with its session as it must
be; a test compares it with the file.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgpack

from psp.wire import FRAMES

from ._cases import load

SHOWN: Final = (
    "Three dependent calls in one flight: grant, table, row. The map of rows never travels."
)
"""The words of the session that the document shows."""

_NAMES: Final = {shape.kind: shape.name for shape in FRAMES}
_LINE_CHARACTERS_MAX: Final = 100


def session_in_hex() -> str:
    """Give the session as Markdown: each frame's hex, a space between its places, and its words."""
    (case,) = [case for case in load("sessions") if case.words == SHOWN]
    lines = []
    for step in case.data["steps"]:
        if "hex" in step:
            lines.append(f"\n{step['from'].capitalize()}: {step['words']}\n\n```")
            lines += _frames(step)
            lines.append("```")
        else:
            lines.append(f"\n*{step['at'].capitalize()}'s program:* {step['words']}")
    return "\n".join(lines).strip()


def _frames(step: Mapping[str, Any]) -> Iterator[str]:
    data = bytes.fromhex(step["hex"])
    for kind, *places in step["frames"]:
        size = 4 + int.from_bytes(data[:4], "big")
        words = " ".join(json.dumps(place, ensure_ascii=False) for place in places)
        yield f"{_NAMES[kind]} {words}"
        yield from _wrapped(_places(data[:size]))
        data = data[size:]


def _places(frame: bytes) -> list[str]:
    """Cut a frame where a reader's eye needs it: its length, the array's head, each place."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(frame[4:])
    count, ends = unpacker.read_array_header(), [0, unpacker.tell()]
    for _ in range(count):
        unpacker.skip()
        ends.append(unpacker.tell())
    pairs = itertools.pairwise(ends)
    return [frame[:4].hex(), *(frame[4:][start:end].hex() for start, end in pairs)]


def _wrapped(pieces: list[str]) -> Iterator[str]:
    line = "   "
    for piece in pieces:
        if len(line) + len(piece) >= _LINE_CHARACTERS_MAX:
            yield line
            line = "   "
        line += f" {piece}"
    yield line


def fill(text: str) -> str:
    """Give the document with what stands between its two session marks made anew."""
    made = f"<!-- session -->\n{session_in_hex()}\n<!-- end -->"
    return re.sub(r"<!-- session -->\n.*?<!-- end -->", lambda _: made, text, flags=re.DOTALL)


if __name__ == "__main__":
    sys.stdout.write(fill(sys.stdin.read()))
