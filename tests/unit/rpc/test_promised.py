"""Answers and references as arguments: what arrives, what is denied, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from psp.errors import Denied, Invalid, LimitExceeded, LocalProtocolError, Overloaded, Processed
from psp.rpc import (
    BOOTSTRAP,
    Aborted,
    Answer,
    CallReady,
    Exported,
    ExportId,
    QuestionId,
    Target,
)
from psp.testing import Pair
from psp.wire import CALL, FINISH, PROMISED_MAX, Promised

from ._seen import (
    GivenUp,
    Ready,
    arriving,
    failures,
    greeted,
    handles,
    ids,
    over,
    seen,
    written,
)


def promised(question: QuestionId, *path: str | int) -> Promised:
    return Promised([question, list(path)])


def ask(pair: Pair, *arguments: Any, on: Target = BOOTSTRAP, **asked: Any) -> QuestionId:
    return pair.controller.call(on, "m", arguments, remaining_ms=9, **asked)


def hold(pair: Pair, thing: object, tag: object = None) -> ExportId:
    """Let the controller hold a reference of a grant."""
    pair.controller.present(b"token")
    [present] = arriving(pair)
    pair.subject.resolve_object(present, thing, tag)
    pair.carry_to_controller()
    return ExportId(pair.subject._naming._last_export)


def resolve(pair: Pair, call: Answer, value: Any) -> list[object]:
    return seen(pair.subject.resolve_value(call, value))


# What arrives.


def test_an_object_arrives_as_the_object_itself() -> None:
    pair = greeted()
    opened = ask(pair)
    ask(pair, promised(opened))
    [call] = arriving(pair)
    thing = object()
    [ready] = pair.subject.resolve_object(call, thing, None)
    assert isinstance(ready, CallReady)
    assert ready.arguments == [thing]


def test_a_reference_that_is_held_arrives_as_its_object() -> None:
    pair = greeted()
    held = hold(pair, "thing")
    ask(pair, Promised(held), Promised(0))
    assert seen(pair.carry_to_subject()) == [
        Ready(2, "bootstrap", arguments=("thing", "bootstrap"))
    ]


def test_a_value_arrives_as_the_value() -> None:
    pair = greeted()
    first = ask(pair)
    ask(pair, 1, promised(first), "z")
    [call] = arriving(pair)
    assert resolve(pair, call, {"a": [1]}) == [
        Ready(2, "bootstrap", arguments=(1, {"a": [1]}, "z"))
    ]


def test_a_path_leads_to_a_part_of_a_value() -> None:
    pair = greeted()
    first = ask(pair)
    ask(pair, promised(first, "rows", 1), promised(first, "é"))
    [call] = arriving(pair)
    # The keys and lists are those that the caller sees: composed, and a tuple is a list.
    assert resolve(pair, call, {"rows": (1, 2), "e\u0301": 3}) == [
        Ready(2, "bootstrap", arguments=(2, 3))
    ]


def test_names_stand_anywhere_in_maps_and_lists() -> None:
    pair = greeted()
    held = hold(pair, "thing")
    first, second = ask(pair), ask(pair)
    ask(
        pair,
        {"a": [promised(first), {"b": promised(second, "x")}], "c": Promised(held)},
        [[promised(second)]],
    )
    one, two = arriving(pair)
    assert resolve(pair, two, {"x": 5}) == []
    assert resolve(pair, one, None) == [
        Ready(4, "bootstrap", arguments=({"a": [None, {"b": 5}], "c": "thing"}, [[{"x": 5}]]))
    ]


def test_answers_that_are_there_already_cost_no_waiting() -> None:
    pair = greeted()
    first = ask(pair)
    [call] = arriving(pair)
    resolve(pair, call, [7])
    ask(pair, promised(first), promised(first, 0))
    assert seen(pair.carry_to_subject()) == [Ready(2, "bootstrap", arguments=([7], 7))]


def test_a_call_waits_for_its_target_and_for_all_that_it_names() -> None:
    pair = greeted()
    target, first, second = ask(pair), ask(pair), ask(pair)
    ask(pair, promised(first), promised(second), on=(target, ()))
    one, two, three = arriving(pair)
    assert resolve(pair, three, 3) == []
    assert seen(pair.subject.resolve_object(one, "object", None)) == []
    assert resolve(pair, two, 2) == [Ready(4, "object", arguments=(2, 3))]


def test_a_call_may_name_the_answer_that_it_is_made_on() -> None:
    pair = greeted()
    target = ask(pair, no_result=True)
    ask(pair, promised(target, "n"), promised(target, "object"), on=(target, ("object",)))
    [call] = arriving(pair)
    assert resolve(pair, call, {"n": 1, "object": Exported("thing", None)}) == [
        Ready(2, "thing", arguments=(1, "thing"))
    ]


@pytest.mark.parametrize("is_late", [False, True])
def test_what_a_handler_does_to_its_arguments_stays_with_it(is_late: bool) -> None:
    pair = greeted()
    first = ask(pair)
    if is_late:
        [call] = arriving(pair)
        resolve(pair, call, {"list": [1]})
    ask(pair, promised(first), promised(first, "list"))
    ask(pair, promised(first))
    events: list[Any] = list(pair.carry_to_subject())
    if not is_late:
        events = list(pair.subject.resolve_value(handles(events)[0], {"list": [1]}))
    one, other = events
    one.arguments[0]["list"].append("mine")
    one.arguments[1].clear()
    assert other.arguments == [{"list": [1]}]
    ask(pair, promised(first))
    [again] = pair.carry_to_subject()
    assert isinstance(again, CallReady)
    assert again.arguments == [{"list": [1]}]


def test_what_a_handler_does_to_its_result_afterwards_changes_no_answer() -> None:
    pair = greeted()
    first = ask(pair)
    [call] = arriving(pair)
    result: list[Any] = [1]
    resolve(pair, call, result)
    result.append("later")
    ask(pair, promised(first))
    assert seen(pair.carry_to_subject()) == [Ready(2, "bootstrap", arguments=([1],))]


# What fails.


@pytest.mark.parametrize("is_late", [False, True])
def test_a_failed_answer_fails_the_calls_that_name_it(is_late: bool) -> None:
    pair = greeted()
    first = ask(pair)
    events: list[Any] = []
    if is_late:
        [call] = arriving(pair)
        pair.subject.fail(call, Denied("no", processed=Processed.YES))
    ask(pair, [promised(first)])
    events = list(pair.carry_to_subject())
    if not is_late:
        assert pair.subject.fail(handles(events)[0], Denied("no", processed=Processed.YES)) == []
    assert failures(pair.carry_to_controller()) == [
        (1, Denied, Processed.YES),
        (2, Denied, Processed.NO),
    ]
    assert pair.subject.calls_in_flight == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("nothing",), Denied),
        (("list", 5), Denied),
        (("text", "upper"), Denied),
        (("__class__",), Denied),
        (("objects",), Invalid),
        (("secret",), Invalid),
        ((), Invalid),
    ],
)
def test_a_path_to_nothing_or_to_what_is_no_value_fails(
    path: tuple[str | int, ...], expected: type
) -> None:
    """A handler's own Python objects never reach another one by name."""
    pair = greeted()
    first = ask(pair, no_result=True)
    ask(pair, promised(first, *path))
    [call] = arriving(pair)
    value = {"list": [1], "text": "t", "objects": [Exported("o", None)], "secret": {1, 2}}
    assert resolve(pair, call, value) == []
    assert failures(pair.carry_to_controller()) == [(2, expected, Processed.NO)]
    assert pair.subject.calls_in_flight == 0


