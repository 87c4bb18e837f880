"""SQLite under two locks: a view of what one grant shows, and an authorizer around it.

The view keeps rows and columns in; the authorizer keeps every statement inside the view, whatever
the compiler made of a plan. Each scope has a connection of its own: SQLite asks the authorizer when
a statement is prepared, so a shared cache of statements would carry one grant's permission over to
the next.
"""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import apsw

from psp.capability import Operation, TableRule
from psp.errors import Denied, Invalid, LimitExceeded
from psp.plan import Figure, Listing, Plan
from psp.values import Value

from ._answer_size import check_size
from ._beside import beside
from ._compile import (
    compile_emptiness,
    compile_exists,
    compile_query,
    compile_row,
    compile_view,
    output_columns,
)
from ._compile_listing import CompiledListing, compile_listing
from ._compiled import Compiled
from ._dialect import SQLITE, Dialect
from ._disclosure import (
    Cell,
    Decision,
    Key,
    Part,
    decide,
    round_figure,
    round_measure,
    too_few,
)
from ._figurings import Group, Row
from ._histogram import counting, gather, histogram_in, with_bins
from ._in_columns import LISTED_ROWS, Listed, batch_of_rows
from ._index import PAST_PREFIX
from ._limits import CELLS_MAX
from ._manifest import Column, Table
from ._sqlite_lock import authorize, refuse_with
from ._storage import SQLValue, from_storage, quoted, to_storage, travels_as_stored

BUSY_MS: Final = 1_000
"""How long a read waits while the index is written; one ingest batch takes less."""

Release: TypeAlias = Callable[[Sequence[Cell], Decision], Decision]
"""Takes every group and what this answer alone would say; gives what may be said."""


