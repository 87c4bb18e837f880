"""A controller that plays by the grammar and against the house: what its questions may cost.

Core against raw frames: no socket, no time. Each test holds the outcome in its name.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest

from psp.errors import Denied, Invalid, LimitExceeded, Overloaded
from psp.rpc import (
    Aborted,
    CallReady,
    Cancelled,
    GrantRooms,
    Paused,
    PresentReceived,
    Subject,
    SubjectEvent,
)
from psp.testing import ScriptedPeer, frame_bytes
from psp.wire import CHUNK, END, INITIAL_LIMITS, PONG, RETURN, SUBJECT_ABORT, Role

from .measure import MIB, peak_bytes

HELLO = [0, [1], {}, []]
PLAIN, KEPT = 2, 0
SLOTS = INITIAL_LIMITS.calls_in_flight


def call(
    question: int,
    target: object = 0,
    method: str = "m",
    arguments: Iterable[object] = (),
    *,
    accept_bytes: int = 2**20,
    flags: int = KEPT,
) -> list[object]:
    return [2, question, target, method, list(arguments), 1000, accept_bytes, flags, None]


def promised(question: int, *path: str | int) -> msgpack.ExtType:
    return msgpack.ExtType(4, msgpack.packb([question, list(path)]))


class House:
    """A subject whose handlers never end by themselves, and what it says."""

    def __init__(self, grants: GrantRooms | None = None, **limits: int) -> None:
        self.subject = Subject(
            bytes(32),
            bootstrap="bootstrap",
            limits=INITIAL_LIMITS._replace(**limits),
            grants=grants,
        )
        self.subject.hello(datetime(2026, 1, 2, tzinfo=UTC))
        self.peer = ScriptedPeer(Role.CONTROLLER)
        self.running: dict[int, CallReady | PresentReceived] = {}
        self.cancelled: list[int] = []
        self.aborted: Aborted | None = None
        self.say(HELLO)

    def say(self, *frames: list[object]) -> list[SubjectEvent]:
        return self.hear(self.subject.receive(b"".join(map(frame_bytes, frames))))

    def hear(self, events: Iterable[SubjectEvent]) -> list[SubjectEvent]:
        heard = list[SubjectEvent]()
        for event in events:
            if isinstance(event, Paused):
                continue
            heard.append(event)
            if isinstance(event, Aborted):
                self.aborted = event
            elif isinstance(event, Cancelled):
                self.cancelled.append(event.call.answer_id)
            else:
                self.running[event.answer_id] = event
        return heard

    def end(self, answer_id: int, value: Any = None) -> None:
        self.hear(self.subject.resolve_value(self.running.pop(answer_id), value))

    def give(self, answer_id: int, tag: str) -> None:
        one = self.running.pop(answer_id)
        self.hear(self.subject.resolve_object(one, f"object {answer_id}", tag))

    def end_all(self) -> None:
        while self.running:
            self.end(next(iter(self.running)))

    def listen(self) -> None:
        """Let everything leave that can: the frames, then chunk by chunk."""
        while data := self.subject.data_to_send():
            self.peer.hear(data)

    def answers(self) -> dict[int, tuple[int, Any]]:
        """Every RETURN so far: status and payload, by question."""
        self.listen()
        return {f[1]: (f[2], f[3]) for f in self.peer.heard if f[0] == RETURN}  # type: ignore[misc]

    def kinds(self) -> Counter[int]:
        self.listen()
        return Counter(frame[0] for frame in self.peer.heard)


def code_of(answer: tuple[int, Any]) -> tuple[int, int]:
    """Status error: its code and `processed`."""
    status, payload = answer
    assert status == 2, answer
    return payload[0], payload[1]


NOT_PROCESSED = 0


# Floods.


def opened_and_cancelled(count: int) -> Iterator[bytes]:
    for question in range(1, count + 1):
        yield frame_bytes(call(question, flags=PLAIN)) + frame_bytes([3, [question]])


def test_opening_and_cancelling_without_end_fills_the_slots_and_no_more() -> None:
    """Rapid Reset: the handlers ignore that they were cancelled, so they keep their slots."""
    house = House(calls_in_flight=100)

    def flood() -> None:
        for data in opened_and_cancelled(4_000):
            house.hear(house.subject.receive(data))
            house.subject.data_to_send()

    assert peak_bytes(flood) < MIB
    assert len(house.running) == len(house.cancelled) == house.subject.calls_in_flight == 100
    house.end_all()
    assert house.subject.calls_in_flight == 0
    assert house.kinds()[RETURN] == 0  # Nobody waits for any of them.


def questions(count: int) -> bytes:
    return b"".join(frame_bytes(call(number, flags=PLAIN)) for number in range(1, count + 1))


def test_100_000_questions_at_once_are_all_answered_and_the_slots_alone_run() -> None:
    house = House(ungranted_bytes=2**23)
    house.hear(house.subject.receive(questions(100_000)))

    assert len(house.running) == house.subject.calls_in_flight == SLOTS
    refused = house.answers()
    assert len(refused) == 100_000 - SLOTS
    assert {code_of(answer) for answer in refused.values()} == {(Overloaded.code, NOT_PROCESSED)}
    house.end_all()
    assert len(house.answers()) == 100_000
    assert house.subject.calls_in_flight == house.subject.kept_answers == 0


def test_a_flight_of_more_questions_than_slots_takes_two_kib_for_each_slot_at_most() -> None:
    house = House(calls_in_flight=1_000)
    flood = questions(3_000)

    peak = peak_bytes(lambda: house.hear(house.subject.receive(flood)))

    assert peak < 1_000 * 2_048 + 2_000 * 512  # And a refusal for each of the others.


def test_questions_without_a_grant_end_the_connection_after_a_mebibyte() -> None:
    def ask(house: House, first: int) -> int:
        for question in range(first, 20_000):
            house.say(call(question, 0, "m", ["x" * 500], flags=PLAIN))
            if house.aborted is not None:
                return question
            house.end(question)
        return 20_000

    assert 1_800 < ask(House(), 1) < 2_100
    granted = House()
    granted.say([1, 1, b"token"])
    granted.give(1, "grant")
    assert ask(granted, 2) == 20_000


def test_a_second_connection_buys_no_second_share_of_a_grant() -> None:
    grants = GrantRooms()
    houses = [House(grants, grant_calls=5, grant_exports=4) for _ in range(3)]
    for house in houses:
        house.say([1, 1, b"token"])
        house.give(1, "grant")
        house.say(*(call(question, 1, flags=PLAIN) for question in range(2, 12)))

    assert sum(len(house.running) for house in houses) == 5
    refused = [answer for house in houses for answer in house.answers().values() if answer[0] == 2]
    assert {code_of(answer) for answer in refused} == {(Overloaded.code, NOT_PROCESSED)}
    assert len(refused) == 25


def test_cutting_a_connection_does_not_free_the_slots_of_handlers_that_run_on() -> None:
    """Or cutting and dialling again would be the way to start more."""
    grants = GrantRooms()
    first, second = (House(grants, grant_calls=5) for _ in range(2))
    for house in (first, second):
        house.say([1, 1, b"token"])
        house.give(1, "grant")
    first.say(*(call(question, 1, flags=PLAIN) for question in range(2, 7)))
    first.hear(first.subject.receive_eof())
    second.say(call(2, [1, []], flags=PLAIN))
    assert second.running == {}

    first.end_all()
    second.say(call(3, [1, []], flags=PLAIN))
    assert list(second.running) == [3]


def test_results_that_are_never_read_nor_finished_are_refused_beyond_the_limit() -> None:
    house = House()
    count = INITIAL_LIMITS.answers_retained + 1_000

    def ask() -> None:
        for question in range(1, count + 1):
            for event in house.say(call(question)):
                assert isinstance(event, CallReady)
                house.end(question, "x" * 100_000)
            house.subject.data_to_send()

    # Values beyond `retained_bytes` are sent and not kept; each costs its record alone.
    assert peak_bytes(ask) < 2 * INITIAL_LIMITS.retained_bytes
    assert house.subject.kept_answers <= INITIAL_LIMITS.answers_retained
    house.say([3, list(range(1, 4_097))])
    house.say([3, list(range(4_097, count + 1))])
    assert house.subject.kept_answers == 0


def test_references_that_are_never_released_are_refused_beyond_the_limit() -> None:
    house = House(exports=10)
    for question in range(1, 51):
        house.say(call(question, flags=PLAIN))
        house.give(question, "grant")

    assert house.subject.exports == 10
    late = [code_of(answer)[0] for number, answer in house.answers().items() if number > 10]
    assert late == [Overloaded.code] * 40


def test_calls_behind_one_that_never_ends_are_refused_beyond_its_queue() -> None:
    house = House()
    house.say(call(1))
    many = INITIAL_LIMITS.queued_per_answer + 500
    house.say(*(call(question, [1, []]) for question in range(2, many + 2)))

    refused = house.answers()
    assert len(refused) == 500
    assert {code_of(answer) for answer in refused.values()} == {(Overloaded.code, NOT_PROCESSED)}
    assert list(house.running) == [1]


def test_a_chain_behind_a_call_that_never_ends_is_as_long_as_there_are_slots() -> None:
    """Each call waits for the one before it: no answer has more than one waiting."""
    house = House(calls_in_flight=1_000, answers_retained=5_000)

    def ask() -> None:
        house.say(call(1), *(call(question, [question - 1, []]) for question in range(2, 2_001)))

    assert peak_bytes(ask) < 4 * MIB
    assert house.subject.calls_in_flight == 1_000
    assert len(house.answers()) == 1_000
    # Its end fails a thousand dependents, one after the other and not one inside the other.
    house.hear(house.subject.fail(house.running.pop(1), Denied()))
    assert house.subject.calls_in_flight == 0
    assert {code_of(house.answers()[number])[0] for number in range(1, 1_001)} == {Denied.code}


def test_finishing_a_chain_that_waits_frees_all_of_it() -> None:
    house = House(calls_in_flight=1_000)
    house.say(call(1), *(call(question, [question - 1, []]) for question in range(2, 1_001)))
    house.say([3, list(range(1, 1_001))])

    assert (house.subject.calls_in_flight, house.cancelled) == (1, [1])
    house.end(1)
    assert house.subject.calls_in_flight == house.subject.kept_answers == 0


def test_waiting_for_an_argument_that_never_comes_holds_one_reference_and_not_the_others() -> None:
    house = House()
    house.say([1, 1, b"grant"])
    house.give(1, "grant")
    house.say(call(2, 1, "slow"), call(3, 1, "m", [promised(2)]), call(4, 1), call(5, 0))

    assert list(house.running) == [2, 5]  # 4 is behind 3 on its reference; 5 is on another.
    house.end(2, "ready")
    assert list(house.running) == [5, 3, 4]


def test_a_line_behind_an_argument_that_never_comes_is_bounded() -> None:
    house = House()
    many = INITIAL_LIMITS.queued_per_answer + 300
    house.say(call(1), call(2, 0, "m", [promised(1)]))
    house.say(*(call(question, flags=PLAIN) for question in range(3, many + 3)))

    assert list(house.running) == [1]
    refused = house.answers()
    assert 290 <= len(refused) <= 310
    assert {code_of(answer) for answer in refused.values()} == {(Overloaded.code, NOT_PROCESSED)}


def test_tokens_without_end_leave_nothing_behind() -> None:
    house = House()

    def show() -> None:
        for question in range(1, 3_001):
            house.say([1, question, b"%d" % question])
            house.hear(house.subject.fail(house.running.pop(question), Denied()))
            house.say([3, [question]])
            house.subject.data_to_send()

    show_once = peak_bytes(show)
    assert show_once < MIB
    assert house.subject.kept_answers == house.subject.exports == 0


# Streams.


def test_a_call_behind_a_credit_is_taken_although_streams_hold_every_slot() -> None:
    """Reading never stops because of calls, so the CREDIT that makes room is always read."""
    house = House(calls_in_flight=4, streams=4)
    house.say(*(call(question, accept_bytes=10, flags=PLAIN) for question in range(1, 5)))
    for question in range(1, 5):
        one = house.running[question]
        house.hear(house.subject.open_stream(one, None))
        house.subject.offer(one, b"x" * 100)
    assert house.kinds()[CHUNK] <= 4

    house.say(call(5, flags=PLAIN), [5, 1, 90], call(6, flags=PLAIN))
    house.listen()
    assert house.running[1].unsent == 0
    house.hear(house.subject.end_stream(house.running.pop(1)))
    house.say(call(7, flags=PLAIN))

    assert {code_of(house.answers()[number])[0] for number in (5, 6)} == {Overloaded.code}
    assert 7 in house.running
    assert house.kinds()[END] == 1


def test_streams_beyond_their_limit_leave_slots_for_calls() -> None:
    house = House(streams=2)
    for question in range(1, 5):
        house.say(call(question, flags=PLAIN))
        house.hear(house.subject.open_stream(house.running.pop(question), None))

    assert house.subject.open_streams == 2
    assert {code_of(house.answers()[number])[0] for number in (3, 4)} == {Overloaded.code}
    house.say(call(5, flags=PLAIN))
    assert 5 in house.running


def test_a_stream_without_credit_sends_nothing_and_keeps_nothing_when_given_up() -> None:
    house = House()
    house.say(call(1, accept_bytes=0, flags=PLAIN))
    one = house.running[1]
    house.hear(house.subject.open_stream(one, None))
    house.subject.offer(one, b"x" * 5_000_000)
    assert house.kinds()[CHUNK] == 0

    house.say([3, [1]])

    assert house.cancelled == [1]
    assert one.unsent == 0
    house.hear(house.subject.end_stream(one))
    assert house.subject.calls_in_flight == house.subject.open_streams == 0
    assert house.kinds()[CHUNK] == house.kinds()[END] == 0


def test_credit_beyond_all_numbers_is_only_credit() -> None:
    house = House()
    house.say(call(1, accept_bytes=2**63 - 1, flags=PLAIN))
    one = house.running[1]
    house.hear(house.subject.open_stream(one, None))
    for _ in range(10):
        house.say([5, 1, 2**63 - 1])
    house.subject.offer(one, b"x" * 100)

    assert house.kinds()[CHUNK] == 1
    assert house.aborted is None


def test_credit_for_what_is_no_stream_or_over_is_nothing() -> None:
    house = House()
    house.say(call(1), [5, 1, 10])
    house.end(1)
    house.say([5, 1, 10], [3, [1]], [5, 1, 10], call(2))

    assert house.aborted is None
    assert 2 in house.running


def test_a_stream_named_by_a_call_fails_the_call_and_not_the_stream() -> None:
    house = House()
    house.say(call(1), call(2, [1, []]), call(3, 0, "m", [promised(1)]))
    one = house.running[1]
    house.hear(house.subject.open_stream(one, None))
    house.say(call(4, [1, []]))

    assert {code_of(house.answers()[number])[0] for number in (2, 3, 4)} == {Invalid.code}
    house.subject.offer(one, b"x")
    assert house.kinds()[CHUNK] == 1


def test_a_call_on_a_stream_does_not_keep_the_stream_alive_when_it_is_given_up() -> None:
    """Otherwise nobody gives credit any more, and handler and call wait for each other."""
    house = House()
    house.say(call(1, accept_bytes=10))
    one = house.running[1]
    house.hear(house.subject.open_stream(one, None))
    house.subject.offer(one, b"x" * 100)
    house.say(call(2, [1, []]), [3, [1]])

    assert house.cancelled == [1]
    assert one.unsent == 0
    assert 2 in house.answers()


@pytest.mark.parametrize("flags", [KEPT, PLAIN])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_text_that_fits_no_frame_is_a_limit_for_the_caller_and_no_error_for_the_shell(
    flags: int, at_once: bool
) -> None:
    house = House()
    for one in house.subject.receive(frame_bytes(call(1, flags=flags))):
        assert isinstance(one, CallReady)
        if at_once:
            house.subject.resolve_value(one, "x" * 300_000)
    if not at_once:
        house.subject.resolve_value(one, "x" * 300_000)  # type: ignore[arg-type]

    assert code_of(house.answers()[1])[0] == LimitExceeded.code
    assert house.subject.calls_in_flight == 0


# Ids.


@pytest.mark.parametrize(
    "frames",
    [
        [call(1, [1, []])],
        [call(1, 0, "m", [promised(1)])],
        [call(1, 0, "m", [[{"deep": promised(2)}]])],
        [call(1), call(1)],
        [call(5), [3, [5]], call(5)],
        [call(5), [3, [5]], call(4)],
        [call(2), call(1)],
        [call(1), [3, [2]]],
        [[3, [2**63 - 1]]],
        [[4, [1]]],
        [[5, 1, 10]],
        [call(1, 7)],
        [call(1, 0, "m", [msgpack.ExtType(4, b"\x07")])],
        [[0, [1], {}, []]],
    ],
    ids=[
        "a call on its own answer",
        "a call that takes its own answer",
        "a call that takes a later answer, deep inside",
        "an id twice",
        "an id again after its FINISH",
        "an id below after a FINISH",
        "an id below",
        "FINISH of what was never asked",
        "FINISH of the highest id",
        "RELEASE of what was never given",
        "CREDIT for what was never asked",
        "a call on what was never given",
        "a call that takes what was never given",
        "a second HELLO",
    ],
)
def test_a_lawless_id_ends_the_connection_and_every_handler(frames: list[list[object]]) -> None:
    house = House()
    house.say(call(1, flags=PLAIN)) if frames[0][1] != 1 else None
    house.say(*frames, call(100))

    assert house.aborted is not None
    assert not house.aborted.by_peer
    assert 100 not in house.running
    assert house.kinds()[SUBJECT_ABORT] == 1
    assert set(house.cancelled) <= set(house.running)
    house.end_all()
    assert house.subject.calls_in_flight == house.subject.kept_answers == 0


def test_a_finish_that_starts_a_call_and_breaks_the_law_leaves_no_call_behind() -> None:
    """The call it frees has taken a slot of its grant; only its handler can give that back."""
    grants = GrantRooms()
    house = House(grants)
    house.say([1, 1, b"token"], call(2))
    house.give(1, "grant")
    house.say(call(3, 1, "m", [promised(2)]), call(4, 1), [3, [3, 2**63 - 1]])

    assert house.aborted is not None
    assert set(house.cancelled) <= set(house.running), "cancelled what the shell has never seen"
    house.end_all()
    assert dict(grants.calls) == {}


def test_late_and_double_ids_are_nothing() -> None:
    house = House()
    house.say([1, 1, b"grant"])
    house.give(1, "grant")
    house.say([4, [1]], [4, [1, 1]], [3, [1]], [3, [1, 1]], call(2, 1), call(3, [1, []]), [6, 9])

    assert house.aborted is None
    assert code_of(house.answers()[2])[0] == Invalid.code
    assert code_of(house.answers()[3])[0] == Overloaded.code
    assert house.kinds()[PONG] == 1


def test_the_bootstrap_cannot_be_released() -> None:
    house = House()
    house.say([4, [0]], call(1))

    assert house.aborted is not None or list(house.running) == [1]


def test_the_largest_id_is_the_last_question() -> None:
    house = House()
    house.say(call(2**63 - 1))
    assert list(house.running) == [2**63 - 1]
    house.say(call(1))
    assert house.aborted is not None


# Authority.


def two_grants() -> House:
    house = House()
    house.say([1, 1, b"a"], [1, 2, b"b"])
    house.give(1, "grant a")
    house.give(2, "grant b")
    return house


@pytest.mark.parametrize(
    "arguments",
    [[promised(2)], [[promised(2)]], [{"in": promised(2)}], [msgpack.ExtType(4, b"\x02")]],
    ids=["a promise", "in a list", "in a map", "a reference"],
)
def test_objects_of_two_grants_in_one_call_are_denied(arguments: list[object]) -> None:
    """Attack 17: whoever holds two grants cannot lend one call the strength of both."""
    house = two_grants()
    house.say(call(3, 1, "m", arguments), call(4, [1, []], "m", arguments))

    for number in (3, 4):
        assert code_of(house.answers()[number]) == (Denied.code, NOT_PROCESSED)
    assert house.running == {}


def test_objects_of_two_grants_that_come_later_are_denied_too() -> None:
    """Attack 17: as promises, whose objects come after the call."""
    house = House()
    house.say([1, 1, b"a"], [1, 2, b"b"], call(3, [1, []], "m", [promised(2)]))
    house.give(2, "grant b")
    house.give(1, "grant a")

    assert code_of(house.answers()[3]) == (Denied.code, NOT_PROCESSED)
    assert house.running == {}


def test_a_value_of_another_grant_is_denied_too() -> None:
    """What was read by one authority must not steer a call made by another."""
    house = two_grants()
    house.say(call(3, 2, "read"))
    house.end(3, "secret of b")
    house.say(call(4, 1, "m", [promised(3)]))

    assert code_of(house.answers()[4]) == (Denied.code, NOT_PROCESSED)


@pytest.mark.parametrize(
    "path", [("__class__",), ("_a",), ("a", "__len__"), ("a", "real"), ("keys",), ("a", -1)]
)
def test_a_path_leads_through_keys_and_indexes_and_never_to_an_attribute(
    path: tuple[str | int, ...],
) -> None:
    house = House()
    house.say(call(1))
    house.end(1, {"a": [1, 2]})
    house.say(call(2, [1, list(path)]), call(3, 0, "m", [promised(1, *path)]))

    if -1 in path:
        assert house.aborted is not None
    else:
        assert {code_of(house.answers()[number])[0] for number in (2, 3)} == {Denied.code}
    assert 2 not in house.running
    assert 3 not in house.running


def test_an_argument_cannot_be_changed_through_the_answer_it_came_from() -> None:
    """Two handlers that got one kept value must not write into each other's hands."""
    house = House()
    house.say(call(1))
    house.end(1, {"rows": [1]})
    house.say(call(2, 0, "m", [promised(1)]), call(3, 0, "m", [promised(1)]))
    first, second = house.running[2], house.running[3]
    assert isinstance(first, CallReady)
    assert isinstance(second, CallReady)
    first.arguments[0]["rows"].append("forged")

    assert second.arguments == [{"rows": [1]}]


