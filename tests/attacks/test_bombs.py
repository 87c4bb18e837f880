"""Small frames that want to become large: what a body may *become* is limited, not only its bytes.

1 MB of empty maps decodes to 73 MB, and nested lengths that lie reach gigabytes, in every decoder
that takes a length at its word.
"""

from __future__ import annotations

import struct

import msgpack
import pytest

from psp.errors import MalformedFrame
from psp.testing import frame_bytes
from psp.wire import BODY_BYTES_MAX, FrameReader, Role

from .measure import MIB, peak_bytes

HALF = BODY_BYTES_MAX // 2 - 100


def call(arguments: bytes) -> bytes:
    """A CALL whose argument list is these bytes, already encoded."""
    body = b"\x99\x02\x01\x00\xa1m" + arguments + b"\x01\x01\x00\xc0"
    return struct.pack(">I", len(body)) + body


def array(item: bytes, size: int = BODY_BYTES_MAX - 100) -> bytes:
    count = size // len(item)
    return b"\xdd" + struct.pack(">I", count) + item * count


def some_map(item: bytes, count: int) -> bytes:
    pairs = b"".join(b"\xa3%03x" % index + item for index in range(count))
    return b"\x91\xdf" + struct.pack(">I", count) + pairs


LYING_ARRAY = b"\xdd\x00\x00\xff\xff"
LYING_MAP = b"\xdf\x00\x00\x0f\xff"