def test_a_released_reference_as_an_argument_is_invalid() -> None:
    pair = greeted()
    held = hold(pair, "thing")
    pair.controller.release(held)
    pair.carry_to_subject()
    frame = (CALL, 2, 0, "m", [Promised(held)], 9, 9, 0, None)
    assert list(pair.subject.receive(written(frame))) == []
    assert b"released" in pair.subject.data_to_send()


@pytest.mark.parametrize(
    "name",
    [
        Promised([2, []]),
        Promised([3, []]),
        Promised([2**63 - 1, ["a"]]),
        Promised(5),
    ],
)
@pytest.mark.parametrize("wrapped", [list, lambda name: {"k": [name[0]]}])
def test_a_name_of_the_call_itself_or_of_a_later_question_ends_the_connection(
    name: Promised, wrapped: Callable[[list[Promised]], object]
) -> None:
    pair = greeted()
    ask(pair)
    [call] = arriving(pair)
    frame = (CALL, 2, 0, "m", [wrapped([name])], 9, 9, 0, None)
    cancelled, aborted = list(pair.subject.receive(written(frame)))
    assert seen([cancelled]) == [GivenUp(1)]
    assert isinstance(aborted, Aborted)
    assert pair.subject.resolve_value(call, None) == ()


def test_a_name_of_what_we_do_not_hold_is_refused_before_it_is_sent() -> None:
    pair = greeted()
    plain = ask(pair, no_pipelining=True)
    finished = ask(pair)
    pair.controller.finish(finished)
    sent = pair.controller.waiting_bytes
    for name in (promised(plain), promised(finished), promised(QuestionId(9)), Promised(4)):
        with pytest.raises(LocalProtocolError):
            ask(pair, [{"deep": name}])
    first = ask(pair)
    with pytest.raises(LimitExceeded, match="names of answers"):
        ask(pair, *[promised(first)] * (PROMISED_MAX + 1))
    with pytest.raises(LimitExceeded, match="17 steps"):
        ask(pair, promised(first, *range(17)))
    pair.controller.finish(first)
    assert pair.controller.open_questions == 1
    assert pair.controller.waiting_bytes > sent
    assert ids(pair.carry_to_subject()[:1]) == [1]


