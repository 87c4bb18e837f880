"""The answering side: questions in, answers out. No socket, no clock, no task.

The subject never stops reading because of calls: what is over a limit is answered at once. Your
mistake raises; the peer's mistake arrives as `Aborted`, the last event.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psp.errors import (
    CallFailed,
    Invalid,
    LimitExceeded,
    LocalProtocolError,
    Overloaded,
    Processed,
    RemoteProtocolError,
)
from psp.values import Value
from psp.wire import (
    ACCEPT_BYTES_DEFAULT,
    FLAG_NO_PIPELINING,
    FLAG_NO_RESULT,
    GOAWAY,
    INITIAL_LIMITS,
    RETURN,
    STATUS_REFERENCE,
    STATUS_VALUE,
    SUBJECT_ABORT,
    SUBJECT_HELLO,
    TEXT_CHARACTERS_MAX,
    VERSION,
    Abort,
    AbortCode,
    Call,
    ControllerHello,
    Finish,
    Frame,
    FrameReader,
    FrameWriter,
    Limits,
    Present,
    Release,
    Role,
    outgoing,
    raised_limits,
)

from ._answer_table import AnswerTable
from ._answers import RUNNING_UNWANTED, Answer, Exported, not_kept
from ._events import Aborted, CallReady, Opaque, PresentReceived, SubjectEvent
from ._ids import BOOTSTRAP, AnswerId, ExportId


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
    ) -> None:
        self.peer_hello: ControllerHello | None = None
        self._archive_id = archive_id
        self._archive_time: datetime | None = None
        self._limits = limits
        self._features = list(features)
        self._reader = FrameReader(Role.SUBJECT)
        self._writer = FrameWriter()
        self._answers = AnswerTable(limits, self._writer)
        self._exports: dict[ExportId, Exported] = {BOOTSTRAP: Exported(bootstrap, None)}
        self._last_question = 0
        self._last_export = 0
        # The highest question that is still served, once `go_away` was said.
        self._goes_away_after: int | None = None
        self._now_ms = 0
        self._has_ended = False

    def hello(self, archive_time: datetime) -> None:
        """Introduce the archive; before the first `receive`, and once.

        The frame leaves when the controller's HELLO has been read: it names the version chosen.
        """
        if self._archive_time is not None:
            raise LocalProtocolError("hello was already said; say it once for each connection")
        if archive_time.tzinfo is None:
            raise LocalProtocolError("archive_time has no time zone; give an aware datetime")
        self._archive_time = archive_time

    def receive(self, data: bytes | memoryview, *, now_ms: int = 0) -> list[SubjectEvent]:
        """Take bytes from the controller, cut anywhere, and say what they mean.

        Args:
            now_ms: The shell's clock, for `CallReady.deadline_ms`.
        """
        if self._archive_time is None:
            raise LocalProtocolError("say hello before the first receive")
        events: list[SubjectEvent] = []
        if self._has_ended:
            return events
        self._now_ms = now_ms
        try:
            for frame in self._reader.receive_untrusted(data):
                # The hot path: everything else is rarer.
                if type(frame) is Call and self.peer_hello is not None:
                    self._receive_call(frame, events)
                else:
                    self._receive_other(frame, events)
                if type(frame) is Abort:
                    break
        except _NoCommonVersion as exc:
            events += self.abort(AbortCode.VERSION, str(exc))
        except RemoteProtocolError as exc:
            events += self.abort(AbortCode.PROTOCOL, str(exc))
        return events

    def receive_eof(self) -> list[SubjectEvent]:
        """The connection is gone: every handler that still runs is cancelled."""
        return [] if self._has_ended else self._end()

    def resolve_value(self, answer_id: AnswerId, value: Value | Exported) -> list[SubjectEvent]:
        """Answer with a value. Calls that waited for an object inside it become ready.

        Raises:
            LocalProtocolError: The value cannot be sent; nothing was, and the answer is still open.
        """
        answer = self._answers.running(answer_id)
        if answer is None:
            return []
        try:
            body = self._packed_value(answer, value)
        except LimitExceeded as exc:
            exc.processed = Processed.YES
            return self._answers.settle(answer, exc, None)
        return self._answers.settle(answer, value, body)

    def resolve_object(
        self, answer_id: AnswerId, object: Opaque, tag: Opaque
    ) -> list[SubjectEvent]:
        """Answer with a reference. Calls that waited for it become ready, in call order.

        Args:
            tag: The grant that the object comes from. What a granted object returns keeps its tag:
                a reference never changes grants.
        """
        answer = self._answers.running(answer_id)
        if answer is None:
            return []
        if answer.tag is not None and answer.tag != tag:
            raise LocalProtocolError(
                "a reference of another grant was returned; return objects of the grant called on"
            )
        exported = Exported(object, tag)
        if answer.state == RUNNING_UNWANTED:
            return self._answers.settle(answer, exported, None)
        if not answer.wants_result:
            body = self._writer.pack((RETURN, answer_id, STATUS_VALUE, None))
            return self._answers.settle(answer, exported, body)
        if len(self._exports) > self._limits.exports:
            full = Overloaded(
                f"{self._limits.exports} references are held; release some and ask again",
                processed=Processed.YES,
            )
            return self._answers.settle(answer, full, None)
        self._last_export += 1
        self._exports[ExportId(self._last_export)] = exported
        body = self._writer.pack((RETURN, answer_id, STATUS_REFERENCE, self._last_export))
        return self._answers.settle(answer, exported, body)

    def fail(self, answer_id: AnswerId, failure: CallFailed) -> list[SubjectEvent]:
        """Answer with an error. Calls that waited fail with the same code, `processed: no`."""
        answer = self._answers.running(answer_id)
        return [] if answer is None else self._answers.settle(answer, failure, None)

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
        """Give everything that waits, joined: one send. Empty if nothing does."""
        return self._writer.take()

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
        return self._answers.kept

    @property
    def exports(self) -> int:
        """References given out and not released, the bootstrap not counted."""
        return len(self._exports) - (BOOTSTRAP in self._exports)

    # What comes in.

    def _receive_call(self, frame: Call, events: list[SubjectEvent]) -> None:
        _, number, target, method, arguments, remaining_ms, accept_bytes, flags = frame
        answer = self._open(
            number,
            accept_bytes=accept_bytes,
            wants_result=not flags & FLAG_NO_RESULT,
            is_retained=not flags & FLAG_NO_PIPELINING,
        )
        if answer is None:
            return
        deadline_ms = self._now_ms + remaining_ms
        if not isinstance(target, int):
            self._receive_pipelined(answer, frame, deadline_ms, events)
            return
        exported = self._exported(target)
        refusal = self._answers.room.refusal(answer)
        if refusal is None and exported is not None:
            self._answers.admit(answer)
            answer.tag = exported.tag
            events.append(
                CallReady(
                    answer.answer_id, exported.object, method, arguments, deadline_ms, exported.tag
                )
            )
        else:
            self._answers.refuse(answer, refusal or Invalid("that reference was released"))

    def _receive_pipelined(
        self, answer: Answer, frame: Call, deadline_ms: int, events: list[SubjectEvent]
    ) -> None:
        assert isinstance(frame.target, list)
        parent_id, path = frame.target
        assert isinstance(parent_id, int)
        assert isinstance(path, list)
        if parent_id >= answer.answer_id:
            raise RemoteProtocolError(
                f"question {answer.answer_id} is made on {parent_id}, which was not asked before it"
            )
        parent = self._answers.parent(AnswerId(parent_id))
        room = self._answers.room
        refusal = room.refusal(answer) or room.queue_refusal(parent, len(path))
        if refusal is not None or parent is None:
            self._answers.refuse(answer, refusal or not_kept())
            return
        answer.path = tuple(path)
        answer.method = frame.method
        answer.arguments = frame.arguments
        answer.deadline_ms = deadline_ms
        self._answers.queue(answer, parent, events)

    def _receive_present(self, frame: Present, events: list[SubjectEvent]) -> None:
        answer = self._open(
            frame.question,
            accept_bytes=ACCEPT_BYTES_DEFAULT,
            wants_result=True,
            is_retained=True,
        )
        if answer is None:
            return
        refusal = self._answers.room.refusal(answer)
        if refusal is None and len(frame.token) > self._limits.token_bytes:
            refusal = LimitExceeded(
                f"a token of {len(frame.token)} bytes; the limit is {self._limits.token_bytes}"
            )
        if refusal is None:
            self._answers.admit(answer)
            events.append(PresentReceived(answer.answer_id, frame.token))
        else:
            self._answers.refuse(answer, refusal)

    def _receive_other(self, frame: Frame, events: list[SubjectEvent]) -> None:
        match frame:
            case Abort(_, code, text):
                events += self._end()
                events.append(Aborted(code, text))
            case ControllerHello() if self.peer_hello is None:
                self._receive_hello(frame)
            case Present() if self.peer_hello is not None:
                self._receive_present(frame, events)
            case Finish(_, questions) if self.peer_hello is not None:
                for question in questions:
                    self._receive_finish(question, events)
            case Release(_, exports) if self.peer_hello is not None:
                self._receive_release(exports)
            case _:
                raise RemoteProtocolError(
                    f"frame kind {frame.kind} out of place; a controller says HELLO first, and once"
                )

    def _receive_hello(self, frame: ControllerHello) -> None:
        if VERSION not in frame.versions:
            raise _NoCommonVersion(
                f"the controller speaks versions {frame.versions}; this archive speaks {VERSION}"
            )
        self.peer_hello = frame
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

    def _receive_finish(self, question: int, events: list[SubjectEvent]) -> None:
        if question > self._last_question:
            raise RemoteProtocolError(
                f"FINISH for question {question}; the last one is {self._last_question}"
            )
        self._answers.finish(AnswerId(question), events)

    def _receive_release(self, exports: list[int]) -> None:
        for export in exports:
            if export > self._last_export:
                raise RemoteProtocolError(
                    f"RELEASE of reference {export}; the last one given is {self._last_export}"
                )
            self._exports.pop(ExportId(export), None)

    def _packed_value(self, answer: Answer, value: object) -> bytes:
        answer_id = answer.answer_id
        try:
            body = self._writer.pack((RETURN, answer_id, STATUS_VALUE, outgoing(value)))
        except LocalProtocolError:
            if answer.wants_result:
                raise
            # An intermediate step may hold objects: nothing of it is sent but that it is there.
            return self._writer.pack((RETURN, answer_id, STATUS_VALUE, None))
        if answer.wants_result and len(body) > answer.accept_bytes:
            raise LimitExceeded(
                f"the result has {len(body)} bytes; the caller takes {answer.accept_bytes}"
            )
        answer.result_bytes = len(body)
        if answer.wants_result:
            return body
        return self._writer.pack((RETURN, answer_id, STATUS_VALUE, None))

    # What happens to an answer.

    def _open(
        self, question: int, *, accept_bytes: int, wants_result: bool, is_retained: bool
    ) -> Answer | None:
        """Make the answer of a new question; None if it came after `go_away`."""
        if question <= self._last_question:
            raise RemoteProtocolError(
                f"question {question} came after {self._last_question}; ids only increase"
            )
        self._last_question = question
        if self._goes_away_after is not None:
            return None
        return Answer(
            AnswerId(question),
            body_bytes=self._reader.body_bytes,
            accept_bytes=accept_bytes,
            wants_result=wants_result,
            is_retained=is_retained,
        )

    def _exported(self, target: int) -> Exported | None:
        if target > self._last_export:
            raise RemoteProtocolError(
                f"CALL on reference {target}; the last one given is {self._last_export}"
            )
        return self._exports.get(ExportId(target))

    def _end(self) -> list[SubjectEvent]:
        self._has_ended = True
        self._exports.clear()
        return self._answers.end()


class _NoCommonVersion(RemoteProtocolError):
    """The controller speaks no version of ours; it is told with a code of its own."""
