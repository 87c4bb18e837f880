"""From the plain dict of a view to what may be shown: the only way in.

Every string is neutralised here and every figure becomes a Decimal here, so whoever draws holds
nothing that is dangerous to print, and nothing that is already rounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

from ._figures import count, decimal_or_none, instant, money, period_words, rate, readable, since
from ._neutral import neutral

# A view arrives as parsed JSON: its shape is the aggregator's promise, its strings are strangers'.
Json: TypeAlias = Mapping[str, Any]

WORD_CHARACTERS_MAX: Final = 16  # The head of a column of figures, which does not wrap.
LABEL_CHARACTERS_MAX: Final = 40
SENTENCE_CHARACTERS_MAX: Final = 300
ANSWERED: Final = "answered"

STATE_WORDS: Final = {
    "unreachable": "unreachable",
    "not_paired": "not paired",
    "denied": "refused",
    "expired": "grant expired",
    "revoked": "grant revoked",
    "suppressed": "too few to show",
    "deadline": "too slow",
    "overloaded": "too busy",
    "failed": "failed",
    "unneeded": "not waited for",
}
"""Words for the states that have a better one than their own name."""

DEFAULT_WORDS: Final = {
    "member": "Company",
    "members": "companies",
    "sales": "Sales",
    "volume": "Volume",
    "ppsf": "Per sq ft",
}
"""What the view's terms are called; a view about something else brings its own `words`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Count, amount and rate of a total or a member; None is not shown, not zero."""

    sales: Decimal | None
    volume: Decimal | None
    ppsf: Decimal | None
    currency: str

    def words(self) -> tuple[str, str, str]:
        """Give the three as text, the amount in full."""
        return (
            count(self.sales),
            money(self.volume, self.currency),
            rate(self.ppsf, self.currency),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One bar of the trend. It is partial if not every member could be shown in it."""

    period: str
    volume: Decimal | None
    sales: Decimal | None
    members: int
    of: int

    @property
    def name(self) -> str:
        return period_words(self.period)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    label: str
    figures: Figures
    hidden: int
    trend: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A member without an answer: a row of the table, with the reason where figures would be."""

    label: str
    state: str
    cause: str
    since: str

    @property
    def sentence(self) -> str:
        start = f"{self.state} since {self.since}" if self.since else self.state
        return f"{start}: {self.cause}" if self.cause else start


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    severity: str
    sentence: str

    @property
    def is_high(self) -> bool:
        return self.severity == "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What one member does not show, in words: `hidden: fewer than 10 properties`."""

    label: str
    words: str
    periods: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    name: str
    sentence: str
    floor: int
    members_asked: int
    states: tuple[tuple[str, int], ...]
    answered: int
    absent: tuple[Absent, ...]
    total: Figures
    partial: bool
    trend: tuple[Period, ...]
    members: tuple[Member, ...]
    exceptions: tuple[Finding, ...]
    hidden: tuple[Hidden, ...]
    hidden_words: tuple[tuple[str, int], ...]
    words: Mapping[str, str]

    @property
    def hidden_sentence(self) -> str:
        """Say what is not shown and why, without the word "suppressed"."""
        if not self.hidden_words:
            return "Nothing is hidden."
        return "; ".join(_cells(number, words) for words, number in self.hidden_words) + "."

    def is_thin(self, period: Period) -> bool:
        """Whether a tenth or more of those who answered is not in this period's figure.

        Under a floor nearly every month misses somebody; marking all of them would mark nothing.
        """
        return period.members * 10 <= self.answered * 9

    @property
    def has_thin(self) -> bool:
        return any(self.is_thin(period) for period in self.trend)

    @property
    def trend_sentence(self) -> str:
        """Say over how many members the trend goes: `each month over 66 to 69 of 70 companies`."""
        if not self.trend:
            return ""
        least = min(period.members for period in self.trend)
        most = max(period.members for period in self.trend)
        span = f"{most}" if least == most else f"{least} to {most}"
        return f"each month over {span} of {self.members_asked} {self.words['members']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    title: str
    as_of: str
    data_note: str
    tenants: tuple[Tenant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The table of one ad-hoc question. A cell of None has no figure to show.

    Attributes:
        other: One row over the cells that are hidden one by one; None if nothing is.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    other: tuple[str | None, ...] | None
    is_number: tuple[bool, ...]
    sentence: str
    absent: tuple[Absent, ...]
    hidden: tuple[str, ...]


def read_view(view: Json) -> View:
    """Take a view's plain dict in; what comes out is safe to draw."""
    words = DEFAULT_WORDS | {
        name: neutral(str(word), WORD_CHARACTERS_MAX)
        for name, word in view.get("words", {}).items()
    }
    return View(
        title=neutral(view["title"], 80),
        as_of=instant(view["as_of"]),
        data_note=neutral(view["data_note"], SENTENCE_CHARACTERS_MAX),
        tenants=tuple(_tenant(tenant, words) for tenant in view["tenants"]),
    )


def read_answer(answer: Json) -> Answer:
    """Take an answer's plain dict in; what comes out is safe to draw."""
    kinds = answer.get("kinds") or [""] * len(answer["columns"])

    def cells(row: Sequence[object]) -> tuple[str | None, ...]:
        return tuple(_cell(value, kind) for value, kind in zip(row, kinds, strict=True))

    other = answer.get("other")
    return Answer(
        columns=tuple(neutral(str(name), LABEL_CHARACTERS_MAX) for name in answer["columns"]),
        rows=tuple(map(cells, answer["rows"])),
        other=None if other is None else cells(other),
        is_number=tuple(
            kind != "group" and _all_numbers(row[index] for row in answer["rows"])
            for index, kind in enumerate(kinds)
        ),
        sentence=_answered_sentence(answer),
        absent=tuple(_absent(absent, {}) for absent in answer["absent"]),
        hidden=tuple(_hidden_in_answer(answer["withheld"])),
    )


def _tenant(tenant: Json, words: Mapping[str, str]) -> Tenant:
    currency = _currency(tenant.get("currency"))
    labels = {member["member"]: _label(member["label"]) for member in tenant["members"]}
    members = [_member(member, currency) for member in tenant["members"]]
    return Tenant(
        name=neutral(tenant["name"], LABEL_CHARACTERS_MAX),
        sentence=neutral(tenant["sentence"], SENTENCE_CHARACTERS_MAX),
        floor=int(tenant["floor"]),
        members_asked=int(tenant["members_asked"]),
        states=_states(tenant["states"]),
        answered=int(tenant["states"].get(ANSWERED, 0)),
        absent=tuple(_absent(absent, labels) for absent in tenant["absent"]),
        total=_figures(tenant["total"], currency),
        partial=bool(tenant["partial"]),
        trend=tuple(_period(period) for period in tenant["trend"]),
        # Largest first; one without a figure goes last rather than counting as zero.
        members=tuple(sorted(members, key=_by_volume)),
        exceptions=tuple(
            sorted(
                (
                    Finding(
                        severity="high" if found["severity"] == "high" else "medium",
                        sentence=neutral(found["sentence"], SENTENCE_CHARACTERS_MAX),
                    )
                    for found in tenant["exceptions"]
                ),
                key=lambda found: not found.is_high,
            )
        ),
        hidden=_hidden(tenant["withheld"], labels),
        hidden_words=_common(neutral(cell["words"]) for cell in tenant["withheld"]),
        words=words,
    )


def _member(member: Json, currency: str) -> Member:
    return Member(
        label=_label(member["label"]),
        figures=_figures(member, currency),
        hidden=int(member["hidden"]),
        trend=tuple(_point(value) for value in member["trend"]),
    )


def _figures(source: Json, currency: str) -> Figures:
    return Figures(
        sales=decimal_or_none(source.get("sales")),
        volume=decimal_or_none(source.get("volume")),
        ppsf=decimal_or_none(source.get("ppsf")),
        currency=currency,
    )


def _period(period: Json) -> Period:
    return Period(
        period=neutral(str(period["period"]), 12),
        volume=decimal_or_none(period["volume"]),
        sales=decimal_or_none(period["sales"]),
        members=int(period["members"]),
        of=int(period["of"]),
    )


def _absent(absent: Json, labels: Mapping[str, str]) -> Absent:
    state = str(absent["state"])
    return Absent(
        label=labels.get(absent["member"]) or _label(absent.get("label") or absent["member"]),
        state=STATE_WORDS.get(state) or neutral(state, LABEL_CHARACTERS_MAX),
        cause=neutral(absent.get("cause") or ""),
        since=since(absent.get("since") or ""),
    )


def _hidden(withheld: Sequence[Json], labels: Mapping[str, str]) -> tuple[Hidden, ...]:
    """Fold the cells of one member with one reason into one line."""
    periods: dict[tuple[str, str], list[str]] = {}
    for cell in withheld:
        member = str(cell["member"])
        key = labels.get(member) or _label(member), neutral(cell["words"])
        periods.setdefault(key, []).append(period_words(neutral(str(cell["period"]), 12)))
    return tuple(
        Hidden(label=label, words=words, periods=tuple(names))
        for (label, words), names in periods.items()
    )


def _hidden_in_answer(withheld: Sequence[Json]) -> Iterator[str]:
    """Say for each reason how many cells of how many members it hides."""
    cells: dict[str, Counter[str]] = {}
    for entry in withheld:
        members = cells.setdefault(neutral(entry["words"]), Counter())
        members[_label(entry["member"])] += int(entry["cells"])
    for words, members in cells.items():
        where = next(iter(members)) if len(members) == 1 else f"{len(members)} members"
        yield f"{where}: {_cells(members.total(), words)}"


def _states(states: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Give the states in words, the answered first."""
    ordered = sorted(states.items(), key=lambda state: (state[0] != ANSWERED, -state[1]))
    return tuple(
        (STATE_WORDS.get(name) or neutral(name, LABEL_CHARACTERS_MAX), int(number))
        for name, number in ordered
        if number
    )


def _answered_sentence(answer: Json) -> str:
    states = dict(answer["states"])
    answered = states.pop(ANSWERED, 0)
    text = f"{answered} of {answer['members_asked']} answered"
    others = [f"{number} {words}" for words, number in _states(states)]
    if others:
        text += ": " + ", ".join(others)
    return f"{text}. The figures are partial." if answer["partial"] else f"{text}."


def _cell(value: object, kind: str) -> str | None:
    if value is None:
        return None
    figure = decimal_or_none(value) if kind in ("measure", "derived") else None
    return neutral(str(value)) if figure is None else readable(figure)


def _all_numbers(values: Iterable[object]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(decimal_or_none(value) is not None for value in present)


def _common(words: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(words).most_common())


def _by_volume(member: Member) -> tuple[bool, Decimal]:
    volume = member.figures.volume
    return volume is None, -(volume or Decimal(0))


def _cells(number: int, words: str) -> str:
    return f"{count(number)} cell{'' if number == 1 else 's'} {words}"


def _currency(code: object) -> str:
    """Take an ISO 4217 code; anything else stands before no figure."""
    text = str(code)
    return text if len(text) == 3 and text.isascii() and text.isupper() else ""


def _label(text: object) -> str:
    return neutral(str(text), LABEL_CHARACTERS_MAX)


def _point(value: object) -> float | None:
    figure = decimal_or_none(value)
    # For the eye: a position on a screen has no use for more than a float holds.
    return None if figure is None else float(figure)
