"""How measures of two parts become the measure of both.

Counts and sums add, means travel as [sum, count] and become one number only at the very end, least
and greatest compare. A variance travels as [count, sum, sum of squares], which add (and are exact,
so that the cancellation for which this formula is known costs nothing); the bins of a histogram
add. Counts of distinct values cannot be combined: a value may be in both parts.

Everything here is associative and commutative, so a tree of aggregators and a single one give the
same figures (floating-point sums up to rounding, as everywhere).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal, localcontext
from functools import partial, reduce
from math import fsum
from typing import Final, TypeAlias, cast

from psp.capability import Operation
from psp.values import EXACT, Value

from ._plan import Measure

Number: TypeAlias = "int | float | Decimal"
Figure: TypeAlias = Value
"""One measure of one group, as it travels: a count, a sum or null, [sum, count], a least value,
[count, sum, sum of squares], a histogram's bins, a truth."""


def combine_rows(
    measures: Sequence[Measure], left: Sequence[Figure], right: Sequence[Figure]
) -> list[Figure]:
    """Combine two groups' figures, measure by measure."""
    return [
        combine(measure.operation, one, other)
        for measure, one, other in zip(measures, left, right, strict=True)
    ]


def combine(operation: Operation, left: Figure, right: Figure) -> Figure:
    """Combine one measure of two parts that have no row in common; null is "no value here".

    Raises:
        TypeError: The two are of kinds that do not mix, such as text and a number, or the measure
            is one that cannot be combined.
    """
    if operation is Operation.DISTINCT:
        # Before null is looked at: a count beside an unknown one is unknown.
        raise TypeError("counts of distinct values cannot be added, for a value may be in both")
    if left is None or right is None:
        return right if left is None else left
    if operation is Operation.MEAN:
        (left_sum, left_count), (right_sum, right_count) = _pair(left), _pair(right)
        return [combine(Operation.SUM, left_sum, right_sum), add(left_count, right_count)]
    if operation in (Operation.MIN, Operation.MAX):
        return _extreme(operation, left, right)
    if operation in (Operation.VARIANCE, Operation.HISTOGRAM):
        return [combine(Operation.SUM, one, other) for one, other in _alike(left, right)]
    if operation is Operation.EXISTS:
        return left is True or right is True
    return add(_number(left), _number(right))


def add(left: Number, right: Number) -> Number:
    """Add two numbers; exact unless one of them is a float, which is inexact already."""
    if isinstance(left, float) or isinstance(right, float):
        return float(left) + float(right)
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return EXACT.add(Decimal(left), Decimal(right))
    return left + right


def combine_all(operation: Operation, figures: Sequence[Figure]) -> Figure:
    """Combine one measure of any number of parts: what `combine` gives one by one, in one go.

    Raises:
        TypeError: As `combine`.
        ArithmeticError: The sum has more digits than `EXACT` holds.
    """
    if operation not in (Operation.COUNT, Operation.SUM, Operation.MEAN):
        return reduce(partial(combine, operation), figures) if figures else None
    present = [figure for figure in figures if figure is not None]
    if len(present) < 2:
        return present[0] if present else None
    if operation is not Operation.MEAN:
        return _sum(present)
    totals, counts = zip(*map(_pair, present), strict=True)
    return [combine_all(Operation.SUM, totals), _sum(counts)]


def weigh(operation: Operation, figure: Figure, weight: Decimal) -> Figure:
    """Count a part at a share of itself: sums and counts alike, so that a mean is a weighted mean.

    A least value stays what it is: it is the value of one record, whoever owns a part of it.

    Raises:
        TypeError: The figure is no number, or of a measure that has no share: half of a variance
            is the variance of nothing.
    """
    if figure is None or operation in _OF_ONE_RECORD:
        return figure
    if operation is Operation.MEAN:
        total, count = _pair(figure)
        return [None if total is None else _times(total, weight), _times(count, weight)]
    if operation in (Operation.COUNT, Operation.SUM):
        return _times(figure, weight)
    raise TypeError(f"a {operation.value} has no share")


def convert(operation: Operation, figure: Figure, rate: Decimal) -> Figure:
    """Express a figure of money in another currency; counts are of things and stay.

    Raises:
        TypeError: The figure is no number, or of a measure that has no rate: the edges of a
            histogram are amounts of one currency.
    """
    if figure is None or operation in _COUNTS:
        return figure
    match operation, figure:
        case Operation.MEAN, _:
            total, count = _pair(figure)
            return [None if total is None else _times(total, rate), count]
        case Operation.VARIANCE, [count, total, squares]:
            square = EXACT.multiply(rate, rate)
            return [
                count,
                None if total is None else _times(total, rate),
                None if squares is None else _times(squares, square),
            ]
        case ((Operation.SUM | Operation.MIN | Operation.MAX), _):
            return _times(figure, rate)
    raise TypeError(f"a {operation.value} cannot be converted")


_OF_ONE_RECORD: Final = (Operation.MIN, Operation.MAX, Operation.EXISTS)
_COUNTS: Final = (Operation.COUNT, Operation.DISTINCT, Operation.EXISTS)


def _sum(figures: Sequence[Figure]) -> Number:
    kinds = set(map(type, figures))
    if not kinds <= {int, float, Decimal}:
        wrong = next(iter(kinds - {int, float, Decimal}))
        raise TypeError(f"a {wrong.__name__} is not a number")
    numbers = cast("Sequence[int]", figures)  # Of whichever kind: they add.
    if float in kinds:
        # Each addend once, and rounded once: the order of members does not show.
        floats = [float(number) for number in numbers]
        try:
            return fsum(floats)
        except (OverflowError, ValueError):  # Beyond all floats: infinite, or nothing at all.
            return sum(floats)
    if Decimal not in kinds:
        return sum(numbers)
    with localcontext(EXACT):
        return sum(numbers)


def _times(figure: Figure, factor: Decimal) -> Number:
    number = _number(figure)
    if isinstance(number, float):
        return number * float(factor)
    return EXACT.multiply(Decimal(number), factor)


def _extreme(operation: Operation, left: Figure, right: Figure) -> Figure:
    both = [left, right]
    kinds = [str if isinstance(it, str) else date if isinstance(it, date) else None for it in both]
    if kinds[0] is not kinds[1]:
        raise TypeError(f"a {type(left).__name__} and a {type(right).__name__} have no order")
    if kinds[0] is None:
        both = [_number(it) for it in both]
    # One kind each, as was just checked; what mypy cannot see is that they then compare.
    chosen = min if operation is Operation.MIN else max
    return chosen(cast("list[int]", both))


def _pair(figure: Figure) -> tuple[Figure, Number]:
    # A count that was weighed is a decimal.
    if isinstance(figure, list | tuple) and len(figure) == 2:
        total, count = figure
        if type(count) in (int, Decimal):
            return total, _number(count)
    raise TypeError("a mean travels as [sum, count]")


def _alike(left: Figure, right: Figure) -> list[tuple[Figure, Figure]]:
    if not isinstance(left, list | tuple) or not isinstance(right, list | tuple):
        raise TypeError("a variance and a histogram travel as lists")
    if len(left) != len(right):
        raise TypeError("two histograms have different bins")
    return list(zip(left, right, strict=True))


def _number(figure: Figure) -> Number:
    if isinstance(figure, int | float | Decimal) and not isinstance(figure, bool):
        return figure
    raise TypeError(f"a {type(figure).__name__} is not a number")
