"""Views and answers as rich renderables.

Data only ever becomes a `Text`, never a markup string: `[red]` in a label is five characters. Rich
itself drops all colour when the output is not a terminal or NO_COLOR is set.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ._figures import DASH, count, short_money
from ._pictures import axis_labels, columns, sparkline
from ._view import Absent, Finding, Json, Member, Tenant, read_answer, read_view

WIDTH_SIDE_BY_SIDE = 140
"""Two tenants of 68 characters each: the narrowest in which thirteen months and the table fit."""

LARGEST_SHOWN = 8
SMALLEST_SHOWN = 3
EXCEPTIONS_SHOWN = 6
ABSENT_SHOWN = 6
CHART_HEIGHT = 6

GOOD, HIGH, MEDIUM, QUIET, ACCENT = "green", "bold red", "yellow", "dim", "cyan"
FAINT = f"{ACCENT} dim"
"""A column that much of the fleet is not in."""


def print_view(view: Json, console: Console) -> None:
    shown = read_view(view)
    width = console.width
    tenants = shown.tenants
    console.print()
    console.print(Text(shown.title, style="bold"), Text(f"as of {shown.as_of}", style=QUIET))
    console.print(Text(shown.data_note, style=QUIET))
    console.print()
    plain = console.options.ascii_only
    if len(tenants) == 2 and width >= WIDTH_SIDE_BY_SIDE:
        half = (width - 4) // 2
        sides = [
            [Padding(part, (0, 0)) for part in _tenant(tenant, half, ascii_only=plain)]
            for tenant in tenants
        ]
        grid = Table.grid(padding=(0, 4, 0, 0))
        grid.add_column(width=half)
        grid.add_column(width=half)
        # Part beside part, so that the same thing stands at the same height on both sides.
        for left, right in zip(*sides, strict=True):
            grid.add_row(left, right)
        console.print(grid)
        return
    for tenant in tenants:
        console.print(Group(*_tenant(tenant, min(width, 100), ascii_only=plain)), width=100)


def print_answer(answer: Json, console: Console) -> None:
    shown = read_answer(answer)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name, is_number in zip(shown.columns, shown.is_number, strict=True):
        table.add_column(Text(name), justify="right" if is_number else "left")
    for row in shown.rows:
        table.add_row(*(Text(DASH, style=QUIET) if cell is None else Text(cell) for cell in row))
    if shown.other is not None:
        table.add_section()
        table.add_row(*(Text(cell or DASH, style="italic") for cell in shown.other))
    console.print(table)
    console.print(Text(shown.sentence, style="bold"))
    for absent in shown.absent[:ABSENT_SHOWN]:
        console.print(_absent_line(absent))
    _print_rest(console, len(shown.absent) - ABSENT_SHOWN, "more did not answer")
    for line in shown.hidden[:ABSENT_SHOWN]:
        console.print(Text(line, style=QUIET))
    _print_rest(console, len(shown.hidden) - ABSENT_SHOWN, "more lines of what is hidden")


def _print_rest(console: Console, rest: int, words: str) -> None:
    if rest > 0:
        console.print(Text(f"and {count(rest)} {words}", style=QUIET))


def _tenant(tenant: Tenant, width: int, *, ascii_only: bool) -> list[RenderableType]:
    """Give the parts of one tenant from the top down; every tenant has the same parts."""
    return [
        Rule(Text(tenant.name, style=f"bold {ACCENT}"), align="left", style=QUIET),
        Padding(Text(tenant.sentence, style="bold"), (0, 0, 1, 0)),
        Padding(_exceptions(tenant), (0, 0, 1, 0)),
        Padding(_totals(tenant), (0, 0, 1, 0)),
        Padding(_trend(tenant, width, ascii_only=ascii_only), (0, 0, 1, 0)),
        _members(tenant, ascii_only=ascii_only),
        _missing(tenant),
        Padding(_hidden(tenant), (0, 0, 1, 0)),
    ]


def _exceptions(tenant: Tenant) -> RenderableType:
    if not tenant.exceptions:
        return Text("No exceptions.", style=GOOD)
    grid = Table.grid(padding=(0, 1))
    for finding in tenant.exceptions[:EXCEPTIONS_SHOWN]:
        grid.add_row(*_finding(finding))
    if (rest := len(tenant.exceptions) - EXCEPTIONS_SHOWN) > 0:
        grid.add_row(Text(), Text(f"and {rest} more", style=QUIET))
    return grid


def _finding(finding: Finding) -> tuple[Text, Text]:
    # The word is there too: a colour alone says nothing in a log file or to a colour-blind reader.
    style = HIGH if finding.is_high else MEDIUM
    return Text(f"{'!!' if finding.is_high else ' !'}", style=style), Text(
        finding.sentence, style="" if not finding.is_high else "red"
    )


def _totals(tenant: Tenant) -> RenderableType:
    sales, volume, ppsf = tenant.total.words()
    words = tenant.words
    cells = [
        Group(Text(words[name], style=QUIET), Text(figure, style="bold"))
        for name, figure in (("sales", sales), ("volume", volume), ("ppsf", ppsf))
    ]
    answered = Text(f"{tenant.answered} of {tenant.members_asked}", style="bold")
    if tenant.partial:
        answered.append("  partial", style=MEDIUM)
    cells.append(Group(Text("Answered", style=QUIET), answered))
    return Columns(cells, padding=(0, 4))


def _trend(tenant: Tenant, width: int, *, ascii_only: bool) -> RenderableType:
    if not tenant.trend:
        return Text("No trend: no period is shown.", style=QUIET)
    peak = max(tenant.trend, key=lambda period: period.volume or 0)
    label = short_money(peak.volume, tenant.total.currency)
    cell = max(1, min(5, (width - 2) // len(tenant.trend)))
    # The latest periods, if a phone-wide terminal has no room for all.
    trend = tenant.trend[-max(1, (width - 2) // cell) :]
    values = [None if period.volume is None else float(period.volume) for period in trend]
    picture = Text(f"{tenant.words['volume']} by month, highest {label} in {peak.name};", QUIET)
    picture.append(f"\n{tenant.trend_sentence}\n")
    for row in columns(values, height=CHART_HEIGHT, width=cell, ascii_only=ascii_only):
        for period, text in zip(trend, row, strict=True):
            picture.append(text, style=FAINT if tenant.is_thin(period) else ACCENT)
        picture.append("\n")
    months, years = axis_labels([period.period for period in trend], width=cell)
    picture.append("".join(months) + "\n" + "".join(years), style=QUIET)
    return picture


def _members(tenant: Tenant, *, ascii_only: bool) -> Table:
    words = tenant.words
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column(Text(words["member"]), max_width=26, no_wrap=True)
    for name in ("sales", "volume", "ppsf"):
        table.add_column(Text(words[name]), justify="right", no_wrap=True)
    table.add_column(Text("Trend"), no_wrap=True)
    for member in _shortened(tenant.members):
        if member is None:
            between = len(tenant.members) - LARGEST_SHOWN - SMALLEST_SHOWN
            table.add_row(Text(f"… {count(between)} between", style=QUIET))
            continue
        sales, _, ppsf = member.figures.words()
        volume = short_money(member.figures.volume, member.figures.currency)
        picture = Text(sparkline(member.trend, ascii_only=ascii_only), style=ACCENT)
        table.add_row(Text(member.label), Text(sales), Text(volume), Text(ppsf), picture)
    for absent in tenant.absent[:ABSENT_SHOWN]:
        table.add_row(
            Text(absent.label, style=HIGH),
            Text(DASH, style=HIGH),
            Text(absent.state, style=HIGH),
            Text(DASH, style=HIGH),
        )
    return table


def _shortened(members: Sequence[Member]) -> list[Member | None]:
    """Give the largest and the smallest; None stands where the others are."""
    if len(members) <= LARGEST_SHOWN + SMALLEST_SHOWN + 1:
        return list(members)
    return [*members[:LARGEST_SHOWN], None, *members[-SMALLEST_SHOWN:]]


def _missing(tenant: Tenant) -> RenderableType:
    lines = [_absent_line(absent) for absent in tenant.absent[:ABSENT_SHOWN]]
    if (rest := len(tenant.absent) - ABSENT_SHOWN) > 0:
        lines.append(Text(f"and {count(rest)} more did not answer", style=QUIET))
    return Group(*lines)


def _absent_line(absent: Absent) -> Text:
    return Text.assemble((absent.label, HIGH), f" {absent.sentence}")


def _hidden(tenant: Tenant) -> Text:
    return Text(tenant.hidden_sentence, style=QUIET)