BOMBS = {
    "empty maps": array(b"\x80"),
    "empty lists": array(b"\x90"),
    "maps of one key": array(b"\x81\xa1a\xc0"),
    "maps of one empty map": array(b"\x81\xa1a\x80"),
    "nils": array(b"\xc0"),
    "empty texts": array(b"\xa0"),
    "empty bytes": array(b"\xc4\x00"),
    "lists of a list": array(b"\x91\x90"),
    "a list in a list in a list": b"\x91" * (BODY_BYTES_MAX - 100) + b"\xc0",
    "a map in a map in a map": b"\x91" + b"\x81\xa1a" * (HALF // 2) + b"\xc0",
    "a map of more keys than may be": some_map(b"\xc0", 4_097),
    "lists that lie about their length": LYING_ARRAY * (HALF // 5),
    "maps that lie about their length": b"\x91" + (LYING_MAP + b"\xa1a") * (HALF // 7),
    "lists that lie, in a small body": LYING_ARRAY * 180,
    "maps that lie, in a small body": b"\x91" + (LYING_MAP + b"\xa1a") * 120,
    "a list of 4 billion": b"\xdd\xff\xff\xff\xff",
    "a map of 4 billion": b"\x91\xdf\xff\xff\xff\xff",
    "a text of 4 billion characters": b"\x91\xdb\xff\xff\xff\xff",
    "an extension of 4 billion bytes": b"\x91\xc9\xff\xff\xff\xff\x01",
    "a promise that holds a bomb": b"\x91"
    + msgpack.packb(msgpack.ExtType(4, b"\x92\x01" + array(b"\x90", 900))),
    "a promise inside a promise": b"\x91"
    + msgpack.packb(msgpack.ExtType(4, msgpack.packb([1, [msgpack.ExtType(4, b"\x92\x01\x90")]]))),
    "a hundred promises": b"\xdc\x00\x64" + msgpack.packb(msgpack.ExtType(4, b"\x01")) * 100,
    "a decimal of a thousand digits": b"\x91"
    + msgpack.packb(msgpack.ExtType(1, b"\x02" + b"\x7f" * 400)),
    "a decimal of 200,000 digits": b"\x91"
    + msgpack.packb(msgpack.ExtType(1, b"\x02" + b"\x7f" * 80_000)),
    "a number above 63 bits": b"\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    "a key twice": b"\x91\x82\xa1a\x01\xa1a\x02",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_takes_less_than_24_mib_on_the_way(name: str) -> None:
    """Attack 9: empty maps by the hundred thousand, depth, lengths of 4 billion."""
    stream = call(BOMBS[name])
    reader = FrameReader(Role.SUBJECT)

    def explode() -> None:
        with pytest.raises(MalformedFrame):
            list(reader.receive_untrusted(stream))

    assert peak_bytes(explode) < 24 * MIB


@pytest.mark.parametrize(
    ("arguments", "kept_mib"),
    [
        (array(b"\x80", 65_000), 6),
        (array(b"\x90", 65_000), 6),
        (array(b"\xc0", 65_000), 2),
        (b"\x91" + msgpack.packb("x" * (BODY_BYTES_MAX - 100)), 1),
        (b"\x91" + msgpack.packb("\U0001f980" * (HALF // 2)), 1),
    ],
    ids=["maps", "lists", "nils", "one text", "wide text"],
)
def test_the_largest_lawful_body_becomes_a_few_mib(arguments: bytes, kept_mib: int) -> None:
    stream, kept = call(arguments), list[object]()

    def decode() -> None:
        kept.extend(FrameReader(Role.SUBJECT).receive_untrusted(stream))

    assert peak_bytes(decode) < (kept_mib + 4) * MIB
    assert len(kept) == 1


def test_bombs_one_after_the_other_cost_no_more_than_one() -> None:
    """Frames are given one by one: the next is decoded when the one before it was dealt with."""
    largest = call(array(b"\x80", 4_000))

    def count(frames: int) -> int:
        stream = largest * frames
        return peak_bytes(
            lambda: [None for _ in FrameReader(Role.SUBJECT).receive_untrusted(stream)]
        )

    # Twice, because a loop holds the last frame while it asks for the next one.
    assert count(12) < 2 * count(1) + 3 * 12 * len(largest)


def test_a_giant_header_is_refused_by_its_first_four_bytes() -> None:
    def announce() -> None:
        for size in (BODY_BYTES_MAX + 1, 2**31, 2**32 - 1):
            with pytest.raises(MalformedFrame, match="limit"):
                list(FrameReader(Role.SUBJECT).receive_untrusted(struct.pack(">I", size)))

    assert peak_bytes(announce) < MIB // 4


@pytest.mark.parametrize(
    "frame",
    [
        [0, [1], {f"limit {index}": 1 for index in range(65)}, []],
        [0, [1] * 65, {}, []],
        [0, [1], {}, ["feature"] * 65],
        [2, 1, 0, "m" * 129, [], 1, 1, 0, None],
        [2, 1, 0, "m", [], 1, 1, 0, b"x" * 4097],
        [3, list(range(1, 4098))],
        [3, []],
        [7, 1, "x" * 1001],
    ],
    ids=["limits", "versions", "features", "method", "invocation", "finish", "nobody", "text"],
)
def test_oversize_metadata_is_refused(frame: list[object]) -> None:
    with pytest.raises(MalformedFrame):
        list(FrameReader(Role.SUBJECT).receive_untrusted(frame_bytes(frame)))


def test_the_lengths_of_a_thousand_lying_chunks_allocate_nothing() -> None:
    """A CHUNK is as long as its frame: there is no second length to lie about."""
    stream = b"\0\0\0\x0a\xc1" + struct.pack(">Q", 1) + b"x"
    received: list[object] = []
    assert (
        peak_bytes(
            lambda: received.extend(FrameReader(Role.CONTROLLER).receive_untrusted(stream * 1000))
        )
        < 2 * MIB
    )
    assert len(received) == 1000


def test_a_frame_that_arrives_byte_by_byte_is_not_copied_for_each_byte() -> None:
    stream = call(b"\x91" + msgpack.packb("x" * 40_000))
    reader = FrameReader(Role.SUBJECT)

    def drip() -> None:
        for index in range(len(stream)):
            assert len(list(reader.receive_untrusted(stream[index : index + 1]))) == (
                index == len(stream) - 1
            )

    assert peak_bytes(drip) < MIB // 2
