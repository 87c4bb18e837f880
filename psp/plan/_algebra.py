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
from decimal import Decimal
from typing import TypeAlias, cast

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
        return [combine(Operation.SUM, left_sum, right_sum), left_count + right_count]
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


def _pair(figure: Figure) -> tuple[Figure, int]:
    if isinstance(figure, list | tuple) and len(figure) == 2 and type(figure[1]) is int:
        return figure[0], figure[1]
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
