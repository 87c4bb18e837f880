"""Which bytes are refused, and that refusing costs little."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal

import msgpack
import pytest

from psp.errors import LimitExceeded, LocalProtocolError, MalformedFrame
from psp.wire import (
    BODY_BYTES_MAX,
    CALL,
    CHUNK,
    CHUNK_BYTES_MAX,
    END,
    GOAWAY,
    PROMISED_EXT,
    PROMISED_MAX,
    RETURN,
    STATUS_ERROR,
    STATUS_VALUE,
    Call,
    Chunk,
    FrameReader,
    FrameWriter,
    GoAway,
    Promised,
    Return,
    Role,
    chunk_frame,
    decode_body_untrusted,
    decode_value_untrusted,
    encode_value,
    outgoing_arguments,
)


def call_body(**changed: object) -> bytes:
    fields: dict[str, object] = {
        "kind": CALL,
        "question": 1,
        "target": 0,
        "method": "ping",
        "arguments": [],
        "remaining_ms": 5000,
        "accept_bytes": 1024,
        "flags": 0,
        "invocation": None,
    }
    body: bytes = msgpack.packb(list((fields | changed).values()))
    return body


def decode_call(body: bytes) -> object:
    return decode_body_untrusted(body, receiver=Role.SUBJECT)


def test_a_whole_call_becomes_a_call() -> None:
    assert decode_call(call_body()) == Call(CALL, 1, 0, "ping", [], 5000, 1024, 0, None)


def test_a_target_is_a_reference_or_a_path() -> None:
    frame = decode_call(call_body(question=2, target=[1, ["rows", 0]]))
    assert isinstance(frame, Call)
    assert frame.target == [1, ["rows", 0]]


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("question", 0),
        ("question", -1),
        ("question", True),
        ("question", 2**63),
        ("question", 1.0),
        ("target", -1),
        ("target", None),
        ("target", [1]),
        ("target", [1, [None]]),
        ("target", [1, [-1]]),
        ("target", [1, [True]]),
        ("target", [1, "ab"]),
        ("method", ""),
        ("method", "m" * 129),
        ("method", b"ping"),
        ("arguments", {}),
        ("arguments", [float("inf")]),
        ("arguments", [float("nan")]),
        ("arguments", [2**63]),
        ("arguments", [{b"key": 1}]),
        ("arguments", [{1: 1}]),
        ("arguments", [msgpack.ExtType(9, b"")]),
        ("arguments", [msgpack.Timestamp(1)]),
        ("arguments", [msgpack.ExtType(1, b"\x27\x01")]),
        ("remaining_ms", -1),
        ("remaining_ms", 24 * 3600 * 1000 + 1),
        ("accept_bytes", -1),
        ("flags", 4),
        ("invocation", "text"),
        ("invocation", b"x" * 4_097),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_malformed(field: str, found: object) -> None:
    with pytest.raises(MalformedFrame):
        decode_call(call_body(**{field: found}))


def name(target: object) -> msgpack.ExtType:
    return msgpack.ExtType(PROMISED_EXT, msgpack.packb(target))


def test_arguments_may_name_answers_and_references() -> None:
    names = [1, name(7), {"k": [name([1, ["rows", 0]])]}]
    frame = decode_call(call_body(question=2, arguments=names))
    assert isinstance(frame, Call)
    assert frame.arguments == [1, Promised(7), {"k": [Promised([1, ["rows", 0]])]}]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\x00\x00",
        b"\xff",
        msgpack.packb([1]),
        msgpack.packb([0, []]),
        msgpack.packb([1, [None]]),
        msgpack.packb([1, [msgpack.ExtType(PROMISED_EXT, b"\x00")]]),
        msgpack.packb([1, ["x" * 1_024]]),
    ],
)
def test_the_name_of_an_answer_is_a_small_target_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_call(call_body(arguments=[msgpack.ExtType(PROMISED_EXT, data)]))


def test_a_call_names_at_most_16_answers() -> None:
    decode_call(call_body(arguments=[name(0), [name(0)] * (PROMISED_MAX - 1)]))
    with pytest.raises(MalformedFrame, match="17 names"):
        decode_call(call_body(arguments=[name(0), [name(0)] * PROMISED_MAX]))


def test_a_name_stands_in_arguments_and_nowhere_else() -> None:
    """A subject has no way to name an answer, and no value holds one."""
    with pytest.raises(MalformedFrame):
        decode_value_untrusted(msgpack.packb([name(0)]))
    body = msgpack.packb([RETURN, 1, STATUS_VALUE, [name(0)]])
    with pytest.raises(MalformedFrame):
        decode_body_untrusted(body, receiver=Role.CONTROLLER)
    with pytest.raises(LocalProtocolError):
        encode_value([Promised(0)])  # type: ignore[list-item]


def test_a_name_leaves_composed_like_every_text() -> None:
    sent = outgoing_arguments([Promised([1, ["e\u0301"]])])
    assert sent == [Promised([1, ["é"]])]


def test_a_chunk_is_the_bytes_as_they_are() -> None:
    data = bytes(range(256))
    frame = chunk_frame(5, memoryview(data))
    assert frame[:13] == b"\x00\x00\x01\x09\xc1\0\0\0\0\0\0\0\x05"
    assert decode_body_untrusted(frame[4:], receiver=Role.CONTROLLER) == Chunk(CHUNK, 5, data)


@pytest.mark.parametrize("size", [1, 100, 1_024, 4_087, 4_088, 65_536, CHUNK_BYTES_MAX])
def test_chunks_of_any_size_arrive_among_other_frames(size: int) -> None:
    end = b"\x00\x00\x00\x04\x93\x14\x05\xc0"
    chunk = chunk_frame(5, memoryview(bytes(size)))
    reader = FrameReader(Role.CONTROLLER)
    places = list(reader.receive_untrusted(end + chunk + chunk + end + chunk))
    assert [each[:2] for each in places] == [[kind, 5] for kind in (END, CHUNK, CHUNK, END, CHUNK)]
    assert {each[2] for each in places if each[0] == CHUNK} == {bytes(size)}
    assert reader.body_bytes == size + 9
    assert list(reader.receive_untrusted(chunk)) == [[CHUNK, 5, bytes(size)]]


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"\xc1" + bytes(7) + b"\x01",
        b"\xc1" + bytes(8) + b"x",
        b"\xc1\x80" + bytes(6) + b"\x01x",
        msgpack.packb([CHUNK, 1, b"x"]),
    ],
    ids=["nothing", "no data", "question 0", "a question above all ids", "a chunk as an array"],
)
def test_a_chunk_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_body_untrusted(body, receiver=Role.CONTROLLER)


def test_a_subject_receives_no_chunk() -> None:
    frame = chunk_frame(1, memoryview(b"x"))
    with pytest.raises(MalformedFrame, match="cannot be received"):
        decode_body_untrusted(frame[4:], receiver=Role.SUBJECT)
    with pytest.raises(MalformedFrame, match="cannot be received"):
        list(FrameReader(Role.SUBJECT).receive_untrusted(frame))


def test_a_partial_frame_has_a_name_until_it_is_complete() -> None:
    """A frame that is begun and never completed must be told from many that are.

    Four bytes of a header may each rename it: that is four times the patience, and no more.
    """
    frame = b"\x00\x00\x00\x03\x92\x12\x05"
    reader = FrameReader(Role.CONTROLLER)
    assert reader.partial_frame == 0
    names = []
    for start in range(len(frame) - 1):
        assert list(reader.receive_untrusted(frame[start : start + 1])) == []
        names.append(reader.partial_frame)
    assert len(set(names[3:])) == 1
    assert min(names) > 0
    assert len(list(reader.receive_untrusted(frame[-1:] + frame[:2]))) == 1
    assert reader.partial_frame not in {0, *names}
    assert len(list(reader.receive_untrusted(frame[2:]))) == 1
    assert reader.partial_frame == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x91\xc3",
        call_body() + b"\xc0",
        call_body()[:-1],
        msgpack.packb([CALL, 1]),
        msgpack.packb([CALL, 1, 0, "m", [], 1, 1, 0]),
        msgpack.packb([CALL, 1, 0, "m", [], 1, 1, 0, None, 0]),
        msgpack.packb({"kind": 2}),
        b"\x93\x04\x91\x01\xc0",
        b"\xc1",
        b"\x92\x03\xdd\xff\xff\xff\xff",
    ],
)
def test_a_body_that_is_not_one_frame_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_call(body)


def test_a_key_twice_is_refused_and_not_dropped() -> None:
    with pytest.raises(MalformedFrame, match="twice"):
        decode_value_untrusted(b"\x82\xa1a\x01\xa1a\x02")


def test_text_must_be_utf_8() -> None:
    with pytest.raises(MalformedFrame):
        decode_value_untrusted(b"\xa2\xed\xa0")


def test_no_frame_of_a_controller_can_be_sent_by_a_subject() -> None:
    """The diode: CALL reaches no decoder of a controller."""
    with pytest.raises(MalformedFrame, match="kind 2 cannot be received"):
        decode_body_untrusted(call_body(), receiver=Role.CONTROLLER)


@pytest.mark.parametrize(
    ("status", "payload"),
    [
        (1, 0),
        (1, "x"),
        (1, None),
        (STATUS_ERROR, None),
        (STATUS_ERROR, [0, 0, "", ""]),
        (STATUS_ERROR, [99, 0, "", ""]),
        (STATUS_ERROR, [1, 3, "", ""]),
        (STATUS_ERROR, [1, True, "", ""]),
        (STATUS_ERROR, [1, 0, "c" * 65, ""]),
        (STATUS_ERROR, [1, 0, "", "t" * 1001]),
        (STATUS_ERROR, [1, 0, ""]),
        (4, None),
    ],
)
def test_a_return_whose_payload_is_not_what_its_status_says_is_malformed(
    status: int, payload: object
) -> None:
    body = msgpack.packb([RETURN, 1, status, payload])
    with pytest.raises(MalformedFrame):
        decode_body_untrusted(body, receiver=Role.CONTROLLER)


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


def test_32_levels_are_a_value_and_33_are_not() -> None:
    decode_value_untrusted(nested(32))
    with pytest.raises(MalformedFrame, match="deeper than 32"):
        decode_value_untrusted(nested(33))


@pytest.mark.parametrize("depth", [1_000, 1_024, 2_000, 200_000])
def test_no_depth_reaches_the_stack(depth: int) -> None:
    with pytest.raises(MalformedFrame):
        decode_value_untrusted(nested(depth))


def test_65_536_values_pass_and_one_more_does_not() -> None:
    within, beyond = b"\xdd" + (65_536).to_bytes(4, "big"), b"\xdd" + (65_537).to_bytes(4, "big")
    decode_value_untrusted(within + b"\xc0" * 65_536)
    with pytest.raises(MalformedFrame):
        decode_value_untrusted(beyond + b"\xc0" * 65_537)


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\x00\x01\x00\x00" * 1_000,  # lists that say 65,536 and hold the next
        b"\xdd\x00\x00\x03\xff" * 200,
        b"\xdc\xff\xff" * 1_000,
        b"\xdf\x00\x00\x10\x00\xa0" * 1_000,
    ],
)
def test_a_length_that_lies_allocates_little(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedFrame):
            decode_value_untrusted(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_a_frame_longer_than_its_limit_is_refused_by_its_header_alone() -> None:
    reader = FrameReader(Role.SUBJECT)
    with pytest.raises(MalformedFrame, match="limit"):
        list(reader.receive_untrusted((BODY_BYTES_MAX + 1).to_bytes(4, "big")))


def test_a_body_may_not_borrow_bytes_from_the_next_frame() -> None:
    finish = b"\x92\x03\x91\x01"
    stream = b"\x00\x00\x00\x03" + finish + b"\x00\x00\x00\x04" + finish
    with pytest.raises(MalformedFrame):
        list(FrameReader(Role.SUBJECT).receive_untrusted(stream))


def test_frames_before_a_malformed_one_are_given() -> None:
    reader = FrameReader(Role.CONTROLLER)
    frames = iter(
        reader.receive_untrusted(
            b"\x00\x00\x00\x02\x92\x12" + b"\x00\x00\x00\x03\x92\x12\x05" + b"\x00\x00\x00\x01\xc0"
        )
    )
    with pytest.raises(MalformedFrame):
        next(frames)
    reader = FrameReader(Role.CONTROLLER)
    frames = iter(
        reader.receive_untrusted(b"\x00\x00\x00\x03\x92\x12\x05" + b"\x00\x00\x00\x01\xc0")
    )
    assert GoAway._make(next(frames)) == GoAway(GOAWAY, 5)
    with pytest.raises(MalformedFrame):
        next(frames)


def test_a_large_frame_byte_by_byte_is_joined_once() -> None:
    """Copying what has come for each new byte would cost a peer nothing and us minutes."""
    writer = FrameWriter()
    writer.write((RETURN, 1, STATUS_VALUE, "x" * 60_000))
    data = writer.take()
    reader = FrameReader(Role.CONTROLLER)
    frames = [
        Return._make(places)
        for start in range(0, len(data), 7)
        for places in reader.receive_untrusted(data[start : start + 7])
    ]
    assert frames == [Return(RETURN, 1, STATUS_VALUE, "x" * 60_000)]


def test_waiting_frames_leave_as_one_piece() -> None:
    writer = FrameWriter()
    writer.write((GOAWAY, 1))
    writer.write((GOAWAY, 2))
    assert writer.waiting_bytes == 14
    assert writer.take() == b"\0\0\0\x03\x92\x12\x01\0\0\0\x03\x92\x12\x02"
    assert writer.take() == b""


@pytest.mark.parametrize(
    "value",
    [float("nan"), 2**63, -(2**63) - 1, {1: 2}, {"a": {b"b": 1}}, object(), {"s"}, "\ud800"],
)
def test_what_the_peer_would_refuse_is_refused_here(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        encode_value(value)  # type: ignore[arg-type]


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(LimitExceeded, match="deeper"):
        encode_value(value)  # type: ignore[arg-type]


def test_a_value_larger_than_a_frame_is_refused_with_what_to_do() -> None:
    with pytest.raises(LimitExceeded, match="ask or send less"):
        encode_value("x" * BODY_BYTES_MAX)


def test_text_leaves_composed() -> None:
    assert decode_value_untrusted(encode_value(["e\u0301", {"e\u0301": 1}])) == ["é", {"é": 1}]


def test_two_keys_that_are_one_text_once_composed_are_refused() -> None:
    with pytest.raises(LocalProtocolError, match="NFC"):
        encode_value({"é": 1, "e\u0301": 2})


def test_money_stays_exact() -> None:
    value = Decimal("11672925008.10")
    assert str(decode_value_untrusted(encode_value(value))) == "11672925008.10"
