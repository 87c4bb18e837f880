"""The estate on a live screen: who is how, since when and why, with the figures that came last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ._board import NAME_CHARACTERS, Board, Seen, ago, instant_or_none
from ._figures import count
from ._neutral import neutral

CAUSES_MAX: Final = 6
_AROUND: Final = 6
"""Lines that are no member's: the title, the headings, what is left out, the question, the keys."""
_GOOD, _BAD, _DOUBT, _QUIET = "green", "bold red", "yellow", "dim"


@contextmanager
def live_screen(board: Board, console: Console) -> Iterator[Callable[[], None]]:
    """Take the alternate screen, and give it back whatever happens; what is given paints."""

    def paint() -> None:
        size = console.size  # Of this moment: a window is made larger and smaller.
        now = datetime.now(UTC)
        live.update(draw(board, width=size.width, height=size.height, now=now), refresh=True)

    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield paint


def draw(board: Board, *, width: int, height: int, now: datetime) -> RenderableType:
    """Draw a board in so many columns and lines; who is away stands first, and then why."""
    members = sorted(board.members.items(), key=_away_first)
    causes = [(name, seen.cause) for name, seen in members if seen.cause]
    causes = causes[: min(CAUSES_MAX, max((height - _AROUND) // 3, 1))]
    room = max(height - _AROUND - len(causes), 1)
    lines: list[RenderableType] = [_headline(board), _table(board, members[:room], now)]
    if (rest := len(members) - room) > 0:
        lines.append(Text(f"and {count(rest)} more", style=_QUIET))
    for name, cause in causes:
        words = Text.assemble((neutral(name, NAME_CHARACTERS), _BAD), f" {cause}")
        words.truncate(width, overflow="ellipsis")
        lines.append(words)
    if board.trouble:
        lines.append(Text(board.trouble, style=_DOUBT, no_wrap=True, overflow="ellipsis"))
    lines.append(Text("q leaves", style=_QUIET))
    return Group(*lines)


def _headline(board: Board) -> Text:
    well = sum(seen.is_there for seen in board.members.values())
    title = Text(neutral(board.title, 40), style="bold", no_wrap=True, overflow="ellipsis")
    title.append(
        f" · {count(well)} of {count(len(board.members))} there", style=_GOOD if well else _BAD
    )
    when = instant_or_none(board.looked_at)
    title.append(f" · {when:%H:%M:%S} UTC" if when else " · asking", style=_QUIET)
    return title


def _table(board: Board, members: Sequence[tuple[str, Seen]], now: datetime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("archive", no_wrap=True, max_width=NAME_CHARACTERS)
    table.add_column("state", no_wrap=True, max_width=16)
    table.add_column("for", no_wrap=True, justify="right")
    for heading in board.headings:
        table.add_column(Text(heading), no_wrap=True, justify="right")
    for name, seen in members:
        style = _BAD if not seen.is_there else _GOOD if seen.state == "active" else _DOUBT
        figures = [*seen.figures, *([""] * len(board.headings))][: len(board.headings)]
        table.add_row(
            Text(neutral(name, NAME_CHARACTERS)),
            Text(seen.state, style=style),
            Text(ago(seen.since, now)),
            # Figures of an earlier look are there, and look like it.
            *(Text(figure, style="" if seen.is_there else _QUIET) for figure in figures),
        )
    return table


def _away_first(item: tuple[str, Seen]) -> tuple[int, str]:
    name, seen = item
    return (2 if seen.state == "active" else 1) if seen.is_there else 0, name
