"""Disclosure control within one answer: which cells may be shown, and what becomes of the rest.

A cell is shown when every total that the answer lets a reader compute about it stands for at least
`floor` subjects. What may not be shown is folded into one cell, `other`, and as long as `other`
itself stands for too few, the smallest shown cell is folded in as well. So the cells and `other`
together always add up to the whole, and there is nothing left to subtract.

"Every total that a reader can compute" is meant as Chin and Özsoyoğlu's Audit Expert means it
(1982): the span of the published row sets over the finest parts they cut. Cells and `other` have no
row in common, so between them the span holds nothing but unions. Inside one it can hold more:
count(*) − count(x) is the number of rows without x, and count(*) − count(x) − count(y) may be the
number with neither. Pairwise differences are not enough; hence the elimination below.

This file is pure arithmetic over counts: no SQL, no clock, no chance.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import compress
from math import lcm
from typing import Final, NamedTuple, Self, TypeAlias

from psp.capability import Operation
from psp.errors import Suppressed
from psp.plan import Figure, Measure, combine_rows
from psp.values import Value

COUNTED_MAX: Final = 8
"""Nullable columns that one plan may count. The search below is exponential in them in the worst
case: 2^9 candidates a cell is milliseconds, 2^32 is a denial of service."""

# Room for the longest exact sum divided by the ladder's largest step, and for any float's digits
# before the point; nothing is trapped, because what is cut is far behind the point.
_WIDE: Final = Context(prec=400, rounding=ROUND_HALF_UP)

Key: TypeAlias = tuple[Value, ...]


class Rule(StrEnum):
    """Why a cell is hidden; the words are part of the answer."""

    FLOOR = "floor"  # It stands for too few subjects, zero included.
    COMPLEMENT = "complement"  # It would give a hidden one away by subtraction.
    DOMINANCE = "dominance"  # Its sum is nearly one subject's.
    HISTORY = "history"  # With earlier answers it would tell of too few.


class Withheld(Suppressed):
    """A whole answer that is hidden.

    Attributes:
        rule: Why. It stays in the archive; the sentence travels.
    """

    rule: Rule = Rule.FLOOR

    @classmethod
    def by(cls, rule: Rule, sentence: str) -> Self:
        withheld = cls(f"hidden: {sentence}")
        withheld.rule = rule
        return withheld

    def again(self) -> Self:
        """Make another one of the same words, for another task to raise."""
        return self.by(self.rule, str(self).removeprefix("hidden: "))


class Part(NamedTuple):
    """The rows of a cell that have values in exactly the same measured columns.

    Attributes:
        present: The nullable measured columns in which these rows have a value.
        members: The subjects behind the rows where they are fewer than the floor; None where they
            are enough. Kept as a set, because one subject may be in several parts and cells.
    """

    present: frozenset[str]
    rows: int
    members: frozenset[Hashable] | None


class Cell(NamedTuple):
    """One group of an answer, before anybody has decided whether it may be shown."""

    key: Key
    rows: int
    figures: tuple[Figure, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """Which row sets the figures of a plan publish, by the columns whose nulls cut them.

    Attributes:
        valued: Nullable columns of which some figure is published.
        counted: Nullable columns whose number of values is published; None stands for the number
            of all rows.
    """

    valued: frozenset[str]
    counted: frozenset[str | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """What an answer may say.

    Attributes:
        other: The hidden cells as one; None if none is hidden.
        hidden: The hidden cells whose keys may be printed.
        hidden_count: All hidden cells.
        listed: Keys that may be printed; None if no domain is listed in full.
    """

    shown: tuple[Cell, ...]
    other: tuple[Figure, ...] | None
    hidden: tuple[tuple[Key, Rule], ...]
    hidden_count: int
    listed: frozenset[Key] | None = field(default=None, compare=False)


def decide(
    cells: Sequence[Cell],
    *,
    floor: int,
    measures: Sequence[Measure],
    published: Published,
    listed: Sequence[Key] | None,
) -> Decision:
    """Decide which cells of one answer are shown.

    Args:
        cells: Every group that has a row, in the order of the answer.
        floor: Least number of subjects; up to 1, nothing is hidden.
        listed: The group keys that anybody may know of, because the manifest lists them in full;
            those without a row count as hidden too, or their absence from `hidden` would say so.

    Raises:
        Suppressed: Not even everything together stands for enough subjects.
    """
    if floor <= 1:
        return Decision(tuple(cells), None, (), 0, None if listed is None else frozenset(listed))
    safe = {cell.key for cell in cells if is_safe(cell.parts, published, floor)}
    present = {cell.key for cell in cells}
    absent = [key for key in listed or () if key not in present]
    rules = dict.fromkeys(absent, Rule.FLOOR)
    rules |= {cell.key: Rule.FLOOR for cell in cells if cell.key not in safe}

    # sorted() is stable: among cells of equal size the first in the answer goes first.
    candidates = sorted((cell for cell in cells if cell.key in safe), key=lambda it: it.rows)
    folded = [cell for cell in cells if cell.key not in safe]
    other = merge_parts(part for cell in folded for part in cell.parts)
    # An empty `other` is too small as well: where it were published as zero, every listed cell
    # folded into it would be known to be empty, and "zero included" would be a phrase.
    while rules and not is_safe(other, published, floor):
        if not candidates:
            raise too_few(floor)
        cell = candidates.pop(0)
        folded.append(cell)
        rules[cell.key] = Rule.COMPLEMENT
        other = merge_parts((*other, *cell.parts))
    return Decision(
        shown=tuple(cell for cell in cells if cell.key not in rules),
        other=_combined([cell.figures for cell in folded], measures) if rules else None,
        hidden=tuple((key, rules[key]) for key in listed or () if key in rules),
        hidden_count=len(rules),
        listed=None if listed is None else frozenset(listed),
    )


def fold(decision: Decision, key: Key, measures: Sequence[Measure], rule: Rule) -> Decision:
    """Hide one more of the shown cells."""
    [cell] = [cell for cell in decision.shown if cell.key == key]
    hidden = [cell.figures] if decision.other is None else [decision.other, cell.figures]
    may_print = decision.listed is not None and key in decision.listed
    return replace(
        decision,
        shown=tuple(each for each in decision.shown if each is not cell),
        other=_combined(hidden, measures),
        hidden=(*decision.hidden, *([(key, rule)] if may_print else [])),
        hidden_count=decision.hidden_count + 1,
    )


def too_few(floor: int) -> Suppressed:
    """Make the one refusal for too little and for nothing: its words must not tell them apart."""
    return Withheld.by(
        Rule.FLOOR,
        f"fewer than {floor} subjects stand behind this answer; ask for a coarser question",
    )


def is_safe(parts: Sequence[Part], published: Published, floor: int) -> bool:
    """Say whether every total that these rows' figures give away stands for `floor` subjects."""
    if parts and all(part.members is None for part in parts):
        return True  # Mostly: each part alone has enough.
    if not _enough(parts, floor):
        return False
    for column in published.valued:
        having = [part for part in parts if column in part.present]
        if having and not _enough(having, floor):
            return False
    return not _gives_small_count(parts, published.counted, floor)


