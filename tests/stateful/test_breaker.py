"""One member's breaker and one tenant's retries under everything that can happen, in any order.

The model is what a reader of docs/fleet.md expects; it never looks into the breaker's own counts.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from psp.aggregator import Breaker, BreakerState, RetryBudget
from psp.aggregator._limits import (
    FAILURES_MAX,
    PAUSE_S,
    PAUSE_S_MAX,
    RETRIES_PER_QUESTION,
    RETRIES_SAVED_MAX,
)
from psp.testing import VirtualClock

chance = st.floats(0, 1)


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.breaker, self.budget = Breaker(), RetryBudget()
        self.out: list[int] = []
        self.probe: int | None = None
        self.failures_in_a_row = 0
        self.opened_s: float | None = None
        self.questions = self.retries = 0

    @rule(ms=st.integers(0, 90_000))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule()
    def ask(self) -> None:
        was, now_s = self.breaker.state, self.clock()
        ticket = self.breaker.admit(now_s)
        if was is BreakerState.CLOSED:
            assert ticket is not None, "a closed breaker lets everything through"
        if was is BreakerState.PROBING:
            assert ticket is None, "a second probe would be the rush that the first one prevents"
        if was is BreakerState.OPEN:
            assert self.opened_s is not None
            if now_s - self.opened_s < PAUSE_S / 2:
                assert ticket is None, "too early"
            if now_s - self.opened_s >= PAUSE_S_MAX:
                assert ticket is not None, "a member that is back must be found"
        if ticket is not None:
            self.questions += 1
            self.budget.note_question()
            self.out.append(ticket)
            if was is BreakerState.OPEN:
                self.probe = ticket

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self._take(data)
        self.breaker.answer()
        self.failures_in_a_row, self.probe, self.opened_s = 0, None, None
        assert self.breaker.state is BreakerState.CLOSED

    @precondition(lambda self: self.out)
    @rule(data=st.data(), spread=chance)
    def fail(self, data: st.DataObject, spread: float) -> None:
        was, ticket = self.breaker.state, self._take(data)
        self.breaker.fail(ticket, self.clock(), spread)
        if was is BreakerState.CLOSED:
            self.failures_in_a_row += 1
            assert (self.breaker.state is BreakerState.OPEN) is (
                self.failures_in_a_row >= FAILURES_MAX
            )
        elif was is BreakerState.PROBING:
            is_probe = ticket == self.probe
            assert (self.breaker.state is BreakerState.OPEN) is is_probe
            self.probe = None if is_probe else self.probe
        if self.breaker.state is BreakerState.OPEN and was is not BreakerState.OPEN:
            self.opened_s = self.clock()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        was, ticket = self.breaker.state, self._take(data)
        self.breaker.give_up(ticket)
        if was is BreakerState.PROBING and ticket == self.probe:
            assert self.breaker.state is BreakerState.OPEN
            self.probe = None
        else:
            assert self.breaker.state is was, "nothing was learnt"

    @rule()
    def retry(self) -> None:
        self.retries += self.budget.take()

    @invariant()
    def retries_stay_a_tenth_of_the_questions(self) -> None:
        # A hair more: the budget is a sum of floats.
        allowed = RETRIES_SAVED_MAX + RETRIES_PER_QUESTION * self.questions + 1e-6
        assert self.retries <= allowed

    @invariant()
    def a_probing_breaker_has_its_probe_out(self) -> None:
        """Or nobody would ever be asked again."""
        assert (self.breaker.state is BreakerState.PROBING) is (self.probe is not None)

    def _take(self, data: st.DataObject) -> int:
        return self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
