"""A plan becomes SQL: from the scope, never from the text of a request.

Names come from the manifest, after the scope has let them through; values travel as parameters.
Nothing that a presenter wrote is ever part of the SQL text. `compile_view` makes what a grant may
see; `compile_query` makes the question on top of that view, which cannot name the table below it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psp.capability import Operation, TableRule
from psp.errors import Denied, Invalid, LimitExceeded
from psp.plan import GroupKey, Measure, Plan

from ._compiled import Compiled
from ._dialect import SQLITE, Dialect
from ._disclosure import COUNTED_MAX, Key, Published
from ._figurings import FIGURINGS, Figuring, count_of
from ._histogram import bin_sql, counting, histogram_in
from ._index import PAST_PREFIX
from ._limits import CELLS_MAX, TOLD_APART_MAX
from ._listed import listed_keys
from ._manifest import Column, ColumnType, Table
from ._storage import (
    SQLValue,
    condition,
    nothing,
    quoted,
    to_typed_domain,
)

SUBJECT: Final = "psp_subject"
KEY_PREFIX: Final = "psp_key"
"""Names inside the view; a manifest cannot have columns that begin with psp_."""

_COUNTING: Final = (Operation.COUNT, Operation.MEAN, Operation.VARIANCE, Operation.DISTINCT)
"""What tells how many values there are; a count of distinct ones does where no two are alike."""


def visible_columns(table: Table, rule: TableRule) -> list[Column]:
    """Give the columns that a scope shows in any way; to its holder there are no others."""
    names = rule.output | rule.filters | rule.groups
    return [column for column in table.columns if column.name in names]


def compile_view(
    table: Table,
    rule: TableRule,
    name: str,
    as_of: int | None = None,
    dialect: Dialect = SQLITE,
) -> str:
    """Make the TEMP VIEW that holds what a scope shows: its rows, its columns, the subjects.

    No engine allows parameters in a view, so the scope's values are written as literals.

    Args:
        as_of: The tree size whose rows it shows; None for the newest, which has no past to look at.
    """
    columns = [quoted(column.name) for column in visible_columns(table, rule)]
    keys = [f"{quoted(key)} AS {KEY_PREFIX}{at}" for at, key in enumerate(table.key)]
    where = [dialect.every_row.format(quoted(table.key[0]))]
    for column, domain in sorted(rule.rows.items()):
        # A domain on a column that is not there lets nothing through.
        known = column in table.column_names
        where.append(
            condition(table.column(column), domain, dialect.literal)
            if known
            else nothing(table.key[0])
        )

    def part(source: str, rowid: str, *when: str) -> str:
        # Without a subject column each row is its own subject; the index holds one row per key.
        subject = f"{quoted(table.subject) if table.subject else rowid} AS {SUBJECT}"
        return (
            f"SELECT {', '.join([subject, *keys, *columns])} FROM main.{quoted(source)}"
            f" WHERE {' AND '.join([*where, *when])}"
        )

    row, past_row = dialect.row
    parts = [part(table.name, row)]
    if as_of is not None:
        begun, ended = f"psp_entry < {as_of:d}", f"psp_end >= {as_of:d}"
        # The two tables number their rows apart, and each row is its own subject.
        parts = [
            part(table.name, row, begun),
            part(PAST_PREFIX + table.name, past_row, begun, ended),
        ]
    return f"CREATE TEMP VIEW {quoted(name)} AS {' UNION ALL '.join(parts)}"


def compile_row(table: Table, rule: TableRule, view: str) -> str:
    """Make the query for one row by its key: 1, and the output columns in the manifest's order."""
    # The 1 stands for the row itself: a rule may show a row and none of its columns.
    columns = ["1", *(quoted(column.name) for column in output_columns(table, rule))]
    where = [f"{KEY_PREFIX}{at} = ?" for at in range(len(table.key))]
    return f"SELECT {', '.join(columns)} FROM {quoted(view)} WHERE {' AND '.join(where)}"


def compile_emptiness(view: str) -> str:
    """Make the query that has a row exactly if the view has one."""
    # A column, not 1: over the two tables of an earlier state SQLite reports a read of nothing.
    return f"SELECT {KEY_PREFIX}0 FROM {quoted(view)} LIMIT 1"


