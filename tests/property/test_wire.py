"""What a stranger's bytes can do to the decoder: become a frame, or raise one exception."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.errors import MalformedFrame
from psp.values import DECIMAL_SCALE_MAX, Value, from_ext, to_ext
from psp.wire import (
    CALL,
    END,
    FINISH,
    FRAMES,
    RETURN,
    FrameReader,
    FrameShape,
    FrameWriter,
    Places,
    Promised,
    Role,
    chunk_frame,
    decode_body_untrusted,
    decode_value_untrusted,
    encode_value,
    outgoing_arguments,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["Cs"]))
    | st.binary(max_size=40)
    | st.decimals(allow_nan=False, allow_infinity=False, places=4).filter(lambda d: abs(d) < 10**60)
    | st.dates()
    | st.datetimes(timezones=st.just(UTC))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text("abcdefé", max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)
# Bytes that are nearly right: MessagePack of anything, then cut or changed.
LOOSE = st.recursive(
    SCALARS | st.just(float("nan")) | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary()),
    lambda inner: (
        st.lists(inner, max_size=9)
        | st.dictionaries(st.text(max_size=3) | st.binary(max_size=2), inner, max_size=3)
    ),
    max_leaves=20,
)


def loosely_packed(fields: object) -> bytes:
    packed: bytes = msgpack.packb(fields, default=_as_bin)
    return packed


def _as_bin(_: object) -> bytes:
    return b"\x00"


@given(st.binary(max_size=200), st.sampled_from(Role))
def test_any_bytes_are_a_frame_or_malformed(body: bytes, receiver: Role) -> None:
    try:
        frame = decode_body_untrusted(body, receiver=receiver)
    except MalformedFrame:
        return
    assert frame.kind in {shape.kind for shape in FRAMES if shape.sender is not receiver}


@given(
    st.sampled_from([shape.kind for shape in FRAMES]),
    st.lists(LOOSE, max_size=9),
    st.sampled_from(Role),
    st.integers(0, 60),
)
def test_any_near_frame_is_a_frame_or_malformed(
    kind: int, fields: list[object], receiver: Role, cut: int
) -> None:
    body = loosely_packed([kind, *fields])
    for candidate in (body, body[:cut], body + b"\xc0"):
        try:
            decode_body_untrusted(candidate, receiver=receiver)
        except MalformedFrame:
            continue


ODD = st.sampled_from([0, 1, 2, 3, 4, -1, 2**63, True, None, "m", "", "m" * 129, 1.5, b"", "é"])


@given(
    st.sampled_from([shape for shape in FRAMES if shape.is_plain]),
    st.none() | ODD,
    st.lists(ODD | st.lists(ODD | st.just(float("nan")), max_size=2), min_size=7, max_size=9),
)
def test_the_shortcut_allows_only_what_the_table_allows(
    shape: FrameShape, other_kind: object, fields: list[object]
) -> None:
    missing = 8 - len(shape.fields)
    frame = [shape.kind if other_kind is None else other_kind, *fields[missing:]]
    assert shape.is_plain is not None
    if shape.is_plain(frame):
        assert type(frame[0]) is int
        assert frame[0] == shape.kind
        pairs = zip(shape.fields, frame[1:], strict=True)
        assert all(field.accepts(found) for (_, field), found in pairs)
        assert shape.agrees is None or shape.agrees(frame)


@given(VALUES)
def test_a_value_arrives_as_it_left(value: Value) -> None:
    arrived = decode_value_untrusted(encode_value(value))
    # The wire's text is composed; everything else is the same, classes included.
    assert encode_value(arrived) == encode_value(value)
    if not isinstance(value, str | list | dict):
        assert arrived == value
        assert type(arrived) is type(value)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    try:
        value = decode_value_untrusted(data)
    except MalformedFrame:
        return
    encode_value(value)


def stream() -> bytes:
    """Frames of all sizes: below and above the length that is decoded the careful way."""
    writer = FrameWriter()
    for question, size in enumerate((0, 3, 900, 1100, 5000, 1), start=1):
        writer.write((CALL, question, 0, "m", ["x" * size, Promised(0)], 10, 10, 0, None))
    writer.write((FINISH, [1, 2, 3]))
    return writer.take()


@given(st.sets(st.integers(0, len(stream()))))
def test_frames_do_not_depend_on_how_the_bytes_were_cut(cuts: set[int]) -> None:
    data = stream()
    whole = list(FrameReader(Role.SUBJECT).receive_untrusted(data))
    reader = FrameReader(Role.SUBJECT)
    pieces: list[Places] = []
    for start, end in pairwise(sorted(cuts | {0, len(data)})):
        pieces += reader.receive_untrusted(memoryview(data)[start:end])

    assert len(whole) == 7
    assert pieces == whole


def read(pieces: list[bytes]) -> tuple[list[Places], bool]:
    """The frames of pieces that come one after the other, and whether one was malformed."""
    reader, frames = FrameReader(Role.CONTROLLER), list[Places]()
    try:
        for piece in pieces:
            for frame in reader.receive_untrusted(piece):
                frames.append(frame)
    except MalformedFrame:
        return frames, True
    return frames, False


NUMBERS = st.sampled_from([0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63])
# The number also in more bytes than it needs: MessagePack allows that, and so does this reader.
WIDTHS = st.sampled_from([None, ">BB", ">BH", ">BI", ">BQ"])
MARKS = {">BB": 0xCC, ">BH": 0xCD, ">BI": 0xCE, ">BQ": 0xCF}
ANSWERS = st.sampled_from([None, None, None, True, 7, "x", [], ["x"], {"k": 1}])


def answer(number: int, width: str | None, status: int, payload: object) -> bytes:
    """One RETURN with its length, its number written in a form of the test's own choice."""
    packed: bytes = msgpack.packb(number)
    if width is not None and number < 1 << 8 * (struct.calcsize(width) - 1):
        packed = struct.pack(width, MARKS[width], number)
    body = b"\x94" + bytes([RETURN]) + packed + bytes([status]) + msgpack.packb(payload)
    framed: bytes = struct.pack(">I", len(body)) + body
    return framed


