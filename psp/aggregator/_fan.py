"""Asking members side by side, each failing or answering for itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, TypeVar

import trio

from psp.errors import Denied, PSPError, Unreachable

from ._breaker import RetryBudget, is_failure, may_retry, retry_wait_s
from ._limits import CONNECTING_MAX, LATE_COUNTS_S
from ._line import Line
from ._outcome import SAID, MemberState, Outcome, state_of
from ._require import Require
from ._status import read_health_untrusted


class _Replied(Protocol):
    @property
    def member_state(self) -> MemberState: ...


R = TypeVar("R", bound=_Replied)


@dataclass(slots=True)
class Fan:
    """What one tenant's questions share, beside the lines: retries, chance, room to connect."""

    retries: RetryBudget = field(default_factory=RetryBudget)
    chance: Random = field(default_factory=Random)
    connecting: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(CONNECTING_MAX)
    )

    async def out(
        self,
        lines: Sequence[Line],
        ask: Callable[[Line], Awaitable[R]],
        *,
        deadline_s: float,
        require: Require,
        on_outcome: Callable[[Outcome[R]], None],
    ) -> tuple[Outcome[R], ...]:
        """Ask every line, and give one outcome for each, in their order.

        Args:
            ask: May be repeated: it only reads, or it carries a command's key.
            deadline_s: Each member's, from now on.
            on_outcome: Called with each outcome as it comes.
        """
        outcomes: dict[str, Outcome[R]] = {}
        answered = 0

        async def one(line: Line) -> None:
            nonlocal answered
            outcome = await self._one(line, ask, deadline_s)
            outcomes[line.member.name] = outcome
            answered += outcome.state in SAID
            on_outcome(outcome)
            if require.is_enough(answered, len(lines)):
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for line in lines:
                nursery.start_soon(one, line)
        for line in lines:
            if line.member.name not in outcomes:
                outcomes[line.member.name] = _unneeded(line)
                on_outcome(outcomes[line.member.name])
        return tuple(outcomes[line.member.name] for line in lines)

    async def _one(
        self, line: Line, ask: Callable[[Line], Awaitable[R]], deadline_s: float
    ) -> Outcome[R]:
        ticket = line.breaker.admit(trio.current_time())
        if ticket is None:
            return _left_alone(line)
        self.retries.note_question()
        late: Outcome[R] = Outcome(member=line.member.name, state=MemberState.LATE)
        outcome, is_over = late, False
        try:
            with trio.move_on_after(deadline_s):
                outcome = await self._try(line, ask)
            is_over = True
        finally:
            if not is_over:  # Cancelled from outside, or a bug: nothing was learnt of the member.
                line.breaker.give_up(ticket)
        if not _has_failed(outcome):
            line.breaker.answer()
        elif outcome is late and deadline_s < LATE_COUNTS_S:
            line.breaker.give_up(ticket)
        else:
            line.breaker.fail(ticket, trio.current_time(), self.chance.random())
        since = line.note(outcome.state, outcome.cause)
        return Outcome(
            member=outcome.member,
            state=outcome.state,
            error=outcome.error,
            since=since,
            attempts=outcome.attempts,
            reply=outcome.reply,
        )

    async def _try(self, line: Line, ask: Callable[[Line], Awaitable[R]]) -> Outcome[R]:
        name, attempts = line.member.name, 0
        while True:
            attempts += 1
            try:
                async with self.connecting:
                    await line.connection()
                reply = await ask(line)
            except Denied as exc:
                state = await _state_behind(line)
                return Outcome(member=name, state=state, error=exc, attempts=attempts)
            except PSPError as exc:
                if not may_retry(exc, attempts=attempts, is_idempotent=True) or (
                    not self.retries.take()
                ):
                    return Outcome(member=name, state=state_of(exc), error=exc, attempts=attempts)
            else:
                state = reply.member_state
                return Outcome(member=name, state=state, attempts=attempts, reply=reply)
            await trio.sleep(retry_wait_s(attempts, self.chance.random()))


async def _state_behind(line: Line) -> MemberState:
    """Look behind `denied`, which is all that a suspended archive says to a grant too."""
    try:
        is_active = read_health_untrusted(line.member.name, await line.health()).state == "active"
    except PSPError:
        return MemberState.REFUSED
    return MemberState.REFUSED if is_active else MemberState.SUSPENDED


def _has_failed(outcome: Outcome[R]) -> bool:
    if outcome.error is None:
        return outcome.state is MemberState.LATE
    return is_failure(outcome.error)


def _left_alone(line: Line) -> Outcome[R]:
    """The outcome of a member that is not asked: what it was, since when, and why it was."""
    state = line.state or MemberState.UNREACHABLE
    if (
        state in SAID
    ):  # The failure that opened the breaker is of another question, still under way.
        state = MemberState.UNREACHABLE
    again_s = max(line.breaker.again_s - trio.current_time(), 0.0)
    error = Unreachable(
        f"not asked: {line.breaker.failures} questions in a row failed, the last with:"
        f" {line.cause}. It is tried again in {again_s:.0f} s"
    )
    return Outcome(member=line.member.name, state=state, error=error, since=line.since, attempts=0)


def _unneeded(line: Line) -> Outcome[R]:
    # Not noted on the line: nothing was learnt about the member.
    return Outcome(member=line.member.name, state=MemberState.UNNEEDED)
