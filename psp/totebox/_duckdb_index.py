"""The index in DuckDB: columns for scans, and files checked whole instead of cell by cell.

No unique index: DuckDB keeps it in memory and checks rows against it too early, within the
transaction that replaces them. A key stands once because every load ends with that question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psp.errors import ArchiveError

from ._cells import Stored
from ._duckdb import disk_errors_of, import_duckdb, open_database
from ._duckdb_csv import Unlike, typed_batches
from ._index import (
    PAST_PREFIX,
    Built,
    Index,
    NamedRows,
    Row,
    columns_sql,
    quoted,
    schema_text,
    unusable,
)
from ._manifest import ColumnType, Table

if TYPE_CHECKING:
    import duckdb
    import pyarrow

LAYOUT: Final = 1
"""Raised when the tables below change: an index of another layout is rebuilt."""

_BATCH_ROWS: Final = 20_000
"""Rows handed over at once, from where a statement's own cost no longer shows."""

# As SQLite stores them: one form for every value, so that both engines give the same answers.
_SQL_TYPES: Final = {
    ColumnType.INTEGER: "BIGINT",
    ColumnType.DECIMAL: "BIGINT",
    ColumnType.DATE: "VARCHAR",
    ColumnType.TEXT: "VARCHAR",
    ColumnType.BOOLEAN: "BIGINT",
    ColumnType.FLOAT: "DOUBLE",
}


