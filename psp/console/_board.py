"""What is known of an estate, over one look after the other: what a live screen shows.

Nothing waits here and nothing asks: whoever does hands over plain reports, as `print_status` takes
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ._figures import decimal_or_none, readable
from ._neutral import neutral

NAME_CHARACTERS: Final = 20
CAUSE_CHARACTERS: Final = 120
FIGURES_MAX: Final = 3
"""Figures of a question: with the other columns they fill 80 characters."""

_UNITS: Final = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


@dataclass(slots=True)
class Seen:
    """What is known of one member.

    Attributes:
        figures: The last that came, of whichever time.
        is_there: Whether it answered at the last look; else its figures are of an earlier one.
    """

    state: str = "asked"
    since: str = ""
    cause: str = ""
    figures: tuple[str, ...] = ()
    is_there: bool = False


@dataclass(slots=True)
class Board:
    """What is known of an estate.

    Attributes:
        headings: Of the figures: those of a question, else of the members' own reports.
        looked_at: When the members were last asked; empty before that.
        trouble: What went wrong with the question, if anything did.
    """

    title: str
    headings: tuple[str, ...] = ("entries", "results out, bytes")
    members: dict[str, Seen] = field(default_factory=dict)
    looked_at: str = ""
    trouble: str = ""
    _has_question: bool = False

    def note_status(self, report: Mapping[str, Any]) -> None:
        """Take in how the members are."""
        self.looked_at = str(report["asked_at"])
        for entry in report["members"]:
            seen = self._seen(entry)
            seen.is_there, seen.cause = True, ""
            if not self._has_question:
                seen.figures = tuple(map(_figure, (entry["tree_size"], entry["result_bytes"])))
        for entry in report["absent"]:
            seen = self._seen(entry)
            seen.is_there, seen.cause = False, neutral(str(entry["cause"]), CAUSE_CHARACTERS)

    def note_answer(self, answer: Mapping[str, Any]) -> None:
        """Take in the figures of a question whose first column is the member."""
        if not self._has_question:  # What stood there were figures of something else.
            for seen in self.members.values():
                seen.figures = ()
        self._has_question, self.trouble = True, ""
        headings = tuple(neutral(str(name), NAME_CHARACTERS) for name in answer["columns"])
        self.headings = headings[1 : FIGURES_MAX + 1]
        for name, *figures in answer["rows"]:
            seen = self.members.setdefault(str(name), Seen())
            seen.figures = tuple(map(_figure, figures[:FIGURES_MAX]))

    def note_trouble(self, words: str) -> None:
        """Take in that the question failed; what came before stays."""
        self.trouble = neutral(words)

    def _seen(self, entry: Mapping[str, Any]) -> Seen:
        seen = self.members.setdefault(str(entry["member"]), Seen())
        seen.state, seen.since = neutral(str(entry["state"]), 40), str(entry["since"] or "")
        return seen


def ago(since: str, now: datetime) -> str:
    """Write how long ago that was, in its largest unit and the next: `3 min 20 s`."""
    when = instant_or_none(since)
    if when is None:
        return ""
    seconds = max(int((now - when).total_seconds()), 0)
    for size, unit, smaller, word in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // smaller} {word}"
    return f"{seconds} s"


def instant_or_none(text: str) -> datetime | None:
    """Read an ISO instant; None for anything else."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _figure(value: object) -> str:
    figure = decimal_or_none(value)
    if figure is not None:
        return readable(figure)
    return "" if value is None else neutral(str(value), NAME_CHARACTERS)