def test_a_kept_value_named_again_and_again_is_charged_each_time() -> None:
    """A list of 0.5 KB, 4 KB once decoded, in 16 places of each call: 64 KB for 200 bytes."""
    house = House(call_bytes_in_flight=2**17)
    house.say(call(1))
    house.end(1, [0] * 500)
    names = [promised(1)] * 16

    def ask() -> None:
        house.say(*(call(question, 0, "m", names, flags=PLAIN) for question in range(2, 32)))

    assert peak_bytes(ask) < 3 * MIB
    assert len(house.running) < 20
    assert {code_of(answer)[0] for number, answer in house.answers().items() if number > 1} == {
        Overloaded.code
    }


def depth(value: Any) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def test_arguments_put_together_are_no_deeper_than_one_frame_may_be() -> None:
    """31 lists around the name of a value that is 31 lists deep: a handler expects 32 at most."""
    house = House()
    house.say(call(1))
    house.end(1, nested(31, 0))
    house.say(call(2, 0, "m", [nested(30, promised(1))]), call(3, 0, "m", [promised(1)]))

    assert 3 in house.running
    assert all(depth(one.arguments) <= 33 for one in house.running.values())  # type: ignore[union-attr]


def nested(levels: int, inside: Any) -> Any:
    return inside if levels == 0 else [nested(levels - 1, inside)]


def test_arguments_put_together_have_no_more_values_than_one_frame_may_have() -> None:
    """16 names of a list of 8,000 would be 128,000 values for a frame of 200 bytes."""
    house = House(call_bytes_in_flight=2**26)
    house.say(call(1))
    house.end(1, [0] * 8_000)
    house.say(call(2, 0, "m", [promised(1)] * 16), call(3, 0, "m", [promised(1)]))

    assert list(house.running) == [3]
    assert code_of(house.answers()[2]) == (LimitExceeded.code, NOT_PROCESSED)


def test_naming_a_value_sixteen_times_takes_four_times_the_steps_of_naming_it_four_times() -> None:
    """Each name is a few bytes on the wire: what it costs must not grow with the others."""

    def steps(names: int) -> int:
        house = House()
        house.say(call(1))
        house.end(1, [0] * 500)
        return count_lines(lambda: house.say(call(2, 0, "m", [promised(1)] * names)))

    assert steps(16) < 6 * steps(4)


def count_lines(run: Callable[[], object]) -> int:
    """Count the lines of Python that run: the same on a busy machine."""
    lines = 0

    def trace(_frame: object, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return lines
