"""Pictures made of characters: columns and sparklines. Pure; no colour, no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ._figures import month

EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
PLAIN: Final = " ...ooo##"
"""The same steps for a terminal that has only ASCII."""
GAP: Final = "·"


def sparkline(values: Sequence[float | None], *, ascii_only: bool = False) -> str:
    """Draw one character per value, from zero up; a dot where there is no value to show."""
    steps = PLAIN if ascii_only else EIGHTHS
    top = max((value for value in values if value is not None), default=0.0)
    return "".join(
        ("-" if ascii_only else GAP) if value is None else steps[_eighths(value, top, 8) or 1]
        for value in values
    )


def columns(
    values: Sequence[float | None], *, height: int, width: int, ascii_only: bool = False
) -> list[list[str]]:
    """Draw a column chart: `height` rows from the top down, each one cell of `width` per value.

    The cells are apart so that a renderer can colour a column by what it stands for.
    """
    steps = PLAIN if ascii_only else EIGHTHS
    top = max((value for value in values if value is not None), default=0.0)
    fills = [_eighths(value, top, height * 8) if value is not None else 0 for value in values]
    bar = max(1, width - 1)  # One blank between columns, unless there is no room for it.
    return [
        [(steps[min(8, max(0, fill - row * 8))] * bar).ljust(width) for fill in fills]
        for row in reversed(range(height))
    ]


def axis_labels(periods: Sequence[str], *, width: int) -> tuple[list[str], list[str]]:
    """Give the names under a column chart: months, and the year where it begins."""
    upper, lower, shown_year = [], [], ""
    for period in periods:
        name, year = month(period)
        upper.append((name[: width - 1] if width > 1 else "").ljust(width))
        lower.append((year if year != shown_year and width > 4 else "").ljust(width)[:width])
        shown_year = year
    return upper, lower


def _eighths(value: float, top: float, steps: int) -> int:
    """Scale to 0..steps; something small is drawn as the smallest step, not as nothing."""
    if top <= 0 or value <= 0:
        return 0
    return max(1, min(steps, round(value / top * steps)))
