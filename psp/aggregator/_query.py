"""One plan on its way to one member, be it an archive or an aggregator with members of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from psp.errors import Invalid
from psp.plan import Plan
from psp.values import Value

from ._limits import TREE_DEADLINE_SHARE
from ._line import Callee, Line
from ._reply import Reply, read_branch_untrusted, read_receipt_untrusted, read_reply_untrusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is put to every member.

    Attributes:
        depth: How many aggregators may still be above one another.
        as_of: The tree size at which each member is to answer, by name; None for all newest.
    """

    plan: Plan
    deadline_s: float
    receipts: bool
    depth: int
    as_of: Mapping[str, int] | None = None

    async def put_to(self, line: Line) -> Reply:
        """Ask one member.

        Raises:
            PSPError: Whatever the member or the way to it did.
        """
        return await (self._ask_fleet(line) if line.member.is_aggregator else self._ask(line))

    async def _ask(self, line: Line) -> Reply:
        plan = self._plan_for(line.member.name)

        async def query(grant: Callee) -> tuple[Value, Value]:
            table = grant.call("table", plan.table, timeout_s=self.deadline_s)
            answer: Value = await table.call(
                "query", plan.to_wire(), is_last=True, timeout_s=self.deadline_s
            )
            if not self.receipts or not isinstance(answer, Mapping) or "read" not in answer:
                return answer, None
            read = answer["read"]
            return answer, await grant.call("receipt", read, timeout_s=self.deadline_s)

        answer, proof = await line.ask(query)
        found = read_reply_untrusted(line.member.name, self.plan, answer)
        if proof is None:
            return found
        assert isinstance(answer, Mapping)  # Or it had not been read.
        return replace(found, receipt=read_receipt_untrusted(line.member.name, answer, proof))

    def _plan_for(self, member: str) -> Plan:
        if self.as_of is None:
            return self.plan
        if (size := self.as_of.get(member)) is None:
            raise Invalid(f"{member!r} is not in the earlier view: it had not answered then.")
        return replace(self.plan, as_of=size)

    async def _ask_fleet(self, line: Line) -> Reply:
        if self.depth <= 1:
            raise Invalid(
                f"{line.member.name!r} would be one aggregator too many above one another. If it is"
                " a member of its own members, take it out of their estates."
            )
        if self.as_of is not None:
            raise Invalid(
                f"{line.member.name!r} is an aggregator, and has no ledger of its own to be asked"
                " at an earlier state; ask its members one by one."
            )
        options: list[Value] = [
            int(self.deadline_s * 1000 * TREE_DEADLINE_SHARE),
            self.depth - 1,
            self.receipts,
        ]

        async def query(fleet: Callee) -> Value:
            answer: Value = await fleet.call(
                "query", self.plan.to_wire(), options, timeout_s=self.deadline_s
            )
            return answer

        return read_branch_untrusted(line.member.name, self.plan, await line.ask(query))
