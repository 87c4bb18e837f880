"""A question: a plan for each archive, and what the asker makes of the combined answer.

Archives see the plan alone. Outputs are computed here, after the figures of all members have been
combined, so `sum(price) / sum(sqft_living)` is a ratio of sums over the estate and never an average
of seventy ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal, DivisionByZero, InvalidOperation
from fractions import Fraction
from math import isfinite, sqrt
from typing import Final, Literal, TypeAlias, cast

from psp.capability import Operation
from psp.errors import QuestionError
from psp.values import EXACT, Value

from ._algebra import Figure, Number
from ._plan import Plan

MEMBER: Final = "member"
"""The reserved column of the asker: which archive a row comes from. No archive ever sees it."""

# 34 digits are IEEE 754's decimal128: a quotient of two sums of money keeps all digits of both.
_DIVISION: Final = Context(prec=34, traps=[DivisionByZero, InvalidOperation])

Operator: TypeAlias = Literal["+", "-", "*", "/"]


@dataclass(frozen=True, slots=True)
class MemberName:
    """The name of the member the row belongs to."""


@dataclass(frozen=True, slots=True)
class GroupValue:
    """The value of the plan's group key at `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class MeasureValue:
    """The figure of the plan's measure at `index`; a mean or a variance becomes one number here."""

    index: int


@dataclass(frozen=True, slots=True)
class SquareRoot:
    """Of a variance: the standard deviation."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Constant:
    value: int | Decimal


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: Operator
    left: Expression
    right: Expression


Expression: TypeAlias = MemberName | GroupValue | MeasureValue | SquareRoot | Constant | Arithmetic


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the answer that the asker sees."""

    name: str
    kind: Literal["group", "measure", "derived"]
    expression: Expression


@dataclass(frozen=True, slots=True)
class Order:
    """Sort by the output at `index`."""

    index: int
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person asked.

    Attributes:
        plan: What travels.
        by_member: Keep members apart instead of combining them.
        order: Most significant first.
        limit: At most this many rows, after sorting.
    """

    plan: Plan
    outputs: tuple[Output, ...]
    by_member: bool = False
    order: tuple[Order, ...] = ()
    limit: int | None = None

    def row(
        self, group: Sequence[Value], figures: Sequence[Figure], *, member: str | None = None
    ) -> list[Value]:
        """Compute one row of outputs from one combined group.

        Args:
            group: One value per group key of the plan.
            figures: One per measure of the plan, as `combine_rows` gives them.
            member: The member's name; needed where `by_member` is set.

        Raises:
            QuestionError: An output calculates with something that is not a number.
        """
        operations = [measure.operation for measure in self.plan.measures]
        point = _Point(group, figures, operations, member)
        return [_evaluate(output.expression, point) for output in self.outputs]

    def arrange(self, rows: Sequence[Sequence[Value]]) -> list[Sequence[Value]]:
        """Sort and cut the rows of the combined answer; nulls come last either way."""
        arranged = list(rows)
        # Python's sort is stable: sorting by the least significant key first leaves ties in order.
        for order in reversed(self.order):
            known = [row for row in arranged if row[order.index] is not None]
            absent = [row for row in arranged if row[order.index] is None]
            known.sort(
                key=lambda row, at=order.index: _sortable(row[at]),  # type: ignore[misc]
                reverse=order.descending,
            )
            arranged = known + absent
        return arranged[: self.limit]


def in_key_order(rows: list[list[Value]]) -> list[list[Value]]:
    """Sort the rows of an answer by their columns, nulls last, where nobody has said how."""
    try:
        return sorted(rows, key=lambda row: [(value is None, value) for value in row])
    except TypeError:
        return rows  # Values of kinds that have no common order keep the members' order.


def _sortable(value: Value) -> tuple[int, int]:
    """Numbers before dates before texts: one member's odd value must not cost the whole answer."""
    if isinstance(value, list):
        return 3, 0  # Histograms have no order.
    kind = 2 if isinstance(value, str) else 1 if isinstance(value, date) else 0
    return kind, cast("int", value)  # Of one kind, values compare.


@dataclass(frozen=True, slots=True)
class _Point:
    group: Sequence[Value]
    figures: Sequence[Figure]
    operations: Sequence[Operation]
    member: str | None


