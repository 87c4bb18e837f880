"""Mutations that know what a frame is: flipping bits of a length would end every run at once.

An input is two bytes of settings and then a stream of frames. Most mutations keep the framing and
change what stands in it; some do not, because nobody promises us framing either.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Final

import msgpack

from psp.testing import frame_bytes
from psp.wire import BODY_BYTES_MAX, HEADER_BYTES, Role

SETTINGS_BYTES: Final = 2
ARCHIVE_TIME: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHUNK: Final = 0xC1

ODD: Final[tuple[object, ...]] = (
    *(None, True, 0, 1, -1, 2, 3, 15, 2**31, 2**63 - 1, 2**64 - 1, 0.5, float("nan"), float("inf")),
    *("", "a", "__class__", "e\u0301", "x" * 200, "\u202e\x1b[31m", b"", b"\xc1", b"x" * 5000),
    *([], {}, [[]], {"": {}}, [0] * 70, [1, [0]], [1, ["a"]], [1, ["__init__"]], {1: 2}, {b"": 0}),
    *(msgpack.ExtType(1, b""), msgpack.ExtType(4, b"\x01"), msgpack.ExtType(4, b"\x92\x01\x90")),
    *(msgpack.ExtType(4, b"\x92\x02\x91\xa1a"), msgpack.ExtType(99, b"x"), msgpack.ExtType(3, b"")),
)
"""Places of a frame as only an attacker or a bug would fill them."""

ERRORS: Final[tuple[object, ...]] = (
    [1, 0, "c", "no"],
    [7, 2, "", ""],
    [99, 0, "", ""],
    [1, 9, "", ""],
    [1, 0, "x" * 100, ""],
    [],
    ["Denied", 0, "", ""],
)


def _id(chance: Random) -> int:
    # Small ids meet the tables; large and odd ones meet the watermarks.
    ids: tuple[int, ...] = (*range(12), chance.randrange(1, 40), 2**40, 2**63 - 1)
    return chance.choice(ids)


def _target(chance: Random) -> object:
    path = [
        chance.choice(("a", 0, -1, "list", "__class__", "")) for _ in range(chance.randrange(3))
    ]
    return chance.choice((0, _id(chance), [_id(chance), []], [_id(chance), path], [0, []]))


def _promised(chance: Random) -> msgpack.ExtType:
    return msgpack.ExtType(4, msgpack.packb(_target(chance)))


def _call(chance: Random) -> list[object]:
    arguments: list[object] = [
        chance.choice((1, "a", _promised(chance), [_promised(chance)], {}))
        for _ in range(chance.randrange(4))
    ]
    return [
        *(2, _id(chance), _target(chance), chance.choice(METHODS), arguments),
        *(chance.choice((0, 1000, 86_400_000)), chance.choice((0, 10, 2**20))),
        *(chance.randrange(4), chance.choice((None, None, b"signature"))),
    ]


def _ids(chance: Random) -> list[int]:
    return [_id(chance) for _ in range(chance.randrange(5))]


def chunk_bytes(question: int, data: bytes) -> bytes:
    """Encode a CHUNK, its length before it."""
    body = struct.pack(">BQ", CHUNK, question) + data
    return len(body).to_bytes(HEADER_BYTES, "big") + body


METHODS: Final = (
    "value",
    "object",
    "fail",
    "stream",
    "later",
    "objects",
    "large",
    "_x",
    "__init__",
)
"""What the fuzzed subject's handlers do is said by the method's name, so that inputs can choose."""

Maker = Callable[[Random], "list[object] | bytes"]

CONTROLLER_FRAMES: Final[tuple[Maker, ...]] = (
    lambda chance: [0, [1], {}, []],
    lambda chance: [1, _id(chance), chance.choice((b"good", b"later", b"bad", b""))],
    _call,
    _call,
    _call,
    lambda chance: [3, _ids(chance)],
    lambda chance: [4, _ids(chance)],
    lambda chance: [5, _id(chance), chance.choice((0, 1, 100, 2**62))],
    lambda chance: [6, _id(chance)],
    lambda chance: [7, 1, "over"],
)
SUBJECT_FRAMES: Final[tuple[Maker, ...]] = (
    lambda chance: [16, 1, {}, [], bytes(32), ARCHIVE_TIME],
    lambda chance: [17, _id(chance), 0, chance.choice((None, "v", {"a": [1]}, Decimal("1.20")))],
    lambda chance: [17, _id(chance), 1, _id(chance)],
    lambda chance: [17, _id(chance), 2, chance.choice(ERRORS)],
    lambda chance: [17, _id(chance), 3, {"columns": ["a"]}],
    lambda chance: chunk_bytes(_id(chance), b"x" * chance.choice((1, 50, 3000))),
    lambda chance: [20, _id(chance), chance.choice((None, *ERRORS))],
    lambda chance: [18, _id(chance)],
    lambda chance: [19, 1, "over"],
    lambda chance: [21, _id(chance)],
)
FRAMES_OF: Final = {Role.CONTROLLER: CONTROLLER_FRAMES, Role.SUBJECT: SUBJECT_FRAMES}


def new_frame(chance: Random, sender: Role) -> bytes:
    """Make one frame of a kind that the sender has, often lawless in its ids."""
    made = chance.choice(FRAMES_OF[sender])(chance)
    return made if isinstance(made, bytes) else frame_bytes(made)


def split(stream: bytes) -> list[bytes]:
    """Cut a stream into its frames, headers included; the last piece may be no frame."""
    frames = []
    while len(stream) >= HEADER_BYTES:
        end = HEADER_BYTES + int.from_bytes(stream[:HEADER_BYTES], "big")
        if end > min(len(stream), HEADER_BYTES + BODY_BYTES_MAX):
            break
        frames.append(stream[:end])
        stream = stream[end:]
    return [*frames, stream] if stream else frames


def _reframed(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def _flip(chance: Random, frame: bytes) -> bytes:
    body = bytearray(frame[HEADER_BYTES:] or b"\0")
    for _ in range(chance.randrange(1, 4)):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return _reframed(bytes(body))


def _replace_a_place(chance: Random, frame: bytes) -> bytes:
    try:
        places = msgpack.unpackb(frame[HEADER_BYTES:], strict_map_key=False)
        places[chance.randrange(len(places))] = chance.choice(ODD)
        return frame_bytes(places)
    except (ValueError, TypeError, msgpack.UnpackException, LookupError, OverflowError):
        return _flip(chance, frame)


def mutate(data: bytes, max_size: int, chance: Random, sender: Role) -> bytes:
    """Give a neighbour of an input: the frames of `sender` with one to three things changed."""
    settings = bytearray(data[:SETTINGS_BYTES].ljust(SETTINGS_BYTES, b"\0"))
    frames = split(data[SETTINGS_BYTES:])
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(frames) + 1)
        kept = place < len(frames)
        match chance.randrange(9):
            case 0 | 1 | 2:
                frames.insert(place, new_frame(chance, sender))
            case 3 if kept:
                del frames[place]
            case 4 if kept:
                frames.insert(chance.randrange(len(frames) + 1), frames[place])
            case 5 if kept:
                frames[place] = _flip(chance, frames[place])
            case 6 | 7 if kept:
                frames[place] = _replace_a_place(chance, frames[place])
            case 8 if kept:
                frames[place] = frames[place][: chance.randrange(len(frames[place]) + 1)]
            case _:
                settings[chance.randrange(SETTINGS_BYTES)] = chance.randrange(256)
    return bytes(settings) + b"".join(frames)[: max(0, max_size - SETTINGS_BYTES)]
