"""What became of each member that was asked: every state told apart, and absent never zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from psp.errors import (
    CallFailed,
    ConnectionLost,
    DeadlineExceeded,
    Disconnected,
    EstateError,
    NotPaired,
    ProtocolError,
    PSPError,
    Suppressed,
)
from psp.values import to_text

R = TypeVar("R")


class MemberState(Enum):
    """The states of a member; over one question they sum to the members asked."""

    ANSWERED = "answered"
    EMPTY = "empty"  # It answered, and said that there is nothing.
    SUPPRESSED = "suppressed"  # It answered, and hid everything: too few subjects.
    REFUSED = "refused"  # It is there and will not: no pairing, no grant, a wrong question.
    UNREACHABLE = "unreachable"
    LATE = "late"  # No answer within the deadline.
    SUSPENDED = "suspended"  # It is there, and answers nobody: its owner has set it to rest.
    UNNEEDED = "unneeded"  # Others were enough for what the asker required: it was not waited for.


# The state that an error puts a member in; the first class that fits decides.
_STATE_OF: tuple[tuple[type[PSPError], MemberState], ...] = (
    (Suppressed, MemberState.SUPPRESSED),
    (DeadlineExceeded, MemberState.LATE),
    (ConnectionLost, MemberState.UNREACHABLE),
    (CallFailed, MemberState.REFUSED),
    (NotPaired, MemberState.REFUSED),
    (Disconnected, MemberState.UNREACHABLE),
    (ProtocolError, MemberState.REFUSED),  # What it sends is not PSP/1: nothing it says counts.
    (EstateError, MemberState.REFUSED),  # No usable token here: it was never asked in earnest.
)


def state_of(error: PSPError) -> MemberState:
    """Say what an error means for the member that gave it."""
    return next(state for kind, state in _STATE_OF if isinstance(error, kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[R]):
    """What one member did with one question.

    Attributes:
        error: What went wrong, if anything did. Its text may be a stranger's: show it only
            through `psp.console.neutral`.
        since: When this member was first found in this state, by this process and without a break.
        words: What another aggregator says went wrong with a member of its own.
        attempts: How often it was tried; 0 if it was left alone because it had failed before.
        reply: What it said, if the state is `ANSWERED` or `EMPTY`.
    """

    member: str
    state: MemberState
    error: PSPError | None = None
    words: str = ""
    since: datetime | None = None
    attempts: int = 1
    reply: R | None = None

    @property
    def cause(self) -> str:
        """Why, in words; a stranger's words may be in it."""
        return str(self.error) if self.error else self.words or _CAUSES.get(self.state, "")


# Where there is no error to say it.
_CAUSES: Final = {
    MemberState.LATE: "no answer within the deadline",
    MemberState.UNNEEDED: "others were enough",
}

PRESENT: Final = frozenset({MemberState.ANSWERED, MemberState.EMPTY})
"""The states whose figures are in an answer; for an empty member that is known to be nothing."""

SAID: Final = PRESENT | {MemberState.SUPPRESSED}
"""The states in which a member has said what it has to say."""


def state_over(states: Iterable[MemberState]) -> MemberState:
    """The state of an aggregator by those of its members: it has answered if anybody has."""
    counted = Counter(states)
    said = (MemberState.ANSWERED, MemberState.SUPPRESSED, MemberState.EMPTY)
    if found := [state for state in said if counted[state]]:
        return found[0]
    return counted.most_common(1)[0][0] if counted else MemberState.EMPTY


def count_states(outcomes: Iterable[Outcome[Any]]) -> dict[str, int]:
    """Count members by state, in the order of `MemberState`, leaving out what did not occur."""
    counted = Counter(outcome.state for outcome in outcomes)
    return {state.value: counted[state] for state in MemberState if counted[state]}


def absent_among(outcomes: Iterable[Outcome[R]]) -> list[Outcome[R]]:
    """The members whose figures are missing."""
    return [outcome for outcome in outcomes if outcome.state not in PRESENT]


def absent_to_dict(outcomes: Iterable[Outcome[Any]]) -> list[dict[str, Any]]:
    """Name each member that is missing, why, and since when."""
    return [
        {
            "member": outcome.member,
            "state": outcome.state.value,
            "cause": outcome.cause,
            "since": to_text(outcome.since),
        }
        for outcome in absent_among(outcomes)
    ]
