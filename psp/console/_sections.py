"""A headline, what is amiss, and tables: for what is no view, in a terminal and as a page.

    {title, as_of, note, headline, tiles: [[name, figure]],
     exceptions: [{severity, sentence}], or null where nobody has looked for any,
     sections: [{name, sentence, columns, figures: [is a number], rows, last}]}

Figures come as the text that is to be shown. All text is neutralised here: a title, or the number
of an invoice, may be the word of a captured archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ._figures import instant
from ._neutral import neutral
from ._page import asset, content_policy
from ._view import Json

EXCEPTIONS_SHOWN: Final = 8
"""More than that is a table; the page opens the others on a click."""
WIDTH_MAX: Final = 110
"""Columns of a terminal that a table takes: beyond, the eye loses the line."""

TEXT_WIDTH_MIN: Final = 12
"""Columns that a text keeps beside numbers: a name, or the first word of it."""


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    sentence: str
    columns: list[str]
    figures: list[bool]
    rows: list[list[str]]
    last: list[str] | None


@dataclass(frozen=True, slots=True)
class _Finding:
    is_high: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class _Document:
    title: str
    as_of: str
    note: str
    headline: str
    tiles: list[list[str]]
    exceptions: list[_Finding] | None
    sections: list[_Section]


def print_sections(document: Json, console: Console) -> None:
    """Print all of it."""
    shown = _read(document)
    console.print(Text(shown.title, style="bold"), Text(f"as of {shown.as_of}", style="dim"))
    console.print(Text(shown.note, style="dim"), width=min(console.width, WIDTH_MAX))
    console.print()
    console.print(Text(shown.headline, style="bold"), width=min(console.width, WIDTH_MAX))
    console.print()
    for name, figure in shown.tiles:
        console.print(Text(f"{name}  ", style="dim"), Text(figure, style="bold"))
    if shown.exceptions is not None:
        console.print()
        console.print(_findings(shown.exceptions))
    for section in shown.sections:
        console.print()
        console.print(Text(section.name, style="bold cyan"))
        if section.sentence:
            console.print(Text(section.sentence), width=min(console.width, WIDTH_MAX))
        console.print(_table(section))


def _findings(found: list[_Finding]) -> RenderableType:
    if not found:
        return Text("No exceptions.", style="green")
    grid = Table.grid(padding=(0, 1))
    for finding in found[:EXCEPTIONS_SHOWN]:
        # The mark is there too: a colour alone says nothing in a log file.
        style = "bold red" if finding.is_high else "yellow"
        grid.add_row(
            Text("!!" if finding.is_high else " !", style=style), Text(finding.sentence, style)
        )
    if (rest := len(found) - EXCEPTIONS_SHOWN) > 0:
        grid.add_row(Text(), Text(f"and {rest} more; the page has all", style="dim"))
    return grid


def _table(section: _Section) -> Table:
    is_headed = any(section.columns)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_header=is_headed)
    for at, (name, is_figure) in enumerate(zip(section.columns, section.figures, strict=True)):
        cells = [row[at] for row in (*section.rows, section.last or []) if at < len(row)]
        longest = max(map(cell_len, cells), default=0)
        # A number that is cut or broken is another number; a heading may take two lines.
        table.add_column(
            Text(name),
            justify="right" if is_figure else "left",
            min_width=longest if is_figure else min(longest, TEXT_WIDTH_MIN),
        )
    for row in section.rows:
        table.add_row(*map(Text, row))
    if section.last is not None:
        table.add_section()
        table.add_row(*(Text(cell, style="bold") for cell in section.last))
    return table


def sections_page(document: Json) -> str:
    """Draw the page. Autoescape is on: nothing of the document is ever marked safe."""
    style = asset("page.css") + asset("sections.css")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        policy=content_policy(style), style=Markup(style), exceptions_shown=EXCEPTIONS_SHOWN
    )
    return environment.from_string(asset("sections.html")).render(shown=_read(document))


def _read(document: Json) -> _Document:
    return _Document(
        title=neutral(document["title"], 80),
        as_of=instant(document["as_of"]),
        note=neutral(document["note"], 400),
        headline=neutral(document["headline"], 400),
        tiles=[_texts(tile) for tile in document["tiles"]],
        exceptions=None
        if document["exceptions"] is None
        else [
            _Finding(each["severity"] == "high", neutral(each["sentence"], 300))
            for each in document["exceptions"]
        ],
        sections=[
            _Section(
                name=neutral(each["name"]),
                sentence=neutral(each["sentence"], 400),
                columns=_texts(each["columns"]),
                figures=[bool(is_figure) for is_figure in each["figures"]],
                rows=[_texts(row) for row in each["rows"]],
                last=None if each["last"] is None else _texts(each["last"]),
            )
            for each in document["sections"]
        ],
    )


def _texts(cells: Sequence[object]) -> list[str]:
    return [neutral(str(cell)) for cell in cells]
