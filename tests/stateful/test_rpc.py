"""Cores, and links that split, delay and cut: whatever happens, every question ends once.

Two connections to one archive share what its grants hold. Handlers settle at once or later, with
values, objects, streams or failures; calls name references and answers as targets and as arguments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from psp.errors import CallFailed, ConnectionLost, Denied
from psp.rpc import (
    BOOTSTRAP,
    ERROR,
    REFERENCE,
    STREAM,
    VALUE,
    Aborted,
    Answer,
    AnswerId,
    CallReady,
    Cancelled,
    ChunkReceived,
    Controller,
    ControllerEvent,
    Exported,
    ExportId,
    GrantRooms,
    Ponged,
    PresentReceived,
    QuestionId,
    Returned,
    StreamEnded,
    Subject,
    SubjectEvent,
    Target,
)
from psp.testing._pair import ARCHIVE_ID, ARCHIVE_TIME
from psp.wire import ACCEPT_BYTES_DEFAULT, INITIAL_LIMITS, Promised

SMALL = INITIAL_LIMITS._replace(
    calls_in_flight=12,
    call_bytes_in_flight=1_500,
    queued_per_answer=3,
    answers_retained=10,
    exports=6,
    retained_bytes=160,
    streams=2,
    grant_calls=5,
    grant_exports=4,
)
TAGS = ("red", "blue")
NO_TAG = "no grant"
OUTCOMES = ("object", "stream", "value", "object", "stream", "value", "stream", "error", "large")
PATHS: tuple[tuple[str | int, ...], ...] = (
    (),
    (),
    (),
    ("thing",),
    ("of",),
    ("list", 0),
    ("list",),
    ("nothing",),
)
RARELY = st.sampled_from([False] * 30 + [True])


@dataclass(frozen=True)
class Thing:
    """An object of the archive."""

    tag: str | None


@dataclass
class Reading:
    """What a caller knows of a stream."""

    credit: int
    data: bytearray = field(default_factory=bytearray)


class Line:
    """One connection, and what a careful caller and its handlers remember of it."""

    def __init__(self, rooms: GrantRooms) -> None:
        self.controller = Controller()
        self.subject = Subject(ARCHIVE_ID, bootstrap=Thing(None), limits=SMALL, grants=rooms)
        self.subject.hello(ARCHIVE_TIME)
        self.to_subject = b""
        self.to_controller = b""
        self.is_cut = False
        self.open: set[QuestionId] = set()
        self.kept: set[QuestionId] = set()
        self.last: set[QuestionId] = set()
        self.held: set[ExportId] = set()
        self.accepts: dict[QuestionId, int] = {}
        self.reading: dict[QuestionId, Reading] = {}
        self.asked_on: dict[QuestionId, Target] = {}
        self.pings: list[int] = []
        # The handlers.
        self.running: dict[AnswerId, Answer] = {}
        self.streaming: dict[AnswerId, Answer] = {}
        self.offered: dict[AnswerId, bytearray] = {}
        self.entered: dict[Target, int] = {}
        self.coming: list[SubjectEvent] = []
        # How the handler that is entered next settles at once; None if it does so later.
        self.at_once: Callable[[], str | None] = lambda: None

    # The caller.

    def name(self, data: st.DataObject) -> Target:
        """Name a reference that is held, or an answer that calls may name and a path into it."""
        promises = sorted((self.open | self.kept) - self.last)
        bases = [BOOTSTRAP, *sorted(self.held), *promises]
        index = data.draw(st.integers(0, len(bases) - 1))
        if index < len(bases) - len(promises):
            return ExportId(bases[index])
        return QuestionId(bases[index]), data.draw(st.sampled_from(PATHS))

    def call(
        self, target: Target, arguments: list[object], accept: int, *, plain: bool, no_result: bool
    ) -> None:
        try:
            question = self.controller.call(
                target,
                "m",
                arguments,  # type: ignore[arg-type]
                remaining_ms=10,
                accept_bytes=accept,
                no_pipelining=plain,
                no_result=no_result,
            )
        except ConnectionLost:
            return  # The subject is going away.
        self.asked_on[question] = target
        self.accepts[question] = accept
        self.open.add(question)
        if plain:
            self.last.add(question)

    def finish(self, question: QuestionId) -> None:
        self.controller.finish(question)
        self.open.discard(question)
        self.kept.discard(question)
        self.reading.pop(question, None)

    # The link.

    def carry_everything(self) -> None:
        if self.is_cut:
            return
        self.to_subject += self.controller.data_to_send()
        arriving, self.to_subject = self.to_subject, b""
        self.hear_subject(self.subject.receive(arriving))
        while data := self.subject.data_to_send():
            self.to_controller += data
        arriving, self.to_controller = self.to_controller, b""
        self.hear_controller(self.controller.receive(arriving))

    def cut(self) -> None:
        self.is_cut = True
        self.hear_controller(self.controller.receive_eof())
        self.hear_subject(self.subject.receive_eof())
        assert not self.open, "every question has ended"

    # The handlers.

    def settle(self, answer: Answer, outcome: str, tag: str | None = None) -> None:
        if isinstance(answer, PresentReceived):  # A grant, or none.
            outcome, tag = ("error" if outcome == "error" else "object"), tag or "red"
        tag = tag if answer.grant_tag is None else str(answer.grant_tag)
        match outcome:
            case "value":
                of = NO_TAG if answer.grant_tag is None else str(answer.grant_tag)
                value: dict[str, Any] = {"of": of, "list": [of, [of]]}
                if not answer.wants_result:
                    value["thing"] = Exported(Thing(tag), tag)
                ready = self.subject.resolve_value(answer, value)
            case "large":
                ready = self.subject.resolve_value(answer, "x" * 300_000)
            case "object":
                ready = self.subject.resolve_object(answer, Thing(tag), tag)
            case "stream":
                ready = self.subject.open_stream(answer, "header")
                if answer.state in ("streaming", "running_unwanted"):
                    self.streaming[answer.answer_id] = answer
                    self.offered.setdefault(answer.answer_id, bytearray())
            case _:
                ready = self.subject.fail(answer, Denied())
        self.hear_subject(ready)

    def end(self, answer: Answer) -> None:
        """Let a stream's handler come to its end, as well as it can."""
        del self.streaming[answer.answer_id]
        if answer.unsent:
            self.hear_subject(self.subject.fail(answer, Denied()))
        else:
            self.hear_subject(self.subject.end_stream(answer))

    def working(self) -> list[Answer]:
        return [*self.running.values(), *self.streaming.values()]

    # What is heard.

    def hear_controller(self, events: list[ControllerEvent]) -> None:
        for event in events:
            assert not isinstance(event, Aborted), event
            match event:
                case Returned():
                    self.hear_return(event)
                case ChunkReceived(question, data):
                    reading = self.reading[question]
                    reading.data += data
                    assert len(reading.data) <= reading.credit
                    offered = self.offered[AnswerId(question)]
                    assert offered.startswith(reading.data)
                case StreamEnded(question, failure):
                    reading = self.reading.pop(question)
                    self.open.remove(question)
                    if failure is None:
                        assert reading.data == self.offered[AnswerId(question)]
                    if not isinstance(failure, ConnectionLost) and question not in self.last:
                        self.kept.add(question)
                case Ponged(number):
                    assert number == self.pings.pop(0)

    def hear_return(self, event: Returned) -> None:
        question, status, payload = event
        assert question in self.open, "ended twice, or after it was finished"
        assert question not in self.reading, "returned twice"
        assert status in (VALUE, REFERENCE, ERROR, STREAM)
        assert isinstance(payload, CallFailed) == (status == ERROR)
        if status == STREAM:
            self.reading[question] = Reading(self.accepts[question])
            return
        self.open.remove(question)
        if status == REFERENCE:
            assert isinstance(payload, int)
            self.held.add(ExportId(payload))
        if not isinstance(payload, ConnectionLost) and question not in self.last:
            self.kept.add(question)

    def hear_subject(self, events: Iterable[SubjectEvent]) -> None:
        """Handle events in the order in which they came, those of a settling handler after."""
        for coming in events:
            self.coming.append(coming)
            if len(self.coming) > 1:
                continue  # Called by a handler below, which goes on with these.
            while self.coming:
                self.hear_event(self.coming[0])
                del self.coming[0]

    def hear_event(self, event: SubjectEvent) -> None:
        assert not isinstance(event, Aborted), event
        match event:
            case Cancelled(call):
                assert call in self.working()
                assert call.unsent == 0
            case CallReady() | PresentReceived():
                if isinstance(event, CallReady):
                    self.hear_call(event)
                outcome = self.at_once()
                if outcome is None:
                    self.running[event.answer_id] = event
                else:
                    self.settle(event, outcome, "red")

    def hear_call(self, event: CallReady) -> None:
        question = QuestionId(event.answer_id)
        target = self.asked_on[question]
        assert self.entered.get(target, 0) < question, "calls on one reference start in order"
        self.entered[target] = question
        assert isinstance(event.object, Thing)
        assert event.object.tag == event.grant_tag
        self.check_arguments(event)

    def check_arguments(self, event: CallReady) -> None:
        """Everything in them is of one grant, as its maker left it; then this handler spoils it."""
        inner: list[object] = [event.arguments]
        for each in inner:
            assert not isinstance(each, Promised)
            if isinstance(each, Thing):
                assert each.tag == event.grant_tag
            elif isinstance(each, str):
                assert each == (event.grant_tag or NO_TAG)
            elif isinstance(each, list):
                inner += each
            elif isinstance(each, dict):
                inner += each.values()
        for each in inner:
            if isinstance(each, list):
                each.append("spoiled")


