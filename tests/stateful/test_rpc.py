"""Two cores and a link that splits, delays and cuts: whatever happens, every question ends once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from psp.errors import CallFailed, ConnectionLost, Denied
from psp.rpc import (
    BOOTSTRAP,
    ERROR,
    REFERENCE,
    VALUE,
    Aborted,
    AnswerId,
    CallReady,
    Cancelled,
    Controller,
    ControllerEvent,
    ExportId,
    PresentReceived,
    QuestionId,
    Returned,
    Subject,
    SubjectEvent,
    Target,
)
from psp.testing._pair import ARCHIVE_ID, ARCHIVE_TIME
from psp.wire import INITIAL_LIMITS

SMALL = INITIAL_LIMITS._replace(
    calls_in_flight=12, queued_per_answer=3, answers_retained=10, exports=4, retained_bytes=60
)


class TwoCores(RuleBasedStateMachine):
    """The model is what a careful caller remembers: what it asked, heard and gave back."""

    def __init__(self) -> None:
        super().__init__()
        self.controller = Controller()
        self.subject = Subject(ARCHIVE_ID, bootstrap=0, limits=SMALL)
        self.subject.hello(ARCHIVE_TIME)
        self.to_subject = b""
        self.to_controller = b""
        self.open: set[QuestionId] = set()
        self.kept: set[QuestionId] = set()
        self.last: set[QuestionId] = set()
        self.held: set[ExportId] = set()
        self.running: dict[AnswerId, object] = {}
        self.entered: dict[Target, int] = {}
        self.asked_on: dict[QuestionId, Target] = {}
        self.is_cut = False

    # The caller.

    def targets(self) -> list[Target]:
        promises = sorted((self.open | self.kept) - self.last)
        paths = ((), ("a",), ("list", 0), ("nothing",))
        return [
            BOOTSTRAP,
            *sorted(self.held),
            *((question, path) for question in promises for path in paths),
        ]

    @precondition(lambda self: not self.is_cut)
    @rule(data=st.data(), plain=st.booleans(), no_result=st.booleans())
    def call(self, data: st.DataObject, plain: bool, no_result: bool) -> None:
        target = data.draw(st.sampled_from(self.targets()))
        try:
            question = self.controller.call(
                target, "m", [], remaining_ms=10, no_pipelining=plain, no_result=no_result
            )
        except ConnectionLost:
            return  # The subject is going away.
        self.asked_on[question] = target
        self.open.add(question)
        if plain:
            self.last.add(question)

    @precondition(lambda self: not self.is_cut)
    @rule()
    def present(self) -> None:
        try:
            self.open.add(self.controller.present(b"token"))
        except ConnectionLost:
            return

    @precondition(lambda self: self.open | self.kept)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        question = data.draw(st.sampled_from(sorted(self.open | self.kept)))
        self.controller.finish(question)
        self.open.discard(question)
        self.kept.discard(question)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        export = data.draw(st.sampled_from(sorted(self.held)))
        self.controller.release(export)
        self.held.remove(export)

    # The link.

    @rule(data=st.data())
    def carry_to_subject(self, data: st.DataObject) -> None:
        self.to_subject += self.controller.data_to_send()
        size = data.draw(st.integers(0, len(self.to_subject)))
        arriving, self.to_subject = self.to_subject[:size], self.to_subject[size:]
        self.hear_subject(self.subject.receive(arriving))

    @rule(data=st.data())
    def carry_to_controller(self, data: st.DataObject) -> None:
        self.to_controller += self.subject.data_to_send()
        size = data.draw(st.integers(0, len(self.to_controller)))
        arriving, self.to_controller = self.to_controller[:size], self.to_controller[size:]
        self.hear_controller(self.controller.receive(arriving))

    @rule()
    def carry_everything(self) -> None:
        if self.is_cut:
            return
        self.to_subject += self.controller.data_to_send()
        arriving, self.to_subject = self.to_subject, b""
        self.hear_subject(self.subject.receive(arriving))
        self.to_controller += self.subject.data_to_send()
        arriving, self.to_controller = self.to_controller, b""
        self.hear_controller(self.controller.receive(arriving))

    @precondition(lambda self: not self.is_cut)
    @rule(sure=st.integers(0, 9))
    def cut(self, sure: int) -> None:
        if sure:
            return  # Most runs are longer for it.
        self.is_cut = True
        self.hear_controller(self.controller.receive_eof())
        self.hear_subject(self.subject.receive_eof())

    # The handlers.

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(["value", "object", "error", "large"]))
    def settle(self, data: st.DataObject, outcome: str) -> None:
        answer_id = data.draw(st.sampled_from(sorted(self.running)))
        tag = self.running.pop(answer_id)
        match outcome:
            case "value":
                ready = self.subject.resolve_value(answer_id, {"a": 1, "list": [2]})
            case "large":
                ready = self.subject.resolve_value(answer_id, "x" * 300_000)
            case "object":
                ready = self.subject.resolve_object(answer_id, answer_id, tag or "tag")
            case _:
                ready = self.subject.fail(answer_id, Denied())
        self.hear_subject(ready)

    @precondition(lambda self: not self.is_cut)
    @rule(sure=st.integers(0, 9))
    def go_away(self, sure: int) -> None:
        if sure == 0:
            self.subject.go_away()

    # What is heard.

    def hear_controller(self, events: list[ControllerEvent]) -> None:
        for event in events:
            assert not isinstance(event, Aborted), event
            if isinstance(event, Returned):
                self.hear_return(event)

    def hear_return(self, event: Returned) -> None:
        question, status, payload = event
        assert question in self.open, "ended twice, or after it was finished"
        self.open.remove(question)
        if status == REFERENCE:
            assert isinstance(payload, int)
            self.held.add(ExportId(payload))
        if status == ERROR:
            assert isinstance(payload, CallFailed)
        assert status in (VALUE, REFERENCE, ERROR)
        if isinstance(payload, ConnectionLost):
            return
        if question not in self.last:
            self.kept.add(question)

    def hear_subject(self, events: list[SubjectEvent]) -> None:
        for event in events:
            assert not isinstance(event, Aborted), event
            match event:
                case PresentReceived(answer_id):
                    self.running[answer_id] = None
                case CallReady(answer_id):
                    self.hear_call(event)
                    self.running[answer_id] = event.grant_tag
                case Cancelled(answer_id):
                    assert answer_id in self.running

    def hear_call(self, event: CallReady) -> None:
        question = QuestionId(event.answer_id)
        target = self.asked_on[question]
        assert self.entered.get(target, 0) < question, "calls on one reference start in order"
        self.entered[target] = question
        assert event.grant_tag == (None if event.object == 0 else "tag")

    # Always.

    @invariant()
    def my_questions_are_the_callers(self) -> None:
        assert self.controller.open_questions == len(self.open)
        if not self.is_cut:
            assert self.controller.kept_answers == len(self.kept)
            assert self.controller.held_references == len(self.held)

    @invariant()
    def the_subject_keeps_to_its_limits(self) -> None:
        assert self.subject.calls_in_flight <= SMALL.calls_in_flight
        assert self.subject.kept_answers <= SMALL.answers_retained
        assert self.subject.exports <= SMALL.exports

    def teardown(self) -> None:
        """Settle, hear, finish and release everything: both sides must be empty."""
        if not self.is_cut:
            self.carry_everything()
            while self.running:
                answer_id = next(iter(self.running))
                del self.running[answer_id]
                self.hear_subject(self.subject.resolve_value(answer_id, None))
                self.carry_everything()
            assert not self.open
            for question in self.kept:
                self.controller.finish(question)
            for export in self.held:
                self.controller.release(export)
            self.kept.clear()
            self.held.clear()
            # The second turn carries the releases of references that nobody had waited for.
            self.carry_everything()
            self.carry_everything()
        assert self.controller.open_questions == self.controller.kept_answers == 0
        assert self.controller.held_references == 0
        assert self.subject.calls_in_flight == self.subject.kept_answers == 0
        assert self.subject.exports == 0
        room = self.subject._answers.room
        assert (room.calls, room._call_bytes, room._retained, room._retained_bytes) == (0, 0, 0, 0)


TestTwoCores = TwoCores.TestCase
TestTwoCores.settings = settings(max_examples=60, stateful_step_count=40)
