"""What happens to a call depends on when it is settled; nothing else does."""

from __future__ import annotations

import pytest

from psp.errors import Denied, HandlerFailed, LimitExceeded, Overloaded, Processed
from psp.rpc import (
    BOOTSTRAP,
    VALUE,
    Aborted,
    CallReady,
    Cancelled,
    ExportId,
    Ponged,
    QuestionId,
    Returned,
)
from psp.wire import CALL, FINISH, FLAG_NO_PIPELINING, FLAG_NO_RESULT, PING, Promised

from ._seen import Ready, arriving, failures, greeted, handles, ids, over, seen, written


def plain_calls(count: int, flags: int = FLAG_NO_PIPELINING) -> bytes:
    return written(*((CALL, each + 1, 0, "m", [], 9, 999, flags, None) for each in range(count)))


@pytest.mark.parametrize("flags", [0, FLAG_NO_PIPELINING])
@pytest.mark.parametrize("value", [None, 7, "text", [1]])
def test_a_call_that_is_settled_at_once_is_never_in_flight(flags: int, value: object) -> None:
    pair = over(calls_in_flight=1)
    for event in pair.subject.receive(plain_calls(50, flags)):
        pair.subject.resolve_value(handles([event])[0], value)  # type: ignore[arg-type]
        assert pair.subject.calls_in_flight == 0
    assert pair.subject.kept_answers == (0 if flags else 50)
    for _ in range(50):
        pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, no_pipelining=flags > 0)
    answers = pair.carry_to_controller()
    assert answers == [Returned(QuestionId(each + 1), VALUE, value) for each in range(50)]  # type: ignore[arg-type]


def _chain(*steps: tuple[object, int]) -> bytes:
    """Calls 1, 2, ... with these targets and flags."""
    return written(
        *((CALL, at, to, "m", [], 9, 999, flags, None) for at, (to, flags) in enumerate(steps, 1))
    )


@pytest.mark.parametrize("flags", [0, FLAG_NO_RESULT])
def test_each_step_of_a_chain_that_is_settled_at_once_is_made_on_the_one_before(flags: int) -> None:
    pair = over(calls_in_flight=1)
    steps = [(0, flags), *(([at, []], flags) for at in range(1, 9)), ([9, []], FLAG_NO_PIPELINING)]
    made_on = []
    for event in pair.subject.receive(_chain(*steps)):
        assert isinstance(event, CallReady)
        made_on.append(event.object)
        pair.subject.resolve_object(event, event.answer_id, None)
        assert pair.subject.calls_in_flight == 0
    assert made_on == ["bootstrap", *range(1, 10)]
    assert pair.subject.kept_answers == 9
    assert pair.subject.exports == (1 if flags else 10), "a step gives no reference"


def test_objects_given_at_once_take_the_room_of_kept_answers() -> None:
    pair = over(answers_retained=2)
    steps = [(0, FLAG_NO_RESULT), ([1, []], FLAG_NO_RESULT), ([2, []], FLAG_NO_RESULT)]
    for event in pair.subject.receive(_chain(*steps, ([2, []], FLAG_NO_PIPELINING))):
        pair.subject.resolve_object(handles([event])[0], "object", None)
    assert pair.subject.kept_answers == 2
    for _ in range(4):
        pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, no_result=True)
    assert failures(pair.carry_to_controller()) == [(3, Overloaded, Processed.NO)]


def test_an_object_given_at_once_has_nothing_inside_to_step_into() -> None:
    pair = greeted()
    steps = _chain((0, FLAG_NO_RESULT), ([1, ["key"]], FLAG_NO_PIPELINING))
    for event in pair.subject.receive(steps):
        pair.subject.resolve_object(handles([event])[0], "object", None)
    for _ in range(2):
        pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, no_result=True)
    assert failures(pair.carry_to_controller()) == [(2, Denied, Processed.NO)]


def test_a_call_that_is_not_settled_at_once_is_in_flight() -> None:
    pair = over(calls_in_flight=2)
    calls = handles(pair.subject.receive(plain_calls(3)))
    assert pair.subject.calls_in_flight == len(calls) == 2
    for call in calls:
        pair.subject.resolve_value(call, 1)
    assert pair.subject.calls_in_flight == 0


def test_the_limit_holds_for_deferred_calls_among_those_settled_at_once() -> None:
    pair = over(calls_in_flight=2)
    for _ in range(9):
        pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, no_pipelining=True)
    deferred = []
    for event in pair.subject.receive(pair.controller.data_to_send()):
        [call] = handles([event])
        if call.answer_id % 3:
            pair.subject.resolve_value(call, 1)
        else:
            deferred.append(call)
    assert [call.answer_id for call in deferred] == [3, 6]
    assert failures(pair.carry_to_controller()) == [
        (question, Overloaded, Processed.NO) for question in (7, 8, 9)
    ]


def test_a_frame_is_looked_at_when_the_event_before_it_was_handled() -> None:
    """A FINISH in the same bytes finds the call in flight, or does not find it at all."""
    for at_once, expected in ((True, []), (False, [Cancelled])):
        pair = greeted()
        events = pair.subject.receive(plain_calls(1) + written((FINISH, [1])))
        [call] = handles([next(events)])
        if at_once:
            pair.subject.resolve_value(call, 1)
        assert list(map(type, events)) == expected