def _evaluate(expression: Expression, point: _Point) -> Value:
    match expression:
        case MemberName():
            return point.member
        case GroupValue(index):
            return point.group[index]
        case Constant(value):
            return value
        case MeasureValue(index):
            return _figure_value(point.operations[index], point.figures[index])
        case SquareRoot(of):
            return square_root(_evaluate(of, point))
        case Arithmetic(operator, left, right):
            return calculate(operator, _evaluate(left, point), _evaluate(right, point))


def _figure_value(operation: Operation, figure: Figure) -> Value:
    match operation, figure:
        case _, None:
            return None
        case Operation.MEAN, [total, count]:
            return calculate("/", total, count)
        case Operation.VARIANCE, [int(count), total, squares]:
            return sample_variance(count, total, squares)
        case ((Operation.MEAN | Operation.VARIANCE), _):
            raise QuestionError(
                f"a {operation.value} did not come in its parts; the member that sent it is at"
                " fault."
            )
    return figure


def sample_variance(count: int, total: Value, squares: Value) -> Value:
    """Give the variance of a sample: Bessel's n − 1; null for fewer than two values.

    From exact sums it is exact up to the last division, to 34 digits. From sums of floats, which
    are rounded already, it is as good as these are, and never below zero.

    Raises:
        QuestionError: A sum is not a number.
    """
    if count < 2 or total is None or squares is None:
        return None
    one, other = _number(total, "-"), _number(squares, "-")
    is_float = isinstance(one, float) or isinstance(other, float)
    if is_float and not (isfinite(one) and isfinite(other)):
        return None  # Beyond all floats.
    spread = (count * Fraction(other) - Fraction(one) ** 2) / (count * (count - 1))
    if is_float:
        return float(max(spread, Fraction(0)))
    return _DIVISION.divide(Decimal(spread.numerator), Decimal(spread.denominator))


def square_root(value: Value) -> Value:
    """Take the root of a variance, to 34 digits; null of null.

    Raises:
        QuestionError: It is not a number, or below zero: no variance is.
    """
    if value is None:
        return None
    number = _number(value, "-")
    if number < 0:
        raise QuestionError(
            "a standard deviation is the root of a variance, and one below zero came; see each"
            " member alone: group by member."
        )
    return sqrt(number) if isinstance(number, float) else _DIVISION.sqrt(Decimal(number))


def calculate(operator: Operator, left: Value, right: Value) -> Value:
    """Calculate with two numbers; null with anything is null, and so is a division by zero.

    `+`, `-` and `*` are exact for integers and decimals; `/` keeps 34 digits.

    Raises:
        QuestionError: One of the two is not a number, or the result has too many digits.
    """
    if left is None or right is None:
        return None
    one, other = _number(left, operator), _number(right, operator)
    try:
        return _calculated(operator, one, other)
    except ArithmeticError:
        raise QuestionError(
            f"`{operator}` has a result of more than {EXACT.prec} digits; calculate with less."
        ) from None


def _calculated(operator: Operator, one: Number, other: Number) -> Value:
    if operator == "/":
        return _divide(one, other)
    if isinstance(one, float) or isinstance(other, float):
        return _FLOAT[operator](float(one), float(other))
    if isinstance(one, Decimal) or isinstance(other, Decimal):
        return _DECIMAL[operator](Decimal(one), Decimal(other))
    return _INTEGER[operator](one, other)


def _divide(one: Number, other: Number) -> Value:
    if other == 0:
        return None
    if isinstance(one, float) or isinstance(other, float):
        return float(one) / float(other)
    return _DIVISION.divide(Decimal(one), Decimal(other))


_FLOAT: Final = {"+": float.__add__, "-": float.__sub__, "*": float.__mul__}
_INTEGER: Final = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
_DECIMAL: Final = {"+": EXACT.add, "-": EXACT.subtract, "*": EXACT.multiply}


def _number(value: Value, operator: Operator) -> Number:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value
    raise QuestionError(
        f"`{operator}` calculates with numbers, and one side is a {type(value).__name__};"
        " use sum, mean or count of a number column there."
    )
