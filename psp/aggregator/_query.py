"""One plan on its way to one member, be it an archive or an aggregator with members of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from psp.endpoint import Promise, Reference
from psp.errors import Invalid
from psp.plan import Plan
from psp.values import Value

from ._limits import TREE_DEADLINE_SHARE
from ._line import Line
from ._reply import Reply, read_branch_untrusted, read_receipt_untrusted, read_reply_untrusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is put to every member.

    Attributes:
        depth: How many aggregators may still be above one another.
    """

    plan: Plan
    deadline_s: float
    receipts: bool
    depth: int

    async def put_to(self, line: Line) -> Reply:
        """Ask one member.

        Raises:
            PSPError: Whatever the member or the way to it did.
        """
        return await (self._ask_fleet(line) if line.member.is_aggregator else self._ask(line))

    async def _ask(self, line: Line) -> Reply:
        async def query(grant: Promise[Reference]) -> tuple[Value, Value]:
            table = grant.call("table", self.plan.table)
            answer: Value = await table.call("query", self.plan.to_wire(), is_last=True)
            if not self.receipts or not isinstance(answer, Mapping) or "read" not in answer:
                return answer, None
            return answer, await grant.call("receipt", answer["read"])

        answer, proof = await line.ask(query)
        found = read_reply_untrusted(line.member.name, self.plan, answer)
        if proof is None:
            return found
        assert isinstance(answer, Mapping)  # Or it had not been read.
        return replace(found, receipt=read_receipt_untrusted(line.member.name, answer, proof))

    async def _ask_fleet(self, line: Line) -> Reply:
        if self.depth <= 1:
            raise Invalid(
                f"{line.member.name!r} would be one aggregator too many above one another. If it is"
                " a member of its own members, take it out of their estates."
            )
        options: list[Value] = [
            int(self.deadline_s * 1000 * TREE_DEADLINE_SHARE),
            self.depth - 1,
            self.receipts,
        ]

        async def query(fleet: Promise[Reference]) -> Value:
            answer: Value = await fleet.call("query", self.plan.to_wire(), options)
            return answer

        return read_branch_untrusted(line.member.name, self.plan, await line.ask(query))
