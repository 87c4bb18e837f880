"""Which engine an archive has: its manifest says it, and this table says what that means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from psp.capability import TableRule

from ._duckdb_engine import DuckEngine
from ._duckdb_index import DuckIndex
from ._engine import BUSY_MS, Engine
from ._index import Index, NamedRows
from ._manifest import Table
from ._sqlite_index import SQLiteIndex

if TYPE_CHECKING:
    from ._row_batches import State

_INDEXES: Final[dict[str, type[SQLiteIndex] | type[DuckIndex]]] = {
    "sqlite": SQLiteIndex,
    "duckdb": DuckIndex,
}


def index_file(engine: str) -> str:
    """Give the name of an index's file."""
    return f"index.{engine}"


def open_index(
    engine: str, path: Path, tables: Sequence[Table], archive_id: bytes, *, read_only: bool
) -> Index:
    """Open an index, or make it anew where it is missing, damaged or of another archive.

    Raises:
        ArchiveError: It would have to be made anew and `read_only` forbids it.
        MissingExtra: The engine is not installed.
    """
    return _INDEXES[engine].open(path, tables, archive_id, read_only=read_only)


@contextmanager
def read_tables(engine: str, path: Path) -> Iterator[Iterator[NamedRows]]:
    """Give every table of an index with its rows, in no order; nothing is changed.

    Raises:
        ArchiveError: It cannot be read.
        MissingExtra: The engine is not installed.
    """
    with _INDEXES[engine].reading_tables(path) as tables:
        yield tables


def is_sound(engine: str, path: Path) -> bool:
    """Say whether the ways to an index's rows, which `read_tables` does not go, are whole."""
    return _INDEXES[engine].is_sound(path)


_SIZE: Final = "SELECT tree_size FROM psp_build"


@contextmanager
def reading(index: Index, path: Path) -> Iterator[State]:
    """Open one state of an open index, beside everything else."""
    if not isinstance(index, DuckIndex):
        with reading_sqlite(path) as state:
            yield state
        return
    from ._row_batches import DuckState  # Numbers need numpy: see _load_history.

    with closing(index.cursor()) as cursor:
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        [(tree_size,)] = cursor.execute(_SIZE).fetchall()
        yield DuckState(cursor, int(tree_size))


@contextmanager
def reading_sqlite(path: Path) -> Iterator[State]:
    """Do as `reading` does with an index that another process may have open."""
    from ._row_batches import SQLiteState

    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.execute("BEGIN")
        [(tree_size,)] = connection.execute(_SIZE).fetchall()
        assert isinstance(tree_size, int)
        yield SQLiteState(connection, tree_size)
    finally:
        connection.close()


def open_engine(
    index: Index,
    path: Path,
    table: Table,
    rule: TableRule,
    *,
    entity_floor: int = 1,
    as_of: int | None = None,
) -> Engine:
    """Open an engine for one scope on an open index, which stays open as long."""
    if isinstance(index, DuckIndex):
        return DuckEngine(index.cursor(), table, rule, entity_floor=entity_floor, as_of=as_of)
    return Engine(path, table, rule, entity_floor=entity_floor, as_of=as_of)
