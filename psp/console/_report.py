"""A view of a TOML file in a terminal: exceptions, then the position, then who is missing."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ._figures import DASH, decimal_or_none, instant, readable, since
from ._neutral import neutral
from ._tables import Cell, Sheet, sheets_of
from ._view import Json

ROWS_SHOWN = 40
"""Rows of a table in the terminal; a file has all of them."""
LINES_SHOWN = 8


def print_report(view: Json, console: Console) -> None:
    """Print all of it."""
    console.print(Text(neutral(view["title"], 80), style="bold"), end="  ")
    console.print(Text(f"as of {instant(view['asked_at'])}", style="dim"))
    _print_exceptions(view, console)
    sheets = {sheet.name: sheet for sheet in sheets_of(view)}
    names = ["total"] if view["kind"] == "summary" else ["total", "groups"]
    for name in (*names, "members"):
        if name in sheets and sheets[name].rows:
            _print_sheet(sheets[name], view, console)
    _print_missing(view, console)


def print_reconciliation(found: Json, console: Console) -> None:
    """Print what matched by number, and what differs row by row."""
    left, right = found["left"], found["right"]
    console.print(Text(neutral(found["title"], 80), style="bold"), end="  ")
    console.print(Text(f"as of {instant(found['asked_at'])}", style="dim"))
    for side, rows in zip((left, right), found["rows"], strict=True):
        console.print(
            Text(f"{neutral(side['member'])} · {neutral(side['table'])}: {int(rows):,} rows")
        )
    one, other = map(int, found["differences"])
    console.print(Text(f"{int(found['matched']):,} rows matched", style="green"))
    if not one and not other:
        console.print(Text("Nothing differs.", style="bold green"))
        return
    console.print(Text(f"{one:,} and {other:,} rows have no match", style="bold red"))
    if not found["is_listed"]:
        console.print(Text(f"not listed: {neutral(found['why_not_listed'])}", style="dim"))
        return
    (sheet,) = sheets_of(found)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name, is_figure in zip(sheet.columns, sheet.figures, strict=True):
        table.add_column(Text(name), justify="right" if is_figure else "left")
    for row in sheet.rows[:ROWS_SHOWN]:
        table.add_row(*map(_text, row))
    console.print(table)
    if (rest := len(sheet.rows) - ROWS_SHOWN) > 0:
        console.print(Text(f"and {rest} more rows; --save FILE.xlsx has all", style="dim"))


def print_why(found: Json, console: Console) -> None:
    """Print what one figure is made of."""
    where = f" of {', '.join(map(neutral, found['group']))}" if found["group"] else ""
    console.print(
        Text(f"{neutral(found['column'])}{where} = {_words(found['figure'])}", style="bold")
    )
    measures = ", ".join(map(neutral, found["made_of"]))
    console.print(Text(f"made of {measures}, added up over:", style="dim"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("member", "its figure", "its ledger at"):
        table.add_column(heading, justify="left" if heading == "member" else "right")
    for part in found["parts"]:
        at = DASH if part["as_of"] is None else str(int(part["as_of"]))
        table.add_row(Text(neutral(part["member"])), Text(_words(part["figure"])), Text(at))
    console.print(table)
    for absent in found["absent"]:
        console.print(Text(_absent(absent), style="bold red"))
    for entry in found["hidden"]:
        console.print(Text(f"{neutral(entry['member'])}: {neutral(entry['words'])}", style="dim"))


def _print_exceptions(view: Json, console: Console) -> None:
    exceptions = view["exceptions"]
    if not exceptions:
        console.print(Text("No exceptions.", style="green"))
    for each in exceptions[:LINES_SHOWN]:
        # The mark is there too: a colour alone says nothing in a log file.
        high = each["severity"] == "high"
        style = "bold red" if high else "yellow"
        console.print(Text(f"{'!!' if high else ' !'} {neutral(each['sentence'])}", style=style))
    if (rest := len(exceptions) - LINES_SHOWN) > 0:
        console.print(Text(f"and {rest} more", style="dim"))


def _print_sheet(sheet: Sheet, view: Json, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", title=sheet.name)
    for name, is_figure in zip(sheet.columns, sheet.figures, strict=True):
        table.add_column(Text(name), justify="right" if is_figure else "left")
    for row in sheet.rows[:ROWS_SHOWN]:
        table.add_row(*map(_text, row))
    if sheet.name == "total" and "total_before" in view:
        before = [_text(_figure(view["total_before"].get(name))) for name in view["columns"]]
        table.add_row(*before, Text("before", style="dim"))
    console.print(table)
    if (rest := len(sheet.rows) - ROWS_SHOWN) > 0:
        console.print(Text(f"and {rest} more rows; --save FILE.xlsx has all", style="dim"))


def _print_missing(view: Json, console: Console) -> None:
    states = ", ".join(f"{int(number)} {neutral(name)}" for name, number in view["states"].items())
    over = view["over"]
    console.print(Text(f"totals over {over['members']} of {over['of']} members: {states}", "bold"))
    for absent in view["absent"][:LINES_SHOWN]:
        console.print(Text(_absent(absent), style="red"))
    if (rest := len(view["absent"]) - LINES_SHOWN) > 0:
        console.print(Text(f"and {rest} more", style="dim"))
    hidden: dict[str, int] = {}
    for entry in view["withheld"]:
        words = neutral(entry["words"])
        hidden[words] = hidden.get(words, 0) + int(entry["cells"])
    for words, cells in hidden.items():
        console.print(Text(f"{cells} cells {words}", style="dim"))


def _absent(absent: Json) -> str:
    when = f" since {since(absent['since'])}" if absent["since"] else ""
    return (
        f"{neutral(absent['member'])} {neutral(absent['state'])}{when}: {neutral(absent['cause'])}"
    )


def _figure(value: object) -> Cell:
    return None if value is None else decimal_or_none(value)


def _words(value: object) -> str:
    figure = decimal_or_none(value)
    return DASH if figure is None else readable(figure)


def _text(cell: Cell) -> Text:
    if cell is None:
        return Text(DASH, style="dim")
    return Text(cell) if isinstance(cell, str) else Text(_words(cell))
