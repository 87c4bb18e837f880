"""Attacks on what a grant shows: links that claim more than the ones before, or than the pairing.

Nothing here is a read: a description is none, and a question that is refused is none either.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

from psp.capability import NOTHING, Operation
from psp.endpoint import Connection, Reference
from psp.errors import CallFailed, Denied, Invalid, Suppressed
from psp.plan import Filter, GroupKey, Measure, Plan

from ._forger import Forger
from ._judge import judge
from ._report import Attempt, Verdict

_REFUSALS: Final = (Denied, Invalid, Suppressed)
"""A question about what is not there is `invalid`: the archive says it as of any unknown column."""


async def scope_attacks(
    connection: Connection, forger: Forger, paired: frozenset[Operation]
) -> list[Attempt]:
    """Ask a widened grant for what its first link left out, and one of everything for the rest.

    Args:
        paired: What the thief's pairing may be granted at most.
    """
    tried = "a second link for the whole table behind a first one for a count"
    try:
        wide = await connection.present(forger.widened())
    except CallFailed as exc:
        # Refusing it altogether is stricter than this version is, and no breach.
        held = Verdict.HELD if isinstance(exc, Denied) else Verdict.UNCLEAR
        return [Attempt(attack="widening", tried=tried, got=exc.word, verdict=held, rule="scope")]
    described = await wide.call("describe")
    allowed = {Operation.META, Operation.COUNT}
    attempts = [_claim("widening", f"{tried}: what it says of itself", described, allowed)]
    column = min(forger.columns)
    # Questions that would be answered of any column there is, were it granted.
    table_plan = partial(Plan, table=forger.table)
    plans = {
        "the greatest value": table_plan(measures=(Measure(Operation.MAX, column),)),
        "the least value": table_plan(measures=(Measure(Operation.MIN, column),)),
        "the values of a column": table_plan(
            measures=(Measure(Operation.COUNT),), group=(GroupKey(column),)
        ),
    }
    table = await wide.call("table", forger.table)
    for what, plan in plans.items():
        attempts.append(await _ask(table, f"{tried}: {what}", plan))
    everything = await (await connection.present(forger.unbounded())).call("describe")
    whole = "a token for everything, rightly signed, over a pairing that has less"
    claim = _claim("more than the pairing", whole, everything, set(paired))
    return [*attempts, claim if paired < frozenset(Operation) else _nothing_more(claim)]


async def pipelined_attack(connection: Connection, forger: Forger, floor: int) -> Attempt:
    """Use a figure that is hidden as the argument of a call that is sent before it is known."""
    table = connection.present(forger.aggregating(floor)).call("table", forger.table)
    nobody = Filter(min(forger.columns), NOTHING)
    plan = Plan(table=forger.table, measures=(Measure(Operation.COUNT),), filters=(nobody,))
    hidden = table.call("query", plan.to_wire())["cells"][0][1][0]
    return await judge(
        "pipelined hidden value",
        "a hidden count, used by the archive before it is known here",
        lambda: table.call("row", [hidden]),
        rule="floor",
        refusals=(Suppressed,),
    )


async def _ask(table: Reference, tried: str, plan: Plan) -> Attempt:
    return await judge(
        "widening",
        tried,
        lambda: table.call("query", plan.to_wire()),
        rule="scope",
        refusals=_REFUSALS,
    )


def _claim(attack: str, tried: str, described: Any, allowed: set[Operation]) -> Attempt:
    """Compare what a grant says that it allows with what it may."""
    tables = described.get("tables", []) if isinstance(described, dict) else []
    said = {word for table in tables for word in table.get("operations", [])}
    excess = sorted(said - {operation.value for operation in allowed})
    return Attempt(
        attack=attack,
        tried=tried,
        got=f"also {', '.join(excess)}" if excess else "no more than it may",
        verdict=Verdict.BREACH if excess else Verdict.HELD,
        rule="" if excess else "scope",
    )


def _nothing_more(claim: Attempt) -> Attempt:
    return replace(claim, got="this pairing has every operation: nothing to widen")
