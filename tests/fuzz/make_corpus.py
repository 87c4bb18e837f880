"""Write the seed corpus: lawful sessions, so that the fuzzer starts where the protocol is deep.

    python -m tests.fuzz.make_corpus

Inputs that the fuzzer found and that are worth keeping lie beside them, named by their hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgpack

from psp.testing import frame_bytes

from .mutation import ARCHIVE_TIME, chunk_bytes

CORPUS: Final = Path(__file__).parent / "corpus"
HELLO: Final = frame_bytes([0, [1], {}, []])
GREETING: Final = frame_bytes([16, 1, {}, [], bytes(32), ARCHIVE_TIME])
Session = tuple[int, int, Sequence[bytes | Sequence[object]]]


def _call(question: int, target: object, method: str, *arguments: object) -> list[object]:
    return [2, question, target, method, list(arguments), 1000, 2**20, 0, None]


def _promised(target: object) -> msgpack.ExtType:
    return msgpack.ExtType(4, msgpack.packb(target))


SUBJECT: Final[Mapping[str, Session]] = {
    "a_call": (1, 0, [HELLO, _call(1, 0, "value"), [3, [1]]]),
    "a_chain": (
        *(1, 0),
        [
            *(HELLO, [1, 1, b"good"], _call(2, [1, []], "object"), _call(3, [2, []], "object")),
            *(_call(4, [3, []], "value"), _call(5, [4, ["a", 0]], "value"), [3, [1, 2, 3, 4, 5]]),
        ],
    ),
    "promises_as_arguments": (
        *(3, 40),
        [
            *(HELLO, [1, 1, b"later"], _call(2, [1, []], "later")),
            *(_call(3, 0, "value", _promised([2, []])), _call(4, 0, "value"), [6, 1]),
            *(_call(5, [1, []], "value", _promised([2, ["list", 0]]), 1), [3, [3, 4, 5]]),
        ],
    ),
    "a_stream": (3, 60, [HELLO, _call(1, 0, "stream"), [5, 1, 5000], [6, 7], [3, [1]]]),
    "references": (
        *(1, 0),
        [HELLO, [1, 1, b"good"], _call(2, 1, "object"), _call(3, 2, "value"), [4, [1, 2]]],
    ),
    "going_away": (7, 30, [HELLO, _call(1, 0, "later"), _call(2, [1, []], "value"), [3, [1]]]),
    "an_abort": (9, 0, [HELLO, _call(1, 0, "later"), _call(2, 0, "stream"), [7, 3, "done"]]),
    "no_frame": (1, 3, [b"\0\0\0\1\xc1"]),
}
CONTROLLER: Final[Mapping[str, Session]] = {
    "values": (3, 0, [[17, 2, 0, {"a": [1]}], [17, 5, 0, None], [17, 7, 0, None], [21, 1]]),
    "a_reference": (3, 0, [[17, 1, 1, 1], [17, 2, 1, 2], [17, 3, 1, 3], [17, 8, 1, 4]]),
    "errors": (3, 11, [[17, 1, 2, [1, 0, "id", "no"]], [17, 3, 2, [1, 0, "id", "no"]]]),
    "a_stream": (
        *(3, 50),
        [
            *([17, 2, 3, {"columns": ["a"]}], chunk_bytes(2, b"x" * 3000)),
            *(chunk_bytes(2, b"y" * 1000), [20, 2, None], [17, 8, 3, None]),
            *(chunk_bytes(8, b"z"), [20, 8, [9, 2, "", "cut short"]]),
        ],
    ),
    "two_streams_by_turns": (
        *(3, 0),
        [
            *([17, 2, 3, None], [17, 3, 3, None], chunk_bytes(2, b"x" * 4000)),
            *(chunk_bytes(3, b"y" * 4000), chunk_bytes(2, b"x" * 90), [20, 3, None]),
        ],
    ),
    "too_much": (2, 0, [[17, 2, 3, None], chunk_bytes(2, b"x" * 4097)]),
    "going_away": (3, 0, [[18, 2], [17, 1, 1, 1], [17, 2, 0, "late"], [17, 3, 0, None]]),
    "late_ones": (3, 0, [[17, 4, 1, 1], [17, 6, 3, None], chunk_bytes(6, b"x"), [20, 6, None]]),
    "twice": (3, 0, [[17, 2, 0, None], [17, 2, 0, None]]),
    "an_abort": (3, 0, [[17, 2, 0, None], [19, 1, "over"]]),
    "before_hello": (0, 0, [GREETING, [17, 2, 0, None], GREETING]),
    "no_frame": (3, 3, [b"\0\0\0\1\xc1"]),
}


def write() -> None:
    """Write every session of the two tables above."""
    for side, sessions in (("subject", SUBJECT), ("controller", CONTROLLER)):
        (CORPUS / side).mkdir(parents=True, exist_ok=True)
        for name, (settings, cut, lines) in sessions.items():
            stream = [line if isinstance(line, bytes) else frame_bytes(line) for line in lines]
            (CORPUS / side / name).write_bytes(bytes((settings, cut)) + b"".join(stream))


if __name__ == "__main__":
    write()