def output_columns(table: Table, rule: TableRule) -> list[Column]:
    return [column for column in table.columns if column.name in rule.output]


def compile_query(
    plan: Plan,
    table: Table,
    rule: TableRule,
    *,
    view: str,
    floor: int,
    dialect: Dialect = SQLITE,
) -> Compiled:
    """Make the SQL of a plan over a grant's view.

    Raises:
        Invalid: The plan names a column that the scope does not show, or one of a wrong type.
        Denied: The scope does not allow an operation of the plan.
        LimitExceeded: The plan counts more nullable columns than disclosure control follows.
    """
    scope = Scoped(table, rule, dialect)
    keys = tuple((key, scope.group_column(key)) for key in plan.group)
    key_sql = [_key_sql(key, dialect) for key, _ in keys]
    for measure in plan.measures:
        scope.check_operation(measure)
    if (binned := histogram_in(plan)) is not None:
        key_sql.append(bin_sql(scope.binned_column(binned), binned))
        plan = counting(plan)
    figurings = tuple(scope.figuring(measure) for measure in plan.measures)
    nullable = scope.nullable(plan.measures)
    parameters: list[SQLValue] = []
    where = scope.where(plan, parameters, binned)
    by = ", ".join(str(at + 1) for at in range(len(key_sql)))
    # A key is never null. Over the two tables of an earlier state SQLite reports count(*) as a read
    # of nothing, outside of the view.
    rows = "count(*)" if plan.as_of is None else f"count({KEY_PREFIX}0)"
    # Where each row is a subject of its own they need not be told apart, which takes the longest.
    subjects = f"count(DISTINCT {SUBJECT})" if table.subject else rows
    selected = [
        *key_sql,
        rows,
        _at_least(floor, dialect) if table.subject else rows,
        *(f"count({quoted(name)})" for name in nullable),
        *(sql for figuring in figurings for sql in figuring.expressions),
    ]
    grouped = f" GROUP BY {by} ORDER BY {by}" if key_sql else ""
    few = f"CASE WHEN {subjects} < {floor:d} THEN {dialect.few.format(SUBJECT)} END"
    return Compiled(
        cells=f"SELECT {', '.join(selected)} FROM {quoted(view)}{where}{grouped}"
        f" LIMIT {CELLS_MAX + 1}",
        parts=(
            f"SELECT {', '.join([*key_sql, _pattern(nullable)])}, count(*), {few}"
            f" FROM {quoted(view)}{where or ' WHERE TRUE'}",
            f" GROUP BY {', '.join(str(at + 1) for at in range(len(key_sql) + 1))}",
        ),
        key_sql=tuple(key_sql),
        parameters=tuple(parameters),
        keys=keys,
        figurings=figurings,
        nullable=nullable,
        published=scope.published(plan.measures, nullable),
        listed=scope.listed(plan),
        binned=binned,
    )


def _at_least(floor: int, dialect: Dialect) -> str:
    """Give what tells the groups that surely have enough subjects from all others."""
    if floor <= 1:
        return "0"  # Nobody asks.
    exact = "count(DISTINCT {0})"
    return (dialect.at_least if floor <= TOLD_APART_MAX else exact).format(SUBJECT)


def _pattern(nullable: Sequence[str]) -> str:
    """Give the number whose bits say which of these columns have a value."""
    bits = (
        f"CAST({quoted(it)} IS NOT NULL AS INTEGER) * {1 << at}" for at, it in enumerate(nullable)
    )
    return " + ".join(["0", *bits])


def compile_exists(
    plan: Plan, table: Table, rule: TableRule, *, view: str, dialect: Dialect = SQLITE
) -> tuple[str, tuple[SQLValue, ...]]:
    """Make the query that has a row exactly if the view has one that passes the plan's filters.

    Raises:
        Invalid: The plan filters on a column that the scope does not show, or wrongly.
        Denied: The scope does not allow the question.
    """
    scope = Scoped(table, rule, dialect)
    scope.check_operation(plan.measures[0])
    parameters: list[SQLValue] = []
    where = scope.where(plan, parameters)
    return f"SELECT {KEY_PREFIX}0 FROM {quoted(view)}{where} LIMIT 1", tuple(parameters)


