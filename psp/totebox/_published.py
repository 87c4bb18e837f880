"""Which sets of rows the figures of a question publish, and by which account they count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from psp.capability import Operation
from psp.plan import Measure

from ._history_file import Asked
from ._manifest import Table

ROWS: Final = ""
"""The account of whole rows; those of sums of columns that may be empty have the columns' names."""

SUMMING: Final = frozenset({Operation.SUM, Operation.MEAN, Operation.VARIANCE})
"""What adds a column up. The squares of a variance are one more sum over the very same rows."""

_COUNTING: Final = frozenset(
    {Operation.COUNT, Operation.MEAN, Operation.VARIANCE, Operation.DISTINCT}
)
"""What tells how many rows there are. Different values are counted as rows are: one row more is one
value more or none, and to be told which is to be told of that row."""

Sets: TypeAlias = Mapping[str, Sequence[str | None]]
"""For each account, the released sets: all rows of a cell, or those with a value in a column."""


def published_sets(measures: Sequence[Measure], table: Table) -> Sets:
    """Say which sets the figures of a plan publish, by account."""
    sets: dict[str, dict[str | None, None]] = {}
    for measure in measures:
        column = measure.column
        if column is not None and not table.column(column).nullable:
            column = None  # As many values as rows.
        if measure.operation in _COUNTING:
            sets.setdefault(ROWS, {})[column] = None
        if measure.operation in SUMMING:
            sets.setdefault(column or ROWS, {})[column] = None
    return {name: list(it) for name, it in sets.items()}


def measures_of(sets: Sets) -> tuple[Measure, ...]:
    """Give the fewest measures that publish these sets: by them a question is known again."""
    return tuple(
        Measure(Operation.COUNT if of == ROWS else Operation.SUM, column)
        for of, columns in sorted(sets.items())
        for column in sorted(columns, key=lambda it: it or "")
    )


def summed_columns(measures: Sequence[Measure]) -> tuple[str, ...]:
    """Give the columns that are added up."""
    return tuple(sorted({it.column for it in measures if it.column and it.operation in SUMMING}))


def columns_of(asked: Asked, table: Table) -> set[str]:
    """Give the columns by which the rows of a question's sets are told apart."""
    plan = asked.plan
    filtered = {each.column for each in (*asked.rows, *plan.filters)}
    counted = {column for sets in published_sets(plan.measures, table).values() for column in sets}
    binned = {measure.column for measure in plan.measures if measure.edges}
    grouped = {key.column for key in plan.group}
    return {it for it in filtered | counted | binned | grouped if it in table.column_names}
