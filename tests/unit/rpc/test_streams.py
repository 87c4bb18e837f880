"""Results that come in pieces: credit, turns, and the ways a stream can end."""

from __future__ import annotations

from typing import Any

import pytest

from psp.errors import (
    ConnectionLost,
    Denied,
    Invalid,
    LocalProtocolError,
    Overloaded,
    Processed,
)
from psp.rpc import (
    BOOTSTRAP,
    STREAM,
    VALUE,
    Aborted,
    Answer,
    ChunkReceived,
    ControllerEvent,
    Ponged,
    QuestionId,
    Returned,
    StreamEnded,
)
from psp.testing import Pair
from psp.wire import (
    CALL,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_SHARED,
    CREDIT,
    END,
    FINISH,
    FLAG_NO_PIPELINING,
    GOAWAY,
    RETURN,
    STATUS_STREAM,
    Promised,
    chunk_frame,
)

from ._seen import GivenUp, arriving, failures, greeted, handles, ids, over, seen, written

ONE, TWO = QuestionId(1), QuestionId(2)


def streaming(pair: Pair, credit: int = 1_000, **asked: Any) -> tuple[QuestionId, Answer]:
    """Ask for one stream and open it; its RETURN has not left."""
    question = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, accept_bytes=credit, **asked)
    [call] = arriving(pair)
    assert pair.subject.open_stream(call, {"name": "file"}) == []
    return question, call


def everything(pair: Pair) -> list[ControllerEvent]:
    """Carry frames and chunks until nothing more can leave."""
    events: list[ControllerEvent] = []
    while data := pair.subject.data_to_send():
        events += pair.controller.receive(data)
    return events


def test_a_stream_is_a_header_then_bytes_then_its_end() -> None:
    pair = greeted()
    question, call = streaming(pair)
    pair.subject.offer(call, b"first")
    assert everything(pair) == [
        Returned(question, STREAM, {"name": "file"}),
        ChunkReceived(question, b"first"),
    ]
    pair.subject.offer(call, memoryview(b"second"))
    assert everything(pair) == [ChunkReceived(question, b"second")]
    assert pair.controller.open_questions == pair.subject.open_streams == 1
    assert pair.subject.end_stream(call) == []
    assert everything(pair) == [StreamEnded(question, None)]
    assert (pair.controller.open_questions, pair.subject.open_streams) == (0, 0)
    # It was asked without no_pipelining, so it is kept until FINISH, like any answer.
    assert pair.controller.kept_answers == pair.subject.kept_answers == 1
    pair.controller.finish(question)
    pair.carry_to_subject()
    assert pair.subject.kept_answers == pair.subject.calls_in_flight == 0


def test_a_stream_without_pipelining_leaves_nothing_behind() -> None:
    pair = greeted()
    question, call = streaming(pair, no_pipelining=True)
    pair.subject.end_stream(call)
    assert everything(pair)[-1] == StreamEnded(question, None)
    assert pair.controller.open_questions == pair.controller.kept_answers == 0
    assert pair.subject.calls_in_flight == pair.subject.kept_answers == 0


def test_no_byte_leaves_beyond_the_credit() -> None:
    pair = greeted()
    question, call = streaming(pair, credit=10)
    pair.subject.offer(call, b"x" * 25)
    assert everything(pair)[1:] == [ChunkReceived(question, b"x" * 10)]
    assert call.unsent == 15
    assert pair.subject.data_to_send() == b""
    pair.controller.credit(question, 4)
    pair.carry_to_subject()
    assert pair.subject.has_chunk
    assert everything(pair) == [ChunkReceived(question, b"x" * 4)]
    pair.controller.credit(question, 1_000)
    pair.carry_to_subject()
    assert everything(pair) == [ChunkReceived(question, b"x" * 11)]
    assert call.unsent == 0


def test_a_stream_without_credit_sends_its_header_only() -> None:
    pair = greeted()
    question, call = streaming(pair, credit=0)
    pair.subject.offer(call, b"x")
    assert everything(pair) == [Returned(question, STREAM, {"name": "file"})]


def test_streams_send_one_chunk_a_turn_in_turn() -> None:
    pair = greeted()
    size = 3 * CHUNK_BYTES_SHARED
    opened = [streaming(pair, credit=size) for _ in range(3)]
    everything(pair)
    for _, call in opened:
        pair.subject.offer(call, b"x" * size)
    turns = everything(pair)
    assert [event.question for event in turns if isinstance(event, ChunkReceived)] == [1, 2, 3] * 3
    sizes = {len(event.data) for event in turns if isinstance(event, ChunkReceived)}
    assert sizes == {CHUNK_BYTES_SHARED}


