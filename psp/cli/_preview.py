"""`psp totebox preview`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import msgpack
from cyclopts import Parameter

from psp.capability import Operation, TableRule
from psp.console import neutral
from psp.errors import CallFailed
from psp.plan import plan_from_sql
from psp.totebox import Shadow, Withheld

from ._common import out, print_json


def preview(
    directory: Path,
    /,
    *questions: str,
    floor: int = 10,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Say what questions would disclose and cost, asked one after the other.

    No figure is shown, nothing is recorded, and the archive's own history does not count: the first
    question is the first that was ever asked.

    Parameters
    ----------
    directory
        The archive; it may be served meanwhile.
    questions
        In SQL, in the order in which they are asked.
    floor
        Fewest subjects behind anything that is shown.
    json
        Print one JSON object for each question.
    """
    asked = [(text, plan_from_sql(text).plan) for text in questions]
    if not asked:
        return
    with Shadow(directory, asked[0][1].table, floor=floor) as shadow:
        columns = frozenset(shadow.table.column_names)
        rule = TableRule(
            operations=frozenset({Operation.COUNT, Operation.SUM, Operation.MEAN}),
            output=columns,
            filters=columns,
            groups=columns,
            aggregates_only=True,
        )
        for text, plan in asked:
            start = time.perf_counter()
            told: dict[str, Any] = {"question": text}
            try:
                answer: Any = shadow.ask(plan, rule)
                told |= {
                    "shown": len(answer["cells"]),
                    "hidden": answer["hidden_count"],
                    "rules": sorted({hidden[-1] for hidden in answer["hidden"]}),
                    "bytes": len(msgpack.packb(answer, default=str)),
                }
            except CallFailed as exc:
                rules = [str(exc.rule)] if isinstance(exc, Withheld) else []
                told |= {"refused": str(exc), "rules": rules}
            told["ms"] = round((time.perf_counter() - start) * 1000, 1)
            _show(told, json=json)


def _show(told: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(told)
        return
    by = f" ({', '.join(told['rules'])})" if told["rules"] else ""
    said = (
        f"refused{by}: {told['refused']}"
        if "refused" in told
        else f"{told['shown']} groups shown, {told['hidden']} hidden{by}; {told['bytes']} bytes"
    )
    out().print(neutral(told["question"]), soft_wrap=True)
    out().print(f"  {neutral(said)}; {told['ms']} ms", soft_wrap=True)
