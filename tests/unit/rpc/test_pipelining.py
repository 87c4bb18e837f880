"""Calls on answers that are not there yet."""

from __future__ import annotations

import pytest

from psp.errors import Denied, Invalid, LimitExceeded, LocalProtocolError, Overloaded, Processed
from psp.rpc import (
    BOOTSTRAP,
    REFERENCE,
    VALUE,
    Exported,
    QuestionId,
    Returned,
)
from psp.testing import Pair
from psp.wire import INITIAL_LIMITS

from ._seen import GivenUp, Ready, Shown, arriving, failures, greeted, handles, ids, over, seen


def test_the_first_flight_holds_the_grant_and_the_call_that_needs_it() -> None:
    """HELLO, PRESENT and CALL leave in one piece; the answers come back in one piece."""
    pair = Pair()
    grant = pair.controller.present(b"token")
    pair.controller.call((grant, ()), "table", ["sales"], remaining_ms=500)

    events = pair.carry_to_subject()
    assert seen(events) == [Shown(1, b"token")]
    ready = pair.subject.resolve_object(handles(events)[0], "the grant", "tag")
    assert seen(ready) == [Ready(2, "the grant", "table", ("sales",), 500, "tag")]
    pair.subject.resolve_value(handles(ready)[0], 7)
    hello, *returns = pair.carry_to_controller()
    assert hello == pair.controller.peer_hello
    assert returns == [Returned(grant, REFERENCE, 1), Returned(QuestionId(2), VALUE, 7)]


def test_calls_on_one_promise_become_ready_in_call_order() -> None:
    pair = greeted()
    first = pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    for index in range(50):
        pair.controller.call((first, ()), "step", [index], remaining_ms=9)
    [call] = arriving(pair)

    ready = pair.subject.resolve_object(call, "object", None)
    assert seen(ready) == [Ready(2 + index, "object", "step", (index,)) for index in range(50)]


def test_a_path_leads_through_maps_and_lists_to_an_object() -> None:
    """An intermediate step may hold objects if its value is not wanted."""
    pair = greeted()
    first = pair.controller.call(BOOTSTRAP, "all", remaining_ms=9, no_result=True)
    pair.controller.call((first, ("rows", 1)), "values", remaining_ms=9)
    [call] = arriving(pair)

    rows = [Exported("row 0", "tag"), Exported("row 1", "tag")]
    ready = pair.subject.resolve_value(call, {"rows": rows})  # type: ignore[dict-item]
    assert seen(ready) == [Ready(2, "row 1", "values", (), 9, "tag")]
    assert pair.carry_to_controller() == [Returned(first, VALUE, None)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("a",), Invalid),
        ((), Invalid),
        (("nothing",), Denied),
        ((0,), Denied),
        (("list", 1), Denied),
        (("list", "0"), Denied),
        (("a", "real"), Denied),
        (("__class__",), Denied),
    ],
)
def test_a_path_to_nothing_or_to_a_plain_value_fails(
    path: tuple[str | int, ...], expected: type
) -> None:
    pair = greeted()
    first = pair.controller.call(BOOTSTRAP, "all", remaining_ms=9)
    pair.controller.call((first, path), "m", remaining_ms=9)
    [call] = arriving(pair)

    assert pair.subject.resolve_value(call, {"a": 1, "list": [1]}) == []
    assert failures(pair.carry_to_controller()) == [(2, expected, Processed.NO)]


def test_no_step_leads_into_an_object() -> None:
    pair = greeted()
    first = pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    pair.controller.call((first, (0,)), "m", remaining_ms=9)
    [call] = arriving(pair)
    assert pair.subject.resolve_object(call, "object", None) == []
    assert failures(pair.carry_to_controller()) == [(2, Denied, Processed.NO)]


