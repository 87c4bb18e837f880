"""How each measure of a plan is computed: SQL for the parts, and what the parts mean together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, cast

from psp.capability import Operation
from psp.plan import Figure

from ._dialect import Dialect
from ._disclosure import Key
from ._manifest import Column, ColumnType
from ._storage import SQLValue, from_storage, quoted, scaled_down

Row: TypeAlias = Sequence[SQLValue]

NUMBERS: Final = (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.FLOAT)
_ORDERED: Final = (*NUMBERS, ColumnType.DATE, ColumnType.TEXT)


@dataclass(frozen=True, slots=True)
class Figuring:
    """How one measure is computed: SQL expressions, and what their values mean together."""

    expressions: tuple[str, ...]
    read: Callable[[Row], Figure]


@dataclass(frozen=True, slots=True)
class Group:
    """One row of a compiled plan's cells: a group as SQL saw it.

    Attributes:
        stored: The key as SQL has it.
        values: How many rows have a value, for each nullable column.
    """

    key: Key
    stored: Row
    rows: int
    subjects: int
    values: tuple[int, ...]
    figures: tuple[Figure, ...]


def _count(column: Column, _dialect: Dialect) -> Figuring:
    return Figuring((f"count({quoted(column.name)})",), lambda row: integer(row[0]))


def _sum(column: Column, dialect: Dialect) -> Figuring:
    name = quoted(column.name)
    if column.type is ColumnType.FLOAT:
        total = dialect.float_sum.format(name)
        return Figuring((total,), lambda row: from_storage(column, row[0]))
    parts = tuple(part.format(name) for part in dialect.whole_sum)
    return Figuring(parts, lambda row: _whole(column, row))


def _whole(column: Column, parts: Row) -> Figure:
    if None in parts:
        return None
    *high, low = map(integer, parts)
    return scaled_down(column, (high[0] << 32) + low if high else low)


def _mean(column: Column, dialect: Dialect) -> Figuring:
    total, count = _sum(column, dialect), _count(column, dialect)
    return Figuring(
        (*total.expressions, *count.expressions),
        lambda row: [total.read(row[:-1]), count.read(row[-1:])],
    )


def _variance(column: Column, dialect: Dialect) -> Figuring:
    mean, name = _mean(column, dialect), quoted(column.name)
    sums = len(mean.expressions)
    squares = (
        (dialect.float_sum.format(f"{name} * {name}"),)
        if column.type is ColumnType.FLOAT
        else tuple(sql.format(name) for sql, _ in dialect.whole_squares)
    )

    def read(row: Row) -> Figure:
        total, count = cast("tuple[Figure, int]", mean.read(row[:sums]))
        return [count, total, _squares(column, row[sums:], dialect)]

    return Figuring((*mean.expressions, *squares), read)


def _squares(column: Column, parts: Row, dialect: Dialect) -> Figure:
    if None in parts:
        return None
    if column.type is ColumnType.FLOAT:
        return from_storage(column, parts[0])
    weights = [weight for _, weight in dialect.whole_squares]
    total = sum(integer(it) * weight for it, weight in zip(parts, weights, strict=True))
    # Squared cents are ten-thousandths.
    return scaled_down(replace(column, scale=2 * column.scale), total)


def _distinct(column: Column, _dialect: Dialect) -> Figuring:
    return Figuring((f"count(DISTINCT {quoted(column.name)})",), lambda row: integer(row[0]))


def _least(column: Column, _dialect: Dialect) -> Figuring:
    return Figuring((f"min({quoted(column.name)})",), lambda row: from_storage(column, row[0]))


def _greatest(column: Column, _dialect: Dialect) -> Figuring:
    return Figuring((f"max({quoted(column.name)})",), lambda row: from_storage(column, row[0]))


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