# Grants.


def two_grants() -> tuple[Pair, ExportId, ExportId]:
    pair = greeted()
    return pair, hold(pair, "a", "tag A"), hold(pair, "b", "tag B")


def test_an_object_of_another_grant_is_denied() -> None:
    pair, a, b = two_grants()
    ask(pair, Promised(b), on=a)
    ask(pair, Promised(a), on=a)
    assert ids(pair.carry_to_subject()) == [4]
    assert failures(pair.carry_to_controller()) == [(3, Denied, Processed.NO)]


def test_an_object_of_another_grant_is_denied_when_it_comes_later_too() -> None:
    pair, a, b = two_grants()
    other = ask(pair, on=b)
    ask(pair, promised(other), on=a)
    call, *_ = arriving(pair)
    assert pair.subject.resolve_object(call, "of b", "tag B") == []
    assert failures(pair.carry_to_controller()) == [(4, Denied, Processed.NO)]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_value_of_another_grant_is_denied(is_late: bool) -> None:
    """Else what one grant hides could be asked about with the other's numbers."""
    pair, a, b = two_grants()
    other = ask(pair, on=b)
    if is_late:
        [call] = arriving(pair)
        resolve(pair, call, {"deep": 1})
    ask(pair, [promised(other, "deep")], on=a)
    ask(pair, [promised(other, "deep")], on=b)
    events = pair.carry_to_subject()
    if not is_late:
        events = list(pair.subject.resolve_value(handles(events)[0], {"deep": 1}))
    assert ids(events) == [5]
    assert failures(pair.carry_to_controller()) == [(4, Denied, Processed.NO)]
    assert pair.subject.calls_in_flight == 1


def test_objects_of_two_grants_may_not_meet_on_the_bootstrap() -> None:
    pair, a, b = two_grants()
    ask(pair, Promised(a), Promised(b))
    ask(pair, Promised(a))
    assert pair.carry_to_subject() == []
    assert len(failures(pair.carry_to_controller())) == 2


# Order.


def test_calls_on_one_reference_wait_behind_one_that_waits_for_an_argument() -> None:
    pair = greeted()
    held, other = hold(pair, "object"), hold(pair, "other")
    argument = ask(pair)
    ask(pair, promised(argument), on=held)
    ask(pair, on=held)
    ask(pair, on=other)
    events = pair.carry_to_subject()
    assert ids(events) == [3, 6]
    assert ids(pair.subject.resolve_value(handles(events)[0], 1)) == [4, 5]
    ask(pair, on=held)
    assert ids(pair.carry_to_subject()) == [7]


