"""The answering side: questions in, answers out. No socket, no clock, no task.

Here is what a shell does with a question; how questions come in is in `SubjectInbox`. Your mistake
raises; what happens to an answer that nobody wants any more is no mistake, and is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from datetime import date, datetime
from typing import Final

from psp.errors import (
    CallFailed,
    LimitExceeded,
    LocalProtocolError,
    Overloaded,
    Processed,
)
from psp.values import Value
from psp.wire import (
    FLAG_NO_PIPELINING,
    GOAWAY,
    RETURN,
    STATUS_REFERENCE,
    STATUS_STREAM,
    STATUS_VALUE,
    outgoing,
)

from ._answers import (
    FREE,
    RUNNING,
    RUNNING_UNWANTED,
    STREAMING,
    Answer,
    Exported,
    Opaque,
)
from ._events import SubjectEvent
from ._ids import BOOTSTRAP
from ._streams import Chunk
from ._subject_inbox import SubjectInbox

_SHORT: Final = frozenset({bool, date})
_SHORT_BYTES_MAX: Final = 32
"""What a RETURN of one of these needs at most: kind, id, status, and the value in 6 bytes."""

_NODE_BYTES: Final = 64
"""What a kept value costs for each of its items where its encoded size is not known."""


class Subject(SubjectInbox):
    """One connection, seen by the side that listens and answers.

    Attributes:
        peer_hello: None until the controller's HELLO has come.
    """

    def hello(self, archive_time: datetime) -> None:
        """Introduce the archive; before the first `receive`, and once.

        The frame leaves when the controller's HELLO has been read: it names the version chosen.
        """
        if self._archive_time is not None:
            raise LocalProtocolError("hello was already said; say it once for each connection")
        if archive_time.tzinfo is None:
            raise LocalProtocolError("archive_time has no time zone; give an aware datetime")
        self._archive_time = archive_time

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
            return self._following(self._answers.settle(call, exc, None))
        return self._following(self._answers.settle(call, outcome, body))

    def resolve_object(self, call: Answer, object: Opaque, tag: Opaque) -> Sequence[SubjectEvent]:
        """Answer with a reference. Calls that waited for it become ready, in call order.

        Args:
            tag: The grant that the object comes from. What a granted object returns keeps its tag:
                a reference never changes grants.
        """
        if (call.state != RUNNING or self._has_ended) and not self._may_return(call):
            return ()
        if call.grant_tag is not None and call.grant_tag != tag:
            raise LocalProtocolError(
                "a reference of another grant was returned; return objects of the grant called on"
            )
        if tag is not None:
            self._ungranted_bytes = None
        exported = Exported(object, tag)
        if call.state == RUNNING_UNWANTED:
            return self._following(self._answers.settle(call, exported, None))
        if call.wants_result:
            full = self._answers.room.export(tag)
            if full is not None:
                full.processed = Processed.YES
                return self._following(self._answers.settle(call, full, None))
            export = self._naming.export(exported)
            frame: tuple[int | None, ...] = (RETURN, call.answer_id, STATUS_REFERENCE, export)
        else:
            frame = (RETURN, call.answer_id, STATUS_VALUE, None)
        if call.is_admitted:
            return self._following(self._answers.settle(call, exported, self._writer.pack(frame)))
        # The hot path: settled before the next frame was looked at, so that nothing waits for it.
        self._writer.write_short(frame)
        self._answers.keep_object(call, exported)
        return ()

    def fail(self, call: Answer, failure: CallFailed) -> Sequence[SubjectEvent]:
        """Answer with an error, or cut a stream short with it. Calls that waited fail with the same
        code, `processed: no`."""
        if not self._may_settle(call):
            return ()
        self._close_stream(call)
        # The answer keeps it, and its traceback would keep the frames, among them the call.s own.
        failure.__traceback__ = failure.__context__ = None
        return self._following(self._answers.settle(call, failure, None))

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
            full = Overloaded(
                f"{self._limits.streams} results are being streamed; read or finish one",
                processed=Processed.YES,
            )
            return self._following(self._answers.settle(call, full, None))
        try:
            body = self._writer.pack((RETURN, call.answer_id, STATUS_STREAM, outgoing(header)))
        except LimitExceeded as exc:
            exc.processed = Processed.YES
            return self._following(self._answers.settle(call, exc, None))
        if not call.is_admitted:
            # Opened at once: the frame being looked at is the one that asked.
            self._answers.admit_started(call, self._reader.body_bytes)
        if call.state == RUNNING:
            self._writer.add(body)
            self._streams.open(call)
            room.streams += 1
        call.advance("open_stream")
        return self._following(self._answers.refuse_waiting(call))

    def offer(self, call: Answer, data: bytes | bytearray | memoryview) -> None:
        """Hand over the next bytes of a stream; they leave as its reader's credit allows.

        `call.unsent` says how many have not left, and `drained` when there is room for more. The
        buffer must not change before. Nothing is kept for a reader that has gone.

        Raises:
            LocalProtocolError: Bytes that were offered before have not left yet.
        """
        self._streams.offer(call, data)

    def withhold(self, call: Answer) -> None:
        """Take back what was offered and has not left. Nothing is said to the reader by it."""
        self._streams.withhold(call)

    def next_to_send(self) -> Answer | None:
        """Give the stream whose chunk `chunk_to_send` would give now."""
        return self._streams.next_to_send()

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
        return self._following(self._answers.settle(call, None, None))

    def drained(self) -> list[Answer]:
        """Give the streams that can take the next bytes or are over, since this was last asked."""
        return self._streams.drained()

    def go_away(self) -> None:
        """Take no new questions; those already here are answered. Said once."""
        if self._goes_away_after is None and not self._has_ended:
            self._goes_away_after = self._last_question
            if self.peer_hello is not None:  # Otherwise it follows our HELLO, which comes first.
                self._writer.write((GOAWAY, self._last_question))

    def data_to_send(self) -> bytes:
        """Give all frames that wait, joined, or else one chunk. Empty if nothing can leave."""
        return self._writer.take() or b"".join(self._streams.chunk_to_send() or ())

    def chunk_to_send(self) -> Chunk | None:
        """Give one chunk without copying its data: they must not change before they have left,
        which the shell alone knows. It asks for `drained` then, and not before."""
        return self._streams.chunk_to_send()

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