def test_chunks_are_large_only_while_nobody_else_asks() -> None:
    pair = greeted()
    _, call = streaming(pair, credit=2**40)
    everything(pair)
    pair.subject.offer(call, bytes(64 * CHUNK_BYTES_MAX))
    sizes = [len(pair.subject.data_to_send()) for _ in range(40)]
    assert max(sizes[:32]) < CHUNK_BYTES_SHARED + 100
    assert min(sizes[33:]) > CHUNK_BYTES_MAX
    pair.controller.call(BOOTSTRAP, "small", remaining_ms=9)
    pair.carry_to_subject()
    assert len(pair.subject.data_to_send()) < CHUNK_BYTES_SHARED + 100


def test_frames_leave_before_chunks() -> None:
    """An answer and a PONG wait for one chunk at most, however much is offered."""
    pair = greeted()
    _, call = streaming(pair, credit=2**30)
    everything(pair)
    pair.subject.offer(call, bytes(10 * CHUNK_BYTES_MAX))
    pair.subject.data_to_send()
    number = pair.controller.ping()
    asked = pair.controller.call(BOOTSTRAP, "small", remaining_ms=9)
    [small] = arriving(pair)
    pair.subject.resolve_value(small, 1)
    assert pair.controller.receive(pair.subject.frames_to_send()) == [
        Ponged(number),
        Returned(asked, VALUE, 1),
    ]
    assert pair.subject.frames_to_send() == b""
    assert pair.subject.has_chunk


def test_a_stream_ends_after_its_last_byte() -> None:
    pair = greeted()
    question, call = streaming(pair, credit=10)
    pair.subject.offer(call, b"x" * 15)
    everything(pair)
    with pytest.raises(LocalProtocolError, match="5 bytes have not left"):
        pair.subject.end_stream(call)
    with pytest.raises(LocalProtocolError, match="unsent"):
        pair.subject.offer(call, b"more")
    pair.controller.credit(question, 5)
    pair.carry_to_subject()
    assert everything(pair) == [ChunkReceived(question, b"x" * 5)]
    pair.subject.end_stream(call)
    assert everything(pair) == [StreamEnded(question, None)]


def test_a_stream_that_fails_is_cut_short_and_says_why() -> None:
    pair = greeted()
    question, call = streaming(pair, credit=1)
    pair.subject.offer(call, b"never sent")
    pair.subject.fail(call, Denied("gone", processed=Processed.YES))
    _, ended = everything(pair)
    assert isinstance(ended, StreamEnded)
    assert ended.question == question
    assert isinstance(ended.failure, Denied)
    assert (str(ended.failure), ended.failure.processed) == ("gone", Processed.YES)
    assert (call.unsent, pair.subject.open_streams, pair.subject.calls_in_flight) == (0, 0, 0)


def test_drained_names_the_streams_with_room_and_those_that_are_over() -> None:
    pair = greeted()
    _, one = streaming(pair, credit=10)
    second, two = streaming(pair, credit=0)
    everything(pair)
    pair.subject.offer(one, b"x" * 10)
    pair.subject.offer(two, b"x")
    assert pair.subject.drained() == []
    everything(pair)
    assert pair.subject.drained() == [one]
    assert pair.subject.drained() == []
    pair.controller.finish(second)
    pair.carry_to_subject()
    assert pair.subject.drained() == [two]
    pair.cut()
    assert pair.subject.drained() == [one]


def test_finishing_a_stream_in_the_middle_cancels_and_frees_it() -> None:
    pair = greeted()
    question, call = streaming(pair, credit=10)
    pair.subject.offer(call, b"x" * 25)
    everything(pair)
    pair.controller.finish(question)
    assert seen(pair.carry_to_subject()) == [GivenUp(1)]
    assert (call.unsent, pair.subject.open_streams, pair.subject.has_chunk) == (0, 0, False)
    # The handler may not have noticed; what it says goes nowhere.
    pair.subject.offer(call, b"late")
    assert call.unsent == 0
    assert pair.subject.calls_in_flight == 1
    assert pair.subject.end_stream(call) == []
    assert everything(pair) == []
    assert pair.subject.calls_in_flight == pair.subject.kept_answers == 0


