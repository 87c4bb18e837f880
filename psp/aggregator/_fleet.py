"""Asking many members one question at once, each failing or answering for itself.

A fleet is one tenant over one estate: its connections present that tenant's key and nobody else's.
It keeps nothing but open connections, and since when each member is as it is: no file, no cache, no
key of an archive.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

import trio

from psp.buffers import Buffers
from psp.capability import CommandKey
from psp.endpoint import Inspection, Landed, Statistics, connect
from psp.errors import CallFailed, Invalid, QuestionError, TooFewAnswered
from psp.plan import Listing, Question, plan_from_sql
from psp.transport import MachineKey, PassphraseSource

from ._answer import Answer
from ._columns import RowsOptions, read_rows
from ._coming import Coming, coming
from ._command import CommandReport, FleetCommand, Order, outcome_of
from ._doctor import Diagnosis, examine
from ._fan import Fan
from ._limits import COMMAND_S, DEADLINE_S, TREE_DEPTH_MAX
from ._line import Dial, Line
from ._outcome import SAID, Outcome
from ._query import Query
from ._reconcile import Reconciled, Reconciliation, reconcile
from ._reply import Reply
from ._require import Require
from ._roster import Roster, Tenant
from ._seat import Way, lines_of
from ._select import Selection
from ._status import EstateStatus, Health, read_health_untrusted
from ._terms import Terms
from ._view_file import View


class AskOptions(TypedDict, total=False):
    """How a question is asked, the same through every door.

    Attributes:
        deadline_s: Seconds after which a member counts as late; `DEADLINE_S` by default.
        as_of: The tree size at which every member is to answer, or one for each by its name, as
            an earlier answer's `as_of` has them; the newest state by default.
        receipts: Ask each member to prove that the read is on its record.
        members: Whom to ask, as `Selection.parse` reads it; everybody by default.
        require: `all`, `any`, `quorum`, `quorum:N` or `deadline`, the default; see `Require`.
        terms: How members are brought together: shares, currency, fiscal periods.
    """

    deadline_s: float
    as_of: int | Mapping[str, int] | None
    receipts: bool
    members: str
    require: str
    terms: Terms


class CommandOptions(TypedDict, total=False):
    """How members are told to do something, the same through every door.

    Attributes:
        members: Whom to tell, as `Selection.parse` reads it; everybody by default.
        key: Of an earlier report, to try again; a fresh one by default. It lasts for a day.
        deadline_s: Seconds after which a member counts as late; `COMMAND_S` by default.
    """

    members: str
    key: CommandKey
    deadline_s: float


@dataclass(slots=True)
class TrioFleet:
    """An open fleet inside a trio program. Make one with `open_fleet`.

    Attributes:
        roster: The estate that is asked.
        tenant: Who asks.
        lines: One per member, by name.
    """

    roster: Roster
    tenant: Tenant
    lines: Mapping[str, Line]
    fan: Fan = field(default_factory=Fan)

    async def ask(
        self,
        sql: str,
        *,
        on_outcome: Callable[[Outcome[Reply]], None] = lambda outcome: None,
        **options: Unpack[AskOptions],
    ) -> Answer:
        """Ask the members, and combine what they answer.

        Args:
            sql: `select … from … where … group by …`; see docs/answers.md.
            on_outcome: Called with each member's outcome as it comes.
            options: See `AskOptions`.

        Raises:
            QuestionError: The text cannot become a plan, or every member that could judge it
                refused it as invalid (an unknown column, say).
            EstateError: The members chosen are not there.
            TooFewAnswered: Fewer than `require` says; the answer is in it.
        """
        return await self.put(plan_from_sql(sql), on_outcome=on_outcome, **options)

    async def view(self, view: View, **options: Unpack[AskOptions]) -> Answer:
        """Ask what a view asks, on its own terms; `show` makes of the answer what people read.

        Raises:
            QuestionError: As `ask`.
            EstateError: As `ask`.
            TooFewAnswered: As `ask`.
        """
        own: AskOptions = {
            "members": view.members,
            "require": view.require,
            "deadline_s": view.deadline_s,
            "terms": view.terms,
        }
        own.update(options)
        return await self.put(view.question, **own)

    async def put(
        self,
        question: Question,
        *,
        depth: int = TREE_DEPTH_MAX,
        on_outcome: Callable[[Outcome[Reply]], None] = lambda outcome: None,
        **options: Unpack[AskOptions],
    ) -> Answer:
        """Ask the members a question that has been read already; else as `ask`.

        Args:
            depth: How many aggregators may still be above one another.
        """
        require = Require.parse(options.get("require", "deadline"))
        lines = self._chosen(options.get("members", ""))
        terms = options.get("terms", Terms())
        terms.check(question)
        as_of = options.get("as_of")
        if isinstance(as_of, int):
            question = _at(question, as_of)
        query = Query(
            plan=question.plan,
            deadline_s=options.get("deadline_s", DEADLINE_S),
            receipts=options.get("receipts", False),
            depth=depth,
            as_of=as_of if isinstance(as_of, Mapping) else None,
        )
        outcomes = await self.fan.out(
            lines,
            query.put_to,
            deadline_s=query.deadline_s,
            require=require,
            on_outcome=on_outcome,
        )
        _check_question(outcomes)
        answer = Answer(
            question=question,
            outcomes=outcomes,
            asked_at=datetime.now(UTC),
            members={line.member.name: line.member for line in lines},
            terms=terms,
        )
        _check_require(require, answer)
        return answer

    async def reconcile(self, asked: Reconciliation) -> Reconciled:
        """Compare two members' tables without their rows; as `psp.aggregator.reconcile`."""
        return await reconcile(asked, self.lines)

    async def foresee(
        self, command: FleetCommand, **options: Unpack[CommandOptions]
    ) -> CommandReport:
        """Ask members what a command would do, and by which right; nothing is changed.

        Args:
            options: See `CommandOptions`.

        Raises:
            EstateError: The members chosen are not there.
        """
        return await self._order(command, options, is_preview=True)

    async def do(self, command: FleetCommand, **options: Unpack[CommandOptions]) -> CommandReport:
        """Have members do something, each once, however often it is tried under one key.

        Nobody is waited for beyond the deadline, and one that fails keeps nobody else back. Whoever
        did not answer may have done it: call again with the report's key, which is safe.

        Args:
            options: See `CommandOptions`.

        Raises:
            EstateError: The members chosen are not there.
        """
        return await self._order(command, options, is_preview=False)

    async def _order(
        self, command: FleetCommand, options: CommandOptions, *, is_preview: bool
    ) -> CommandReport:
        order = Order(
            command=command,
            key=options.get("key") or CommandKey(int(time.time()), secrets.token_bytes(16)),
            deadline_s=options.get("deadline_s", COMMAND_S),
        )
        ask: Callable[[Line], Awaitable[Any]] = order.foresee if is_preview else order.do
        outcomes = await self.fan.out(
            self._chosen(options.get("members", "")),
            ask,
            deadline_s=order.deadline_s,
            require=Require(),
            on_outcome=lambda outcome: None,
        )
        return CommandReport(
            command=command, key=order.key, outcomes=tuple(map(outcome_of, outcomes))
        )

    def coming(
        self, sql: str, **options: Unpack[AskOptions]
    ) -> AbstractAsyncContextManager[Coming]:
        """Ask as `ask` does, and iterate over the outcomes as they come.

        async with fleet.coming("select count(*) from sales") as outcomes:
            async for outcome in outcomes:
                print(outcome.member, outcome.state)
        print(outcomes.answer)
        """
        return coming(lambda report: self.ask(sql, on_outcome=report, **options), len(self.lines))

    async def status(self, *, deadline_s: float = DEADLINE_S, members: str = "") -> EstateStatus:
        """Ask members how they are. Needs a pairing and no grant.

        Args:
            deadline_s: Seconds after which a member counts as late.
            members: Whom to ask, as `Selection.parse` reads it; everybody by default.
        """

        async def reply(line: Line) -> Health:
            return read_health_untrusted(line.member.name, await line.health())

        outcomes = await self.fan.out(
            self._chosen(members),
            reply,
            deadline_s=deadline_s,
            require=Require(),
            on_outcome=lambda outcome: None,
        )
        return EstateStatus(outcomes=outcomes, asked_at=datetime.now(UTC))

    async def examine(
        self, *, deadline_s: float = DEADLINE_S, members: str = ""
    ) -> list[Diagnosis]:
        """Try each step that a question needs with every member, and say where it fails.

        Args:
            deadline_s: Seconds for each member.
            members: Whom to look at, as `Selection.parse` reads it; everybody by default.
        """
        lines, found = self._chosen(members), dict[str, Diagnosis]()

        async def one(line: Line) -> None:
            found[line.member.name] = await examine(line, deadline_s=deadline_s)

        async with trio.open_nursery() as nursery:
            for line in lines:
                nursery.start_soon(one, line)
        return [found[line.member.name] for line in lines]

    def statistics(self) -> list[Statistics]:
        """The counters of every open connection."""
        return [found for line in self.lines.values() if (found := line.statistics())]

    async def rows(
        self,
        member: str,
        listing: Listing,
        buffers: Buffers,
        *,
        bytes_max: int,
        **options: Unpack[RowsOptions],
    ) -> Landed:
        """Read rows of one archive in columns, as far as its grant allows: docs/zero-copy.md.

        Args:
            buffers: Where the memory comes from, and on whose account.
            bytes_max: The largest result to take, in bytes.
            options: See `RowsOptions`.

        Raises:
            EstateError: There is no such archive.
            DeadlineExceeded: Not whole in time.
            PSPError: Whatever the archive or the way to it did.
        """
        return await read_rows(self.lines, member, listing, buffers, bytes_max=bytes_max, **options)

    def inspect(self) -> dict[str, Inspection]:
        """What every open connection holds, by member; `handed_over` and `local` say how its
        results came."""
        return {name: found for name, line in self.lines.items() if (found := line.inspect())}

    def _chosen(self, members: str) -> list[Line]:
        selection = Selection.parse(members) if members else Selection()
        return [self.lines[member.name] for member in selection.of(self.roster.members)]


