"""What commands share: where the estate is, and how things are said."""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

from psp.errors import EstateError
from psp.totebox import Table
from psp.visible import is_visible

ESTATE_VARIABLE = "PSP_ESTATE"


def find_estate(given: Path | None) -> Path:
    """Name the estate meant: the option, $PSP_ESTATE, this directory, or the only one below it.

    Raises:
        EstateError: There is none, or more than one.
    """
    if given or os.environ.get(ESTATE_VARIABLE):
        return given or Path(os.environ[ESTATE_VARIABLE])
    if Path("estate.toml").is_file():
        return Path()
    found = sorted(Path().glob("*/estate.toml"))
    if len(found) == 1:
        return found[0].parent
    names = ", ".join(file.parent.name for file in found) or "none"
    raise EstateError(
        f"which estate? There is no estate.toml here, and of the directories here {names} have"
        f" one. Say --estate DIR, or make one with: psp estate new NAME --from FILES"
    )


def out() -> Console:
    """The console for results."""
    return Console(highlight=False, markup=False)


def err() -> Console:
    """The console for progress and notes, so that results can be piped."""
    return Console(stderr=True, highlight=False, markup=False)


def show_table(table: Table, title: str) -> None:
    """Show a proposed table to the person who is to approve it."""
    grid = Grid(title=title)
    for heading in ("column", "type", "key"):
        grid.add_column(heading)
    for column in table.columns:
        kind = str(column.type.value) + (f"({column.scale})" if column.scale else "")
        marks = [
            *(["key"] if column.name in table.key else []),
            *(["subject"] if column.name == table.subject else []),
        ]
        grid.add_row(
            column.name,
            " ".join(filter(None, (kind, column.currency, "or empty" if column.nullable else ""))),
            ", ".join(marks),
        )
    err().print(grid)


def agreed(question: str) -> bool:
    """Ask a person; only yes is yes."""
    err().print(f"{question} [y/N] ", end="")
    try:
        answer = input()
    except EOFError:
        answer = ""
    return answer.strip().lower() in {"y", "yes"}


def operator() -> str:
    """Name the person at this keyboard, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A user without a name, as in a container.
        return "owner"


def print_json(document: object) -> None:
    """Write one object on one line.

    JSON itself escapes only half of what moves a cursor: C1 controls and bidi marks of a captured
    archive's text are escaped too, which changes the bytes and not the value.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    shown = (c if is_visible(c) else json.dumps(c)[1:-1] for c in text)
    sys.stdout.write("".join(shown) + "\n")
