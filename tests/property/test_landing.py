"""The seam between core and shell, for streams whose data the shell reads itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.rpc import (
    BOOTSTRAP,
    VALUE,
    Aborted,
    ChunkReceived,
    Controller,
    ControllerEvent,
    QuestionId,
    Returned,
    StreamEnded,
)
from psp.wire import (
    CHUNK_HEADER_BYTES,
    END,
    HEADER_BYTES,
    RETURN,
    STATUS_STREAM,
    STATUS_VALUE,
    SUBJECT_HELLO,
    FrameWriter,
    chunk_frame,
    chunk_head,
)

HEAD_BYTES = HEADER_BYTES + CHUNK_HEADER_BYTES
HELLO: tuple[object, ...] = (SUBJECT_HELLO, 1, {}, [], bytes(32), datetime(2026, 1, 1, tzinfo=UTC))
CREDIT = 1_000_000


def written(*frames: tuple[object, ...]) -> bytes:
    writer = FrameWriter()
    for frame in frames:
        writer.write(frame)
    return writer.take()


def asking(*, landing: int, others: int) -> Controller:
    """A controller with `landing` streams open that land, and `others` plain calls under way."""
    core = Controller()
    core.receive(written(HELLO))
    for number in range(landing + others):
        question = core.call(BOOTSTRAP, "m", remaining_ms=9, accept_bytes=CREDIT)
        if number < landing:
            core.land(question)
            core.receive(written((RETURN, question, STATUS_STREAM, None)))
    core.data_to_send()
    return core


class Shell:
    """Reads a line as the shell does, and keeps apart what it read where."""

    def __init__(self, core: Controller, line: bytes, cuts: list[int]) -> None:
        self.core = core
        self.line = line
        self.cuts = cuts
        self.landed: dict[int, bytearray] = {}
        self.passed: dict[int, bytearray] = {}
        self.events: list[ControllerEvent] = []

    def read(self) -> None:
        while self.line:
            most = self.cuts.pop() if self.cuts else len(self.line)
            if (chunk := self.core.chunk_left) is not None:
                question, left = chunk
                data = self._next(min(most, left))
                self.core.landed(len(data))
                self.landed.setdefault(question, bytearray()).extend(data)
                continue
            asked = self.core.asked_bytes or most
            for event in self.core.receive(self._next(min(most, asked))):
                if isinstance(event, ChunkReceived):
                    self.passed.setdefault(event.question, bytearray()).extend(event.data)
                else:
                    self.events.append(event)

    def _next(self, size: int) -> bytes:
        data, self.line = self.line[:size], self.line[size:]
        return data


FRAME = st.one_of(
    st.tuples(st.just("chunk"), st.integers(1, 2), st.integers(1, 3_000)),
    st.tuples(st.just("answer"), st.integers(0, 400), st.just(0)),
)


@given(st.lists(FRAME, max_size=20), st.lists(st.integers(1, 4_000), max_size=60))
def test_however_a_line_is_cut_each_byte_of_a_stream_goes_past_the_core(
    frames: list[tuple[str, int, int]], cuts: list[int]
) -> None:
    answers = sum(1 for kind, _, _ in frames if kind == "answer")
    core = asking(landing=2, others=answers)
    line, sent, said, question = b"", {1: b"", 2: b""}, [], 2
    for index, (kind, number, size) in enumerate(frames):
        if kind == "chunk":
            data = bytes([index + 1]) * size
            sent[number] += data
            line += chunk_frame(number, memoryview(data))
        else:
            question += 1
            line += written((RETURN, question, STATUS_VALUE, "x" * number))
            said.append(Returned(QuestionId(question), VALUE, "x" * number))
    line += written((END, 1, None), (END, 2, None))
    shell = Shell(core, line, cuts)
    shell.read()
    assert {number: bytes(shell.landed.get(number, b"")) for number in sent} == sent
    assert shell.passed == {}, "data of a stream came with the heads of others"
    assert shell.events == [
        *said,
        StreamEnded(QuestionId(1), None),
        StreamEnded(QuestionId(2), None),
    ]
    assert core.asked_bytes == 0, "nothing lands any more"


def test_of_a_chunk_that_was_read_with_others_the_rest_lands() -> None:
    """Before the first stream lands, what is asked for is not bounded."""
    core = asking(landing=1, others=0)
    [event] = core.receive(chunk_frame(1, memoryview(b"abcdef"))[:-2])
    assert event == ChunkReceived(QuestionId(1), b"abcd")
    assert core.chunk_left == (1, 2)
    core.landed(1)
    assert core.chunk_left == (1, 1)
    core.landed(1)
    assert core.chunk_left is None


def test_a_chunk_beyond_its_credit_ends_the_connection_before_a_byte_lands() -> None:
    core = asking(landing=1, others=0)
    events = core.receive(chunk_head(1, 200_000))
    assert events == []
    core.landed(200_000)
    for _ in range(4):
        core.receive(chunk_head(1, 200_000))
        core.landed(200_000)
    *_, last = core.receive(chunk_head(1, 1))
    assert isinstance(last, Aborted)
    assert "its credit is 0" in last.text


def test_what_a_finished_stream_still_sends_is_read_and_dropped() -> None:
    core = asking(landing=2, others=0)
    core.receive(chunk_head(1, 10))
    core.finish(QuestionId(1))
    assert core.chunk_left == (1, 10)
    core.landed(10)
    assert core.receive(chunk_frame(1, memoryview(b"late"))) == []
    assert core.receive(written((END, 2, None))) == [StreamEnded(QuestionId(2), None)]


@pytest.mark.parametrize("line", [chunk_head(7, 10), chunk_head(0, 10), b"\0\0\0\5\xc1\0\0\0\0"])
def test_a_chunk_of_no_stream_ends_the_connection(line: bytes) -> None:
    core = asking(landing=1, others=0)
    *_, last = core.receive(line + bytes(10))
    assert isinstance(last, Aborted)
