"""`psp demo holding` and `psp demo sources`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from psp.console import render_sections, render_sections_page
from psp.demo import HoldingView, run_holding, run_sources, sources_page

from ._bars import Bars
from ._common import out, print_json

HOLDING_PAGE: Final = Path("psp-holding.html")
SOURCES_PAGE: Final = Path("psp-sources.html")


def holding(
    *,
    page: Path = HOLDING_PAGE,
    keep: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Show a group of 12 companies with 36 archives: added up to the cent, and compared.

    Parameters
    ----------
    page
        Where to write the page.
    keep
        Leave the estate in this directory, for `psp up` and `psp ask`.
    json
        Print everything as one JSON object; no page is written.
    """
    with Bars(quiet=json) as bars:
        view = HoldingView(run_holding(keep=keep, reporter=bars))
    show(view.to_dict() if json else view.page(), page, json=json)
    if keep and not json:
        out().print(f"The estate: {keep}   Next: psp up --estate {keep}")


def sources(
    *,
    page: Path = SOURCES_PAGE,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Compare two public registers of the world's population, which do not agree.

    Parameters
    ----------
    page
        Where to write the page.
    json
        Print what differs as one JSON object; no page is written.
    """
    with Bars(quiet=json) as bars:
        found = run_sources(reporter=bars)
    show(found.to_dict() if json else sources_page(found), page, json=json)


def show(document: dict[str, Any], page: Path, *, json: bool) -> None:
    """Print what a demo found, and write its page."""
    if json:
        print_json(document)
        return
    console = out()
    render_sections(document, console)
    page.write_text(render_sections_page(document), "utf-8")
    console.print(f"\nThe page: {page}   (opens from disk, loads nothing)")
