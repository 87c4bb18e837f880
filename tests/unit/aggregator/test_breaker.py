"""When a member is asked again: the breaker's table, and which errors are worth another try."""

from __future__ import annotations

import pytest

from psp.aggregator import Breaker, BreakerState, RetryBudget
from psp.aggregator._breaker import TRANSITIONS, Step, is_failure, may_retry, retry_wait_s
from psp.aggregator._limits import (
    ATTEMPTS_MAX,
    FAILURES_MAX,
    PAUSE_S,
    PAUSE_S_MAX,
    RETRIES_SAVED_MAX,
    RETRY_WAIT_S,
    RETRY_WAIT_S_MAX,
)
from psp.errors import (
    CALL_FAILURES,
    ConnectionLost,
    Denied,
    NotPaired,
    Overloaded,
    Processed,
    PSPError,
    Unreachable,
)


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_MAX):
        ticket = breaker.admit(0)
        assert ticket is not None
        breaker.fail(ticket, now_s=0, chance=1)
    return breaker


def test_the_table_has_every_step_but_a_second_probe() -> None:
    assert {(state, step) for state in BreakerState for step in Step} - set(TRANSITIONS) == {
        (BreakerState.PROBING, Step.ADMIT)
    }


def test_an_answer_between_failures_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(10 * FAILURES_MAX):
        ticket = breaker.admit(0)
        assert ticket is not None
        breaker.fail(ticket, 0, 0)
        breaker.answer()
    assert breaker.state is BreakerState.CLOSED


def test_one_probe_at_a_time_finds_out_whether_the_member_is_back() -> None:
    breaker = opened()
    assert breaker.admit(PAUSE_S - 0.01) is None
    probe = breaker.admit(PAUSE_S)
    assert probe is not None
    assert breaker.admit(PAUSE_S) is None
    breaker.answer()
    assert breaker.admit(PAUSE_S) is not None


def test_the_pause_doubles_up_to_its_limit() -> None:
    breaker, now_s, pauses = opened(), 0.0, []
    for _ in range(40):
        pauses.append(breaker.again_s - now_s)
        now_s = breaker.again_s
        probe = breaker.admit(now_s)
        assert probe is not None
        breaker.fail(probe, now_s, chance=1)
    assert pauses[:3] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S]
    assert pauses[-1] == PAUSE_S_MAX


def test_a_late_failure_does_not_end_somebody_elses_probe() -> None:
    breaker = Breaker()
    old = breaker.admit(0)
    assert old is not None
    for _ in range(FAILURES_MAX):
        ticket = breaker.admit(0)
        assert ticket is not None
        breaker.fail(ticket, 0, 1)
    assert breaker.admit(PAUSE_S) is not None
    breaker.fail(old, PAUSE_S, 1)
    breaker.give_up(old)
    assert breaker.state is BreakerState.PROBING


def test_a_probe_that_was_given_up_may_be_sent_again_at_once() -> None:
    breaker = opened()
    probe = breaker.admit(PAUSE_S)
    assert probe is not None
    breaker.give_up(probe)
    assert breaker.admit(PAUSE_S) is not None


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Unreachable(""), True),
        (Overloaded(), True),
        (ConnectionLost(processed=Processed.NO), True),
        (ConnectionLost(processed=Processed.MAYBE), False),
        (NotPaired(""), False),
        (Denied(), False),
    ],
)
def test_what_may_have_had_an_effect_is_repeated_only_if_it_may_be(
    error: PSPError, again: bool
) -> None:
    assert may_retry(error, attempts=1, is_idempotent=False) is again
    assert may_retry(error, attempts=1, is_idempotent=True) is is_failure(error)
    assert not may_retry(error, attempts=ATTEMPTS_MAX, is_idempotent=True)


def test_two_of_the_calls_failures_say_that_a_member_is_in_trouble() -> None:
    found = {failure.word for failure in CALL_FAILURES.values() if is_failure(failure())}
    assert found == {"disconnected", "overloaded"}


def test_waits_double_and_are_spread_from_nothing_to_all() -> None:
    assert [retry_wait_s(n, 1.0) for n in (1, 2, 3)] == [
        RETRY_WAIT_S,
        2 * RETRY_WAIT_S,
        4 * RETRY_WAIT_S,
    ]
    assert retry_wait_s(1, 0.0) == 0
    assert retry_wait_s(50, 1.0) == RETRY_WAIT_S_MAX


def test_retries_run_out_and_come_back_with_questions() -> None:
    budget = RetryBudget()
    assert [budget.take() for _ in range(int(RETRIES_SAVED_MAX) + 1)].count(True) == int(
        RETRIES_SAVED_MAX
    )
    for _ in range(11):
        budget.note_question()
    assert budget.take()
    assert not budget.take()