def test_the_line_is_the_references_whatever_name_it_is_called_by() -> None:
    pair = greeted()
    opened = ask(pair)
    [call] = arriving(pair)
    pair.subject.resolve_object(call, "object", None)
    pair.carry_to_controller()
    argument = ask(pair)
    ask(pair, promised(argument), on=(opened, ()))
    ask(pair, on=ExportId(1))
    ask(pair, on=(opened, ()))
    [waited] = arriving(pair)
    assert ids(pair.subject.resolve_value(waited, 1)) == [3, 4, 5]


def test_calls_in_line_enter_in_order_when_arguments_come_out_of_order() -> None:
    pair = greeted()
    held = hold(pair, "object")
    arguments = [ask(pair) for _ in range(3)]
    for argument in arguments:
        ask(pair, promised(argument), on=held)
    one, two, three = arriving(pair)
    assert ids(pair.subject.resolve_value(three, 3)) == []
    assert ids(pair.subject.resolve_value(one, 1)) == [5]
    assert ids(pair.subject.resolve_value(two, 2)) == [6, 7]


def test_a_call_whose_argument_fails_leaves_the_line() -> None:
    pair = greeted()
    held = hold(pair, "object")
    argument = ask(pair)
    ask(pair, promised(argument), on=held)
    ask(pair, on=held)
    [call] = arriving(pair)
    assert ids(pair.subject.fail(call, Denied())) == [4]


def test_a_waiting_call_that_is_finished_leaves_the_line() -> None:
    pair = greeted()
    held = hold(pair, "object")
    argument = ask(pair)
    waiting = ask(pair, promised(argument), on=held)
    ask(pair, on=held)
    [call] = arriving(pair)
    pair.controller.finish(waiting)
    assert ids(pair.carry_to_subject()) == [4]
    assert pair.subject.calls_in_flight == 2
    # Nobody waits for the argument any more, but its own asker does.
    assert resolve(pair, call, 1) == []


def test_a_call_that_nobody_wants_waits_on_for_those_that_were_made_on_it() -> None:
    pair = greeted()
    argument = ask(pair)
    waiting = ask(pair, promised(argument))
    ask(pair, on=(waiting, ()))
    pair.controller.finish(waiting)
    [call] = arriving(pair)
    assert ids(pair.subject.resolve_value(call, 1)) == [2]


def test_a_named_answer_that_is_finished_still_arrives() -> None:
    pair = greeted()
    argument = ask(pair)
    ask(pair, promised(argument))
    pair.controller.finish(argument)
    [call] = arriving(pair)
    assert resolve(pair, call, 7) == [Ready(2, "bootstrap", arguments=(7,))]
    assert pair.subject.kept_answers == 0


def test_a_named_answer_is_cancelled_when_the_last_that_waits_is_finished() -> None:
    pair = greeted()
    argument = ask(pair)
    waiting = [ask(pair, promised(argument)) for _ in range(2)]
    pair.controller.finish(argument)
    [call] = arriving(pair)
    pair.controller.finish(waiting[0])
    assert pair.carry_to_subject() == []
    pair.controller.finish(waiting[1])
    assert seen(pair.carry_to_subject()) == [GivenUp(1)]
    resolve(pair, call, None)
    assert pair.subject.calls_in_flight == pair.subject.kept_answers == 0


def test_a_line_longer_than_its_limit_is_answered_overloaded() -> None:
    pair = over(queued_per_answer=2)
    held = hold(pair, "object")
    argument = ask(pair)
    ask(pair, promised(argument), on=held)
    ask(pair, on=held)
    ask(pair, on=held)
    [call] = arriving(pair)
    assert failures(pair.carry_to_controller()) == [(5, Overloaded, Processed.NO)]
    assert ids(pair.subject.resolve_value(call, 1)) == [3, 4]


def test_the_end_of_the_connection_forgets_who_waits() -> None:
    pair = greeted()
    held = hold(pair, "object")
    argument = ask(pair)
    ask(pair, promised(argument), on=held)
    ask(pair, on=held)
    [call] = arriving(pair)
    assert seen(pair.cut()[1]) == [GivenUp(2)]
    assert pair.subject.resolve_value(call, 1) == ()


# Room.


def held_bytes(pair: Pair) -> int:
    return pair.subject._answers.room._call_bytes


