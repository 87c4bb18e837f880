"""The subject's answers: which wait, run or are kept, and what settling one does to the others.

Everything that frees an answer lives here.
"""

from __future__ import annotations

from psp.errors import CallFailed, LocalProtocolError
from psp.wire import (
    CORRELATION_CHARACTERS_MAX,
    RETURN,
    STATUS_ERROR,
    TEXT_CHARACTERS_MAX,
    FrameWriter,
    Limits,
)

from ._answers import (
    FREE,
    KEPT,
    RUNNING,
    RUNNING_UNWANTED,
    WAITING,
    WAITING_UNWANTED,
    Answer,
    not_kept,
    resolve_path,
)
from ._events import CallReady, Cancelled, SubjectEvent
from ._ids import AnswerId
from ._room import Room


class AnswerTable:
    """All answers of one connection.

    Attributes:
        room: The counters, for refusals.
    """

    def __init__(self, limits: Limits, writer: FrameWriter) -> None:
        self.room = Room(limits)
        self._writer = writer
        self._answers: dict[AnswerId, Answer] = {}
        self._has_ended = False

    def admit(self, answer: Answer) -> None:
        """Take a call in: it runs, or waits."""
        self._answers[answer.answer_id] = answer
        self.room.admit(answer)

    def queue(self, answer: Answer, parent: Answer, events: list[SubjectEvent]) -> None:
        """Take in a call on another answer: it waits, or starts or fails at once."""
        self.admit(answer)
        answer.state = WAITING
        answer.parent = parent
        if parent.is_settled:
            self.start(answer, parent.outcome, events)
            return
        if parent.queue is None:
            parent.queue = {}
        parent.queue[answer.answer_id] = answer

    def refuse(self, answer: Answer, failure: CallFailed) -> None:
        """Answer a call that does not start: never by ceasing to read."""
        self._write_failure(answer.answer_id, failure)
        if answer.is_retained and self.room.keep_refused():
            answer.state = KEPT
            answer.outcome = failure
            self._answers[answer.answer_id] = answer

    def running(self, answer_id: AnswerId) -> Answer | None:
        """Give an answer that the shell may settle now; None once the connection has ended."""
        if self._has_ended:
            return None
        answer = self._answers.get(answer_id)
        if answer is None or (answer.state != RUNNING and answer.state != RUNNING_UNWANTED):
            raise LocalProtocolError(
                f"answer {answer_id} is not open; settle each one once, after it became ready"
            )
        return answer

    def settle(self, answer: Answer, outcome: object, body: bytes | None) -> list[SubjectEvent]:
        """Write the RETURN, then let the calls that waited start or fail.

        A worklist, not recursion: a chain of thousands of dependent calls fails as well as one.
        """
        events: list[SubjectEvent] = []
        if answer.state == RUNNING and body is not None:
            self._writer.add(body)
        elif isinstance(outcome, CallFailed) and answer.state == RUNNING:
            self._write_failure(answer.answer_id, outcome)
        settled = [self._settled(answer, outcome)]
        for parent, parent_outcome in settled:
            queue, parent.queue = parent.queue, None
            for waiting in (queue or {}).values():
                failure = self.start(waiting, parent_outcome, events)
                if failure is not None:
                    settled.append((waiting, failure))
        return events

    def start(
        self, waiting: Answer, outcome: object, events: list[SubjectEvent]
    ) -> CallFailed | None:
        """Hand a waiting call to the shell, or settle it with the failure that is returned."""
        found = resolve_path(outcome, waiting.path)
        arguments, waiting.arguments = waiting.arguments, []
        waiting.parent = None
        waiting.path = ()
        if isinstance(found, CallFailed):
            if waiting.state == WAITING:
                self._write_failure(waiting.answer_id, found)
            self._settled(waiting, found)
            return found
        waiting.advance("start")
        waiting.tag = found.tag
        events.append(
            CallReady(
                waiting.answer_id,
                found.object,
                waiting.method,
                arguments,
                waiting.deadline_ms,
                found.tag,
            )
        )
        return None

    def _settled(self, answer: Answer, outcome: object) -> tuple[Answer, object]:
        """Free the slot, and keep or forget the outcome."""
        self.room.leave(answer)
        answer.advance("settle")
        if answer.state == KEPT and not answer.is_retained:
            answer.advance("forget")
        if answer.state == FREE:
            self._drop(answer)
        else:
            answer.outcome = outcome if self.room.has_kept(answer) else not_kept()
        return answer, outcome

    def _drop(self, answer: Answer) -> None:
        del self._answers[answer.answer_id]
        self.room.forget(answer)

    def _withdraw_unneeded(self, answer: Answer, events: list[SubjectEvent]) -> None:
        """After a FINISH: withdraw a call nobody waits for, then look at what it was made on."""
        unneeded: Answer | None = answer
        while unneeded is not None and unneeded.is_unwanted and not unneeded.queue:
            if unneeded.state != WAITING_UNWANTED:
                events.append(Cancelled(unneeded.answer_id))
                return
            parent = unneeded.parent
            unneeded.advance("forget")
            self.room.leave(unneeded)
            self._drop(unneeded)
            if parent is not None and parent.queue is not None:
                del parent.queue[unneeded.answer_id]
            unneeded = parent

    def _write_failure(self, answer_id: AnswerId, failure: CallFailed) -> None:
        error = [
            failure.code,
            failure.processed.value,
            _sendable(failure.correlation_id, CORRELATION_CHARACTERS_MAX),
            _sendable(str(failure), TEXT_CHARACTERS_MAX),
        ]
        self._writer.write((RETURN, answer_id, STATUS_ERROR, error))

    def parent(self, answer_id: AnswerId) -> Answer | None:
        """Give an answer that calls may be made on; None if it is not kept, or was given up."""
        found = self._answers.get(answer_id)
        return found if found is not None and found.is_retained and not found.is_unwanted else None

    def finish(self, answer_id: AnswerId, events: list[SubjectEvent]) -> None:
        """The controller gives an answer up. Late, or said twice, is nothing."""
        answer = self._answers.get(answer_id)
        if answer is None or answer.is_unwanted:
            return
        answer.advance("receive_finish")
        if answer.state == FREE:
            self._drop(answer)
        else:
            self._withdraw_unneeded(answer, events)

    @property
    def kept(self) -> int:
        """Settled answers that wait for FINISH."""
        return sum(1 for answer in self._answers.values() if answer.state == KEPT)

    def end(self) -> list[SubjectEvent]:
        """Cancel what runs and empty the table. Settling a cancelled answer is then ignored."""
        self._has_ended = True
        events: list[SubjectEvent] = [
            Cancelled(answer_id)
            for answer_id, answer in self._answers.items()
            # An unwanted one with calls waiting on it was not cancelled yet; the others were.
            if answer.state == RUNNING or (answer.state == RUNNING_UNWANTED and answer.queue)
        ]
        self._answers.clear()
        self.room.clear()
        return events


def _sendable(text: str, characters_max: int) -> str:
    # A handler's text may hold lone surrogates (a file name does); an error must always leave.
    return text[:characters_max].encode("utf-8", "replace").decode("utf-8")