class Archive(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rooms = GrantRooms()
        self.lines = [Line(self.rooms), Line(self.rooms)]

    def pick(self, data: st.DataObject, *, alive: bool = True) -> Line:
        lines = [line for line in self.lines if not (alive and line.is_cut)]
        return data.draw(st.sampled_from(lines or self.lines))

    def some_alive(self) -> bool:
        return not all(line.is_cut for line in self.lines)

    def outcomes(self, data: st.DataObject) -> Callable[[], str | None]:
        chosen = st.none() | st.sampled_from(OUTCOMES)
        return lambda: data.draw(chosen)

    @initialize(data=st.data(), tags=st.lists(st.sampled_from(TAGS), max_size=2))
    def begin_with_grants(self, data: st.DataObject, tags: list[str]) -> None:
        for line in self.lines:
            for tag in tags:
                line.open.add(line.controller.present(b"token"))
                line.carry_everything()
                [(answer_id, answer)] = line.running.items()
                del line.running[answer_id]
                line.settle(answer, "object", tag)
                line.carry_everything()

    # The callers.

    @precondition(some_alive)
    @rule(
        data=st.data(),
        accept=st.sampled_from((ACCEPT_BYTES_DEFAULT, 40, 5, 0)),
        plain=st.booleans(),
        no_result=st.booleans(),
        count=st.sampled_from((0, 0, 0, 1, 1, 2)),
    )
    def call(
        self, data: st.DataObject, accept: int, plain: bool, no_result: bool, count: int
    ) -> None:
        line = self.pick(data)
        arguments: list[object] = []
        for _ in range(count):
            name = line.name(data)
            promised = Promised(name if isinstance(name, int) else [name[0], list(name[1])])
            arguments.append(data.draw(st.sampled_from([promised, [{"in": promised}], 1])))
        line.call(line.name(data), arguments, accept, plain=plain, no_result=no_result)

    @precondition(some_alive)
    @rule(data=st.data())
    def present(self, data: st.DataObject) -> None:
        line = self.pick(data)
        try:
            line.open.add(line.controller.present(b"token"))
        except ConnectionLost:
            return

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        line = self.pick(data, alive=False)
        if line.open | line.kept:
            line.finish(data.draw(st.sampled_from(sorted(line.open | line.kept))))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        line = self.pick(data, alive=False)
        if line.held:
            export = data.draw(st.sampled_from(sorted(line.held)))
            line.controller.release(export)
            line.held.remove(export)

    @precondition(lambda self: any(line.reading for line in self.lines))
    @rule(data=st.data(), size=st.integers(1, 30))
    def give_credit(self, data: st.DataObject, size: int) -> None:
        line = data.draw(st.sampled_from([line for line in self.lines if line.reading]))
        question = data.draw(st.sampled_from(sorted(line.reading)))
        line.reading[question].credit += size
        line.controller.credit(question, size)

    @precondition(some_alive)
    @rule(data=st.data())
    def ping(self, data: st.DataObject) -> None:
        line = self.pick(data)
        line.pings.append(line.controller.ping())

    # The links.

    @rule(data=st.data())
    def carry_to_subject(self, data: st.DataObject) -> None:
        line = self.pick(data, alive=False)
        line.to_subject += line.controller.data_to_send()
        size = data.draw(st.integers(0, len(line.to_subject)))
        arriving, line.to_subject = line.to_subject[:size], line.to_subject[size:]
        line.at_once = self.outcomes(data)
        line.hear_subject(line.subject.receive(arriving))

    @rule(data=st.data())
    def carry_to_controller(self, data: st.DataObject) -> None:
        line = self.pick(data, alive=False)
        line.to_controller += line.subject.data_to_send()
        size = data.draw(st.integers(0, len(line.to_controller)))
        arriving, line.to_controller = line.to_controller[:size], line.to_controller[size:]
        line.hear_controller(line.controller.receive(arriving))

    @rule(data=st.data())
    def carry_everything(self, data: st.DataObject) -> None:
        line = self.pick(data)
        line.at_once = self.outcomes(data)
        line.carry_everything()

    @precondition(some_alive)
    @rule(data=st.data(), sure=RARELY)
    def cut(self, data: st.DataObject, sure: bool) -> None:
        if sure:  # Most runs are longer for it.
            self.pick(data).cut()

    @precondition(some_alive)
    @rule(data=st.data(), sure=RARELY)
    def go_away(self, data: st.DataObject, sure: bool) -> None:
        if sure:
            self.pick(data).subject.go_away()

    # The handlers.

    @precondition(lambda self: any(line.running for line in self.lines))
    @rule(
        data=st.data(),
        outcome=st.sampled_from(OUTCOMES),
        tag=st.none() | st.sampled_from(TAGS),
    )
    def settle(self, data: st.DataObject, outcome: str, tag: str | None) -> None:
        line = data.draw(st.sampled_from([line for line in self.lines if line.running]))
        answer = line.running.pop(data.draw(st.sampled_from(sorted(line.running))))
        line.at_once = self.outcomes(data)
        line.settle(answer, outcome, tag)

    @precondition(lambda self: any(line.streaming for line in self.lines))
    @rule(data=st.data(), piece=st.binary(max_size=60))
    def stream(self, data: st.DataObject, piece: bytes) -> None:
        line = data.draw(st.sampled_from([line for line in self.lines if line.streaming]))
        answer = data.draw(st.sampled_from(list(line.streaming.values())))
        if answer.unsent:
            return  # It waits for credit, or for its turn.
        line.subject.offer(answer, piece)
        line.offered[answer.answer_id] += piece

    @precondition(lambda self: any(line.streaming for line in self.lines))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        line = data.draw(st.sampled_from([line for line in self.lines if line.streaming]))
        line.at_once = self.outcomes(data)
        line.end(data.draw(st.sampled_from(list(line.streaming.values()))))

    # Always.

    @invariant()
    def my_questions_are_the_callers(self) -> None:
        for line in self.lines:
            assert line.controller.open_questions == len(line.open)
            if not line.is_cut:
                assert line.controller.kept_answers == len(line.kept)
                assert line.controller.held_references == len(line.held)

    @invariant()
    def the_subjects_keep_to_their_limits(self) -> None:
        for line in self.lines:
            subject = line.subject
            assert subject.calls_in_flight <= SMALL.calls_in_flight
            assert subject.kept_answers <= SMALL.answers_retained
            assert subject.exports <= SMALL.exports
            assert subject.open_streams <= SMALL.streams
            assert subject._answers.room._call_bytes <= SMALL.call_bytes_in_flight
            if not line.is_cut:
                assert subject.calls_in_flight >= len(line.working())

    @invariant()
    def a_grant_holds_what_its_handlers_and_references_hold(self) -> None:
        working = (each for line in self.lines for each in line.working())
        calls = Counter(each.grant_tag for each in working if each.grant_tag is not None)
        assert self.rooms.calls == calls
        assert all(count <= SMALL.grant_calls for count in calls.values())
        exports = Counter(
            exported.tag
            for line in self.lines
            for export, exported in line.subject._exports.items()
            if export != BOOTSTRAP
        )
        assert self.rooms.exports == exports
        assert all(exports[tag] <= SMALL.grant_exports for tag in TAGS)

    def teardown(self) -> None:
        """Settle, hear, finish and release everything: both sides of each line must be empty."""
        for line in self.lines:
            line.at_once = lambda: None
            line.carry_everything()
            while line.working():
                for answer in list(line.streaming.values()):
                    line.end(answer)
                for answer_id in list(line.running):
                    line.settle(line.running.pop(answer_id), "value")
                line.carry_everything()
            assert not line.open
            assert not line.reading
            self.give_back(line)
            self.check_empty(line)
        assert self.rooms.calls == self.rooms.exports == {}

    def give_back(self, line: Line) -> None:
        if line.is_cut:
            return
        assert not line.pings
        for question in line.kept:
            line.controller.finish(question)
        for export in line.held:
            line.controller.release(export)
        line.kept.clear()
        line.held.clear()
        # The second turn carries the releases of references that nobody had waited for.
        line.carry_everything()
        line.carry_everything()

    def check_empty(self, line: Line) -> None:
        controller, subject = line.controller, line.subject
        assert controller.open_questions == controller.kept_answers == 0
        assert controller.held_references == 0
        assert not controller._accepts
        assert not controller._credits
        assert subject.calls_in_flight == subject.kept_answers == 0
        assert subject.exports == subject.open_streams == 0
        assert subject.data_to_send() == b"" or line.is_cut
        room = subject._answers.room
        assert (room.calls, room.streams, room._call_bytes) == (0, 0, 0)
        assert (room._retained, room._retained_bytes, room._exports_held) == (0, 0, 0)
        assert not room._exports


TestArchive = Archive.TestCase
TestArchive.settings = settings(
    max_examples=max(100, settings().max_examples), stateful_step_count=60
)