def merge_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Join parts with values in the same columns, as a fold of their cells does."""
    merged: dict[frozenset[str], Part] = {}
    for part in parts:
        known = merged.get(part.present)
        if known is None:
            merged[part.present] = part
            continue
        both_small = known.members is not None and part.members is not None
        members = (known.members or frozenset()) | (part.members or frozenset())
        merged[part.present] = Part(
            part.present, known.rows + part.rows, members if both_small else None
        )
    return tuple(merged.values())


def round_figure(figure: Figure, base: int) -> Figure:
    """Round a number to the nearest multiple of `base`, halves away from zero; a mean, both parts.

    Texts, dates and null stay as they are.
    """
    if base <= 1:  # The ladder's first step: as it is, cents included.
        return figure
    match figure:
        case list() | tuple():
            return [round_figure(part, base) for part in figure]
        case bool():
            return figure
        case int():
            return int(_nearest(Decimal(figure), base))
        case Decimal():
            return _nearest(figure, base)
        case float():
            return float(_nearest(Decimal(figure), base))
    return figure


def round_measure(operation: Operation, figure: Figure, base: int) -> Figure:
    """Round what one measure gave; a sum of squares to a multiple of the square of `base`."""
    if operation is Operation.VARIANCE and isinstance(figure, list):
        *sums, squares = figure
        return [*(round_figure(each, base) for each in sums), round_figure(squares, base * base)]
    return round_figure(figure, base)


def _nearest(number: Decimal, base: int) -> Decimal:
    # Every step of the ladder divides a power of ten, so the quotient is exact but for floats,
    # whose exact form may be hundreds of digits long.
    steps = _WIDE.divide(number, base).quantize(Decimal(1), ROUND_HALF_UP, _WIDE)
    return _WIDE.multiply(steps, base)


def _enough(parts: Iterable[Part], floor: int) -> bool:
    members: set[Hashable] = set()
    for part in parts:
        if part.members is None:
            return True
        members |= part.members
    return len(members) >= floor


def _gives_small_count(parts: Sequence[Part], counted: frozenset[str | None], floor: int) -> bool:
    """Say whether the number of rows of some too small union of parts follows from the counts.

    A union follows if its indicator (1 on its parts, 0 elsewhere) is a linear combination of the
    indicators of the counted row sets. A union with a large part in it is not small, so the large
    parts come first in the elimination: the basis vectors that begin behind them are 0 on all of
    them, and in reduced form a combination's value at a pivot *is* its coefficient, which must
    therefore be 0 or 1. That leaves few candidates to try.
    """
    ordered = sorted(parts, key=lambda part: part.members is not None)
    large = sum(part.members is None for part in ordered)
    if large == len(ordered):
        return False
    indicators = [
        [Fraction(column is None or column in part.present) for part in ordered]
        for column in counted
    ]
    basis = [row for pivot, row in _reduced(indicators) if pivot >= large]
    # In whole numbers, each sum made from an earlier one: with fractions, from the beginning each
    # time, one cell took seconds, and a presenter may ask for thousands.
    one = lcm(*(entry.denominator for row in basis for entry in row))
    unions = [[0] * len(ordered)]
    for row in basis:
        scaled = [int(entry * one) for entry in row]
        unions += [list(map(int.__add__, union, scaled)) for union in unions]
    for union in unions:
        if not set(union) <= {0, one}:
            continue
        chosen = [part for part, inside in zip(ordered, union, strict=True) if inside]
        if chosen and not _enough(chosen, floor):
            return True
    return False


def _reduced(rows: Iterable[Sequence[Fraction]]) -> list[tuple[int, list[Fraction]]]:
    """Bring rows into reduced row echelon form: (pivot column, row) each. Exact: no tolerance."""
    basis: list[tuple[int, list[Fraction]]] = []
    for fresh in rows:
        row = list(fresh)
        for pivot, known in basis:
            row = _minus(row, row[pivot], known)
        leading = next((at for at, entry in enumerate(row) if entry), None)
        if leading is None:
            continue
        row = [entry / row[leading] for entry in row]
        basis = [(at, _minus(known, known[leading], row)) for at, known in basis]
        basis.append((leading, row))
    return basis


def _minus(row: Sequence[Fraction], factor: Fraction, other: Sequence[Fraction]) -> list[Fraction]:
    if not factor:
        return list(row)
    return [left - factor * right for left, right in zip(row, other, strict=True)]


def _combined(
    hidden: Sequence[tuple[Figure, ...]], measures: Sequence[Measure]
) -> tuple[Figure, ...]:
    # What cannot be combined is null in `other`, even where that is one cell only.
    known = [measure.operation is not Operation.DISTINCT for measure in measures]
    some = list(compress(measures, known))
    figures = list(compress(hidden[0], known))
    for each in hidden[1:]:
        figures = combine_rows(some, figures, list(compress(each, known)))
    combined = iter(figures)
    return tuple(next(combined) if each else None for each in known)