def test_a_failed_answer_fails_what_waits_for_it_with_its_code() -> None:
    pair = greeted()
    target = pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    for _ in range(3_000):
        target = pair.controller.call((target, ()), "next", remaining_ms=9)
    [call] = arriving(pair)

    assert pair.subject.fail(call, Denied("no", processed=Processed.YES)) == []
    assert failures(pair.carry_to_controller()) == [
        (1, Denied, Processed.YES),
        *((question, Denied, Processed.NO) for question in range(2, 3_002)),
    ]
    assert pair.subject.calls_in_flight == 0


def test_a_call_on_an_answer_that_has_failed_fails_likewise() -> None:
    pair = greeted()
    first = pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    [call] = arriving(pair)
    pair.subject.fail(call, Denied())
    pair.controller.call((first, ()), "m", remaining_ms=9)
    assert pair.carry_to_subject() == []
    assert failures(pair.carry_to_controller()) == [
        (1, Denied, Processed.NO),
        (2, Denied, Processed.NO),
    ]


def test_a_reference_never_changes_grants() -> None:
    pair = greeted()
    grant = pair.controller.present(b"token")
    pair.controller.call((grant, ()), "table", remaining_ms=9)
    [present] = arriving(pair)
    [call] = handles(pair.subject.resolve_object(present, "grant", "tag A"))
    with pytest.raises(LocalProtocolError, match="another grant"):
        pair.subject.resolve_object(call, "table", "tag B")


def test_finishing_a_promise_does_not_stop_the_calls_made_on_it() -> None:
    pair = greeted()
    first = pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    pair.controller.call((first, ()), "m", remaining_ms=9)
    pair.controller.finish(first)
    [call] = arriving(pair)

    ready = pair.subject.resolve_object(call, "object", None)
    assert seen(ready) == [Ready(2, "object")]
    assert pair.subject.exports == 0, "no reference is given to somebody who gave it up"


def test_a_handler_is_cancelled_once_nobody_waits_any_more() -> None:
    pair = greeted()
    first = pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    second = pair.controller.call((first, ()), "m", remaining_ms=9)
    pair.controller.finish(first)
    [call] = arriving(pair)
    pair.controller.finish(second)
    assert seen(pair.carry_to_subject()) == [GivenUp(1)]
    # The slot is free only when the handler has really ended.
    assert pair.subject.calls_in_flight == 1
    pair.subject.resolve_value(call, 1)
    assert pair.subject.calls_in_flight == 0
    assert pair.carry_to_controller() == []


def test_a_call_beyond_the_slots_is_answered_overloaded() -> None:
    pair = over(calls_in_flight=2)
    for _ in range(3):
        pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    assert len(pair.carry_to_subject()) == 2
    assert failures(pair.carry_to_controller()) == [(3, Overloaded, Processed.NO)]


def test_a_cancelled_call_keeps_its_slot_until_it_ends() -> None:
    """Opening and cancelling in a loop must not start more work than the limit."""
    pair = over(calls_in_flight=2)
    for _ in range(2):
        pair.controller.finish(pair.controller.call(BOOTSTRAP, "m", remaining_ms=9))
    pair.carry_to_subject()
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    assert pair.carry_to_subject() == []
    assert failures(pair.carry_to_controller()) == [(3, Overloaded, Processed.NO)]


def test_calls_beyond_the_bytes_in_flight_are_answered_overloaded() -> None:
    pair = over(call_bytes_in_flight=1_000)
    for _ in range(3):
        pair.controller.call(BOOTSTRAP, "m", ["x" * 400], remaining_ms=9)
    assert len(pair.carry_to_subject()) == 2
    assert failures(pair.carry_to_controller()) == [(3, Overloaded, Processed.NO)]


def test_calls_beyond_an_answers_queue_are_answered_overloaded() -> None:
    pair = over(queued_per_answer=2)
    first = pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    for _ in range(3):
        pair.controller.call((first, ()), "m", remaining_ms=9)
    [call] = arriving(pair)
    assert failures(pair.carry_to_controller()) == [(4, Overloaded, Processed.NO)]
    assert ids(pair.subject.resolve_object(call, "object", None)) == [2, 3]