@given(
    st.lists(
        st.tuples(
            *(NUMBERS, WIDTHS, st.sampled_from([0, 0, 0, 1, 9]), ANSWERS),
            *(st.integers(1, 5), st.integers(-1, 1)),
        ),
        max_size=8,
    )
)
def test_frames_that_repeat_are_read_as_each_is_alone(
    runs: list[tuple[int, str | None, int, object, int, int]],
) -> None:
    frames = [
        answer(max(number + step * at, 0), width, status, payload)
        for number, width, status, payload, times, step in runs
        for at in range(times)
    ]
    assert read([b"".join(frames)]) == read(frames)


def test_a_run_is_read_with_each_number_it_brings() -> None:
    numbers = [300, 301, 7_000, 65_535, 65_536, 65_537, 2**32 - 1]
    run = b"".join(answer(number, None, 0, None) for number in numbers)

    read = list(FrameReader(Role.CONTROLLER).receive_untrusted(run))

    assert read == [[RETURN, number, 0, None] for number in numbers]


def chunks() -> bytes:
    """Chunks of all sizes: read through the decoder, and cut out past it."""
    writer = FrameWriter()
    parts: list[bytes] = []
    for size in (1, 900, 1_100, 4_087, 5_000, 70_000, 1):
        writer.write((END, size, None))
        parts += writer.take(), chunk_frame(size, memoryview(b"\x93" * size))
    return b"".join(parts)


@given(st.sets(st.integers(0, len(chunks()))))
def test_chunks_do_not_depend_on_how_the_bytes_were_cut(cuts: set[int]) -> None:
    data = chunks()
    whole = list(FrameReader(Role.CONTROLLER).receive_untrusted(data))
    reader = FrameReader(Role.CONTROLLER)
    pieces: list[Places] = []
    for start, end in pairwise(sorted(cuts | {0, len(data)})):
        pieces += reader.receive_untrusted(memoryview(data)[start:end])

    assert len(whole) == 14
    assert pieces == whole
    assert reader.partial_frame == 0


@given(
    st.lists(VALUES | st.builds(Promised, st.integers(0, 2**63 - 1)), max_size=4),
    st.lists(st.text("ab", max_size=3) | st.integers(0, 9), max_size=5),
)
def test_arguments_arrive_as_they_left(arguments: list[object], path: list[str | int]) -> None:
    sent = outgoing_arguments([*arguments, {"deep": [Promised([1, path])]}])
    writer = FrameWriter()
    writer.write((CALL, 2, 0, "m", sent, 10, 10, 0, None))
    [places] = FrameReader(Role.SUBJECT).receive_untrusted(writer.take())
    assert places[4] == sent


@given(st.binary(max_size=300), st.sets(st.integers(0, 300)))
def test_any_stream_is_frames_until_it_is_malformed_however_cut(
    data: bytes, cuts: set[int]
) -> None:
    places = sorted({0, len(data)} | {cut for cut in cuts if cut < len(data)})
    assert read([data]) == read([data[start:end] for start, end in pairwise(places)])


@pytest.mark.parametrize(
    "value", [Decimal("1.50"), date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), b"\x00", ""]
)
def test_each_exact_class_arrives_as_itself(value: Value) -> None:
    arrived = decode_value_untrusted(encode_value([value, {"k": value}]))
    assert arrived == [value, {"k": value}]
    assert str(arrived) == str([value, {"k": value}])


@given(
    st.booleans(),
    st.lists(st.integers(0, 9), min_size=1, max_size=70),
    st.integers(-DECIMAL_SCALE_MAX, 5),
)
def test_a_decimal_travels_with_every_digit(minus: bool, digits: list[int], exponent: int) -> None:
    sent = Decimal((minus, tuple(digits), exponent))
    form = to_ext(sent)
    came = from_ext(form.code, form.data)
    assert came == sent
    assert isinstance(came, Decimal)
    assert came.as_tuple().exponent == min(exponent, 0)
