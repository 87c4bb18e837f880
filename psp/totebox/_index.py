"""What an index is, whichever engine keeps it: what the sealed originals say now, to be asked.

Derived: ledger and assets rebuild it, and deleting it loses nothing. It records which archive, tree
size and root it was built from, so that a copied or stale one is noticed. Each table has the
manifest's columns and two of ours: the ledger entry a row came with, and its line in the original.

Beside each table stands one of its past rows, with the entry that ended each: replaced by a later
file or retracted. The newest state is read as if there were no past; an earlier one from both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from psp.errors import ArchiveError

from ._cells import Stored
from ._manifest import ColumnType, Table

PAST_PREFIX: Final = "psp_past_"
"""The table of a table's past rows; no name in a manifest begins like this."""

Row: TypeAlias = "tuple[Stored, ...]"
"""The stored values in the manifest's order, then the line."""

NamedRows: TypeAlias = "tuple[str, Iterable[tuple[object, ...]]]"
"""A table of an index and its rows, for whoever compares two of them."""


@dataclass(frozen=True, slots=True)
class Built:
    """The ledger state that an index stands for."""

    tree_size: int
    root_hash: bytes


class Index(ABC):
    """An open index. One writer at a time: the archive's lock sees to it."""

    _connection: Any  # Of the engine's own kind.

    @abstractmethod
    def share(self) -> Index:
        """Let reads go on while changes are written; give the connection that writes them."""

    @abstractmethod
    def close(self) -> None: ...

    @property
    @abstractmethod
    def built(self) -> Built: ...

    @abstractmethod
    def count(self, table: Table) -> int:
        """Say how many rows a table has now."""

    @abstractmethod
    def locate(self, table: Table, key: Sequence[Stored]) -> tuple[int, int] | None:
        """Say which ledger entry and which line of its original the row of a key came from."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """One transaction: everything in it, or, after an exception, nothing."""

    @abstractmethod
    def load(
        self,
        table: Table,
        entry: int,
        rows: Iterable[Row],
        *,
        refuse: Callable[[Row, int], None],
        on_batch: Callable[[int], None],
    ) -> int:
        """Put the rows of one file into their table; a key from an earlier file gets the new row.

        Args:
            refuse: Takes a row whose key this file has had already, and on which line.
            on_batch: Takes the number of rows so far.

        Returns:
            How many rows were accepted.
        """

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
        """Put a whole file into its table at once, exactly as `load` would with its rows.

        Args:
            on_batch: Takes the number of rows so far, and about how many bytes that were.

        Returns:
            How many rows were accepted. None: this file is to be read row by row, because the
            engine cannot do more, or some row of it may have to be refused. Nothing was changed.
        """
        del table, entry, path, null, refuse, on_batch
        return None

    @abstractmethod
    def retract(self, table: Table, entry: int, key: Sequence[Stored]) -> bool:
        """End the row of a key; say whether there was one. Inside `writing`."""

    @abstractmethod
    def remember(self, asset: bytes, entry: int) -> None:
        """Note which entry sealed an original; inside `writing`."""

    @abstractmethod
    def entries_of(self, asset: bytes) -> list[int]:
        """Say which entries sealed an original, the newest first."""

    @abstractmethod
    def add_table(self, table: Table, tables: Sequence[Table]) -> None:
        """Make room for one more table, the last of `tables`; inside `writing`."""

    @abstractmethod
    def mark(self, built: Built) -> None:
        """Record the ledger state that the rows stand for; inside `writing`."""

    @abstractmethod
    def flush(self) -> None:
        """Write every changed page, uncommitted, where the engine can: a full disk shows here."""

    @abstractmethod
    def clear(self, tables: Sequence[Table]) -> None:
        """Remove all rows; inside `writing`."""


def unusable(path: Path) -> ArchiveError:
    """Make the error for an index that would have to be made anew, and must not be."""
    return ArchiveError(
        f"the index {path} is missing or not this archive's, and was opened only to read."
        " Serve the archive or ingest once: that rebuilds it."
    )


def schema_text(tables: Sequence[Table], table_sql: Callable[[Table], str]) -> str:
    """Everything about the tables that changes what is stored; labels and floors do not."""
    return "\n".join(
        f"{table_sql(table)} {table.key} "
        + ",".join(f"{column.type}:{column.scale}" for column in table.columns)
        for table in tables
    )


def columns_sql(table: Table, types: Mapping[ColumnType, str]) -> str:
    """Give the columns of a table's rows in SQL, ours last."""
    columns = "".join(f"{quoted(it.name)} {types[it.type]}, " for it in table.columns)
    return f"{columns}psp_entry {types[ColumnType.INTEGER]} NOT NULL, psp_line" + (
        f" {types[ColumnType.INTEGER]} NOT NULL"
    )


def quoted(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'