def test_answers_beyond_the_kept_ones_are_refused_unless_nothing_is_kept() -> None:
    pair = over(answers_retained=2)
    for _ in range(2):
        pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    refused = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    pair.controller.call((refused, ()), "on the refused", remaining_ms=9, no_pipelining=True)
    pair.controller.call(BOOTSTRAP, "plain", remaining_ms=9, no_pipelining=True)
    assert ids(pair.carry_to_subject()) == [1, 2, 5]
    assert failures(pair.carry_to_controller()) == [
        (3, Overloaded, Processed.NO),
        (4, Overloaded, Processed.NO),
    ]


def test_a_finish_makes_room_for_the_very_next_call() -> None:
    """FINISH usually leaves last, to share a frame; not when the call needs its room."""
    pair = greeted()
    for _ in range(4_096):
        pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    for call in arriving(pair):
        pair.subject.resolve_value(call, None)
    pair.carry_to_controller()
    pair.controller.finish(QuestionId(1))
    pair.controller.call(BOOTSTRAP, "one more", remaining_ms=9)
    assert len(pair.carry_to_subject()) == 1
    assert pair.carry_to_controller() == []


def test_a_value_too_large_to_keep_beside_others_is_sent_and_not_kept() -> None:
    pair = over(retained_bytes=100)
    first = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    [call] = arriving(pair)
    pair.subject.resolve_value(call, "x" * 200)
    assert pair.carry_to_controller() == [Returned(first, VALUE, "x" * 200)]
    pair.controller.call((first, ()), "m", remaining_ms=9)
    pair.carry_to_subject()
    assert failures(pair.carry_to_controller()) == [(2, Overloaded, Processed.NO)]


def test_references_beyond_their_limit_are_refused_until_one_is_released() -> None:
    pair = over(exports=1)
    for _ in range(2):
        pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    first, second = arriving(pair)
    pair.subject.resolve_object(first, "a", None)
    pair.subject.resolve_object(second, "b", None)
    held, *_ = returned = pair.carry_to_controller()
    assert failures(returned) == [(2, Overloaded, Processed.YES)]
    assert isinstance(held, Returned)
    pair.controller.release(held.payload)  # type: ignore[arg-type]
    pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    [third] = arriving(pair)
    pair.subject.resolve_object(third, "c", None)
    assert pair.carry_to_controller() == [Returned(QuestionId(3), REFERENCE, 2)]


def test_a_path_longer_than_the_limit_is_answered_limit() -> None:
    """A controller of ours refuses it before it is sent; another one may not."""
    pair = greeted()
    first = pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    with pytest.raises(LimitExceeded, match="17 steps"):
        pair.controller.call((first, (0,) * 17), "m", remaining_ms=9)
    pair.controller.peer_limits = INITIAL_LIMITS._replace(path_length=99)
    pair.controller.call((first, (0,) * 17), "m", remaining_ms=9)
    pair.carry_to_subject()
    assert failures(pair.carry_to_controller()) == [(2, LimitExceeded, Processed.NO)]


def test_a_token_longer_than_the_limit_is_answered_limit() -> None:
    pair = greeted()
    with pytest.raises(LimitExceeded, match="shorter chain"):
        pair.controller.present(b"x" * 32_769)
    pair.controller.peer_limits = INITIAL_LIMITS._replace(token_bytes=99_999)
    pair.controller.present(b"x" * 32_769)
    assert pair.carry_to_subject() == []
    assert failures(pair.carry_to_controller()) == [(1, LimitExceeded, Processed.NO)]


def test_a_result_above_what_the_caller_takes_is_a_limit_and_has_run() -> None:
    pair = greeted()
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, accept_bytes=100)
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    first, second = arriving(pair)
    pair.subject.resolve_value(first, "x" * 100)
    pair.subject.resolve_value(second, "x" * 300_000)
    assert failures(pair.carry_to_controller()) == [
        (1, LimitExceeded, Processed.YES),
        (2, LimitExceeded, Processed.YES),
    ]
