"""A plan becomes SQL: from the scope, never from the text of a request.

Names come from the manifest, after the scope has let them through; values travel as parameters.
Nothing that a presenter wrote is ever part of the SQL text. `compile_view` makes what a grant may
see; `compile_query` makes the question on top of that view, which cannot name the table below it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from psp.capability import Operation, TableRule
from psp.errors import Denied, Invalid, LimitExceeded
from psp.plan import Figure, GroupKey, Measure, Plan
from psp.values import Value

from ._dialect import SQLITE, Dialect
from ._disclosure import COUNTED_MAX, Key, Part, Published
from ._index import PAST_PREFIX
from ._limits import CELLS_MAX
from ._listed import listed_keys
from ._manifest import Column, ColumnType, Table
from ._storage import (
    SQLValue,
    condition,
    from_storage,
    nothing,
    quoted,
    scaled_down,
    to_typed_domain,
)

SUBJECT: Final = "psp_subject"
KEY_PREFIX: Final = "psp_key"
"""Names inside the view; a manifest cannot have columns that begin with psp_."""

Row: TypeAlias = Sequence[SQLValue]

_NUMBERS: Final = (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.FLOAT)
_ORDERED: Final = (*_NUMBERS, ColumnType.DATE, ColumnType.TEXT)


@dataclass(frozen=True, slots=True)
class Figuring:
    """How one measure is computed: SQL expressions, and what their values mean together."""

    expressions: tuple[str, ...]
    read: Callable[[Row], Figure]


@dataclass(frozen=True, slots=True)
class Group:
    """One row of `Compiled.cells`: a group as SQL saw it.

    Attributes:
        values: How many rows have a value, for each nullable column.
    """

    key: Key
    rows: int
    subjects: int
    values: tuple[int, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One plan, ready to run on one view.

    Attributes:
        cells: One row for each group; `read_group` reads it.
        parts: One row for each group and pattern of nulls; `read_part` reads it.
        nullable: The measured columns that may be null, in the order of the pattern's bits.
    """

    cells: str
    parts: str
    parameters: tuple[SQLValue, ...]
    keys: tuple[tuple[GroupKey, Column], ...]
    figurings: tuple[Figuring, ...]
    nullable: tuple[str, ...]
    published: Published
    listed: tuple[Key, ...] | None

    def read_group(self, row: Row) -> Group:
        """Read (group key…, rows, subjects, values of each nullable column…, figures…)."""
        cells = iter(row)
        return Group(
            key=self._read_key(cells),
            rows=_integer(next(cells)),
            subjects=_integer(next(cells)),
            values=tuple(_integer(next(cells)) for _ in self.nullable),
            figures=tuple(
                figuring.read([next(cells) for _ in figuring.expressions])
                for figuring in self.figurings
            ),
        )

    def read_part(self, row: Row) -> tuple[Key, Part]:
        """Read (group key…, pattern of nulls, rows, subjects if they are few)."""
        cells = iter(row)
        key = self._read_key(cells)
        pattern, rows, few = _integer(next(cells)), _integer(next(cells)), next(cells)
        present = frozenset(name for at, name in enumerate(self.nullable) if pattern >> at & 1)
        if isinstance(few, str):
            few = json.loads(few)  # SQLite has no lists.
        members = None if few is None else frozenset(cast("list[Value]", few))
        return key, Part(present, rows, members)

    def _read_key(self, cells: Iterator[SQLValue]) -> Key:
        return tuple(_key_value(key, column, next(cells)) for key, column in self.keys)


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
    # A key is never null, so this lets every row through. It is there because SQLite reports a read
    # of no column at all, as in count(*) over an unrestricted view, outside of the view's context,
    # where the authorizer must refuse it. (IS NOT NULL would be optimised away.)
    where = [f"{quoted(table.key[0])} = {quoted(table.key[0])}"]
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
    figurings = tuple(scope.figuring(measure) for measure in plan.measures)
    nullable = scope.nullable(plan.measures)
    parameters: list[SQLValue] = []
    where = scope.where(plan, parameters)
    by = ", ".join(str(at + 1) for at in range(len(keys)))
    values = [f"count({quoted(name)})" for name in nullable]
    selected = [
        *key_sql,
        "count(*)",
        f"count(DISTINCT {SUBJECT})",
        *values,
        *(sql for figuring in figurings for sql in figuring.expressions),
    ]
    grouped = f" GROUP BY {by} ORDER BY {by}" if keys else ""
    mask = " + ".join(
        [
            "0",
            *(
                f"CAST({quoted(name)} IS NOT NULL AS INTEGER) * {1 << at}"
                for at, name in enumerate(nullable)
            ),
        ]
    )
    few = f"CASE WHEN count(DISTINCT {SUBJECT}) < {floor:d} THEN {dialect.few.format(SUBJECT)} END"
    return Compiled(
        cells=f"SELECT {', '.join(selected)} FROM {quoted(view)}{where}{grouped}"
        f" LIMIT {CELLS_MAX + 1}",
        parts=f"SELECT {', '.join([*key_sql, mask])}, count(*), {few} FROM {quoted(view)}{where}"
        f" GROUP BY {', '.join(str(at + 1) for at in range(len(keys) + 1))}",
        parameters=tuple(parameters),
        keys=keys,
        figurings=figurings,
        nullable=nullable,
        published=scope.published(plan.measures, nullable),
        listed=scope.listed(plan),
    )