def _key_sql(key: GroupKey, dialect: Dialect) -> str:
    name = quoted(key.column)
    return dialect.buckets[key.bucket].format(name) if key.bucket else name


@dataclass(frozen=True, slots=True)
class Scoped:
    """Looks columns up, as the holder of one scope may know them."""

    table: Table
    rule: TableRule
    dialect: Dialect

    def column(self, name: str, allowed: frozenset[str], doing: str) -> Column:
        """Return a column that the scope allows for something.

        A column that is there and hidden gets the very words of one that is not there.
        """
        visible = [column.name for column in visible_columns(self.table, self.rule)]
        if name not in visible:
            close = difflib.get_close_matches(name, visible, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(visible)}."
            raise Invalid(f"{self.table.name!r} has no column {name!r}; {hint}")
        if name not in allowed:
            able = ", ".join(each for each in visible if each in allowed) or "no column"
            raise Invalid(f"this grant does not {doing} {name!r}; it does {doing}: {able}.")
        return self.table.column(name)

    def group_column(self, key: GroupKey) -> Column:
        column = self.column(key.column, self.rule.groups, "group by")
        if key.bucket and column.type is not ColumnType.DATE:
            raise Invalid(
                f"{key.name} needs a date, and {key.column!r} is {column.type};"
                f" group by {key.column!r} itself."
            )
        return column

    def binned_column(self, measure: Measure) -> Column:
        """Give the column of a histogram: the asker cuts it where it likes, as a filter does."""
        column = self.measured_column(measure)
        return self.column(column.name, self.rule.filters, "filter on")

    def where(self, plan: Plan, parameters: list[SQLValue], binned: Measure | None = None) -> str:
        def write(value: SQLValue) -> str:
            parameters.append(value)
            return "?"

        conditions = [
            condition(column, to_typed_domain(column, each.domain), write)
            for each in plan.filters
            for column in [self.column(each.column, self.rule.filters, "filter on")]
        ]
        if binned is not None and binned.column is not None:
            conditions.append(f"{quoted(binned.column)} IS NOT NULL")  # Null is in no bin.
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def check_operation(self, measure: Measure) -> None:
        word = measure.operation.value
        if measure.operation not in self.rule.allowed_operations:
            able = ", ".join(sorted(it.value for it in self.rule.allowed_operations))
            raise Denied(f"this grant does not allow {word}; it allows: {able}.")

    def figuring(self, measure: Measure) -> Figuring:
        if measure.column is None:
            return count_of("count(*)")
        return FIGURINGS[measure.operation][1](self.measured_column(measure), self.dialect)

    def measured_column(self, measure: Measure) -> Column:
        column = self.column(measure.column or "", self.rule.output, "compute with")
        types = FIGURINGS[measure.operation][0]
        if column.type not in types:
            raise Invalid(
                f"{measure.operation.value} does not take {column.name!r}, which is {column.type};"
                f" it takes: {', '.join(types)}."
            )
        return column

    def nullable(self, measures: Sequence[Measure]) -> tuple[str, ...]:
        names = dict.fromkeys(measure.column for measure in measures if measure.column)
        nullable = tuple(name for name in names if self.table.column(name).nullable)
        if len(nullable) > COUNTED_MAX:
            raise LimitExceeded(
                f"figures of {len(nullable)} columns that may be empty; one question can have"
                f" {COUNTED_MAX}. Ask in two."
            )
        return nullable

    def published(self, measures: Sequence[Measure], nullable: Sequence[str]) -> Published:
        counted = [measure.column for measure in measures if measure.operation in _COUNTING]
        return Published(
            valued=frozenset(nullable),
            # A column that is never empty has as many values as there are rows.
            counted=frozenset(name if name in nullable else None for name in counted),
        )

    def listed(self, plan: Plan) -> tuple[Key, ...] | None:
        keys = []
        for key in plan.group:
            column = self.table.column(key.column)
            domains = [
                to_typed_domain(column, each.domain)
                for each in plan.filters
                if each.column == key.column
            ]
            scoped = [domain for name, domain in self.rule.rows.items() if name == key.column]
            keys.append((key, column, [*domains, *scoped]))
        listed = listed_keys(keys)
        return None if listed is None else tuple(listed)
