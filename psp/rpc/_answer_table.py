"""The subject's answers: which wait, run or are kept, and what settling one does to the others.

Everything that frees an answer lives here.
"""

from __future__ import annotations

from typing import Final

from psp.errors import CallFailed, Denied, Invalid, LimitExceeded, LocalProtocolError
from psp.wire import (
    CORRELATION_CHARACTERS_MAX,
    END,
    PROMISED_NODES_MAX,
    RETURN,
    STATUS_ERROR,
    TEXT_CHARACTERS_MAX,
    FrameWriter,
    Limits,
    ValueFault,
    check_arguments,
    check_value,
    count_values,
    is_sendable_scalar,
    outgoing,
)

from ._answers import (
    FREE,
    KEPT,
    RUNNING,
    RUNNING_UNWANTED,
    STREAMING,
    WAITING,
    WAITING_UNWANTED,
    Answer,
    CallReady,
    Exported,
    Need,
    not_callable,
    not_kept,
    stream_not_nameable,
    walk,
)
from ._events import Cancelled, SubjectEvent
from ._ids import AnswerId
from ._room import GrantRooms, Room

_NODE_BYTES: Final = 64
"""What a decoded value costs at least, whatever its encoded size."""

Settled = list[tuple[Answer, object]]
"""Answers with their outcomes, whose waiting calls have not been looked at yet."""