def test_the_bytes_of_arguments_that_come_are_charged_and_given_back() -> None:
    pair = greeted()
    argument, other = ask(pair), ask(pair)
    ask(pair, promised(argument), promised(other))
    one, two = arriving(pair)
    before = held_bytes(pair)
    resolve(pair, one, "x" * 10_000)
    assert before + 9_000 < held_bytes(pair) < before + 11_000
    [ready] = handles(pair.subject.resolve_value(two, 1))
    resolve(pair, ready, None)
    assert held_bytes(pair) == 0


def test_a_waiting_call_that_is_finished_gives_its_arguments_back() -> None:
    pair = greeted()
    argument, other = ask(pair), ask(pair)
    waiting = ask(pair, promised(argument), promised(other))
    one, two = arriving(pair)
    resolve(pair, one, "x" * 10_000)
    pair.controller.finish(waiting)
    pair.carry_to_subject()
    resolve(pair, two, 1)
    assert held_bytes(pair) == 0


def test_an_argument_that_finds_no_room_fails_the_call() -> None:
    pair = over(call_bytes_in_flight=12_000)
    argument, other = ask(pair), ask(pair)
    ask(pair, promised(argument), promised(argument), promised(other))
    one, two = arriving(pair)
    assert resolve(pair, one, "x" * 10_000) == []
    assert failures(pair.carry_to_controller()) == [(3, Overloaded, Processed.NO)]
    resolve(pair, two, 1)
    assert held_bytes(pair) == 0


def test_a_kept_answer_that_is_named_over_and_over_is_charged_each_time() -> None:
    """200 bytes of CALL would otherwise pin 16 copies of a frame while they wait."""
    pair = over(call_bytes_in_flight=100_000)
    large, other = ask(pair), ask(pair)
    one, two = arriving(pair)
    resolve(pair, one, "x" * 10_000)
    pair.carry_to_controller()
    for _ in range(3):
        ask(pair, *[promised(large)] * 4, promised(other))
    ask(pair, *[promised(large)] * 16)
    assert pair.carry_to_subject() == []
    assert failures(pair.carry_to_controller()) == [
        (5, Overloaded, Processed.NO),
        (6, Overloaded, Processed.NO),
    ]
    ready = handles(pair.subject.resolve_value(two, 1))
    assert ids([*ready]) == [3, 4]  # type: ignore[list-item]
    for call in ready:
        resolve(pair, call, None)
    assert held_bytes(pair) == 0


def test_arguments_that_were_put_together_obey_the_limits_of_one_frame() -> None:
    """A handler is promised 32 levels and 65,536 values, however they came."""
    pair = greeted()
    deep: list[Any] = []
    for _ in range(29):
        deep = [deep]
    first, second = ask(pair), ask(pair)
    one, two = arriving(pair)
    resolve(pair, one, deep)
    resolve(pair, two, [0] * 5_000)
    ask(pair, promised(first))
    ask(pair, [[promised(first)]])
    ask(pair, promised(second))
    ask(pair, promised(second), promised(second))
    assert ids(pair.carry_to_subject()) == [3, 5]
    assert failures(pair.carry_to_controller()) == [
        (4, LimitExceeded, Processed.NO),
        (6, LimitExceeded, Processed.NO),
    ]


def test_objects_and_values_stand_beside_each_other() -> None:
    """The objects are put in last: nothing of them is checked as a value is."""
    pair = greeted()
    held = hold(pair, {"not": {"a value"}})
    first = ask(pair)
    ask(pair, Promised(held), promised(first), {"again": Promised(held)})
    [call] = arriving(pair)
    [ready] = pair.subject.resolve_value(call, 1)
    assert isinstance(ready, CallReady)
    thing = {"not": {"a value"}}
    assert ready.arguments == [thing, 1, {"again": thing}]


def test_a_finish_that_breaks_the_law_has_no_effect_but_the_end() -> None:
    pair = greeted()
    held = hold(pair, "object")
    argument = ask(pair)
    ask(pair, promised(argument), on=held)
    ask(pair, on=held)
    arriving(pair)
    events = seen(pair.subject.receive(written((FINISH, [3, 2**63 - 1]))))
    assert events[:-1] == [GivenUp(2)]
    assert isinstance(events[-1], Aborted)