def test_a_handler_that_opens_a_stream_nobody_wants_is_heard_to_its_end() -> None:
    pair = greeted()
    question = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    pair.controller.finish(question)
    [call] = arriving(pair)
    pair.subject.open_stream(call, None)
    pair.subject.offer(call, b"x")
    assert (call.unsent, pair.subject.open_streams) == (0, 0)
    pair.subject.end_stream(call)
    assert everything(pair) == []
    assert pair.subject.calls_in_flight == 0


def test_what_crosses_a_finish_is_ignored() -> None:
    pair = greeted()
    question, call = streaming(pair, credit=10)
    everything(pair)
    pair.subject.offer(call, b"x")
    chunk = pair.subject.data_to_send()
    pair.subject.end_stream(call)
    pair.controller.finish(question)
    assert pair.controller.receive(chunk + pair.subject.data_to_send()) == []
    pair.controller.credit(question, 5)
    assert pair.carry_to_subject() == []
    assert pair.subject.kept_answers == 0


def test_credit_for_a_retired_question_is_ignored() -> None:
    pair = greeted()
    _, call = streaming(pair)
    pair.subject.end_stream(call)
    credit = written((CREDIT, 1, 5))
    assert list(pair.subject.receive(credit)) == []
    assert list(pair.subject.receive(written((FINISH, [1])) + credit)) == []


def test_credit_for_an_unknown_question_ends_the_connection() -> None:
    pair = greeted()
    [aborted] = list(pair.subject.receive(written((CREDIT, 1, 5))))
    assert isinstance(aborted, Aborted)
    assert "CREDIT" in aborted.text
    with pytest.raises(LocalProtocolError, match="question 7"):
        greeted().controller.credit(QuestionId(7), 5)


OPENED = written((RETURN, 1, STATUS_STREAM, None))


@pytest.mark.parametrize(
    "data",
    [
        chunk_frame(1, memoryview(b"x")),
        written((END, 1, None)),
        OPENED + OPENED,
        OPENED + written((RETURN, 1, 0, None)),
        OPENED + chunk_frame(1, memoryview(b"x" * 11)),
        OPENED + chunk_frame(1, memoryview(b"x" * 9)) + chunk_frame(1, memoryview(b"xx")),
        OPENED + written((END, 1, None)) + chunk_frame(1, memoryview(b"x")),
        OPENED + written((END, 1, None), (END, 1, None)),
        chunk_frame(2, memoryview(b"x")),
        written((END, 2, None)),
    ],
    ids=[
        "a chunk before the stream",
        "an end before the stream",
        "a stream twice",
        "a value after the stream",
        "a chunk above the credit",
        "two chunks above the credit",
        "a chunk after the end",
        "an end twice",
        "a chunk for a question never asked",
        "an end for a question never asked",
    ],
)
def test_a_subject_that_breaks_the_rules_of_streams_is_told_and_cut(data: bytes) -> None:
    pair = greeted()
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, accept_bytes=10)
    pair.carry_to_subject()
    aborted = pair.controller.receive(data)[-1]
    assert isinstance(aborted, Aborted)
    assert not aborted.by_peer
    assert pair.controller.open_questions == 0
    assert pair.carry_to_subject()[-1] == Aborted(1, aborted.text)


def test_a_stream_that_was_open_ends_with_the_connection_and_returns_once() -> None:
    pair = greeted()
    streaming(pair)
    streaming(pair, no_pipelining=True)
    everything(pair)
    lost, cancelled = pair.cut()
    for question, event in zip((ONE, TWO), lost, strict=True):
        assert isinstance(event, StreamEnded)
        assert event.question == question
        assert isinstance(event.failure, ConnectionLost)
        assert event.failure.processed is Processed.MAYBE
    assert seen(cancelled) == [GivenUp(1), GivenUp(2)]
    assert pair.subject.open_streams == 0


def test_a_stream_that_the_subject_disowns_returns_once_too() -> None:
    pair = greeted()
    streaming(pair)
    everything(pair)
    ended, _ = pair.controller.receive(written((GOAWAY, 0)))
    assert isinstance(ended, StreamEnded)
    assert isinstance(ended.failure, ConnectionLost)
    assert pair.controller.open_questions == 0