def test_a_reference_given_at_once_is_there_for_the_next_frame() -> None:
    pair = greeted()
    events = pair.subject.receive(plain_calls(1) + written((CALL, 2, 1, "m", [], 9, 9, 0, None)))
    [call] = handles([next(events)])
    pair.subject.resolve_object(call, "object", None)
    assert seen(events) == [Ready(2, "object")]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("flags", [0, FLAG_NO_PIPELINING])
@pytest.mark.parametrize("is_settled", [True, False])
def test_nothing_is_heard_after_an_abort_between_two_events(
    is_settled: bool, flags: int, count: int
) -> None:
    pair = greeted()
    rest = written((PING, 1), (FINISH, [1]))
    events = pair.subject.receive(plain_calls(count, flags) + rest)
    [call] = handles([next(events)])
    if is_settled:
        pair.subject.resolve_value(call, None)
    assert isinstance(pair.subject.abort(3, "enough")[-1], Aborted)
    told = pair.subject.waiting_bytes
    assert list(events) == []
    assert pair.subject.waiting_bytes == told, "after an ABORT nothing is said"
    assert pair.subject.calls_in_flight == pair.subject.kept_answers == 0
    assert pair.subject.resolve_value(call, None) == ()


def test_nothing_is_heard_after_an_abort_among_the_events_of_one_frame() -> None:
    """A handler that starts after the end would never be cancelled."""
    pair = greeted()
    pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    [opening] = arriving(pair)
    pair.subject.resolve_object(opening, "object", None)
    pair.carry_to_controller()
    argument = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    held = ExportId(1)
    waiting = pair.controller.call(held, "m", [Promised([argument, []])], remaining_ms=9)
    for _ in range(2):
        pair.controller.call(held, "m", remaining_ms=9)
    arriving(pair)
    pair.controller.finish(waiting)
    events = pair.subject.receive(pair.controller.data_to_send())
    assert ids([next(events)]) == [4]
    pair.subject.abort(3, "enough")
    assert list(events) == []


@pytest.mark.parametrize("flags", [0, FLAG_NO_PIPELINING])
@pytest.mark.parametrize("accept", [100, 2**40])
@pytest.mark.parametrize("value", ["x" * 300_000, b"x" * 300_000, ["x" * 300_000]])
def test_a_result_that_is_too_large_is_a_limit_when_it_comes_at_once_too(
    value: object, accept: int, flags: int
) -> None:
    pair = greeted()
    pair.controller.call(
        BOOTSTRAP, "m", remaining_ms=9, accept_bytes=accept, no_pipelining=flags > 0
    )
    for event in pair.subject.receive(pair.controller.data_to_send()):
        pair.subject.resolve_value(handles([event])[0], value)  # type: ignore[arg-type]
    assert failures(pair.carry_to_controller()) == [(1, LimitExceeded, Processed.YES)]
    assert pair.subject.calls_in_flight == 0


@pytest.mark.parametrize("accept", range(0, 40))
@pytest.mark.parametrize("value", [None, True, -(2**63), "ten letters"])
def test_a_short_result_obeys_what_the_caller_takes_when_it_comes_at_once(
    value: object, accept: int
) -> None:
    """The shortcut for short values must say what the long way says."""
    said = []
    for at_once in (True, False):
        pair = greeted()
        pair.controller.call(
            BOOTSTRAP, "m", remaining_ms=9, accept_bytes=accept, no_pipelining=True
        )
        calls = []
        for event in pair.subject.receive(pair.controller.data_to_send()):
            calls += handles([event])
            if at_once:
                pair.subject.resolve_value(calls[0], value)  # type: ignore[arg-type]
        if not at_once:
            pair.subject.resolve_value(calls[0], value)  # type: ignore[arg-type]
        said.append(pair.subject.data_to_send())
    assert said[0] == said[1] != b""


def test_a_call_fails_at_once_too() -> None:
    pair = greeted()
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, no_pipelining=True)
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    for event in pair.subject.receive(pair.controller.data_to_send()):
        pair.subject.fail(handles([event])[0], HandlerFailed())
    assert failures(pair.carry_to_controller()) == [
        (1, HandlerFailed, Processed.NO),
        (2, HandlerFailed, Processed.NO),
    ]
    assert (pair.subject.calls_in_flight, pair.subject.kept_answers) == (0, 1)


def test_an_invocation_passes_through_unchecked() -> None:
    pair = greeted()
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, invocation=b"signature")
    first = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    pair.controller.call((first, ()), "m", remaining_ms=9, invocation=b"of a pipelined one")
    events = pair.carry_to_subject()
    assert seen(events) == [Ready(1, "bootstrap", invocation=b"signature"), Ready(2, "bootstrap")]
    ready = pair.subject.resolve_object(handles(events)[1], "object", None)
    assert seen(ready) == [Ready(3, "object", invocation=b"of a pipelined one")]
    with pytest.raises(LimitExceeded, match="4097 bytes"):
        pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, invocation=b"x" * 4_097)


def test_a_ping_is_answered_at_once_with_its_number() -> None:
    pair = greeted()
    assert [pair.controller.ping() for _ in range(3)] == [1, 2, 3]
    assert pair.carry_to_subject() == []
    assert pair.carry_to_controller() == [Ponged(1), Ponged(2), Ponged(3)]
    assert list(pair.subject.receive(written((PING, 0), (PING, 2**63 - 1)))) == []
    [aborted] = pair.carry_to_controller()[-1:]
    assert isinstance(aborted, Aborted), "nobody asked for the highest number"
    told = pair.controller.waiting_bytes
    assert pair.controller.ping() == 4
    assert pair.controller.waiting_bytes == told, "after an ABORT nothing is said"