class AnswerTable:
    """All answers of one connection.

    Attributes:
        room: The counters, for refusals.
    """

    def __init__(self, limits: Limits, writer: FrameWriter, grants: GrantRooms) -> None:
        self.room = Room(limits, grants)
        self._writer = writer
        self._answers: dict[AnswerId, Answer] = {}
        self._has_ended = False

    def admit(self, answer: Answer, body_bytes: int) -> None:
        """Take a call in: it runs, or waits. It is charged with what its body has become: a
        container of one byte takes 64."""
        if isinstance(answer, CallReady) and not all(map(is_sendable_scalar, answer.arguments)):
            body_bytes = max(body_bytes, _NODE_BYTES * count_values(answer.arguments))
        answer.admit(body_bytes)
        self._answers[answer.answer_id] = answer
        self.room.admit(answer)

    def admit_started(self, answer: Answer, body_bytes: int) -> None:
        """Take a call in that the shell already has."""
        self.admit(answer, body_bytes)
        self.room.charge_grant(answer)

    def refuse(self, answer: Answer, failure: CallFailed) -> None:
        """Answer a call that does not start: never by ceasing to read."""
        self._write_failure(answer.answer_id, failure)
        if answer.is_retained and self.room.has_slot():
            self._keep(answer, failure)

    def _keep(self, answer: Answer, outcome: object) -> None:
        """Keep the outcome of a call that was never in flight."""
        answer.admit(0)
        answer.state = KEPT
        self._answers[answer.answer_id] = answer
        self.room.keep()
        answer.outcome = outcome if self.room.has_kept(answer) else not_kept()
        if isinstance(answer, CallReady):
            answer.arguments = []  # The caller may keep the answer for long; nobody needs these.

    def keep_object(self, call: Answer, exported: Exported) -> None:
        """Keep the object of a call that never was in flight, if calls may name it. It takes no
        bytes beside the answer itself."""
        if not call.is_retained:
            call.state = FREE
            return
        call.admit(0)
        call.state = KEPT
        call.outcome = exported
        if isinstance(call, CallReady):
            call.arguments = []  # The caller may keep the answer for long; nobody needs these.
        self._answers[call.answer_id] = call
        self.room.keep()

    def wait_or_start(self, call: CallReady, events: list[SubjectEvent]) -> None:
        """Let an admitted call wait for what it needs, or start it at once."""
        call.state = WAITING
        for parent, _ in call.needs.values():
            if parent.queue is None:
                parent.queue = {}
            parent.queue[call.answer_id] = call
        if call.exported is not None:
            settled: Settled = []
            self._stand_in_line(call, call.exported, settled, events)
            self._wake(settled, events)

    def kept(self, answer_id: AnswerId) -> Answer | None:
        """Give an answer that calls may name; None if it is not kept, or was given up."""
        found = self._answers.get(answer_id)
        if found is None or found.state == KEPT:
            return found
        return found if found.is_retained and not found.is_unwanted else None

    def kept_object(self, answer_id: AnswerId) -> Exported | None:
        """Give the object that a settled answer is; None if it is none, or not settled."""
        answer = self._answers.get(answer_id)
        if answer is None or answer.state != KEPT:
            return None
        return answer.outcome if type(answer.outcome) is Exported else None

    def is_open(self, answer: Answer) -> bool:
        """Whether the shell may settle this answer now; false once the connection has ended."""
        if self._has_ended and answer.is_admitted:
            self.room.leave_grant(answer)
        return not self._has_ended and (
            answer.state == RUNNING or answer.state == RUNNING_UNWANTED or answer.state == STREAMING
        )

    def settle(self, answer: Answer, outcome: object, body: bytes | None) -> list[SubjectEvent]:
        """Write the RETURN or END, then let the calls that waited start or fail."""
        if answer.state == STREAMING:
            failure = outcome if isinstance(outcome, CallFailed) else None
            self._writer.write((END, answer.answer_id, failure and _error(failure)))
            outcome = stream_not_nameable()
        elif answer.state == RUNNING:
            if body is not None:
                self._writer.add(body)
            elif isinstance(outcome, CallFailed):
                self._write_failure(answer.answer_id, outcome)
        if not answer.is_admitted:  # Settled at once: only now does anything of it stay.
            if answer.is_retained:
                self._keep(answer, outcome)
            else:
                answer.state = FREE
            return []
        events: list[SubjectEvent] = []
        self._settled(answer, outcome)
        if answer.queue:
            self._wake([(answer, outcome)], events)
        return events

    def refuse_waiting(self, answer: Answer) -> list[SubjectEvent]:
        """Fail what waits for an answer that has become a stream."""
        events: list[SubjectEvent] = []
        if answer.is_admitted and answer.queue:
            settled: Settled = [(answer, stream_not_nameable())]
            self._wake(settled, events)
            # If they alone kept it alive, there is nobody left who would read it.
            self._withdraw_unneeded(answer, settled, events)
        return events

    def _wake(self, settled: Settled, events: list[SubjectEvent]) -> None:
        """A worklist, not recursion: thousands of dependent calls fail as well as one."""
        for parent, outcome in settled:
            queue, parent.queue = parent.queue, None
            for call in (queue or {}).values():
                _, needs = call.needs.pop(parent.answer_id)
                failure = self._provide(call, parent, outcome, needs)
                if failure is not None:
                    self._fail_waiting(call, failure, settled, events)
                elif call.exported is not None:
                    self._stand_in_line(call, call.exported, settled, events)

    def _provide(
        self, call: CallReady, parent: Answer, outcome: object, needs: list[Need]
    ) -> CallFailed | None:
        for need in needs:
            found = walk(outcome, need.path)
            if isinstance(found, CallFailed):
                return found
            if need.container is not None:
                failure = self.give_argument(call, need, found, parent)
                if failure is not None:
                    return failure
            elif isinstance(found, Exported):
                call.exported = found
            else:
                return not_callable()
        return None

    def give_argument(
        self, call: CallReady, need: Need, found: object, parent: Answer
    ) -> CallFailed | None:
        """Put what an answer turned out to be where the call's arguments name it."""
        if isinstance(found, Exported):
            self.give_object(call, need, found)
            return None
        call.argument_tags.append(parent.grant_tag)
        failure = self.room.lend(call, parent.result_bytes)
        if failure is not None:
            return failure
        try:
            call.named_nodes += check_value(found)
            if call.named_nodes > PROMISED_NODES_MAX:
                return LimitExceeded(
                    f"the answers named in the arguments have more than {PROMISED_NODES_MAX} values"
                    " together; name objects in their place, or send less at a time"
                )
            # A copy, containers and all: the handler may change what it is given, and the kept
            # answer must not.
            need.container[need.key] = outgoing(found)
        except (ValueFault, LocalProtocolError):
            return Invalid("an argument names a value that holds objects; name one of them")
        return None

    def give_object(self, call: CallReady, need: Need, found: Exported) -> None:
        """Put an object where the call's arguments name it."""
        call.objects.append((need, found.object))
        call.argument_tags.append(found.tag)

    def _stand_in_line(
        self, call: CallReady, target: Exported, settled: Settled, events: list[SubjectEvent]
    ) -> None:
        if target.line is None:
            target.line = {}
        target.line[call.answer_id] = call
        self._advance_line(target, settled, events)

    def _advance_line(self, target: Exported, settled: Settled, events: list[SubjectEvent]) -> None:
        while target.line:
            call = next(iter(target.line.values()))
            if call.needs:
                return
            del target.line[call.answer_id]
            failure = self._start(call, target)
            if failure is None:
                events.append(call)
            else:
                self._fail_waiting(call, failure, settled, events)
        target.line = None

    def _start(self, call: CallReady, target: Exported) -> CallFailed | None:
        """Make a call ready, or say why it cannot be."""
        call.object = target.object
        call.grant_tag = target.tag
        if any(tag != target.tag for tag in call.argument_tags):
            return Denied()  # No union of two grants inside the archive.
        if call.named_nodes:
            try:
                check_arguments(call.arguments)
            except ValueFault as exc:
                return LimitExceeded(
                    f"the arguments, put together, have {exc}; send less at a time"
                )
        failure = self.room.enter_grant(call)
        if failure is None:
            call.advance("start")
            for need, each in call.objects:
                need.container[need.key] = each
        return failure

    def _fail_waiting(
        self, call: CallReady, failure: CallFailed, settled: Settled, events: list[SubjectEvent]
    ) -> None:
        if call.state == WAITING:
            self._write_failure(call.answer_id, failure)
        parents = self._detach(call, settled, events)
        self._settled(call, failure)
        settled.append((call, failure))
        for parent in parents:
            self._withdraw_unneeded(parent, settled, events)

    def _detach(
        self, call: CallReady, settled: Settled, events: list[SubjectEvent]
    ) -> list[Answer]:
        """Take a waiting call out of every queue; give the answers that it waited for."""
        parents: list[Answer] = [parent for parent, _ in call.needs.values()]
        call.needs.clear()
        for parent in parents:
            if parent.queue is not None:
                parent.queue.pop(call.answer_id, None)
        target = call.exported
        if target is not None and target.line and target.line.pop(call.answer_id, None):
            self._advance_line(target, settled, events)
        return parents

    def _settled(self, answer: Answer, outcome: object) -> None:
        """Free the slot, and keep or forget the outcome."""
        self.room.leave(answer)
        answer.advance("settle")
        if answer.state == KEPT and not answer.is_retained:
            answer.advance("forget")
        if answer.state == FREE:
            self._drop(answer)
        else:
            answer.outcome = outcome if self.room.has_kept(answer) else not_kept()
        if isinstance(answer, CallReady):
            answer.arguments = []  # The caller may keep the answer for long; nobody needs these.

    def _drop(self, answer: Answer) -> None:
        del self._answers[answer.answer_id]
        self.room.forget(answer)

    def finish(self, answer_id: AnswerId, events: list[SubjectEvent]) -> None:
        """The controller gives an answer up. Late, or said twice, is nothing."""
        answer = self._answers.get(answer_id)
        if answer is None or answer.is_unwanted:
            return
        answer.advance("receive_finish")
        if answer.state == FREE:
            self._drop(answer)
            return
        settled: Settled = []
        self._withdraw_unneeded(answer, settled, events)
        self._wake(settled, events)

    def _withdraw_unneeded(
        self, answer: Answer, settled: Settled, events: list[SubjectEvent]
    ) -> None:
        """After a FINISH: withdraw a call nobody waits for, then look at what it was made on."""
        unneeded: list[Answer] = [answer]
        for each in unneeded:
            if not each.is_unwanted or each.queue or each.is_cancelled:
                continue
            if each.state != WAITING_UNWANTED:
                each.is_cancelled = True
                events.append(Cancelled(each))
                continue
            assert isinstance(each, CallReady)
            each.is_cancelled = True
            unneeded += self._detach(each, settled, events)
            each.advance("forget")
            self.room.leave(each)
            self._drop(each)

    def _write_failure(self, answer_id: AnswerId, failure: CallFailed) -> None:
        self._writer.write((RETURN, answer_id, STATUS_ERROR, _error(failure)))

    @property
    def kept_count(self) -> int:
        """Settled answers that wait for FINISH."""
        return sum(1 for answer in self._answers.values() if answer.state == KEPT)

    def end(self) -> list[SubjectEvent]:
        """Cancel what runs and empty the table. Settling a cancelled answer is then ignored."""
        self._has_ended = True
        events: list[SubjectEvent] = [
            Cancelled(answer)
            for answer in self._answers.values()
            if not answer.is_settled
            and answer.state not in (WAITING, WAITING_UNWANTED)
            and not answer.is_cancelled
        ]
        self._answers.clear()
        self.room.end()
        return events


def _error(failure: CallFailed) -> list[object]:
    return [
        failure.code,
        failure.processed.value,
        _sendable(failure.correlation_id, CORRELATION_CHARACTERS_MAX),
        _sendable(str(failure), TEXT_CHARACTERS_MAX),
    ]


def _sendable(text: str, characters_max: int) -> str:
    # A handler's text may hold lone surrogates (a file name does); an error must always leave.
    return text[:characters_max].encode("utf-8", "replace").decode("utf-8")
