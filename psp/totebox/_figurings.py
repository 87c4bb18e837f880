"""How each measure of a plan is computed: SQL for the parts, and what the parts mean together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import Final, NamedTuple, TypeAlias, cast

from psp.capability import Operation
from psp.plan import Figure

from ._dialect import Dialect
from ._disclosure import Key
from ._manifest import Column, ColumnType
from ._storage import SQLValue, from_storage, quoted, scaled_down

Row: TypeAlias = Sequence[SQLValue]
Columns: TypeAlias = Sequence[Sequence[SQLValue]]

NUMBERS: Final = (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.FLOAT)
_ORDERED: Final = (*NUMBERS, ColumnType.DATE, ColumnType.TEXT)


@dataclass(frozen=True, slots=True)
class Figuring:
    """How one measure is computed: SQL expressions, and what their values mean together.

    Attributes:
        read: Gives the figure of each group from one column of values for each expression. Column
            by column, because an answer has thousands of groups.
    """

    expressions: tuple[str, ...]
    read: Callable[[Columns], Sequence[Figure]]


class Group(NamedTuple):
    """One row of a compiled plan's cells: a group as SQL saw it.

    Attributes:
        stored: The key as SQL has it.
        subjects: Never more than there are.
        values: How many rows have a value, for each nullable column.
    """

    key: Key
    stored: Row
    rows: int
    subjects: int
    values: tuple[int, ...]
    figures: tuple[Figure, ...]


def count_of(expression: str) -> Figuring:
    """Count something; the engine's own number is the figure."""
    return Figuring((expression,), lambda columns: cast("Sequence[int]", columns[0]))


def _count(column: Column, _dialect: Dialect) -> Figuring:
    return count_of(f"count({quoted(column.name)})")


def _distinct(column: Column, _dialect: Dialect) -> Figuring:
    return count_of(f"count(DISTINCT {quoted(column.name)})")


def _sum(column: Column, dialect: Dialect) -> Figuring:
    name = quoted(column.name)
    if column.type is ColumnType.FLOAT:
        return _value_of(dialect.float_sum.format(name), column)
    return _whole(column, dialect.whole_sum)


def _whole(column: Column, parts: Sequence[tuple[str, int]]) -> Figuring:
    """Add up parts that an engine can hold, each with its weight: the sum is exact."""
    weights = [weight for _, weight in parts]

    def read(columns: Columns) -> list[Figure]:
        if weights == [1]:
            totals = cast("Sequence[int | None]", columns[0])
        else:
            totals = [
                None if None in row else sum(map(mul, cast("Sequence[int]", row), weights))
                for row in zip(*columns, strict=True)
            ]
        return [None if total is None else scaled_down(column, total) for total in totals]

    name = quoted(column.name)
    return Figuring(tuple(sql.format(name) for sql, _ in parts), read)


def _mean(column: Column, dialect: Dialect) -> Figuring:
    total, count = _sum(column, dialect), _count(column, dialect)

    def read(columns: Columns) -> list[Figure]:
        pairs = zip(total.read(columns[:-1]), count.read(columns[-1:]), strict=True)
        return [[*pair] for pair in pairs]

    return Figuring((*total.expressions, *count.expressions), read)


def _variance(column: Column, dialect: Dialect) -> Figuring:
    total, count = _sum(column, dialect), _count(column, dialect)
    if column.type is ColumnType.FLOAT:
        name = quoted(column.name)
        squares = _value_of(dialect.float_sum.format(f"{name} * {name}"), column)
    else:  # Squared cents are ten-thousandths.
        squares = _whole(replace(column, scale=2 * column.scale), dialect.whole_squares)
    sums = len(total.expressions)

    def read(columns: Columns) -> list[Figure]:
        parts = (
            count.read(columns[sums : sums + 1]),
            total.read(columns[:sums]),
            squares.read(columns[sums + 1 :]),
        )
        return [[*each] for each in zip(*parts, strict=True)]

    return Figuring((*total.expressions, *count.expressions, *squares.expressions), read)


def _least(column: Column, _dialect: Dialect) -> Figuring:
    return _value_of(f"min({quoted(column.name)})", column)


def _greatest(column: Column, _dialect: Dialect) -> Figuring:
    return _value_of(f"max({quoted(column.name)})", column)


def _value_of(expression: str, column: Column) -> Figuring:
    """Give one of a column's own values, or a sum of its floats, as it travels."""

    def read(columns: Columns) -> list[Figure]:
        return [from_storage(column, stored) for stored in columns[0]]

    return Figuring((expression,), read)


def integer(value: SQLValue) -> int:
    assert isinstance(value, int)
    return value


_Make: TypeAlias = Callable[[Column, Dialect], Figuring]
FIGURINGS: Final[dict[Operation, tuple[tuple[ColumnType, ...], _Make]]] = {
    Operation.COUNT: (tuple(ColumnType), _count),
    Operation.SUM: (NUMBERS, _sum),
    Operation.MEAN: (NUMBERS, _mean),
    Operation.MIN: (_ORDERED, _least),
    Operation.MAX: (_ORDERED, _greatest),
    Operation.VARIANCE: (NUMBERS, _variance),
    Operation.DISTINCT: (tuple(ColumnType), _distinct),
    Operation.HISTOGRAM: (NUMBERS, _count),
}