class Engine:
    """Answers plans about one table, as one scope shows it.

    Attributes:
        interrupted: What `interrupt` raises in the thread that runs the query.
    """

    dialect: ClassVar[Dialect] = SQLITE
    interrupted: type[Exception] = apsw.InterruptError

    def __init__(
        self,
        path: Path,
        table: Table,
        rule: TableRule,
        *,
        entity_floor: int = 1,
        as_of: int | None = None,
        view_name: str | None = None,
    ) -> None:
        """Open SQLite's index, read-only, and lock the connection to one scope.

        Args:
            rule: The effective scope for this table.
            entity_floor: The owner's floor; the scope's own floor can only raise it.
            as_of: The tree size whose state it answers at; None for the newest. A plan that asks
                for another is refused.
            view_name: For tests. It must not be guessable: see `_sqlite_lock`.
        """
        self._bind(table, rule, entity_floor, as_of, view_name or f"psp_{secrets.token_hex(16)}")
        # apsw refuses a connection that two worker threads enter at once; they take turns.
        self._turn = threading.Lock()
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._connection.set_busy_timeout(BUSY_MS)
        self._connection.execute(compile_view(table, rule, self._view, as_of))
        tables = {table.name} if as_of is None else {table.name, PAST_PREFIX + table.name}
        # Once, and never changed: statements prepared from here on may be kept and used again.
        # No bound method: an engine that its own connection refers to would keep its files open
        # until some collection of garbage, and a peer can make a thousand engines in a second.
        self._connection.authorizer = partial(authorize, tables, self._view)

    def _bind(
        self, table: Table, rule: TableRule, entity_floor: int, as_of: int | None, view: str
    ) -> None:
        """Remember the scope; every engine does."""
        self._table = table
        self._rule = rule
        self._floor = max(rule.floor, entity_floor)
        self._as_of = as_of
        self._view = view

    def query(
        self,
        plan: Plan,
        release: Release | None = None,
        ahead: Callable[[], None] | None = None,
    ) -> dict[str, Value]:
        """Answer a plan: the wire answer, without `as_of` and `root`, which the archive adds.

        Args:
            release: Has the last word where a floor stands: it knows what was answered before.
            ahead: Done in a thread of its own, once the plan is known to be allowed.

        Raises:
            Invalid, Denied: The plan asks for what the scope does not show, or for another state.
            Suppressed: Too few subjects stand behind the whole answer.
            LimitExceeded: The answer is larger than the scope allows.
        """
        if plan.table != self._table.name:
            raise Invalid(f"the plan asks {plan.table!r}, and this is {self._table.name!r}.")
        if plan.as_of != self._as_of:
            raise Invalid(f"the plan asks for the state {plan.as_of}; this is {self._as_of}.")
        if plan.measures[0].operation is Operation.EXISTS:
            return self._within_limits(0, self._answer(plan, self._found(plan)))
        compiled = compile_query(
            plan,
            self._table,
            self._rule,
            view=self._view,
            floor=self._floor,
            dialect=self.dialect,
        )
        with beside(ahead), self._snapshot():
            cells = self._cells(compiled)
            if not cells and not self._may_say_empty():
                raise too_few(self._floor)
        decision = (
            decide(
                cells,
                floor=self._floor,
                measures=counting(plan).measures,
                published=compiled.published,
                listed=compiled.listed
                if compiled.binned is None or self._floor <= 1
                else with_bins(cells, compiled.listed, compiled.binned),
            )
            if cells
            else Decision((), None, (), 0)
        )
        # First of all alone: what is too long is not answered, and so not remembered.
        answer = self._within_limits(len(decision.shown), self._answer(plan, decision))
        if release is None or not cells or self._floor <= 1:
            return answer
        released = release(cells, decision)
        return answer if released is decision else self._answer(plan, released)

    def row(self, key: Sequence[Value]) -> dict[str, Value] | None:
        """Return the output columns of the row with this key; None if the scope shows none.

        Raises:
            Denied: The scope does not allow reading rows.
        """
        rows = self._by_key(key, Operation.READ, "reading a row")
        if not rows:
            return None
        _, *stored = rows[0]
        values = {
            name: value if show is None else show(value)
            for (name, show), value in zip(self._outputs, stored, strict=True)
        }
        return self._within_limits(0, values)

    def shows_document(self, key: Sequence[Value]) -> bool:
        """Say whether the scope shows the document with this key.

        Raises:
            Denied: The scope does not allow reading documents.
        """
        return bool(self._by_key(key, Operation.ASSET, "reading a document"))

    def _by_key(self, key: Sequence[Value], operation: Operation, doing: str) -> list[Row]:
        """Give the row of a key as `compile_row` has it, or nothing."""
        rule = self._rule
        if operation not in rule.allowed_operations:
            raise Denied(f"this grant does not allow {doing}; ask for counts and sums.")
        # A key is a filter: whether a row answers to it tells the value of every key column. Which
        # columns those are is not said, for they may be hidden.
        if not rule.filters.issuperset(self._table.key):
            raise Denied(
                "this grant does not filter on the key of a row; ask for counts and sums, or for a"
                " grant that filters on it."
            )
        if len(key) != len(self._table.key):
            raise Invalid(
                f"a key of {len(key)} values; {self._table.name!r} has the key"
                f" ({', '.join(self._table.key)})."
            )
        stored = [to_storage(*pair) for pair in zip(self._key_columns, key, strict=True)]
        with self._for_one_statement():
            return self._run(self._by_key_sql, stored)

    # What is the same for every key of a scope.

    @cached_property
    def _by_key_sql(self) -> str:
        return compile_row(self._table, self._rule, self._view)

    @cached_property
    def _key_columns(self) -> list[Column]:
        return [self._table.column(name) for name in self._table.key]

    @cached_property
    def _outputs(self) -> list[tuple[str, Callable[[SQLValue], Value] | None]]:
        """Give each output column's name, and what shows its stored values: None if they travel as
        they are stored."""
        found = output_columns(self._table, self._rule)
        return [(column.name, self._show_of(column)) for column in found]

    def _show_of(self, column: Column) -> Callable[[SQLValue], Value] | None:
        """A row is rounded as an aggregate is; its key, which the asker has named, is not."""
        base = 1 if column.name in self._table.key else self._rule.rounding
        if base > 1:
            return lambda stored: round_figure(from_storage(column, stored), base)
        return None if travels_as_stored(column) else partial(from_storage, column)

    def scan(self, columns: Sequence[str]) -> Iterator[Row]:
        """Give some columns of every row that the scope shows, as they are stored.

        What is made of them must not leave unless the scope allows it: nothing is decided here.
        """
        listed = ", ".join(map(quoted, columns))
        with self._snapshot():
            yield from self._each(f"SELECT {listed} FROM {quoted(self._view)}")

    @contextmanager
    def listing(self, listing: Listing) -> Iterator[Listed]:
        """Give rows in columns, batch by batch, at one state of the index until this is left.

        Raises:
            Invalid, Denied: It asks for what the scope does not show or allow.
            LimitExceeded: There are more rows than the scope allows in one call.
        """
        compiled = compile_listing(listing, self._table, self._rule, self._view, self.dialect)
        with self._snapshot():
            [[count]] = self._run(compiled.count, compiled.parameters)
            assert isinstance(count, int)
            if count > self._rule.rows_max:
                raise LimitExceeded(
                    f"a listing of {count} rows; this grant allows {self._rule.rows_max} in one"
                    " call. Filter, and ask in parts."
                )
            yield Listed(count, compiled.columns, self._batches(compiled))

    def table_is_empty(self) -> bool:
        """Say whether the scope shows no row at all."""
        with self._snapshot():
            return self._is_empty()

    def interrupt(self) -> None:
        """End the query that another thread is running: it raises `interrupted` there."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection; the view goes with it."""
        self._connection.close()

    # What runs

    def _cells(self, compiled: Compiled) -> list[Cell]:
        rows = self._run(compiled.cells, compiled.parameters)
        if len(rows) > CELLS_MAX:
            raise LimitExceeded(
                f"the question makes more than {CELLS_MAX} groups; group by less, or filter."
            )
        # Without a group key SQL answers with one row, also about nothing.
        groups = [group for group in compiled.read_groups(rows) if group.rows]
        parts = self._parts(compiled, [*filter(self._has_parts, groups)])
        # Where every group has enough subjects and no nulls, one large part is all there is.
        whole = frozenset(compiled.nullable)
        return [
            Cell(
                group.key,
                group.rows,
                group.figures,
                tuple(parts.get(group.key, [Part(whole, group.rows, None)])),
            )
            for group in groups
        ]

    def _has_parts(self, group: Group) -> bool:
        return self._floor > 1 and (
            group.subjects < self._floor or min(group.values, default=group.rows) < group.rows
        )

    def _parts(self, compiled: Compiled, groups: Sequence[Group]) -> dict[Key, list[Part]]:
        parts: dict[Key, list[Part]] = defaultdict(list)
        rows = self._run(*compiled.parts_of(groups)) if groups else ()
        for key, part in map(compiled.part_reader(), rows):
            parts[key].append(part)
        return parts

    def _found(self, plan: Plan) -> Decision:
        """Say whether a row is there: to those whose grant names `exists`, whatever the floor."""
        sql, parameters = compile_exists(
            plan, self._table, self._rule, view=self._view, dialect=self.dialect
        )
        with self._snapshot():
            is_there = bool(self._run(sql, parameters))
        return Decision((Cell((), int(is_there), (is_there,), ()),), None, (), 0)

    def _may_say_empty(self) -> bool:
        return (
            self._floor <= 1
            or Operation.EXISTS in self._rule.allowed_operations
            or self._is_empty()
        )

    def _is_empty(self) -> bool:
        return not self._run(compile_emptiness(self._view), ())

    def _for_one_statement(self) -> AbstractContextManager[object]:
        return self._turn  # Alone it is a snapshot by itself.

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """One state of the index for all statements of an answer, whatever is written meanwhile."""
        with self._turn:
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                # An interrupted statement may have ended the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _run(self, sql: str, parameters: Sequence[SQLValue]) -> list[Row]:
        refuse_with(sql)
        return list(self._connection.execute(sql, tuple(parameters)).fetchall())

    def _each(self, sql: str) -> Iterator[Row]:
        refuse_with(sql)
        yield from self._connection.execute(sql)

    def _batches(self, compiled: CompiledListing) -> Iterator[Any]:
        refuse_with(compiled.rows)
        found = self._connection.execute(compiled.rows, compiled.parameters)
        while rows := list(islice(found, LISTED_ROWS)):
            yield batch_of_rows(compiled.columns, rows)

    # What is said

    def _answer(self, plan: Plan, decision: Decision) -> dict[str, Value]:
        base = self._rule.rounding

        def rounded(figures: Sequence[Figure]) -> list[Value]:
            if base <= 1:
                return [*figures]
            return [
                round_measure(measure.operation, figure, base)
                for measure, figure in zip(plan.measures, figures, strict=True)
            ]

        shown = [(cell.key, cell.figures) for cell in decision.shown]
        other, hidden = decision.other, decision.hidden
        if (binned := histogram_in(plan)) is not None:
            # A hidden bin is a null in its group's histogram, and has no line of its own.
            shown, other, hidden = *gather(decision, binned), ()
        return {
            "group": [key.name for key in plan.group],
            "cells": [[list(key), rounded(figures)] for key, figures in shown],
            "other": None if other is None else rounded(other),
            "hidden": [[*key, str(rule)] for key, rule in hidden],
            "hidden_count": decision.hidden_count,
            "floor": self._floor,
        }

    def _within_limits(self, groups: int, answer: dict[str, Value]) -> dict[str, Value]:
        if groups > self._rule.groups_max:
            raise LimitExceeded(
                f"an answer of {groups} groups; this grant allows {self._rule.groups_max}."
                " Group by less, or filter."
            )
        check_size(answer, self._rule)
        return answer
