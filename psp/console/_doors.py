"""The ways to draw. Each loads its library when it is used, never before.

`neutral` is wanted everywhere, also where nothing optional is installed; and altair alone takes
half a second to import, which `psp status` must not pay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from psp.errors import EstateError, MissingExtra

if TYPE_CHECKING:
    from rich.console import Console

    from ._board import Board
    from ._view import Json


def render_view(view: Json, console: Console) -> None:
    """Print a view: side by side where the terminal is wide, else one tenant after the other.

    Raises:
        MissingExtra: rich is not installed.
    """
    with _needed_for("a view in the terminal"):
        from ._terminal import print_view
    print_view(view, console)


def render_answer(answer: Json, console: Console) -> None:
    """Print the table of one question, who did not answer, and what is hidden.

    Raises:
        MissingExtra: rich is not installed.
    """
    with _needed_for("an answer in the terminal"):
        from ._terminal import print_answer
    print_answer(answer, console)


def render_status(report: Json, console: Console) -> None:
    """Print how each archive of an estate is, and what to do about those that are away.

    Raises:
        MissingExtra: rich is not installed.
    """
    with _needed_for("the status in the terminal"):
        from ._status import print_status
    print_status(report, console)


def watch_board(board: Board, console: Console) -> AbstractContextManager[Callable[[], None]]:
    """Give the terminal to a live screen, and take it back as it was; what is given paints.

    Raises:
        MissingExtra: rich is not installed.
    """
    with _needed_for("the live screen"):
        from ._screen import live_screen
    return live_screen(board, console)


def render_report_page(view: Json, evidence: Json) -> str:
    """Return a view as one HTML file that loads nothing and checks itself where it is read.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    with _needed_for("the HTML page"):
        from ._report_page import report_page
    return report_page(view, evidence)


def shown_figure(value: object) -> str:
    """Write a figure as a page that proves itself shows it."""
    from ._report_page import shown_figure

    return shown_figure(value)


def render_report(view: Json, console: Console) -> None:
    """Print what a view file shows: exceptions, the position, who is missing.

    Raises:
        MissingExtra: rich is not installed.
    """
    with _needed_for("a view in the terminal"):
        from ._report import print_report
    print_report(view, console)


def render_reconciliation(found: Json, console: Console) -> None:
    """Print what two tables differ in.

    Raises:
        MissingExtra: rich is not installed.
    """
    with _needed_for("a reconciliation in the terminal"):
        from ._report import print_reconciliation
    print_reconciliation(found, console)


def render_why(found: Json, console: Console) -> None:
    """Print what one figure of a view is made of.

    Raises:
        MissingExtra: rich is not installed.
    """
    with _needed_for("a view in the terminal"):
        from ._report import print_why
    print_why(found, console)


def export(document: Json, suffix: str) -> bytes:
    """Return an answer or a view as a file for other programs.

    Args:
        suffix: `.json`, `.csv`, `.xlsx` or `.arrow`.

    Raises:
        EstateError: Another one.
        MissingExtra: openpyxl or pyarrow is not installed.
    """
    from ._export import FORMATS

    if suffix not in FORMATS:
        raise EstateError(
            f"{suffix or 'a name without an ending'} is no format to save in; there are"
            f" {', '.join(FORMATS)}."
        )
    with _needed_for(f"a {suffix} file", extra="columns"):
        return FORMATS[suffix](document)


def render_page(view: Json) -> str:
    """Return a view as one HTML file that loads nothing: no script, no font, no picture.

    Raises:
        MissingExtra: altair, vl-convert or jinja2 is not installed.
    """
    with _needed_for("the HTML page"):
        from ._page import page
    return page(view)


def render_sections(document: Json, console: Console) -> None:
    """Print a headline, exceptions and tables.

    Raises:
        MissingExtra: rich is not installed.
    """
    with _needed_for("tables in the terminal"):
        from ._sections import print_sections
    print_sections(document, console)


def render_sections_page(document: Json) -> str:
    """Return a headline, exceptions and tables as one HTML file that loads and runs nothing.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    with _needed_for("the HTML page"):
        from ._sections import sections_page
    return sections_page(document)


@contextmanager
def _needed_for(what: str, *, extra: str = "console") -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("psp"):
            raise
        raise MissingExtra(what, library=exc.name, extra=extra) from exc
