"""When to ask a member again: the breaker of one member, and the retries of one tenant.

Pure: the time is an argument in seconds, and chance a number from 0 to 1.

    CLOSED ──FAILURES_MAX failures in a row──▶ OPEN ──the pause is over──▶ PROBING
      ▲                                         ▲                            │ │
      │                                         └──── the probe failed ──────┘ │
      └────────────────────────── the probe got an answer ─────────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from psp.errors import CallFailed, ConnectionLost, Disconnected, NotPaired, Overloaded, Processed

from ._limits import (
    ATTEMPTS_MAX,
    FAILURES_MAX,
    PAUSE_S,
    PAUSE_S_MAX,
    RETRIES_PER_QUESTION,
    RETRIES_SAVED_MAX,
    RETRY_WAIT_S,
    RETRY_WAIT_S_MAX,
)


class BreakerState(Enum):
    """Whether a member is asked."""

    CLOSED = "closed"  # As always.
    OPEN = "open"  # It is left alone until its pause is over.
    PROBING = "probing"  # One question is under way to see whether it is back; others wait for it.


class Step(Enum):
    """What happens to a breaker."""

    ADMIT = "admit"
    ANSWER = "answer"  # Anything that shows that the member is there, a refusal too.
    FAIL = "fail"
    GIVE_UP = "give_up"  # The asker went away: nothing was learnt.


# Answers and failures of questions that left before the breaker opened come while it is open. A
# late failure says nothing new; a late answer is as good as a probe.
TRANSITIONS: Final[Mapping[tuple[BreakerState, Step], BreakerState]] = {
    (BreakerState.CLOSED, Step.ADMIT): BreakerState.CLOSED,
    (BreakerState.CLOSED, Step.ANSWER): BreakerState.CLOSED,
    (BreakerState.CLOSED, Step.FAIL): BreakerState.CLOSED,  # OPEN at the last one: `fail`.
    (BreakerState.CLOSED, Step.GIVE_UP): BreakerState.CLOSED,
    (BreakerState.OPEN, Step.ADMIT): BreakerState.PROBING,  # Only when the pause is over: `admit`.
    (BreakerState.OPEN, Step.ANSWER): BreakerState.CLOSED,
    (BreakerState.OPEN, Step.FAIL): BreakerState.OPEN,
    (BreakerState.OPEN, Step.GIVE_UP): BreakerState.OPEN,
    (BreakerState.PROBING, Step.ANSWER): BreakerState.CLOSED,
    (BreakerState.PROBING, Step.FAIL): BreakerState.OPEN,
    (BreakerState.PROBING, Step.GIVE_UP): BreakerState.OPEN,
}


@dataclass(slots=True)
class Breaker:
    """Leaves a member alone that has failed several times in a row.

    A question that `admit` let through reports back once: `answer`, `fail` or `give_up`. It shows
    its ticket, because of a probing breaker only the probe itself may say that nobody is there.

    Attributes:
        failures: In a row, up to now.
        again_s: When the next probe may leave; of meaning only while the breaker is open.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    again_s: float = 0.0
    _pauses: int = 0
    _tickets: int = 0
    _probe: int = 0

    def admit(self, now_s: float) -> int | None:
        """Let one question through: its ticket, or None while the member is left alone."""
        was = self.state
        if was is BreakerState.PROBING or (was is BreakerState.OPEN and now_s < self.again_s):
            return None
        self._move(Step.ADMIT)
        self._tickets += 1
        if was is BreakerState.OPEN:
            self._probe = self._tickets
        return self._tickets

    def answer(self) -> None:
        """Take notice of a sign of life, whichever question brings it."""
        self._move(Step.ANSWER)
        self.failures = self._pauses = 0

    def fail(self, ticket: int, now_s: float, chance: float) -> None:
        """Take notice of a failure; the last of several opens the breaker.

        Args:
            chance: From 0 to 1; spreads the probes of many askers over half of the pause.
        """
        was = self.state
        if was is BreakerState.PROBING and ticket != self._probe:
            return
        self._move(Step.FAIL)
        self.failures += 1
        if was is BreakerState.CLOSED and self.failures >= FAILURES_MAX:
            self.state = BreakerState.OPEN
        if self.state is BreakerState.OPEN and was is not BreakerState.OPEN:
            pause_s = min(PAUSE_S * 2**self._pauses, PAUSE_S_MAX)
            self._pauses = min(self._pauses + 1, 16)  # 2 ** 16 is beyond the longest pause.
            self.again_s = now_s + pause_s * (0.5 + chance / 2)

    def give_up(self, ticket: int) -> None:
        """Take notice that nothing was learnt; a probe that was given up may be sent again."""
        if self.state is not BreakerState.PROBING or ticket == self._probe:
            self._move(Step.GIVE_UP)

    def _move(self, step: Step) -> None:
        self.state = TRANSITIONS[self.state, step]


@dataclass(slots=True)
class RetryBudget:
    """How many retries one tenant may still make, over all members.

    Without it a fleet in trouble gets `ATTEMPTS_MAX` times its load just when it can bear the
    least. Source: the retry throttling of gRPC (proposal A6) and Finagle's RetryBudget.
    """

    saved: float = RETRIES_SAVED_MAX

    def note_question(self) -> None:
        """Count a first attempt."""
        self.saved = min(self.saved + RETRIES_PER_QUESTION, RETRIES_SAVED_MAX)

    def take(self) -> bool:
        """Take one retry, if there is one."""
        if self.saved < 1:
            return False
        self.saved -= 1
        return True


def is_failure(error: Exception) -> bool:
    """Whether an error says that the member is in trouble, and not that it will not."""
    return isinstance(error, Disconnected | ConnectionLost | Overloaded) and not isinstance(
        error, NotPaired
    )


def may_retry(error: Exception, *, attempts: int, is_idempotent: bool) -> bool:
    """Whether trying again is both of use and safe.

    Safe is what certainly had no effect (nothing was sent, or `processed` says no), and anything
    that may be done twice.

    Args:
        attempts: Made so far, this one included.
    """
    if attempts >= ATTEMPTS_MAX or not is_failure(error):
        return False
    return is_idempotent or not isinstance(error, CallFailed) or error.processed is Processed.NO


def retry_wait_s(attempts: int, chance: float) -> float:
    """Seconds to wait after so many attempts: any time up to a bound that doubles ("full jitter").

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return chance * min(RETRY_WAIT_S * float(2 ** (attempts - 1)), RETRY_WAIT_S_MAX)