def test_streams_beyond_their_limit_are_answered_overloaded() -> None:
    pair = over(streams=2)
    streaming(pair)
    second, call = streaming(pair)
    streaming(pair)
    assert failures(everything(pair)) == [(3, Overloaded, Processed.YES)]
    assert pair.subject.open_streams == 2
    pair.controller.finish(second)
    pair.carry_to_subject()
    pair.subject.end_stream(call)
    streaming(pair)
    assert pair.subject.open_streams == 2
    assert failures(everything(pair)) == []


def test_a_call_that_waits_for_what_becomes_a_stream_is_invalid() -> None:
    pair = greeted()
    question = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    pair.controller.call((question, ()), "on it", remaining_ms=9)
    pair.controller.call(BOOTSTRAP, "with it", [Promised([question, []])], remaining_ms=9)
    [call] = arriving(pair)
    assert pair.subject.open_stream(call, None) == []
    assert failures(everything(pair)) == [
        (2, Invalid, Processed.NO),
        (3, Invalid, Processed.NO),
    ]
    assert pair.subject.open_streams == 1


@pytest.mark.parametrize("is_over", [False, True])
def test_a_call_that_names_a_stream_is_invalid_at_once(is_over: bool) -> None:
    """Waiting for its END would keep the stream alive after its reader has given it up."""
    pair = greeted()
    question, call = streaming(pair)
    if is_over:
        pair.subject.end_stream(call)
    everything(pair)
    pair.controller.call((question, ()), "on it", remaining_ms=9)
    pair.controller.call(BOOTSTRAP, "with it", [Promised([question, []])], remaining_ms=9)
    assert pair.carry_to_subject() == []
    assert failures(everything(pair)) == [
        (2, Invalid, Processed.NO),
        (3, Invalid, Processed.NO),
    ]


def test_a_call_that_names_a_stream_without_pipelining_is_not_sent() -> None:
    pair = greeted()
    question, _ = streaming(pair, no_pipelining=True)
    everything(pair)
    with pytest.raises(LocalProtocolError, match="not kept"):
        pair.controller.call((question, ()), "on it", remaining_ms=9)
    frame: tuple[object, ...] = (CALL, 2, [1, []], "m", [], 9, 9, FLAG_NO_PIPELINING, None)
    assert list(pair.subject.receive(written(frame))) == []
    assert b"not kept" in pair.subject.data_to_send()


def test_a_stream_that_only_other_calls_kept_alive_is_cancelled() -> None:
    """They fail, because it is a stream; then nobody is left who would read it."""
    pair = greeted()
    question = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    pair.controller.call((question, ()), "on it", remaining_ms=9)
    pair.controller.finish(question)
    [call] = arriving(pair)
    assert seen(pair.subject.open_stream(call, None)) == [GivenUp(1)]
    assert pair.subject.open_streams == 0
    pair.subject.fail(call, Overloaded())
    assert pair.subject.calls_in_flight == 0


def test_only_a_stream_is_ended_and_a_stream_is_nothing_else() -> None:
    pair = greeted()
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    [plain] = arriving(pair)
    with pytest.raises(LocalProtocolError, match="no stream"):
        pair.subject.end_stream(plain)
    _, call = streaming(pair)
    with pytest.raises(LocalProtocolError, match="stream already"):
        pair.subject.resolve_value(call, 1)
    with pytest.raises(LocalProtocolError, match="stream already"):
        pair.subject.resolve_object(call, "object", None)
    with pytest.raises(LocalProtocolError, match="stream already"):
        pair.subject.open_stream(call, None)
    everything(pair)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        pair.subject.open_stream(plain, float("nan"))
    pair.subject.end_stream(call)
    assert everything(pair) == [StreamEnded(TWO, None)]
    pair.subject.resolve_value(plain, 1)
    assert everything(pair) == [Returned(ONE, VALUE, 1)]


def test_a_stream_that_is_opened_at_once_is_in_flight_like_any_other() -> None:
    pair = greeted()
    pair.controller.call(BOOTSTRAP, "m", ["x" * 1_000], remaining_ms=9)
    for call in pair.subject.receive(pair.controller.data_to_send()):
        assert handles([call]) == [call]
        pair.subject.open_stream(handles([call])[0], None)
    assert pair.subject.calls_in_flight == pair.subject.open_streams == 1
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    assert ids(pair.carry_to_subject()) == [2]
    assert pair.subject._answers.room._call_bytes > 1_000
