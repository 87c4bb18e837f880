"""The engine over DuckDB: the same plans and the same disclosure control, under other locks.

The view keeps rows and columns in, as in SQLite. There is no authorizer around it, so each
statement is parsed before it runs, by DuckDB itself: one SELECT, from the grant's view and nothing
else, with functions that the compiler uses. That is judged from the text alone, where SQLite's
authorizer sees every read that a statement comes to: one lock is weaker. What else holds is the
database's own: it sees no file but its own, cannot be told otherwise, and a transaction here is
read-only.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from psp.capability import TableRule
from psp.errors import PSPError

from ._compile import compile_view
from ._compile_listing import CompiledListing
from ._dialect import DUCKDB, Dialect
from ._duckdb import import_duckdb
from ._engine import Engine
from ._figurings import Row
from ._in_columns import LISTED_ROWS, batch_of_arrow
from ._manifest import Table
from ._storage import SQLValue

if TYPE_CHECKING:
    import duckdb

_AGGREGATES: Final = ("count_star", "count", "sum", "fsum", "min", "max", "list", "bit_or")
_SCALARS: Final = ("substr", "lpad", "isoyear", "week", "hash", "bit_count")
_FUNCTIONS: Final = {*_AGGREGATES, *_SCALARS, "+", "*", "//", "%", "||", "<<", "&"}
"""What the compiler uses."""

_ROWS_AT_ONCE: Final = 4_096
"""Rows of a scan turned into Python objects at a time."""

_PASSED_MAX: Final = 256
"""Statements remembered as looked at, some 100 KiB for each engine; looking takes a millisecond."""


class StatementRefused(PSPError):
    """A statement is not one that this engine runs: the compiler is broken. Nothing was read."""


class DuckEngine(Engine):
    """Answers plans about one table, as one scope shows it."""

    dialect: ClassVar[Dialect] = DUCKDB

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: Table,
        rule: TableRule,
        *,
        entity_floor: int = 1,
        as_of: int | None = None,
        view_name: str | None = None,
    ) -> None:
        """Take a connection of its own (`DuckIndex.cursor`), and bind it to one scope."""
        library = import_duckdb("the engine of this archive")
        view = view_name or f"psp_{secrets.token_hex(16)}"
        self._bind(table, rule, entity_floor, as_of, view)
        self.interrupted = library.InterruptException
        self._no_transaction = library.TransactionException
        self._turn = threading.Lock()
        self._duck = connection
        self._duck.execute(compile_view(table, rule, self._view, as_of, DUCKDB))
        self._passed: set[str] = set()

    def interrupt(self) -> None:
        self._duck.interrupt()

    def close(self) -> None:
        self._duck.close()

    def _for_one_statement(self) -> AbstractContextManager[object]:
        return self._snapshot()  # Alone it would run in a transaction that can write.

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        with self._turn:
            self._duck.execute("BEGIN TRANSACTION READ ONLY")
            try:
                yield
            finally:
                # An interrupted statement may have ended the transaction already.
                with suppress(self._no_transaction):
                    self._duck.execute("ROLLBACK")

    def _batches(self, compiled: CompiledListing) -> Iterator[Any]:
        self._pass(compiled.rows)
        found = self._duck.sql(compiled.rows, params=list(compiled.parameters))
        try:
            for batch in found.to_arrow_reader(LISTED_ROWS):
                yield batch_of_arrow(compiled.columns, batch)
        except OSError as exc:
            # Through Arrow's interface every failure of DuckDB is one, and only its text tells.
            if str(exc).startswith("INTERRUPT"):
                raise self.interrupted(str(exc)) from None
            raise

    def _run(self, sql: str, parameters: Sequence[SQLValue]) -> list[Row]:
        self._pass(sql)
        return list(self._duck.execute(sql, list(parameters)).fetchall())

    def _pass(self, sql: str) -> None:
        if sql not in self._passed:
            self._look_at(sql)
            if len(self._passed) < _PASSED_MAX:
                self._passed.add(sql)

    def _each(self, sql: str) -> Iterator[Row]:
        self._look_at(sql)
        found = self._duck.execute(sql)
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            yield from rows

    def _look_at(self, sql: str) -> None:
        [(text,)] = self._duck.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
        parsed = json.loads(text)
        if parsed["error"] or len(parsed["statements"]) != 1:
            raise StatementRefused("one SELECT at a time is run, and this was something else.")
        for name, value in _members(parsed):
            if not _is_allowed(name, value, self._view):
                raise StatementRefused(
                    f"a statement had a {name} other than the compiler writes, so it was not run."
                )


def _members(parsed: object) -> Iterator[tuple[str, object]]:
    """Walk a parsed statement: every name in it, with its value."""
    todo = [parsed]
    while todo:
        match todo.pop():
            case dict() as members:
                yield from members.items()
                todo.extend(members.values())
            case list() as items:
                todo.extend(items)


def _is_allowed(name: str, value: object, view: str) -> bool:
    match name, value:
        case "node", dict():
            return bool(value["type"] == "SELECT_NODE")  # No UNION, no VALUES.
        case "from_table", dict():
            named = value["type"], value.get("table_name"), value.get("schema_name")
            return named == ("BASE_TABLE", view, "") and not value.get("catalog_name")
        case "from_table", _:
            return False
        case "cte_map", dict():
            return not value["map"]
        case "function_name", _:
            return value in _FUNCTIONS
    return True
