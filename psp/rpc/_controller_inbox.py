"""What a controller holds, and what the frames that reach it do to that.

The peer's mistake arrives: `receive` catches it in one place, tells the peer with an ABORT, ends
every open question and gives `Aborted` last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Final, cast

from psp.errors import (
    CALL_FAILURES,
    CallFailed,
    ConnectionLost,
    Processed,
    RemoteProtocolError,
)
from psp.values import Value
from psp.wire import (
    ACCEPT_BYTES_DEFAULT,
    CHUNK,
    CONTROLLER_ABORT,
    END,
    GOAWAY,
    INITIAL_LIMITS,
    PONG,
    RETURN,
    SUBJECT_ABORT,
    SUBJECT_HELLO,
    TEXT_CHARACTERS_MAX,
    VERSION,
    AbortCode,
    FrameReader,
    FrameWriter,
    Places,
    Role,
    SubjectHello,
    limits_from_hello_untrusted,
)

from ._events import (
    ERROR,
    REFERENCE,
    STREAM,
    VALUE,
    Aborted,
    ChunkReceived,
    ControllerEvent,
    GoingAway,
    HelloReceived,
    Ponged,
    Returned,
    StreamEnded,
)
from ._ids import BOOTSTRAP, ExportId, QuestionId
from ._questions import (
    FREE,
    QUESTION_TRANSITIONS,
    RETURNED,
    STREAMING,
    STREAMING_LAST,
    QuestionState,
    QuestionStep,
)

_new_tuple: Final = tuple.__new__

_RETURNED_FROM: Final[Mapping[QuestionState | None, QuestionState]] = {
    state: following
    for (state, step), following in QUESTION_TRANSITIONS.items()
    if step == "receive_return"
}


class ControllerInbox:
    """The hearing half of `Controller`: bytes in, events out."""

    def __init__(self) -> None:
        self.peer_hello: HelloReceived | None = None
        self.peer_limits = INITIAL_LIMITS
        self.open_questions = 0
        self._reader = FrameReader(Role.CONTROLLER)
        self._writer = FrameWriter()
        # Streams whose data the shell reads itself. What a finished one still sends is dropped.
        self.landing = self._reader.landing
        self._questions: dict[QuestionId, QuestionState] = {}
        # What each may send as a stream: asked for, if not the default; then, once it is one, left.
        self._accepts: dict[QuestionId, int] = {}
        self._credits: dict[QuestionId, int] = {}
        # The references that are held, and the bootstrap, which always is.
        self._imports: set[ExportId] = {BOOTSTRAP}
        # The type's own call costs as much as the whole count.
        self._ids = cast("Iterator[QuestionId]", count(1))
        self._next_question = next(self._ids)
        # Highest question whose bytes were handed to the shell: a later one was certainly not
        # processed, so its caller may simply repeat it.
        self._last_sent = 0
        self._last_import = 0
        self._last_ping = 0
        self._finished: list[QuestionId] = []
        self._released: list[ExportId] = []
        self._going_away = False
        self._has_ended = False
        self._receivers: Final[Mapping[int, Callable[..., None]]] = {
            RETURN: self._receive_return,
            CHUNK: self._receive_chunk,
            END: self._receive_end,
            GOAWAY: self._receive_go_away,
            PONG: self._receive_pong,
        }

    def receive(self, data: bytes | memoryview) -> list[ControllerEvent]:
        """Take bytes from the subject, cut anywhere, and say what they mean."""
        events: list[ControllerEvent] = []
        if self._has_ended:
            return events
        questions, accepts, landing = self._questions, self._accepts, self.landing
        try:
            for places in self._reader.receive_untrusted(data):
                # The hot path, the value of a plain call: everything else is rarer.
                if places[0] == RETURN and places[2] == VALUE:
                    _, question, _, value = places
                    following = _RETURNED_FROM.get(questions.get(question))
                    if following is not None and self.peer_hello is not None:
                        if following is FREE:
                            del questions[question]
                        else:
                            questions[question] = following
                        self.open_questions -= 1
                        if accepts:
                            accepts.pop(question, None)
                        if landing:
                            landing.discard(question)
                        # Not by its own constructor: that is a Python function of 0.15 µs.
                        events.append(_new_tuple(Returned, (question, VALUE, value)))
                        continue
                self._receive_one(places, events)
                if places[0] == SUBJECT_ABORT:
                    break
        except RemoteProtocolError as exc:
            code = AbortCode.PROTOCOL
            events += self.abort(code, str(exc))
        return events

    def land(self, question: QuestionId) -> None:
        """From now on give what a stream brings to the shell alone, past this core: while any
        stream is landing it asks for `asked_bytes` at most, and looks at `chunk_left` after it."""
        if question in self._questions:
            self.landing.add(question)

    @property
    def asked_bytes(self) -> int:
        """How many bytes to read next at most; 0 if it does not matter."""
        return self._reader.asked_bytes

    @property
    def chunk_left(self) -> tuple[int, int] | None:
        """Whose data come next, and how many bytes of it, if they are for the shell. Their credit
        is spent already. The question may have been finished: then they are read and dropped."""
        return self._reader.chunk_left

    def landed(self, size: int) -> None:
        """Say that so many of those bytes have been read."""
        self._reader.landed(size)

    def receive_eof(self) -> list[ControllerEvent]:
        """The connection is gone: end every open question, once."""
        return [] if self._has_ended else self._end()

    def abort(self, code: int, text: str) -> list[ControllerEvent]:
        """End the connection and tell the subject why; `data_to_send` has the frame."""
        if self._has_ended:
            return []
        self._writer.write((CONTROLLER_ABORT, code, text[:TEXT_CHARACTERS_MAX]))
        return [*self._end(), Aborted(code, text, by_peer=False)]

    def _forget(self, question: QuestionId) -> QuestionState | None:
        self._accepts.pop(question, None)
        self._credits.pop(question, None)
        self.landing.discard(question)
        return self._questions.pop(question, None)

    def _receive_one(self, places: Places, events: list[ControllerEvent]) -> None:
        kind = places[0]
        if kind == SUBJECT_ABORT:
            events += [*self._end(), Aborted(places[1], places[2])]
        elif self.peer_hello is None:
            events.append(self._receive_hello(places))
        elif kind in self._receivers:
            self._receivers[kind](events, *places[1:])
        else:
            raise RemoteProtocolError("a second HELLO; a subject says it first, and once")

    def _receive_hello(self, places: Places) -> HelloReceived:
        if places[0] != SUBJECT_HELLO:
            raise RemoteProtocolError(
                f"frame kind {places[0]} before HELLO; a subject says it first"
            )
        hello = SubjectHello._make(places)
        if hello.version != VERSION:
            raise RemoteProtocolError(f"version {hello.version} was chosen; {VERSION} was offered")
        self.peer_limits = limits_from_hello_untrusted(hello.limits)
        self.peer_hello = HelloReceived(*hello[1:])
        return self.peer_hello

    def _receive_return(
        self, events: list[ControllerEvent], number: int, status: int, payload: Any
    ) -> None:
        question = QuestionId(number)
        state = self._questions.get(question)
        if status == REFERENCE:
            self._import(ExportId(payload), is_wanted=state is not None)
        if state is None:
            self._check_asked(number, "RETURN")
            return  # It crossed our FINISH.
        self._advance(question, state, "receive_stream" if status == STREAM else "receive_return")
        if status == STREAM:
            self._credits[question] = self._accepts.pop(question, ACCEPT_BYTES_DEFAULT)
        else:
            self._accepts.pop(question, None)
            self.landing.discard(question)
            self.open_questions -= 1
        events.append(
            Returned(question, status, _to_failure(payload) if status == ERROR else payload)
        )

    def _receive_chunk(self, events: list[ControllerEvent], number: int, data: bytes) -> None:
        question = QuestionId(number)
        left = self._credits.get(question)
        if left is None:
            if question in self._questions:
                raise RemoteProtocolError(f"CHUNK for question {question}, which is no open stream")
            self._check_asked(number, "CHUNK")
            return
        # If the shell reads the rest of it, all of it is charged before a byte of that is read.
        rest = self._reader.chunk_left
        size = len(data) if rest is None else len(data) + rest[1]
        if size > left:
            raise RemoteProtocolError(
                f"CHUNK of {size} bytes for question {question}; its credit is {left}"
            )
        self._credits[question] = left - size
        if data:
            events.append(ChunkReceived(question, data))

    def _receive_end(self, events: list[ControllerEvent], number: int, failure: Any) -> None:
        question = QuestionId(number)
        state = self._questions.get(question)
        if state is None:
            self._check_asked(number, "END")
            return
        self._advance(question, state, "receive_end")
        del self._credits[question]
        self.landing.discard(question)
        self.open_questions -= 1
        events.append(StreamEnded(question, None if failure is None else _to_failure(failure)))

    def _receive_go_away(self, events: list[ControllerEvent], last_question: int) -> None:
        if self._going_away:
            raise RemoteProtocolError("a second GOAWAY; a subject says it once")
        self._going_away = True
        dropped = [question for question in self._questions if question > last_question]
        for question in dropped:
            state = self._forget(question)
            if state is not None and state != RETURNED:
                self.open_questions -= 1
                events.append(_lost(question, state, Processed.NO))
        events.append(GoingAway(last_question))

    def _receive_pong(self, events: list[ControllerEvent], number: int) -> None:
        if number > self._last_ping:
            raise RemoteProtocolError(f"PONG {number}; the last PING was {self._last_ping}")
        events.append(Ponged(number))

    def _advance(self, question: QuestionId, state: QuestionState, step: QuestionStep) -> None:
        following = QUESTION_TRANSITIONS.get((state, step))
        if following is None:
            raise RemoteProtocolError(f"question {question} is {state}: it cannot {step} now")
        if following is FREE:
            del self._questions[question]
        else:
            self._questions[question] = following

    def _check_asked(self, question: int, what: str) -> None:
        if question >= self._next_question:
            raise RemoteProtocolError(
                f"{what} for question {question}; the next one asked is {self._next_question}"
            )

    def _import(self, export: ExportId, *, is_wanted: bool) -> None:
        if export <= self._last_import:
            raise RemoteProtocolError(
                f"reference {export} came after {self._last_import}; each one has a new, higher id"
            )
        self._last_import = export
        if is_wanted:
            self._imports.add(export)
        else:
            # The answer crossed our FINISH. Nobody else will ever know of this reference.
            self._released.append(export)

    def _end(self) -> list[ControllerEvent]:
        """End everything that is open. Called once: the tables are empty afterwards."""
        self._has_ended = True
        events: list[ControllerEvent] = [
            _lost(question, state, Processed.MAYBE if question <= self._last_sent else Processed.NO)
            for question, state in self._questions.items()
            if state != RETURNED
        ]
        self._questions.clear()
        self._accepts.clear()
        self._credits.clear()
        self.landing.clear()
        self._imports.clear()
        self._finished.clear()
        self._released.clear()
        self.open_questions = 0
        return events


def _lost(
    question: QuestionId, state: QuestionState, processed: Processed
) -> Returned | StreamEnded:
    if state in (STREAMING, STREAMING_LAST):  # Its RETURN has come: it certainly ran.
        return StreamEnded(question, ConnectionLost(processed=Processed.MAYBE))
    return Returned(question, ERROR, ConnectionLost(processed=processed))


def _to_failure(payload: Value) -> CallFailed:
    # The decoder has checked this form. A new object each time: an exception collects a traceback
    # wherever it is raised.
    assert isinstance(payload, list)
    code, processed, correlation_id, text = payload
    return CALL_FAILURES[code](text, processed=Processed(processed), correlation_id=correlation_id)
