"""One DuckDB database, shut in: no network, no other file, no extension, no change of these rules.

SQLite has an authorizer that judges every read of every statement; DuckDB has nothing like it. What
it has is used here: a database that sees no file but its own, connections whose transactions are
read-only, and statements that are looked at before they run.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from psp.errors import MissingExtra

from ._limits import DUCKDB_MEMORY

if TYPE_CHECKING:
    import duckdb

_SHUT_IN: Final = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",  # Names in SQL are tables, never variables of ours.
    "memory_limit": DUCKDB_MEMORY,
    # As SQLite orders them, so that both engines cut and order groups alike.
    "default_null_order": "nulls_first",
}


def open_database(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open an index, and shut the door to everything else.

    Raises:
        MissingExtra: duckdb is not installed.
        duckdb.Error: The file is no database, or cannot be opened.
    """
    library = import_duckdb("the engine of this archive")
    shut_in = {**_SHUT_IN, "enable_external_access": "false", "lock_configuration": "true"}
    opened: duckdb.DuckDBPyConnection = library.connect(
        str(path), read_only=read_only, config=shut_in
    )
    return opened


def open_reader(file: Path) -> duckdb.DuckDBPyConnection:
    """Open a database in memory that can read one file, and nothing else."""
    library = import_duckdb("the engine of this archive")
    connection: duckdb.DuckDBPyConnection = library.connect(config=_SHUT_IN)
    connection.execute(f"SET allowed_paths = [{text_literal(str(file))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def disk_errors_of(path: Path) -> Iterator[None]:
    """Give what DuckDB says about the disk as the OSError that it met."""
    library = import_duckdb("the engine of this archive")
    try:
        yield
    except (library.IOException, library.OutOfMemoryException, library.FatalException) as exc:
        full = "No space left" in str(exc)
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, str(exc).partition("\n")[0], str(path)) from exc


def text_literal(text: str) -> str:
    """Write a text into SQL. DuckDB's quotes know no escape but the doubled quote."""
    return "'" + text.replace("'", "''") + "'"


def import_duckdb(what: str) -> ModuleType:
    """Import duckdb, slow to load and needed by few.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import duckdb
        import pyarrow  # noqa: F401  # Rows go in and out of DuckDB through it.
    except ImportError as exc:
        raise MissingExtra(what, library=exc.name or "duckdb", extra="columns") from exc
    return duckdb
