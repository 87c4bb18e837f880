"""How the archives of an estate are, as a table: the ones that are away first, with what to do."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ._figures import count, decimal_or_none, since
from ._neutral import neutral
from ._view import Json

REMEDIES = {
    "unreachable": "psp up {member}",
    "late": "ask again with a longer --within",
    "suspended": "ask its owner, who has set it to rest",
    "refused": "pair again, or have the owner renew the grant",
}
HEADINGS = ("archive", "state", "ledger entries", "records out, bytes", "results out, bytes")


def print_status(report: Json, console: Console) -> None:
    """Print one line for each archive, and one sentence that sums them up."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for absent in report["absent"]:
        table.add_row(_name(absent), _trouble(absent))
    for member in report["members"]:
        figures = [member[key] for key in ("tree_size", "record_bytes", "result_bytes")]
        state = neutral(str(member["state"]))
        table.add_row(
            _name(member),
            Text(state, style="green" if state == "active" else "yellow"),
            *(Text(count(decimal_or_none(figure))) for figure in figures),
        )
    console.print(table)
    states = ", ".join(f"{number} {state}" for state, number in report["states"].items())
    console.print(Text(f"{report['members_asked']} archives: {states}", style="bold"))


def _name(entry: Json) -> Text:
    return Text(neutral(str(entry["member"])))


def _trouble(absent: dict[str, Any]) -> Text:
    member, state = neutral(str(absent["member"])), str(absent["state"])
    words = state + (f" since {since(absent['since'])}" if absent["since"] else "")
    remedy = REMEDIES.get(state, "").format(member=member)
    return Text(f"{words}{' → ' if remedy else ''}{remedy}", style="bold red")
