"""Asking many members one question at once, each failing or answering for itself.

A fleet is one tenant over one estate: its connections present that tenant's key and nobody else's.
It keeps nothing but open connections: no file, no cache, no key of an archive.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, TypeVar

import trio

from psp.endpoint import Promise, Reference, Statistics
from psp.errors import CallFailed, Invalid, PSPError, QuestionError
from psp.plan import Question, plan_from_sql
from psp.transport import MachineKey
from psp.values import Value

from ._answer import Answer
from ._line import Line
from ._outcome import MemberState, Outcome, state_of
from ._reply import Reply, read_receipt_untrusted, read_reply_untrusted
from ._roster import Roster
from ._status import EstateStatus, Health, read_health_untrusted

DEADLINE_S: Final = 10.0
"""How long one question may take before a member counts as late. A far archive answers in a tenth
of a second; ten seconds is as long as a person looks at a progress bar without wondering."""

CONNECTING_MAX: Final = 256
"""Members towards which a connection is being made at once. More would cost files (a process often
has 1,024); far fewer would let some members that swallow packets spend the time of the others."""


class _Replied(Protocol):
    @property
    def is_empty(self) -> bool: ...


R = TypeVar("R", bound=_Replied)


@dataclass(slots=True)
class TrioFleet:
    """An open fleet inside a trio program. Make one with `open_fleet`.

    Attributes:
        roster: The estate that is asked.
        lines: One per member, by name.
    """

    roster: Roster
    lines: Mapping[str, Line]
    _connecting: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(CONNECTING_MAX)
    )

    async def ask(
        self,
        sql: str,
        *,
        deadline_s: float = DEADLINE_S,
        as_of: int | None = None,
        receipts: bool = False,
        on_outcome: Callable[[Outcome[Reply]], None] = lambda outcome: None,
    ) -> Answer:
        """Ask every member, and combine what they answer.

        Args:
            sql: `select … from … where … group by …`; see docs/answers.md.
            deadline_s: Seconds after which a member counts as late.
            as_of: The tree size at which every member is to answer; its newest state by default.
            receipts: Ask each member to prove that the read is on its record.
            on_outcome: Called with each member's outcome as it comes.

        Raises:
            QuestionError: The text cannot become a plan, or every member that could judge it
                refused it as invalid (an unknown column, say).
        """
        question = plan_from_sql(sql)
        if as_of is not None:
            question = _at(question, as_of)
        plan = question.plan.to_wire()

        async def query(grant: Promise[Reference]) -> tuple[Value, Value]:
            table = grant.call("table", question.plan.table)
            answer: Value = await table.call("query", plan, is_last=True)
            if not receipts or not isinstance(answer, Mapping) or "read" not in answer:
                return answer, None
            return answer, await grant.call("receipt", answer["read"])

        async def reply(line: Line) -> Reply:
            answer, proof = await line.ask(query)
            found = read_reply_untrusted(line.member.name, question.plan, answer)
            if proof is None:
                return found
            assert isinstance(answer, Mapping)  # Or it had not been read.
            receipt = read_receipt_untrusted(line.member.name, answer, proof)
            return replace(found, receipt=receipt)

        outcomes = await self._fan_out(reply, deadline_s, on_outcome)
        _check_question(question, outcomes)
        return Answer(question=question, outcomes=outcomes, asked_at=datetime.now(UTC))

    async def status(self, *, deadline_s: float = DEADLINE_S) -> EstateStatus:
        """Ask every member how it is. Needs a pairing and no grant.

        Args:
            deadline_s: Seconds after which a member counts as late.
        """

        async def reply(line: Line) -> Health:
            connection = await line.connection()
            return read_health_untrusted(
                line.member.name, await connection.bootstrap.call("health")
            )

        outcomes = await self._fan_out(reply, deadline_s, lambda outcome: None)
        return EstateStatus(outcomes=outcomes, asked_at=datetime.now(UTC))

    def statistics(self) -> list[Statistics]:
        """The counters of every open connection."""
        return [found for line in self.lines.values() if (found := line.statistics())]

    async def _fan_out(
        self,
        ask: Callable[[Line], Awaitable[R]],
        deadline_s: float,
        on_outcome: Callable[[Outcome[R]], None],
    ) -> tuple[Outcome[R], ...]:
        outcomes: dict[str, Outcome[R]] = {}

        async def one(line: Line) -> None:
            outcome = await self._one(line, ask, deadline_s)
            outcomes[line.member.name] = outcome
            on_outcome(outcome)

        async with trio.open_nursery() as nursery:
            for line in self.lines.values():
                nursery.start_soon(one, line)
        return tuple(outcomes[name] for name in self.lines)

    async def _one(
        self, line: Line, ask: Callable[[Line], Awaitable[R]], deadline_s: float
    ) -> Outcome[R]:
        name = line.member.name
        with trio.move_on_after(deadline_s) as scope:
            try:
                async with self._connecting:
                    await line.connection()
                reply = await ask(line)
            except PSPError as exc:
                line.note_failure(exc)
                return Outcome(member=name, state=state_of(exc), error=exc, since=line.down_since)
        if scope.cancelled_caught:
            return Outcome(member=name, state=MemberState.LATE)
        state = MemberState.EMPTY if reply.is_empty else MemberState.ANSWERED
        return Outcome(member=name, state=state, reply=reply)


@asynccontextmanager
async def open_fleet(
    estate: str | Path | Roster, *, tenant: str | None = None, connect_s: float = 5.0
) -> AsyncIterator[TrioFleet]:
    """Open a fleet on trio; nothing is connected before the first question.

    Args:
        estate: An `estate.toml`, the directory that holds one, or a roster that was read before.
        tenant: Who asks; by default the first tenant of the file.
        connect_s: Seconds after which a member that does not let itself be reached is unreachable.

    Raises:
        EstateError: The estate, the tenant or its key cannot be read.
    """
    roster = estate if isinstance(estate, Roster) else Roster.load(estate)
    asking = roster.tenant(tenant)
    key = MachineKey.load(asking.key_file)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        lines = {
            member.name: Line(
                member=member, tenant=asking, key=key, nursery=nursery, connect_s=connect_s
            )
            for member in roster.members
        }
        try:
            yield TrioFleet(roster=roster, lines=lines)
        except Exception as exc:
            # Carried around the nursery, which would wrap it in a group that no caller expects.
            raised = exc
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


def _at(question: Question, as_of: int) -> Question:
    try:
        return replace(question, plan=replace(question.plan, as_of=as_of))
    except ValueError as exc:
        raise QuestionError(
            f"{exc}; name the size of a ledger, as an answer's as_of does"
        ) from None


def _check_question(question: Question, outcomes: tuple[Outcome[Reply], ...]) -> None:
    """Turn "everybody says the question is wrong" into one error instead of seventy states."""
    judged = [o for o in outcomes if o.error is None or isinstance(o.error, CallFailed)]
    wrong = [o.error for o in judged if isinstance(o.error, Invalid)]
    if wrong and len(wrong) == len(judged):
        raise QuestionError(f"{wrong[0]}")
