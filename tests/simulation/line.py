"""One simulated connection: two cores, the link between them, and a model of what must be true.

The model is what a careful caller and a careful handler remember. It never looks into a core: it
compares what the core says (events, counters, bytes) with what was done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any, Final

from psp.errors import CallFailed, ConnectionLost, Denied
from psp.rpc import (
    ERROR,
    REFERENCE,
    STREAM,
    Aborted,
    CallReady,
    Cancelled,
    ChunkReceived,
    Controller,
    ControllerEvent,
    Exported,
    ExportId,
    GoingAway,
    GrantRooms,
    PresentReceived,
    QuestionId,
    Returned,
    StreamEnded,
    Subject,
    SubjectEvent,
)
from psp.testing import Link, VirtualClock, Way
from psp.wire import (
    CALL,
    CHUNK,
    CREDIT,
    END,
    FINISH,
    FLAG_NO_RESULT,
    GOAWAY,
    INITIAL_LIMITS,
    RETURN,
    FrameReader,
    Promised,
    Role,
)

from .data import ARCHIVE_TIME, VALUE, pattern, step_into
from .weight import weigh

SMALL: Final = INITIAL_LIMITS._replace(
    calls_in_flight=14,
    call_bytes_in_flight=700,
    queued_per_answer=4,
    answers_retained=12,
    exports=5,
    retained_bytes=120,
    streams=3,
    grant_calls=9,
    grant_exports=7,
)
"""Small, so that a run of 200 steps meets every limit."""

TURNS_MAX: Final = 200
"""Turns that a connection may need to come to rest; a stream moves one chunk in each."""

Running = CallReady | PresentReceived
Key = object


class Line:
    """A connection and everything that was ever asked on it.

    Attributes:
        is_honest: Nobody has changed a byte on the way: then everything can be predicted.
        is_over: Cut or aborted: each side has heard of it, or will when it listens.
        open: Questions that have not ended; the model's own count.
        running: Handlers that have not ended, by the answer they owe; those of streams too.
    """

    def __init__(self, clock: VirtualClock, chance: Random, grants: GrantRooms) -> None:
        self.clock = clock
        self.controller = Controller()
        self.subject = Subject(bytes(32), bootstrap="bootstrap", limits=SMALL, grants=grants)
        self.subject.hello(ARCHIVE_TIME)
        self.link = Link(chance, clock, delay_ms=(0, 60))
        self.is_honest = True
        self.is_over = False
        self.is_drained = False
        self.is_going_away = False
        self.has_heard_end = False  # The controller's side.
        # The controller's side.
        self.open: set[int] = set()
        self.kept: set[int] = set()
        self.last: set[int] = set()
        self.held: set[int] = set()
        self.streams: Counter[int] = Counter()  # Bytes received, by open stream.
        self.window: Counter[int] = Counter()  # Credit left, by question.
        self.ended: Counter[int] = Counter()
        self.finished: set[int] = set()
        self.origin: dict[int, Key] = {0: 0}  # Of an export: the answer that it came from.
        self.asked_on: dict[int, Key] = {}
        self.asked_with: dict[int, Sequence[Any]] = {}
        # The subject's side.
        self.coming: list[SubjectEvent] = []
        self.started: set[int] = set()
        self.running: dict[int, Running] = {}
        self.streaming: dict[int, Running] = {}
        self.offered: Counter[int] = Counter()
        self.outcomes: dict[int, object] = {}
        self.entered: dict[Key, int] = {}
        self.last_served: int | None = None
        # What the taps saw.
        self.read_by_subject = FrameReader(Role.SUBJECT)
        self.said_by_subject = FrameReader(Role.CONTROLLER)
        self.finish_read: set[int] = set()
        self.settled_unwanted: set[int] = set()
        self.allowed: Counter[int] = Counter()  # Credit that the subject has read.
        self.stream_ended: set[int] = set()

    # The caller.

    def present(self, token: bytes) -> None:
        self._asked(lambda: self.controller.present(token), {})

    def call(
        self, target: Any, method: str, arguments: Sequence[Any], options: dict[str, Any]
    ) -> None:
        made = [_named(it[1]) if isinstance(it, tuple) else it for it in arguments]
        question = self._asked(
            lambda: self.controller.call(
                target, method, made, **{"remaining_ms": 10_000, **options}
            ),
            options,
        )
        if question is not None:
            self.asked_on[question] = self.origin[target] if isinstance(target, int) else target
            self.asked_with[question] = arguments

    def _asked(self, ask: Any, options: dict[str, Any]) -> int | None:
        try:
            question: int = ask()
        except ConnectionLost:
            assert self.is_over or self.is_going_away, "a call was refused without a reason"
            return None
        assert not self.has_heard_end, "a call was taken after the end"
        self.open.add(question)
        self.window[question] = options.get("accept_bytes", 2**20)
        if options.get("no_pipelining"):
            self.last.add(question)
        return question

    def finish(self, question: int) -> None:
        self.controller.finish(QuestionId(question))
        self.open.discard(question)
        self.kept.discard(question)
        self.streams.pop(question, None)
        self.finished.add(question)

    def release(self, export: int) -> None:
        self.held.remove(export)
        self.controller.release(ExportId(export))

    def credit(self, question: int, size: int) -> None:
        self.controller.credit(QuestionId(question), size)
        self.window[question] += size

    # The handlers.

    def settle(self, call: Running, outcome: str) -> None:
        """Let a handler end as it was told to, and start what waited for it."""
        tag = call.grant_tag if isinstance(call, CallReady) else call.token
        answer_id = call.answer_id
        if outcome == "objects" and not call.flags & FLAG_NO_RESULT:
            outcome = "value"  # A map of objects cannot be sent, only stepped into.
        if isinstance(call, PresentReceived):
            outcome = "object"
        self._ended(answer_id)
        made = Exported(("object", answer_id, tag), tag)
        match outcome:
            case "object":
                self.outcomes[answer_id] = made
                ready = self.subject.resolve_object(call, made.object, tag)
            case "objects":
                self.outcomes[answer_id] = {"one": made}
                ready = self.subject.resolve_value(call, {"one": made})  # type: ignore[dict-item]
            case "stream":
                assert isinstance(call, CallReady)
                ready = self.subject.open_stream(call, {"columns": ["a"]})
                if not call.is_settled:  # By too many streams.
                    self.running[answer_id] = self.streaming[answer_id] = call
            case "large":
                ready = self.subject.resolve_value(call, "x" * 300_000)
            case _:
                self.outcomes[answer_id] = VALUE
                ready = self.subject.resolve_value(call, VALUE)
        self.hear_subject(ready)

    def fail(self, call: Running, failure: CallFailed) -> None:
        self._ended(call.answer_id)
        self.hear_subject(self.subject.fail(call, failure))

    def _ended(self, answer_id: int) -> None:
        self.running.pop(answer_id, None)
        if answer_id in self.finish_read:
            self.settled_unwanted.add(answer_id)

    def offer(self, call: Running, size: int) -> None:
        if call.unsent:
            return  # One buffer at a time.
        self.subject.offer(call, pattern(self.offered[call.answer_id], size))
        self.offered[call.answer_id] += size

    def end_stream(self, call: Running, *, is_cut_short: bool) -> None:
        if call.unsent and not is_cut_short:
            return  # A handler ends a stream when its last buffer was taken.
        del self.streaming[call.answer_id], self.running[call.answer_id]
        if is_cut_short:
            self.hear_subject(self.subject.fail(call, Denied()))
        else:
            self.hear_subject(self.subject.end_stream(call))

    # The link.

    def way(self, name: str) -> Way:
        return {"to_subject": self.link.to_subject, "to_controller": self.link.to_controller}[name]

    def flush(self) -> None:
        """Let both sides write what waits; what they write is lawful whatever they have read."""
        self.subject.drained()  # A shell would wake the handlers that wait to offer more.
        self.link.to_subject.send(self.controller.data_to_send())
        # The frames that wait, or one chunk of a stream: twice gives both.
        said = self.subject.data_to_send() + self.subject.data_to_send()
        for frame in self.said_by_subject.receive_untrusted(said):
            self._check_said(frame)
        self.link.to_controller.send(said)

    def to_subject(self, size: int) -> None:
        data = self.link.to_subject.take(size)
        self.hear_subject(self.subject.receive(data, now_ms=self.clock.now_ms))
        if self.is_honest:
            for frame in self.read_by_subject.receive_untrusted(data):
                self._note_read(frame)

    def to_controller(self, size: int) -> None:
        self.hear_controller(self.controller.receive(self.link.to_controller.take(size)))

    def go_away(self) -> None:
        self.subject.go_away()

    def abort(self, who: str) -> None:
        self.is_over = True
        if who == "controller":
            self.hear_controller(self.controller.abort(3, "enough"))
        else:
            self.hear_subject(self.subject.abort(3, "enough"))

    def cut(self) -> None:
        self.is_over = True
        self.link.cut()
        self.has_heard_end = True
        self.hear_controller(self.controller.receive_eof())
        self.hear_subject(self.subject.receive_eof())

    # What is heard.

    def hear_controller(self, events: Iterable[ControllerEvent]) -> None:
        for event in events:
            match event:
                case Aborted():
                    assert self.is_over or not self.is_honest, event
                    self.is_over = self.has_heard_end = True
                case GoingAway():
                    self.is_going_away = True
                case Returned(question, status, payload):
                    self._hear_return(question, status, payload)
                case ChunkReceived(question, data):
                    assert question in self.streams, "a chunk of no open stream"
                    if self.is_honest:
                        assert data == pattern(self.streams[question], len(data)), "bytes changed"
                    self.streams[question] += len(data)
                    self.window[question] -= len(data)
                    assert self.window[question] >= 0, "a chunk beyond the credit"
                case StreamEnded(question, failure):
                    received = self.streams.pop(question)
                    if failure is None and self.is_honest:
                        assert received == self.offered[question], "a stream ended short"
                    self._note_end(question, failure)

    def _hear_return(self, question: int, status: int, payload: object) -> None:
        assert question in self.open, "ended twice, after FINISH, or never asked"
        self.open.remove(question)
        if status == STREAM:
            self.streams[question] = 0
            return
        if status == REFERENCE:
            assert isinstance(payload, int)
            self.held.add(payload)
            self.origin[payload] = (question, ())
        self._note_end(question, payload if status == ERROR else None)

    def _note_end(self, question: int, failure: object) -> None:
        assert failure is None or isinstance(failure, CallFailed)
        self.ended[question] += 1
        # What was lost with its connection, or came too late to start, is kept by nobody.
        if question not in self.last and not isinstance(failure, ConnectionLost):
            self.kept.add(question)

    def hear_subject(self, events: Iterable[SubjectEvent]) -> None:
        """Handle events in the order in which they came, those of a settling handler after."""
        if isinstance(events, Iterator):  # What arrives: the next frame is not looked at yet.
            for event in events:
                self.hear_subject([event])
            return
        is_idle = not self.coming
        self.coming += events
        while is_idle and self.coming:
            self._hear_event(self.coming[0])
            del self.coming[0]

    def _hear_event(self, event: SubjectEvent) -> None:
        match event:
            case Aborted():
                assert self.is_over or not self.is_honest, event
                self.is_over = True
            case Cancelled(call):
                # It may have been settled since: both stood in one list of events.
                assert call.answer_id in self.started, "cancelled what never started"
            case CallReady():
                self._check_entry(event)
                self._start(event, event.method)
            case PresentReceived():
                self._start(event, event.token.decode("ascii", "replace"))

    def _start(self, call: Running, name: str) -> None:
        assert call.answer_id not in self.started, "one question started twice"
        self.started.add(call.answer_id)
        self.running[call.answer_id] = call
        if name.startswith("later"):
            return
        if name == "fail":
            self.fail(call, Denied())
        else:
            self.settle(call, name)

    # The laws.

    def _check_entry(self, call: CallReady) -> None:
        question = call.answer_id
        if self.last_served is not None:
            assert question <= self.last_served, "a call above GOAWAY started"
        if not self.is_honest:
            return
        key = self.asked_on[question]
        assert self.entered.get(key, 0) < question, "calls on one reference enter in call order"
        self.entered[key] = question
        for asked, arrived in zip(self.asked_with[question], call.arguments, strict=True):
            self._check_argument(call, asked, arrived)

    def _check_argument(self, call: CallReady, asked: Any, arrived: object) -> None:
        if not isinstance(asked, tuple):
            assert arrived == asked
            return
        target = asked[1]
        if isinstance(target, int):
            origin: Any = self.origin[target]
            found = "bootstrap" if origin == 0 else self.outcomes[origin[0]]
        else:
            found = step_into(self.outcomes[target[0]], target[1])
        if isinstance(found, Exported):
            assert arrived == found.object, "an object arrives as the object itself"
            tags = {found.tag, call.grant_tag}
            assert len(tags - {None}) <= 1, "objects of two grants met in one call"
        else:
            assert arrived == found, "a value arrives as the value"

    def _note_read(self, frame: Any) -> None:
        if frame[0] == CALL:
            _, question, _, _, _, _, accept_bytes, *_ = frame
            self.allowed[question] += accept_bytes
        elif frame[0] == FINISH:
            self.finish_read.update(frame[1])
        elif frame[0] == CREDIT:
            self.allowed[frame[1]] += frame[2]

    def _check_said(self, frame: Any) -> None:
        kind, *places = frame
        if kind == GOAWAY:
            self.last_served = places[0]
        if not self.is_honest:
            return
        if kind == RETURN:
            assert places[0] not in self.settled_unwanted, "a RETURN after its FINISH was read"
        if kind == CHUNK:
            self.allowed[places[0]] -= len(places[1])
            assert self.allowed[places[0]] >= 0, "a chunk beyond the credit that was read"
        if kind in (CHUNK, END):
            assert places[0] not in self.stream_ended, "something of a stream after its END"
        if kind == END:
            self.stream_ended.add(places[0])

    def check(self) -> None:
        """What holds at every moment."""
        subject, controller = self.subject, self.controller
        assert subject.calls_in_flight <= SMALL.calls_in_flight
        assert subject.kept_answers <= SMALL.answers_retained
        assert subject.exports <= SMALL.exports
        assert subject.open_streams <= SMALL.streams
        assert set(self.ended.values()) <= {1}
        if self.is_honest and not self.is_over:
            assert controller.open_questions == len(self.open) + len(self.streams)
            assert controller.kept_answers == len(self.kept)
            assert controller.held_references == len(self.held)

    # The end.

    def drain(self) -> None:
        """Bring everything to its end: then nothing is left on either side."""
        if self.is_honest and not self.is_over:
            self._settle_everything()
            assert not self.open, "a question never ended"
            assert not self.streams, "a stream never ended"
            self._give_everything_back()
            self._check_empty()
            assert weigh(self.controller) <= EMPTY_CONTROLLER, "the controller remembers"
            assert weigh(self.subject) <= EMPTY_SUBJECT, "the subject remembers"
            if not self.is_going_away:
                self._check_room()
        self.cut()
        for call in list(self.running.values()):
            # Handlers end when they like; the connection they worked for is gone.
            self.end_or_fail(call)
        self._check_empty()
        assert not self.open, "a question never ended"
        assert not self.streams, "a stream never ended"
        self.is_drained = True

    def _check_room(self) -> None:
        """A connection at rest has all of its room again: counters that only grow show here."""
        slots, kept, exports = SMALL.calls_in_flight, SMALL.answers_retained, SMALL.exports
        for method, count, options, where in (
            ("later", slots, {"no_pipelining": True}, self.running),
            ("stream", SMALL.streams, {"no_pipelining": True, "accept_bytes": 0}, self.streaming),
            ("object", exports, {"no_pipelining": True}, self.held),
            ("value", kept, {}, self.kept),
        ):
            for _ in range(count):
                self.call(0, method, [], options)
            self._carry_everything()
            assert len(where) == count, f"room for {len(where)} of {count}: {method}"
            if method == "value":
                first = min(self.kept)
                self.finish(max(self.kept))
                self._carry_everything()
                self.call(0, "later", [("promise", (first, ("a",)))], {})
                self._carry_everything()
                assert self.running, "no room to keep the first value"
            self._settle_everything()
            self._give_everything_back()
        self._check_empty()

    def _give_everything_back(self) -> None:
        for question in sorted(self.kept):
            self.finish(question)
        for export in sorted(self.held):
            self.release(export)
        self._carry_everything()

    def end_or_fail(self, call: Running) -> None:
        if call.answer_id in self.streaming:
            self.end_stream(call, is_cut_short=True)
        else:
            self.fail(call, Denied())

    def _settle_everything(self) -> None:
        for _ in range(TURNS_MAX):
            self._carry_everything()
            for question in sorted(self.streams):
                self.credit(question, 1_000)
            for call in list(self.running.values()):
                if call.answer_id in self.streaming:
                    self.end_stream(call, is_cut_short=False)
                else:
                    self.settle(call, "value")
            is_quiet = not (self.running or self.open or self.streams)
            if is_quiet:
                return
        raise AssertionError(f"never at rest: {self.running=} {self.open=} {self.streams=}")

    def _carry_everything(self) -> None:
        for _ in range(TURNS_MAX):
            self.flush()
            waiting = [self.link.to_subject, self.link.to_controller]
            sizes = [way.bytes_on_the_way for way in waiting]
            if sizes == [0, 0]:
                return
            self.to_subject(sizes[0])
            self.to_controller(sizes[1])
        raise AssertionError("the two sides never stop talking")

    def _check_empty(self) -> None:
        controller, subject = self.controller, self.subject
        assert controller.open_questions == 0
        assert controller.kept_answers == 0
        assert controller.held_references == 0
        assert subject.calls_in_flight == 0
        assert subject.kept_answers == 0
        assert subject.exports == 0
        assert subject.open_streams == 0


def _named(target: Any) -> Promised:
    if isinstance(target, int):
        return Promised(target)
    question, path = target
    return Promised([question, list(path)])


def _empty_weights() -> tuple[int, int]:
    """Weigh both sides of a connection on which one of everything was done, and is over."""
    line = Line(VirtualClock(), Random(0), GrantRooms())
    line._carry_everything()
    return weigh(line.controller) + SLACK, weigh(line.subject) + SLACK


SLACK: Final = 40
"""Objects more than in a new connection: buffers once made, a hello, integers above 256."""

EMPTY_CONTROLLER, EMPTY_SUBJECT = _empty_weights()
