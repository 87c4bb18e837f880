"""What a serving aggregator shows: its tenants' fleets, each to the machines of that tenant alone.

    Gate ── health                 follows from the pairing alone
      FleetObject ── query         one plan, put to the tenant's members, combined
      Carrier ── carry, health     letters of an interactive tenant's consoles, as they are

A machine belongs to one tenant, by the key that its handshake proves. Nothing that a caller sends
says which tenant it is, so nothing that it sends can reach another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psp.endpoint import Exposed, method
from psp.errors import EstateError, Invalid, QuestionError
from psp.plan import Plan, Question
from psp.values import Value

from ._answer import Answer
from ._carrier import Carrier
from ._fleet import TrioFleet
from ._limits import (
    CAUSE_CHARACTERS_MAX,
    TREE_DEPTH_MAX,
    WITHIN_S_MAX,
)
from ._outcome import Outcome
from ._reply import ReadReceipt, Reply, Withheld
from ._turns import Turns, letter_turns


@dataclass(slots=True)
class Desk:
    """One tenant of a serving aggregator: its fleet, and its share of the work.

    Attributes:
        turns: Those of all tenants of the process.
        letters: Those of signed calls that are carried.
    """

    fleet: TrioFleet
    turns: Turns = field(default_factory=Turns)
    letters: Turns = field(default_factory=letter_turns)

    async def put(
        self, plan: Plan, *, deadline_s: float, depth: int, receipts: bool
    ) -> Mapping[str, Value]:
        """Ask, in turn, and give the combined answer as it travels.

        Raises:
            Overloaded: Too many questions of this tenant wait already.
            Invalid: The question is wrong, or its figures do not combine.
        """
        async with self.turns.of(self.fleet.tenant.name):
            try:
                answer = await self.fleet.put(
                    Question(plan=plan, outputs=()),
                    deadline_s=deadline_s,
                    depth=depth,
                    receipts=receipts,
                )
                return answer_to_wire(answer)
            except (QuestionError, EstateError) as exc:
                raise Invalid(str(exc)) from None


class Gate(Exposed):
    """What a paired machine finds: how the aggregator is, and its own tenant's fleet."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @method
    def health(self) -> Mapping[str, Value]:
        # In the words of an archive, so that one overview shows both; it has no ledger.
        return {
            "name": self._desk.fleet.roster.name,
            "state": "active",
            "tree_size": 0,
            "record_bytes": 0,
            "result_bytes": 0,
            "members": len(self._desk.fleet.lines),
        }

    @method
    def fleet(self) -> FleetObject:
        """Give the fleet of the machine's tenant."""
        if self._desk.fleet.tenant.is_interactive:
            raise Invalid(
                "for this tenant the aggregator asks nothing by itself: it carries what a console"
                " has signed. Ask at the console: docs/fleet.md"
            )
        return FleetObject(self._desk)

    @method
    def carrier(self) -> Carrier:
        """Give what delivers the letters of the machine's tenant."""
        if not self._desk.fleet.tenant.is_interactive:
            raise Invalid(
                "for this tenant the aggregator asks by its own grants, and carries nothing. Write"
                ' profile = "interactive" there, or ask it as a member'
            )
        return Carrier(self._desk)


class FleetObject(Exposed):
    """One tenant's fleet, as a member of another's."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @method
    async def query(self, plan: list[Value], options: list[Value]) -> Mapping[str, Value]:
        """Put one plan to every member. Options: deadline in ms, depth left, receipts or not."""
        match options:
            case [int(deadline_ms), int(depth), bool(receipts)] if (
                deadline_ms > 0 and 0 < depth < TREE_DEPTH_MAX
            ):
                return await self._desk.put(
                    Plan.from_wire_untrusted(plan),
                    deadline_s=min(deadline_ms / 1000, WITHIN_S_MAX),
                    depth=depth,
                    receipts=receipts,
                )
        raise Invalid(
            "the options of the query are not [deadline in ms, depth left, receipts]. Ask the"
            " operator of the asking aggregator which release it runs"
        )


def answer_to_wire(answer: Answer) -> dict[str, Value]:
    """Give a combined answer as it travels up a tree: cells added up, members each for itself.

    Raises:
        QuestionError: The figures of the members do not combine.
    """
    cells = answer.cells()
    return {
        "cells": [[[*cell.key], [*cell.figures]] for cell in cells if cell.key is not None],
        "other": next(([*cell.figures] for cell in cells if cell.key is None), None),
        "members": [_leaf_to_wire(leaf) for leaf in answer.leaves],
    }


def _leaf_to_wire(leaf: Outcome[Reply]) -> Value:
    reply: Value = None
    if leaf.reply is not None:
        withheld: list[Value] = [_withheld_to_wire(entry) for entry in leaf.reply.withheld]
        reply = [leaf.reply.as_of, withheld, _receipt_to_wire(leaf.reply.receipt)]
    cause = leaf.cause[:CAUSE_CHARACTERS_MAX]
    return [leaf.member, leaf.state.value, cause, leaf.since, reply]


def _withheld_to_wire(entry: Withheld) -> Value:
    return [None if entry.key is None else [*entry.key], entry.cells, entry.rule, entry.floor]


def _receipt_to_wire(receipt: ReadReceipt | None) -> Value:
    return None if receipt is None else [receipt.proof, {**receipt.answer}]
