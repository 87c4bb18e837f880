"""The answering side: questions in, answers out. No socket, no clock, no task.

The subject never stops reading because of calls: what is over a limit is answered at once. Your
mistake raises; the peer's mistake arrives as `Aborted`, the last event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from datetime import date, datetime
from typing import Final

from psp.errors import (
    CallFailed,
    LimitExceeded,
    LocalProtocolError,
    Processed,
    RemoteProtocolError,
)
from psp.values import Value
from psp.wire import (
    ACCEPT_BYTES_DEFAULT,
    CALL,
    CONTROLLER_ABORT,
    CONTROLLER_HELLO,
    CREDIT,
    FINISH,
    FLAG_NO_PIPELINING,
    GOAWAY,
    INITIAL_LIMITS,
    PING,
    PONG,
    PRESENT,
    RELEASE,
    RETURN,
    STATUS_REFERENCE,
    STATUS_STREAM,
    STATUS_VALUE,
    SUBJECT_ABORT,
    SUBJECT_HELLO,
    TEXT_CHARACTERS_MAX,
    VERSION,
    AbortCode,
    ControllerHello,
    FrameReader,
    FrameWriter,
    Limits,
    Places,
    Role,
    outgoing,
    raised_limits,
)

from ._answer_table import AnswerTable
from ._answers import (
    FREE,
    RUNNING,
    RUNNING_UNWANTED,
    STREAMING,
    Answer,
    CallReady,
    Exported,
    Opaque,
    PresentReceived,
)
from ._events import Aborted, Cancelled, SubjectEvent
from ._ids import BOOTSTRAP, AnswerId, ExportId
from ._naming import Naming, find_promised
from ._room import GrantRooms
from ._streams import Streams

_SHORT: Final = frozenset({bool, date})
_SHORT_BYTES_MAX: Final = 32
"""What a RETURN of one of these needs at most: kind, id, status, and the value in 6 bytes."""

_NODE_BYTES: Final = 64
"""What a kept value costs for each of its items where its encoded size is not known."""


class Subject:
    """One connection, seen by the side that listens and answers.

    Attributes:
        peer_hello: None until the controller's HELLO has come.
    """

    def __init__(
        self,
        archive_id: bytes,
        *,
        bootstrap: Opaque = BOOTSTRAP,
        limits: Limits = INITIAL_LIMITS,
        features: Sequence[str] = (),
        grants: GrantRooms | None = None,
    ) -> None:
        """`grants` is shared by all connections of one listener: limits of a grant count there."""
        self.peer_hello: ControllerHello | None = None
        self._archive_id = archive_id
        self._archive_time: datetime | None = None
        self._limits = limits
        self._features = list(features)
        self._reader = FrameReader(Role.SUBJECT)
        self._writer = FrameWriter()
        grants = grants or GrantRooms()
        self._grant_calls = grants.calls
        self._answers = AnswerTable(limits, self._writer, grants)
        self._exports: dict[ExportId, Exported] = {BOOTSTRAP: Exported(bootstrap, None)}
        self._naming = Naming(self._answers, self._exports)
        self._streams = Streams()
        self._last_question = 0
        # The highest question that is still served, once `go_away` was said.
        self._goes_away_after: int | None = None
        # Counted until a grant has verified; None from then on.
        self._ungranted_bytes: int | None = 0
        self._now_ms = 0
        self._has_ended = False
        self._receivers: Final[Mapping[int, Callable[..., Iterator[SubjectEvent]]]] = {
            PRESENT: self._receive_present,
            CALL: self._receive_call,
            FINISH: self._receive_finish,
            RELEASE: self._receive_release,
            CREDIT: self._receive_credit,
            PING: self._receive_ping,
        }

    def hello(self, archive_time: datetime) -> None:
        """Introduce the archive; before the first `receive`, and once.

        The frame leaves when the controller's HELLO has been read: it names the version chosen.
        """
        if self._archive_time is not None:
            raise LocalProtocolError("hello was already said; say it once for each connection")
        if archive_time.tzinfo is None:
            raise LocalProtocolError("archive_time has no time zone; give an aware datetime")
        self._archive_time = archive_time

    def receive(self, data: bytes | memoryview, *, now_ms: int = 0) -> Iterator[SubjectEvent]:
        """Take bytes from the controller, cut anywhere, and say what they mean.

        Lazy: the next frame is looked at when the next event is asked for. A call that was settled
        by then never enters a table, which is why a plain one costs next to nothing. Always
        exhaust the iterator; `data` may be reused after the first event.

        Args:
            now_ms: The shell's clock, for `CallReady.deadline_ms`.
        """
        if self._archive_time is None:
            raise LocalProtocolError("say hello before the first receive")
        self._now_ms = now_ms
        return self._receive(data)

    def _receive(self, data: bytes | memoryview) -> Iterator[SubjectEvent]:
        if self._has_ended:
            return
        try:
            self._count_ungranted(len(data))
            for places in self._reader.receive_untrusted(data):
                kind = places[0]
                if kind == CALL and places[2].__class__ is int:
                    # The hot path: a plain call on a reference. Everything else is rarer.
                    call = self._plain_call(places)
                    if call is not None:
                        yield call
                        if call.state == RUNNING and not call.is_admitted:
                            self._admit_late(call)
                        continue
                if self._is_over():  # The shell has aborted over the plain call before.
                    return
                if kind == CONTROLLER_ABORT:
                    yield from [*self._end(), Aborted(places[1], places[2])]
                elif self.peer_hello is None:
                    self._receive_hello(places)
                elif kind in self._receivers:
                    yield from self._receivers[kind](*places[1:])
                else:
                    raise RemoteProtocolError("a second HELLO; a controller says it first, once")
                if self._is_over():  # By an ABORT, or by the shell between two events.
                    return
        except _Ending as exc:
            yield from self.abort(exc.code, str(exc))
        except RemoteProtocolError as exc:
            yield from self.abort(AbortCode.PROTOCOL, str(exc))

    def receive_eof(self) -> list[SubjectEvent]:
        """The connection is gone: every handler that still runs is cancelled."""
        return [] if self._has_ended else self._end()

    def resolve_value(self, call: Answer, value: Value | Exported) -> Sequence[SubjectEvent]:
        """Answer with a value. Calls that waited for an object inside it become ready.

        Raises:
            LocalProtocolError: The value cannot be sent; nothing was, and the answer is still open.
        """
        if (
            (value is None or type(value) in _SHORT)
            and not call.is_admitted
            and call.flags == FLAG_NO_PIPELINING
            and call.state == RUNNING
            and call.accept_bytes >= _SHORT_BYTES_MAX
            and not self._has_ended
        ):
            # The hot path: settled before the next frame was looked at, and nothing stays.
            self._writer.write_short((RETURN, call.answer_id, STATUS_VALUE, value))
            call.state = FREE
            return ()
        if not self._may_return(call):
            return ()
        try:
            outcome, body = self._packed_value(call, value)
        except LimitExceeded as exc:
            exc.processed = Processed.YES
            return self._answers.settle(call, exc, None)
        return self._answers.settle(call, outcome, body)

    def resolve_object(self, call: Answer, object: Opaque, tag: Opaque) -> Sequence[SubjectEvent]:
        """Answer with a reference. Calls that waited for it become ready, in call order.

        Args:
            tag: The grant that the object comes from. What a granted object returns keeps its tag:
                a reference never changes grants.
        """
        if not self._may_return(call):
            return ()
        if call.grant_tag is not None and call.grant_tag != tag:
            raise LocalProtocolError(
                "a reference of another grant was returned; return objects of the grant called on"
            )
        if tag is not None:
            self._ungranted_bytes = None
        exported = Exported(object, tag)
        answer_id = call.answer_id
        if call.state == RUNNING_UNWANTED:
            return self._answers.settle(call, exported, None)
        if not call.wants_result:
            body = self._writer.pack((RETURN, answer_id, STATUS_VALUE, None))
            return self._answers.settle(call, exported, body)
        full = self._answers.room.export(tag)
        if full is not None:
            full.processed = Processed.YES
            return self._answers.settle(call, full, None)
        export = self._naming.export(exported)
        body = self._writer.pack((RETURN, answer_id, STATUS_REFERENCE, export))
        return self._answers.settle(call, exported, body)

    def fail(self, call: Answer, failure: CallFailed) -> Sequence[SubjectEvent]:
        """Answer with an error, or cut a stream short with it. Calls that waited fail with the same
        code, `processed: no`."""
        if not self._may_settle(call):
            return ()
        self._close_stream(call)
        return self._answers.settle(call, failure, None)

    def open_stream(self, call: Answer, header: Value) -> Sequence[SubjectEvent]:
        """Answer with a stream: `offer` its bytes piece by piece, then `end_stream`.

        Raises:
            LocalProtocolError: The header cannot be sent; nothing was, and the answer is still
                open.
        """
        if not self._may_return(call):
            return ()
        room = self._answers.room
        if room.streams >= self._limits.streams:
            text = f"{self._limits.streams} results are being streamed; read or finish one"
            return self._answers.settle(call, LimitExceeded(text), None)
        body = self._writer.pack((RETURN, call.answer_id, STATUS_STREAM, outgoing(header)))
        if not call.is_admitted:
            # Opened at once: the frame being looked at is the one that asked.
            self._answers.admit_started(call, self._reader.body_bytes)
        if call.state == RUNNING:
            self._writer.add(body)
            self._streams.open(call)
            room.streams += 1
        call.advance("open_stream")
        return self._answers.refuse_waiting(call)

    def offer(self, call: Answer, data: bytes | bytearray | memoryview) -> None:
        """Hand over the next bytes of a stream; they leave as its reader's credit allows.

        `call.unsent` says how many have not left, and `drained` when there is room for more. The
        buffer must not change before. Nothing is kept for a reader that has gone.

        Raises:
            LocalProtocolError: Bytes that were offered before have not left yet.
        """
        self._streams.offer(call, data)

    def end_stream(self, call: Answer) -> Sequence[SubjectEvent]:
        """Say that a stream is complete; its last byte must have left.

        Raises:
            LocalProtocolError: Some have not, or it is no stream.
        """
        if call.unsent:
            raise LocalProtocolError(f"{call.unsent} bytes have not left; end the stream after")
        if not self._may_settle(call):
            return ()
        if call.state == RUNNING:
            raise LocalProtocolError(f"answer {call.answer_id} is no stream; open_stream first")
        self._close_stream(call)
        return self._answers.settle(call, None, None)

    def drained(self) -> list[Answer]:
        """Give the streams that can take the next bytes or are over, since this was last asked."""
        return self._streams.drained()

    def go_away(self) -> None:
        """Take no new questions; those already here are answered. Said once."""
        if self._goes_away_after is None and not self._has_ended:
            self._goes_away_after = self._last_question
            if self.peer_hello is not None:  # Otherwise it follows our HELLO, which comes first.
                self._writer.write((GOAWAY, self._last_question))

    def abort(self, code: int, text: str) -> list[SubjectEvent]:
        """End the connection and tell the controller why; `data_to_send` has the frame."""
        if self._has_ended:
            return []
        self._writer.write((SUBJECT_ABORT, code, text[:TEXT_CHARACTERS_MAX]))
        return [*self._end(), Aborted(code, text, by_peer=False)]

    def data_to_send(self) -> bytes:
        """Give all frames that wait, joined, or else one chunk. Empty if nothing can leave."""
        return self._writer.take() or self._streams.chunk_to_send()

    def frames_to_send(self) -> bytes:
        """Give all frames that wait but chunks: what may leave without delaying anybody."""
        return self._writer.take()

    @property
    def has_chunk(self) -> bool:
        """Whether a stream has both bytes and credit."""
        return self._streams.is_ready

    @property
    def partial_frame(self) -> int:
        """Names the frame that has begun to arrive and is not complete; 0 if there is none."""
        return self._reader.partial_frame

    @property
    def waiting_bytes(self) -> int:
        """Bytes that `data_to_send` would give: the shell stops reading above its own limit."""
        return self._writer.waiting_bytes

    @property
    def calls_in_flight(self) -> int:
        """Answers not settled yet, cancelled ones that still run included; 0 when drained."""
        return self._answers.room.calls

    @property
    def kept_answers(self) -> int:
        """Settled answers that wait for FINISH."""
        return self._answers.kept_count

    @property
    def exports(self) -> int:
        """References given out and not released, the bootstrap not counted."""
        return len(self._exports) - (BOOTSTRAP in self._exports)

    @property
    def open_streams(self) -> int:
        """Results that are being streamed."""
        return len(self._streams)

    # What comes in.

    def _receive_call(
        self,
        number: int,
        target: int | list[int | list[str | int]],
        method: str,
        arguments: list[object],
        remaining_ms: int,
        accept_bytes: int,
        flags: int,
        invocation: bytes | None,
    ) -> Iterator[SubjectEvent]:
        if not self._is_served(number):
            return
        exported = self._naming.reference(target) if type(target) is int else None
        deadline_ms = self._now_ms + remaining_ms
        call = CallReady(
            AnswerId(number),
            exported and exported.object,
            method,
            arguments,
            deadline_ms,
            exported and exported.tag,
            invocation,
            accept_bytes,
            flags,
        )
        self._streams.quiet_chunks = 0
        room = self._answers.room
        body_bytes = self._reader.body_bytes
        refusal = room.refusal(call, body_bytes)
        promised = find_promised(arguments) if arguments else ()
        if refusal is None and exported is not None and not promised and not exported.line:
            # The usual way: nothing to wait for. If the shell settles it, no table ever holds it.
            yield call
            if call.state == RUNNING and not call.is_admitted and not self._has_ended:
                self._answers.admit_started(call, body_bytes)
            return
        failure = refusal or self._naming.resolve(call, body_bytes, target, promised)
        if failure is not None:
            self._answers.refuse(call, failure)
            return
        events: list[SubjectEvent] = []
        self._answers.admit(call, call.body_bytes)
        self._answers.wait_or_start(call, events)
        yield from events

    def _plain_call(self, places: Places) -> CallReady | None:
        """Make a call that has nothing to wait for and takes no room; None if it is not so plain.

        It asks what `_receive_call` asks, all in one place: a method call in between costs as much
        as four of these comparisons.
        """
        _, number, target, method, arguments, remaining_ms, accept_bytes, flags, invocation = places
        exported = self._exports.get(target)
        if (
            exported is None
            or exported.line
            or flags != FLAG_NO_PIPELINING
            or arguments
            or number <= self._last_question
            or self._goes_away_after is not None
            or self._answers.room.calls
            or (self._grant_calls and exported.tag in self._grant_calls)
            or self.peer_hello is None
            or self._has_ended
        ):
            return None
        self._last_question = number
        self._streams.quiet_chunks = 0
        return CallReady(
            number,
            exported.object,
            method,
            arguments,
            self._now_ms + remaining_ms,
            exported.tag,
            invocation,
            accept_bytes,
            flags,
        )

    def _admit_late(self, call: CallReady) -> None:
        """The shell has not settled a call at once: from here on it takes room."""
        if not self._has_ended:
            self._answers.admit_started(call, self._reader.body_bytes)

    def _receive_present(self, number: int, token: bytes) -> Iterator[SubjectEvent]:
        if not self._is_served(number):
            return
        present = PresentReceived(AnswerId(number), token, ACCEPT_BYTES_DEFAULT)
        refusal = self._answers.room.refusal(present, self._reader.body_bytes)
        if refusal is None and len(token) > self._limits.token_bytes:
            refusal = LimitExceeded(
                f"a token of {len(token)} bytes; the limit is {self._limits.token_bytes}"
            )
        if refusal is None:
            self._answers.admit(present, self._reader.body_bytes)
            yield present
        else:
            self._answers.refuse(present, refusal)

    def _receive_hello(self, places: Places) -> None:
        if places[0] != CONTROLLER_HELLO:
            raise RemoteProtocolError(f"frame kind {places[0]} before HELLO; say HELLO first")
        hello = ControllerHello._make(places)
        if VERSION not in hello.versions:
            raise _Ending(
                AbortCode.VERSION,
                f"the controller speaks versions {hello.versions}; this archive speaks {VERSION}",
            )
        self.peer_hello = hello
        self._writer.write(
            (
                SUBJECT_HELLO,
                VERSION,
                raised_limits(self._limits),
                self._features,
                self._archive_id,
                self._archive_time,
            )
        )
        if self._goes_away_after is not None:
            self._writer.write((GOAWAY, self._goes_away_after))

    def _receive_finish(self, questions: list[int]) -> Iterator[SubjectEvent]:
        events: list[SubjectEvent] = []
        for question in questions:
            self._check_asked(question, "FINISH")
            self._answers.finish(AnswerId(question), events)
        for event in events:
            if isinstance(event, Cancelled):
                self._close_stream(event.call)
        for event in events:
            if self._has_ended:  # The shell has aborted over the event before.
                return
            yield event

    def _receive_release(self, exports: list[int]) -> Iterator[SubjectEvent]:
        self._naming.release(exports)
        return iter(())

    def _receive_credit(self, question: int, size: int) -> Iterator[SubjectEvent]:
        self._check_asked(question, "CREDIT")
        self._streams.credit(AnswerId(question), size)
        return iter(())

    def _receive_ping(self, number: int) -> Iterator[SubjectEvent]:
        self._writer.write((PONG, number))
        return iter(())

    def _is_served(self, number: int) -> bool:
        """Take a new question's id; false if it came after `go_away`."""
        if number <= self._last_question:
            raise RemoteProtocolError(
                f"question {number} came after {self._last_question}; ids only increase"
            )
        self._last_question = number
        return self._goes_away_after is None

    def _check_asked(self, question: int, what: str) -> None:
        if question > self._last_question:
            raise RemoteProtocolError(
                f"{what} for question {question}; the last one is {self._last_question}"
            )

    def _count_ungranted(self, size: int) -> None:
        if self._ungranted_bytes is None:
            return
        self._ungranted_bytes += size
        if self._ungranted_bytes > self._limits.ungranted_bytes:
            raise _Ending(
                AbortCode.LIMIT,
                f"{self._ungranted_bytes} bytes came before any grant; the limit is"
                f" {self._limits.ungranted_bytes}. Present a grant, or connect again",
            )

    # What happens to an answer.

    def _is_over(self) -> bool:
        return self._has_ended

    def _may_settle(self, call: Answer) -> bool:
        if self._answers.is_open(call):
            return True
        if self._has_ended:
            return False
        raise LocalProtocolError(
            f"answer {call.answer_id} is {call.state}; settle each one once, after it became ready"
        )

    def _may_return(self, call: Answer) -> bool:
        if not self._may_settle(call):
            return False
        if call.state == STREAMING:
            raise LocalProtocolError(
                f"answer {call.answer_id} is a stream already; use end_stream, or fail"
            )
        return True

    def _packed_value(self, call: Answer, value: object) -> tuple[object, bytes]:
        """Give what calls that name the answer will find, and the RETURN."""
        answer_id = call.answer_id
        try:
            # As it is sent: the keys and lists of a path are those that the caller sees.
            value = outgoing(value)
            body = self._writer.pack((RETURN, answer_id, STATUS_VALUE, value))
        except LocalProtocolError:
            if call.wants_result:
                raise
            # An intermediate step may hold objects: nothing of it is sent but that it is there.
            call.result_bytes = _NODE_BYTES * (len(value) if isinstance(value, Sized) else 1)
            return value, self._writer.pack((RETURN, answer_id, STATUS_VALUE, None))
        if call.wants_result and len(body) > call.accept_bytes:
            raise LimitExceeded(
                f"the result has {len(body)} bytes; the caller takes {call.accept_bytes}"
            )
        call.result_bytes = len(body)
        if call.wants_result:
            return value, body
        return value, self._writer.pack((RETURN, answer_id, STATUS_VALUE, None))

    def _close_stream(self, call: Answer) -> None:
        if self._streams.close(call):
            self._answers.room.streams -= 1

    def _end(self) -> list[SubjectEvent]:
        self._has_ended = True
        self._exports.clear()
        self._streams.end()
        return self._answers.end()


class _Ending(RemoteProtocolError):
    """The connection ends for a reason that has an abort code of its own."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
