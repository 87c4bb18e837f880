"""The index in SQLite: rows by key in microseconds, and nothing to install."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Final

import apsw

from ._cells import Stored
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

INDEX_FILE: Final = "index.sqlite"
LAYOUT: Final = 2
"""Raised when the tables below change: an index of another layout is rebuilt."""

_BATCH_ROWS: Final = 2_000
"""Rows for one executemany: large enough to amortise, small enough to look through again."""
_CACHE_KIB: Final = 16 * 1024
"""Pages kept in memory; a larger transaction spills to the file, so memory does not grow."""

_SQL_TYPES: Final = {
    ColumnType.INTEGER: "INTEGER",
    ColumnType.DECIMAL: "INTEGER",
    ColumnType.DATE: "TEXT",
    ColumnType.TEXT: "TEXT",
    ColumnType.BOOLEAN: "INTEGER",
    ColumnType.FLOAT: "REAL",
}


class SQLiteIndex(Index):
    """An open index in SQLite."""

    _connection: apsw.Connection

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(
        cls, path: Path, tables: Sequence[Table], archive_id: bytes, *, read_only: bool
    ) -> SQLiteIndex:
        """Open the index, or make it anew where it is missing, damaged or of another archive.

        Raises:
            ArchiveError: It would have to be made anew and `read_only` forbids it.
        """
        expected = (LAYOUT, archive_id, schema_text(tables, _table_sql))
        try:
            connection = _connect(path, read_only=read_only)
            if _identity(connection) == expected:
                index = cls(connection)
                _ = index.built  # The end of its row may stand on another page.
                return index
            connection.close()
        except (apsw.CantOpenError, apsw.NotADBError, apsw.CorruptError):
            pass  # Missing or damaged: it is derived.
        if read_only:
            raise unusable(path)
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        connection = _connect(path, read_only=False)
        with connection:
            for statement in _layout_sql(tables):
                connection.execute(statement)
            connection.execute("INSERT INTO psp_build VALUES (?, ?, ?, 0, zeroblob(32))", expected)
        return cls(connection)

    @staticmethod
    @contextmanager
    def reading_tables(path: Path) -> Iterator[Iterator[NamedRows]]:
        """Give every table with its rows, in no order."""
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            names = [str(name) for (name,) in named]
            yield ((it, connection.execute(f"SELECT * FROM {quoted(it)}")) for it in names)
        finally:
            connection.close()

    @staticmethod
    def is_sound(path: Path) -> bool:
        """Ask SQLite: a keyed read goes by a B-tree of keys, which reading rows does not see."""
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
        finally:
            connection.close()

    def share(self) -> SQLiteIndex:
        """Let reads go on while changes are written; give the connection that writes them.

        While readers are there, a rollback journal stops them as soon as a change outgrows the
        cache. A write-ahead log does not. It ends when the archive is next opened for writing.
        """
        self._connection.execute("PRAGMA journal_mode = WAL")
        return SQLiteIndex(
            _connect(Path(self._connection.filename), read_only=False, journal="WAL")
        )

    def close(self) -> None:
        self._connection.close()

    @property
    def built(self) -> Built:
        found = self._connection.execute("SELECT tree_size, root FROM psp_build").fetchone()
        assert found is not None  # `open` has seen the row.
        return Built(int(found[0]), bytes(found[1]))

    def count(self, table: Table) -> int:
        sql = f"SELECT count(*) FROM {quoted(table.name)}"
        found = self._connection.execute(sql).fetchone()
        assert found is not None
        assert isinstance(found[0], int)
        return found[0]

    def locate(self, table: Table, key: Sequence[Stored]) -> tuple[int, int] | None:
        sql = f"SELECT psp_entry, psp_line FROM {quoted(table.name)} WHERE {_key_is(table)}"
        found = self._connection.execute(sql, tuple(key)).fetchone()
        return None if found is None else (int(found[0]), int(found[1]))

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            # Touched now, its page is in the rollback journal and in the file before the ledger is
            # asked: after the ledger's yes the commit needs no more room on the disk.
            self._connection.execute("UPDATE psp_build SET tree_size = -1, root = zeroblob(32)")
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself: a full disk does that.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
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
        accepted, iterator = 0, iter(rows)
        if self._is_empty(table):
            return self._load_first(table, entry, iterator, refuse, on_batch)
        sql = _upsert_sql(table, entry)
        while batch := list(islice(iterator, _BATCH_ROWS)):
            accepted += self._load_batch(table, sql, batch, refuse)
            on_batch(accepted)
        return accepted

    def _is_empty(self, table: Table) -> bool:
        sql = f"SELECT 1 FROM {quoted(table.name)} LIMIT 1"
        return self._connection.execute(sql).fetchone() is None

    def _load_first(
        self,
        table: Table,
        entry: int,
        rows: Iterator[Row],
        refuse: Callable[[Row, int], None],
        on_batch: Callable[[int], None],
    ) -> int:
        """Fill an empty table: an index sorted at the end costs a third of one kept in order."""
        connection, accepted = self._connection, 0
        connection.execute(f"DROP INDEX {_key_index(table)}")
        sql = _insert_sql(table, entry)
        before = connection.total_changes()
        for first in rows:
            # Handed through, not kept: a row's memory is the next one's.
            connection.executemany(sql, chain([first], islice(rows, _BATCH_ROWS - 1)))
            accepted = connection.total_changes() - before
            on_batch(accepted)
        try:
            connection.execute(_key_index_sql(table))
        except apsw.ConstraintError:
            repeated = connection.execute(_repeated_sql(table)).fetchall()
            for rowid, first_line, *row in repeated:
                assert isinstance(first_line, int)
                refuse(tuple(row), first_line)
                connection.execute(f"DELETE FROM {quoted(table.name)} WHERE rowid = ?", (rowid,))
            accepted -= len(repeated)
            connection.execute(_key_index_sql(table))
        return accepted

    def retract(self, table: Table, entry: int, key: Sequence[Stored]) -> bool:
        name, past = quoted(table.name), quoted(PAST_PREFIX + table.name)
        where = _key_is(table)
        self._connection.execute(
            f"INSERT INTO {past} SELECT *, {entry:d} FROM {name} WHERE {where}", tuple(key)
        )
        self._connection.execute(f"DELETE FROM {name} WHERE {where}", tuple(key))
        return self._connection.changes() > 0

    def remember(self, asset: bytes, entry: int) -> None:
        self._connection.execute("INSERT INTO psp_sealed VALUES (?, ?)", (asset, entry))

    def entries_of(self, asset: bytes) -> list[int]:
        sql = "SELECT entry FROM psp_sealed WHERE asset = ? ORDER BY entry DESC"
        return [int(row[0]) for row in self._connection.execute(sql, (asset,))]

    def add_table(self, table: Table, tables: Sequence[Table]) -> None:
        for statement in _table_layout_sql(table):
            self._connection.execute(statement)
        self._connection.execute(
            "UPDATE psp_build SET tables = ?", (schema_text(tables, _table_sql),)
        )

    def mark(self, built: Built) -> None:
        self._connection.execute(
            "UPDATE psp_build SET tree_size = ?, root = ?", (built.tree_size, built.root_hash)
        )

    def flush(self) -> None:
        self._connection.cache_flush()

    def clear(self, tables: Sequence[Table]) -> None:
        for table in tables:
            self._connection.execute(f"DELETE FROM {quoted(table.name)}")
            self._connection.execute(f"DELETE FROM {quoted(PAST_PREFIX + table.name)}")
        self._connection.execute("DELETE FROM psp_sealed")

    def _load_batch(
        self,
        table: Table,
        sql: str,
        batch: Sequence[Row],
        refuse: Callable[[Row, int], None],
    ) -> int:
        connection = self._connection
        connection.execute("SAVEPOINT batch")
        before = self._changes(table)
        connection.executemany(sql, batch)
        accepted = self._changes(table) - before
        if accepted < len(batch):  # A key twice: go again, one by one, to learn which.
            connection.execute("ROLLBACK TO batch")
            accepted = sum(self._load_row(table, sql, row, refuse) for row in batch)
        connection.execute("RELEASE batch")
        return accepted

    def _changes(self, table: Table) -> int:
        """Count inserted and replaced rows: not what the trigger copied, once for each replaced."""
        sql = f"SELECT ifnull(max(rowid), 0) FROM {quoted(PAST_PREFIX + table.name)}"
        found = self._connection.execute(sql).fetchone()
        assert found is not None
        return self._connection.total_changes() - int(found[0])

    def _load_row(
        self, table: Table, sql: str, row: Row, refuse: Callable[[Row, int], None]
    ) -> bool:
        self._connection.execute(sql, row)
        if self._connection.changes():
            return True
        found = self.locate(table, [row[table.column_names.index(name)] for name in table.key])
        assert found is not None
        refuse(row, found[1])
        return False


def _connect(path: Path, *, read_only: bool, journal: str = "DELETE") -> apsw.Connection:
    flags = (
        apsw.SQLITE_OPEN_READONLY
        if read_only
        else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    )
    connection = apsw.Connection(str(path), flags=flags)
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    if not read_only:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    return connection


def _identity(connection: apsw.Connection) -> tuple[int, bytes, str] | None:
    try:
        found = connection.execute("SELECT layout, archive_id, tables FROM psp_build").fetchone()
    except apsw.SQLError:
        return None
    return None if found is None else (int(found[0]), bytes(found[1]), str(found[2]))


def _layout_sql(tables: Sequence[Table]) -> Iterator[str]:
    yield (
        "CREATE TABLE psp_build"
        " (layout INTEGER, archive_id BLOB, tables TEXT, tree_size INTEGER, root BLOB) STRICT"
    )
    yield "CREATE TABLE psp_sealed (asset BLOB NOT NULL, entry INTEGER NOT NULL) STRICT"
    yield "CREATE INDEX psp_sealed_asset ON psp_sealed (asset)"
    for table in tables:
        yield from _table_layout_sql(table)


def _table_layout_sql(table: Table) -> Iterator[str]:
    yield _table_sql(table)
    yield _key_index_sql(table)
    name, past = quoted(table.name), quoted(PAST_PREFIX + table.name)
    yield f"CREATE TABLE {past} ({columns_sql(table, _SQL_TYPES)}, psp_end INTEGER NOT NULL) STRICT"
    olds = ", ".join(f"old.{column}" for column in map(quoted, table.column_names))
    yield (
        f"CREATE TRIGGER {quoted(f'psp_replaced_{table.name}')} BEFORE UPDATE ON {name} BEGIN"
        f" INSERT INTO {past} VALUES ({olds}, old.psp_entry, old.psp_line, new.psp_entry); END"
    )


def _key_index(table: Table) -> str:
    return quoted(f"psp_key_{table.name}")


def _key_index_sql(table: Table) -> str:
    keys = ", ".join(map(quoted, table.key))
    return f"CREATE UNIQUE INDEX {_key_index(table)} ON {quoted(table.name)} ({keys})"


def _repeated_sql(table: Table) -> str:
    """Every row whose key an earlier line has: its rowid, that line, and the row as it was read."""
    keys, name = ", ".join(map(quoted, table.key)), quoted(table.name)
    # Qualified: a column of the owner's may well be called like ours.
    columns = ", ".join(f"psp_t.{column}" for column in map(quoted, table.column_names))
    return (
        f"SELECT psp_t.rowid, psp_line_first, {columns}, psp_t.psp_line FROM {name} psp_t JOIN"
        f" (SELECT rowid AS psp_id, min(rowid) OVER psp_w AS psp_id_first,"
        f" first_value(psp_line) OVER psp_w AS psp_line_first FROM {name}"
        f" WINDOW psp_w AS (PARTITION BY {keys} ORDER BY rowid))"
        " ON psp_id = psp_t.rowid WHERE psp_id > psp_id_first ORDER BY psp_t.rowid"
    )


def _insert_sql(table: Table, entry: int) -> str:
    values = "?, " * len(table.columns)
    # Columns in the order of the table: the manifest's, the entry, the line (the last parameter).
    return f"INSERT INTO {quoted(table.name)} VALUES ({values}{entry:d}, ?)"


def _table_sql(table: Table) -> str:
    # A rowid table: an engine without a subject column counts rowids.
    return f"CREATE TABLE {quoted(table.name)} ({columns_sql(table, _SQL_TYPES)}) STRICT"


def _upsert_sql(table: Table, entry: int) -> str:
    names = [*map(quoted, table.column_names), "psp_line"]
    values = ", ".join("?" * len(names))
    updates = ", ".join(f"{name} = excluded.{name}" for name in (*names, "psp_entry"))
    # The last WHERE: a key that this very file has had is not changed, and so is counted out.
    return (
        f"INSERT INTO {quoted(table.name)} ({', '.join(names)}, psp_entry)"
        f" VALUES ({values}, {entry:d}) ON CONFLICT ({', '.join(map(quoted, table.key))})"
        f" DO UPDATE SET {updates} WHERE psp_entry <> excluded.psp_entry"
    )


def _key_is(table: Table) -> str:
    return " AND ".join(f"{quoted(name)} = ?" for name in table.key)