@asynccontextmanager
async def open_fleet(
    estate: str | Path | Roster,
    *,
    tenant: str | None = None,
    connect_s: float = 5.0,
    dial: Dial = connect,
    clock: Callable[[], float] = time.time,
    passphrase: PassphraseSource | None = None,
) -> AsyncIterator[TrioFleet]:
    """Open a fleet on trio; nothing is connected before the first question.

    Args:
        estate: An `estate.toml`, the directory that holds one, or a roster that was read before.
        tenant: Who asks; by default the first tenant of the file.
        connect_s: Seconds after which a member that does not let itself be reached is unreachable.
        dial: Opens the connections; TLS over TCP by default.
        clock: Seconds since 1970, by which a console makes and signs.
        passphrase: Asked if the tenant's key, or the operator's key of a console, is sealed.

    Raises:
        EstateError: The estate or the tenant cannot be read.
        KeyFileError: A key cannot be read, or is sealed otherwise.
    """
    roster = estate if isinstance(estate, Roster) else Roster.load(estate)
    asking = roster.tenant(tenant)
    key = MachineKey.load(asking.key_file, passphrase)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        way = Way(
            key=key,
            nursery=nursery,
            connect_s=connect_s,
            dial=dial,
            clock=clock,
            passphrase=passphrase,
        )
        try:
            lines = lines_of(roster, asking, way)
            yield TrioFleet(roster=roster, tenant=asking, lines=lines)
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


def _check_question(outcomes: tuple[Outcome[Reply], ...]) -> None:
    """Turn "everybody says the question is wrong" into one error instead of seventy states."""
    judged = [o for o in outcomes if o.error is None or isinstance(o.error, CallFailed)]
    wrong = [o.error for o in judged if isinstance(o.error, Invalid)]
    if wrong and len(wrong) == len(judged):
        raise QuestionError(f"{wrong[0]}")


def _check_require(require: Require, answer: Answer) -> None:
    asked = len(answer.outcomes)
    answered = sum(outcome.state in SAID for outcome in answer.outcomes)
    if require.is_met(answered, asked):
        return
    states = ", ".join(f"{number} {state}" for state, number in answer.states.items())
    raise TooFewAnswered(
        f"{require} requires {require.least_of(asked)} of {asked} members, and {answered} answered:"
        f" {states}. See each with: psp status; or take what came: require deadline",
        answer=answer,
    )