def _key_sql(key: GroupKey, dialect: Dialect) -> str:
    name = quoted(key.column)
    return dialect.buckets[key.bucket].format(name) if key.bucket else name


def _key_value(key: GroupKey, column: Column, stored: SQLValue) -> Value:
    return str(stored) if key.bucket and stored is not None else from_storage(column, stored)


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

    def where(self, plan: Plan, parameters: list[SQLValue]) -> str:
        def write(value: SQLValue) -> str:
            parameters.append(value)
            return "?"

        conditions = [
            condition(column, to_typed_domain(column, each.domain), write)
            for each in plan.filters
            for column in [self.column(each.column, self.rule.filters, "filter on")]
        ]
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def figuring(self, measure: Measure) -> Figuring:
        word = measure.operation.value
        if measure.operation not in self.rule.allowed_operations:
            able = ", ".join(sorted(it.value for it in self.rule.allowed_operations))
            raise Denied(f"this grant does not allow {word}; it allows: {able}.")
        if measure.column is None:
            return Figuring(("count(*)",), lambda row: _integer(row[0]))
        column = self.column(measure.column, self.rule.output, "compute with")
        types, make = _FIGURINGS[measure.operation]
        if column.type not in types:
            raise Invalid(
                f"{word} does not take {column.name!r}, which is {column.type};"
                f" it takes: {', '.join(types)}."
            )
        return make(column, self.dialect)

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
        counting = (Operation.COUNT, Operation.MEAN)
        counted = [measure.column for measure in measures if measure.operation in counting]
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


def _count(column: Column, _dialect: Dialect) -> Figuring:
    return Figuring((f"count({quoted(column.name)})",), lambda row: _integer(row[0]))


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
    *high, low = map(_integer, parts)
    return scaled_down(column, sum(it << 32 for it in high) + low)


def _mean(column: Column, dialect: Dialect) -> Figuring:
    total, count = _sum(column, dialect), _count(column, dialect)
    return Figuring(
        (*total.expressions, *count.expressions),
        lambda row: [total.read(row[:-1]), count.read(row[-1:])],
    )


def _least(column: Column, _dialect: Dialect) -> Figuring:
    return Figuring((f"min({quoted(column.name)})",), lambda row: from_storage(column, row[0]))


def _greatest(column: Column, _dialect: Dialect) -> Figuring:
    return Figuring((f"max({quoted(column.name)})",), lambda row: from_storage(column, row[0]))


def _integer(value: SQLValue) -> int:
    assert isinstance(value, int)
    return value


_Make: TypeAlias = Callable[[Column, Dialect], Figuring]
_FIGURINGS: Final[dict[Operation, tuple[tuple[ColumnType, ...], _Make]]] = {
    Operation.COUNT: (tuple(ColumnType), _count),
    Operation.SUM: (_NUMBERS, _sum),
    Operation.MEAN: (_NUMBERS, _mean),
    Operation.MIN: (_ORDERED, _least),
    Operation.MAX: (_ORDERED, _greatest),
}
