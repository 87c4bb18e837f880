"""A subject that answers as no subject should: what reaches the caller, and what it costs him."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from psp.errors import CallFailed, ConnectionLost, LocalProtocolError
from psp.rpc import (
    BOOTSTRAP,
    ERROR,
    STREAM,
    Aborted,
    Controller,
    ControllerEvent,
    QuestionId,
    Returned,
    StreamEnded,
)
from psp.testing import frame_bytes
from psp.wire import Promised
from tests.fuzz.mutation import chunk_bytes

from .measure import MIB, peak_bytes

GREETING = [16, 1, {}, [], bytes(32), datetime(2026, 1, 2, tzinfo=UTC)]


def greeted() -> Controller:
    controller = Controller()
    hear(controller, GREETING)
    return controller


def ask(controller: Controller, **options: Any) -> QuestionId:
    return controller.call(BOOTSTRAP, "m", [], **{"remaining_ms": 1000, **options})


def hear(controller: Controller, *frames: Sequence[object] | bytes) -> list[ControllerEvent]:
    return controller.receive(
        b"".join(f if isinstance(f, bytes) else frame_bytes(f) for f in frames)
    )


@pytest.mark.parametrize(
    "error",
    [
        ["Denied", 0, "", ""],
        ["__class__", 0, "", ""],
        [b"\x01", 0, "", ""],
        [True, 0, "", ""],
        [1.0, 0, "", ""],
        [0, 0, "", ""],
        [10**6, 0, "", ""],
        [1, "yes", "", ""],
        {"code": 1},
    ],
)
@pytest.mark.parametrize("kind", ["return", "end"])
def test_an_error_that_is_no_row_of_the_table_ends_the_connection_and_builds_no_class(
    kind: str, error: object
) -> None:
    """Names of error classes resolved to members of a prototype in another library."""
    controller = greeted()
    question = ask(controller)
    if kind == "end":
        hear(controller, [17, question, 3, None])
    [lost, aborted] = hear(
        controller, [17, question, 2, error] if kind == "return" else [20, question, error]
    )

    assert isinstance(aborted, Aborted)
    assert isinstance(lost, Returned | StreamEnded)
    assert isinstance(lost[-1], ConnectionLost)


def test_the_text_of_an_error_stays_text() -> None:
    controller = greeted()
    question = ask(controller)
    text = "Traceback: __import__('os').system('x') {0.__class__} %s"
    [event] = hear(controller, [17, question, 2, [1, 0, "c", text]])

    assert isinstance(event, Returned)
    assert isinstance(event.payload, CallFailed)
    assert text in str(event.payload)


def test_a_stream_cut_by_the_end_of_the_connection_ends_as_a_stream_and_once() -> None:
    """Its `Returned` has come already, and comes once."""
    controller = greeted()
    streaming, waiting = ask(controller), ask(controller)
    hear(controller, [17, streaming, 3, None], chunk_bytes(streaming, b"half"))

    events = controller.receive_eof()

    ends: dict[type, Any] = {type(event): event for event in events}
    assert len(events) == 2
    assert ends[Returned][:2] == (waiting, ERROR)
    assert ends[StreamEnded][0] == streaming
    assert isinstance(ends[StreamEnded][1], ConnectionLost)


@pytest.mark.parametrize(
    "lie",
    [
        [chunk_bytes(1, b"x")],
        [[20, 1, None]],
        [[17, 1, 3, None], chunk_bytes(1, b"x" * 11)],
        [[17, 1, 3, None], chunk_bytes(1, b"x" * 10), chunk_bytes(1, b"x")],
        [[17, 1, 3, None], [20, 1, None], chunk_bytes(1, b"x")],
        [[17, 1, 3, None], [20, 1, None], [20, 1, None]],
        [[17, 1, 3, None], [17, 1, 3, None]],
        [[17, 1, 3, None], [17, 1, 0, None]],
        [chunk_bytes(9, b"x")],
        [[20, 9, None]],
        [[17, 9, 0, None]],
        [[21, 1]],
        [GREETING],
        [[2, 1, 0, "m", [], 1, 1, 0, None]],
        [[1, 1, b"token"]],
        [[5, 1, 10]],
    ],
    ids=[
        "a chunk before the stream",
        "an end before the stream",
        "a chunk beyond the credit",
        "chunks that are together beyond the credit",
        "a chunk after the end",
        "an end after the end",
        "a stream twice",
        "a value after the stream has begun",
        "a chunk of what was never asked",
        "an end of what was never asked",
        "an answer to what was never asked",
        "a pong without a ping",
        "a second greeting",
        "a CALL: the diode",
        "a PRESENT: the diode",
        "a CREDIT: the diode",
    ],
)
def test_a_lie_ends_the_connection_and_each_question_once(lie: list[Any]) -> None:
    controller = greeted()
    first, second = ask(controller, accept_bytes=10), ask(controller)
    events = hear(controller, *lie, [17, second, 0, "never heard"])

    assert isinstance(events[-1], Aborted)
    assert not events[-1].by_peer
    finals = [
        event.question
        for event in events
        if isinstance(event, StreamEnded)
        or (isinstance(event, Returned) and event.status != STREAM)
    ]
    assert sorted(finals) == [first, second]
    assert controller.open_questions == controller.kept_answers == 0


def test_late_frames_of_a_finished_stream_are_nothing() -> None:
    controller = greeted()
    question = ask(controller)
    hear(controller, [17, question, 3, None])
    controller.finish(question)

    late = [chunk_bytes(question, b"x" * 1000), [20, question, None], [17, question, 0, 1]]
    assert hear(controller, *late) == []


def test_references_that_nobody_waits_for_are_given_back_and_not_collected() -> None:
    """A finished question can be answered again and again, each time with a new reference."""
    controller = greeted()
    question = ask(controller)
    controller.finish(question)
    controller.data_to_send()
    flood = b"".join(frame_bytes([17, question, 1, export]) for export in range(1, 20_001))

    def listen() -> None:
        for start in range(0, len(flood), 4096):
            controller.receive(flood[start : start + 4096])
            controller.data_to_send()

    assert peak_bytes(listen) < MIB // 2
    assert controller.held_references == 0


def test_a_name_in_an_argument_is_checked_before_anything_is_sent() -> None:
    controller = greeted()
    last = ask(controller, no_pipelining=True)
    controller.data_to_send()
    targets: list[Any] = [[last, []], [99, []], 7, [last + 1, []]]
    for target in targets:
        with pytest.raises(LocalProtocolError):
            controller.call(BOOTSTRAP, "m", [Promised(target)], remaining_ms=1)

    assert controller.data_to_send() == b""