class DuckIndex(Index):
    """An open index in DuckDB."""

    _connection: duckdb.DuckDBPyConnection

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(
        cls, path: Path, tables: Sequence[Table], archive_id: bytes, *, read_only: bool
    ) -> DuckIndex:
        """Open the index, or make it anew where it is missing, damaged or of another archive.

        Raises:
            ArchiveError: It would have to be made anew and `read_only` forbids it.
            MissingExtra: duckdb is not installed.
        """
        duckdb = import_duckdb("the engine of this archive")
        expected = (LAYOUT, archive_id, schema_text(tables, _table_sql))
        try:
            with ExitStack() as opened:
                connection = opened.enter_context(open_database(path, read_only=read_only))
                if _identity(connection) == expected:
                    opened.pop_all()
                    return cls(connection, path)
        except duckdb.Error:
            pass  # Missing or damaged: it is derived.
        if read_only:
            raise unusable(path)
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
        with disk_errors_of(path):
            connection = open_database(path, read_only=False)
            for statement in _layout_sql(tables):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO psp_build VALUES (?, ?, ?, 0, ?)", [*expected, bytes(32)]
            )
        return cls(connection, path)

    @staticmethod
    @contextmanager
    def reading_tables(path: Path) -> Iterator[Iterator[NamedRows]]:
        """Give every table with its rows, in no order.

        Raises:
            ArchiveError: It cannot be read.
        """
        duckdb = import_duckdb("the engine of this archive")
        try:
            with open_database(path, read_only=True) as connection:
                named = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
                yield ((it, fetched(connection, f"SELECT * FROM {quoted(it)}")) for (it,) in named)
        except duckdb.Error as exc:
            raise ArchiveError(f"{path} cannot be read ({exc}). Remove it: it is derived.") from exc

    @staticmethod
    def is_sound(path: Path) -> bool:
        """There is no way to the rows but the rows."""
        return True

    def share(self) -> DuckIndex:
        """Give a connection that writes changes: readers of DuckDB see the state they began at."""
        return DuckIndex(self.cursor(), self._path)

    def close(self) -> None:
        self._connection.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Give one more connection to the same database, for the engine of one scope."""
        return self._connection.cursor()

    @property
    def built(self) -> Built:
        size, root = self._one("SELECT tree_size, root FROM psp_build")
        return Built(int(size), bytes(root))

    def count(self, table: Table) -> int:
        return int(self._one(f"SELECT count(*) FROM {quoted(table.name)}")[0])

    def locate(self, table: Table, key: Sequence[Stored]) -> tuple[int, int] | None:
        sql = f"SELECT psp_entry, psp_line FROM {quoted(table.name)} WHERE {_key_is(table)}"
        found = self._connection.execute(sql, list(key)).fetchall()
        return (int(found[0][0]), int(found[0][1])) if found else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        with disk_errors_of(self._path):
            self._connection.execute("BEGIN")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def load(
        self,
        table: Table,
        entry: int,
        rows: Iterable[Row],
        *,
        refuse: Callable[[Row, int], None],
        on_batch: Callable[[int], None],
    ) -> int:
        import pyarrow

        accepted, iterator, was_empty = 0, iter(rows), self._is_empty(table)
        schema = _arrow_schema(table)
        while batch := list(islice(iterator, _BATCH_ROWS)):
            columns = zip(*batch, strict=True)
            arrays = [
                pyarrow.array(it, kind) for it, kind in zip(columns, schema.types, strict=True)
            ]
            self._insert(table, entry, pyarrow.table(arrays, schema=schema))
            accepted += len(batch)
            on_batch(accepted)
        return accepted - self._settle(table, entry, refuse, was_empty=was_empty)

    def load_file(
        self,
        table: Table,
        entry: int,
        path: Path,
        *,
        null: str,
        refuse: Callable[[Row, int], None],
        on_batch: Callable[[int, int], None],
    ) -> int | None:
        accepted, was_empty = 0, self._is_empty(table)
        try:
            for batch, bytes_done in typed_batches(path, table, null=null):
                self._insert(table, entry, batch)
                accepted += batch.num_rows
                on_batch(accepted, bytes_done)
        except Unlike:
            self._connection.execute(
                f"DELETE FROM {quoted(table.name)} WHERE psp_entry = {entry:d}"
            )
            return None
        return accepted - self._settle(table, entry, refuse, was_empty=was_empty)

    def retract(self, table: Table, entry: int, key: Sequence[Stored]) -> bool:
        name, where = quoted(table.name), _key_is(table)
        past = f"INSERT INTO {quoted(PAST_PREFIX + table.name)} SELECT *, {entry:d} FROM {name}"
        self._connection.execute(f"{past} WHERE {where}", list(key))
        return bool(self._one(f"DELETE FROM {name} WHERE {where}", list(key))[0])

    def remember(self, asset: bytes, entry: int) -> None:
        self._connection.execute("INSERT INTO psp_sealed VALUES (?, ?)", [asset, entry])

    def entries_of(self, asset: bytes) -> list[int]:
        sql = "SELECT entry FROM psp_sealed WHERE asset = ? ORDER BY entry DESC"
        return [int(row[0]) for row in self._connection.execute(sql, [asset]).fetchall()]

    def add_table(self, table: Table, tables: Sequence[Table]) -> None:
        for statement in _table_layout_sql(table):
            self._connection.execute(statement)
        text = schema_text(tables, _table_sql)
        self._connection.execute("UPDATE psp_build SET tables = ?", [text])

    def mark(self, built: Built) -> None:
        self._connection.execute(
            "UPDATE psp_build SET tree_size = ?, root = ?", [built.tree_size, built.root_hash]
        )

    def flush(self) -> None:
        """Do nothing: DuckDB writes row groups as they fill, and the rest when it commits."""

    def clear(self, tables: Sequence[Table]) -> None:
        for table in tables:
            self._connection.execute(f"DELETE FROM {quoted(table.name)}")
            self._connection.execute(f"DELETE FROM {quoted(PAST_PREFIX + table.name)}")
        self._connection.execute("DELETE FROM psp_sealed")

    def _is_empty(self, table: Table) -> bool:
        sql = f"SELECT 1 FROM {quoted(table.name)} LIMIT 1"
        return not self._connection.execute(sql).fetchall()

    def _insert(self, table: Table, entry: int, rows: pyarrow.Table) -> None:
        """Take rows whose columns are c0, c1 and so on, and the line."""
        columns = ", ".join(f"c{at}" for at in range(len(table.columns)))
        self._connection.register("psp_rows", rows)
        try:
            self._connection.execute(
                f"INSERT INTO {quoted(table.name)} SELECT {columns}, {entry:d}, line FROM psp_rows"
            )
        finally:
            self._connection.unregister("psp_rows")

    def _settle(
        self, table: Table, entry: int, refuse: Callable[[Row, int], None], *, was_empty: bool
    ) -> int:
        """Let each key stand once: in this file its first row, and of all files the newest.

        Returns:
            How many rows of this file were refused.
        """
        name, keys = quoted(table.name), ", ".join(map(quoted, table.key))
        new = f"{name} WHERE psp_entry = {entry:d}"
        refused = 0
        twice = f"SELECT 1 FROM {new} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"
        if self._connection.execute(twice).fetchall():
            repeated = self._connection.execute(_repeated_sql(table, entry)).fetchall()
            for first_line, *row in repeated:
                refuse(tuple(row), int(first_line))
            lines = [row[-1] for row in repeated]
            self._connection.execute(
                f"DELETE FROM {new} AND psp_line IN (SELECT unnest(?))", [lines]
            )
            refused = len(repeated)
        if not was_empty:
            same = " AND ".join(f"psp_n.{it} = psp_o.{it}" for it in map(quoted, table.key))
            replaced = (
                f"psp_o.psp_entry <> {entry:d} AND EXISTS (SELECT 1 FROM {name} psp_n"
                f" WHERE psp_n.psp_entry = {entry:d} AND {same})"
            )
            past = quoted(PAST_PREFIX + table.name)
            self._connection.execute(
                f"INSERT INTO {past} SELECT psp_o.*, {entry:d} FROM {name} psp_o WHERE {replaced}"
            )
            self._connection.execute(f"DELETE FROM {name} psp_o WHERE {replaced}")
        return refused

    def _one(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...]:
        # All of them: DuckDB refuses to write while a result is not read to its end.
        [found] = self._connection.execute(sql, list(parameters)).fetchall()
        return tuple(found)

    def _roll_back(self) -> None:
        duckdb = import_duckdb("the engine of this archive")
        # It may have rolled back by itself; what made it do so is on its way up.
        with suppress(duckdb.Error):
            self._connection.execute("ROLLBACK")


def fetched(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[tuple[Any, ...]]:
    """Give the rows of a query, some at a time."""
    rows = connection.execute(sql)
    while batch := rows.fetchmany(_BATCH_ROWS):
        yield from batch


def _identity(connection: duckdb.DuckDBPyConnection) -> tuple[int, bytes, str] | None:
    found = connection.execute("SELECT layout, archive_id, tables FROM psp_build").fetchall()
    return next(((int(it[0]), bytes(it[1]), str(it[2])) for it in found), None)


def _layout_sql(tables: Sequence[Table]) -> Iterator[str]:
    yield (
        "CREATE TABLE psp_build"
        " (layout BIGINT, archive_id BLOB, tables VARCHAR, tree_size BIGINT, root BLOB)"
    )
    yield "CREATE TABLE psp_sealed (asset BLOB NOT NULL, entry BIGINT NOT NULL)"
    for table in tables:
        yield from _table_layout_sql(table)


def _table_layout_sql(table: Table) -> Iterator[str]:
    yield _table_sql(table)
    columns = f"{columns_sql(table, _SQL_TYPES)}, psp_end BIGINT NOT NULL"
    yield f"CREATE TABLE {quoted(PAST_PREFIX + table.name)} ({columns})"


def _table_sql(table: Table) -> str:
    return f"CREATE TABLE {quoted(table.name)} ({columns_sql(table, _SQL_TYPES)})"


def _repeated_sql(table: Table, entry: int) -> str:
    """Every row of one entry whose key an earlier line has: that line, and the row as read."""
    keys = ", ".join(map(quoted, table.key))
    columns = ", ".join(map(quoted, table.column_names))
    return (
        f"SELECT psp_first, {columns}, psp_line FROM (SELECT *, min(psp_line) OVER"
        f" (PARTITION BY {keys}) AS psp_first FROM {quoted(table.name)}"
        f" WHERE psp_entry = {entry:d}) WHERE psp_line > psp_first ORDER BY psp_line"
    )


def _key_is(table: Table) -> str:
    return " AND ".join(f"{quoted(name)} = ?" for name in table.key)


def _arrow_schema(table: Table) -> pyarrow.Schema:
    import pyarrow

    types = {"BIGINT": pyarrow.int64(), "VARCHAR": pyarrow.string(), "DOUBLE": pyarrow.float64()}
    columns = [(f"c{at}", types[_SQL_TYPES[it.type]]) for at, it in enumerate(table.columns)]
    return pyarrow.schema([*columns, ("line", pyarrow.int64())])
