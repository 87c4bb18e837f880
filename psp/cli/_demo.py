"""`psp demo`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from psp.console import render_page, render_view
from psp.demo import ESTATE, SCALE, Result, run_demo
from psp.errors import EstateError

from ._bars import Bars
from ._common import out, print_json

PAGE: Final = Path("psp-demo.html")
_DURATION: Final = re.compile(r"(\d{1,4}(?:\.\d+)?)(ms|s)")

demo = App(name="demo", help="Show a real estate on this machine.")
demo.command("psp.cli._demo_holding:holding", name="holding")
demo.command("psp.cli._demo_holding:sources", name="sources")


@demo.default
def kings(
    *,
    far: str | None = None,
    scale: Annotated[bool, Parameter(negative=())] = False,
    page: Path = PAGE,
    keep: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Show a real estate of 70 archives on this machine: files in, one view out, no record moved.

    Parameters
    ----------
    far
        Put this round trip between the aggregators and the archives, as in 80ms, and draw what
        promise pipelining makes of it.
    scale
        Use the 336,776 flights out of New York in 2013, one archive per carrier.
    page
        Where to write the page.
    keep
        Leave the estate in this directory, for `psp up` and `psp ask`.
    json
        Print everything as one JSON object; no page is written.
    """
    far_s = None if far is None else _seconds(far)
    with Bars(quiet=json) as bars:
        result = run_demo(SCALE if scale else ESTATE, far_s=far_s, keep=keep, reporter=bars)
    if json:
        print_json(result.to_dict())
        return
    console = out()
    view = result.page_view()
    render_view(view, console)
    page.write_text(render_page(view), "utf-8")
    _say_scenes(result, console)
    _say_facts(result, console)
    console.print(f"\nThe page: {page}   (opens from disk, loads nothing)")
    if keep:
        console.print(f"The estate: {keep}   Next: psp up --estate {keep}")


def _say_scenes(result: Result, console: Console) -> None:
    console.print("\nTried just now:")
    console.print(_lines((scene.name, scene.sentence) for scene in result.scenes))
    if result.waterfall:
        console.print(f"\nFive dependent hops, {result.waterfall.round_trip_s * 1000:.0f} ms away:")
        for line in result.waterfall.lines():
            console.print(f"  {line}")


def _say_facts(result: Result, console: Console) -> None:
    """Eight lines on what just happened."""
    facts = result.facts
    hidden = sum(len(view["withheld"]) for view in result.views.values())
    lines = (
        ("archives", f"{facts['archives']}, a process each, {facts['archives_memory_mib']} MiB"),
        ("rows sealed", f"{facts['rows_sealed']:,} in {facts['archives']} ledgers"),
        ("records that left, for the views", f"{facts['record_bytes_for_views']} bytes"),
        ("results that left, for the views", f"{facts['result_bytes']:,} bytes"),
        ("questions that went in", f"{facts['question_bytes']:,} bytes, grants included"),
        ("round trips per member and view", f"{facts['round_trips_per_member']}"),
        ("cells withheld", f"{hidden}, each with its rule in the view"),
        ("time", f"{facts['views_ms']} ms for both views, {facts['demo_s']} s in all"),
    )
    console.print("\nWhat just happened:")
    console.print(_lines(lines))


def _lines(pairs: Iterable[tuple[str, str]]) -> Grid:
    """What it is on the left, what came of it on the right, wrapped there if it is long."""
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    for name, value in pairs:
        grid.add_row(Text(f"  {name}"), Text(value))
    return grid


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or not float(found[1]):
        raise EstateError(f"--far {text} is not a duration. Write it as 80ms or 0.2s")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)
