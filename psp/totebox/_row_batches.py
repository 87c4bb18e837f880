"""Rows of an index as columns of numbers, many rows at a time, out of either engine.

SQLite gives Python's objects, row by row: they live until the next rows come. DuckDB gives columns,
which are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ._limits import OBJECTS_AT_ONCE, ROWS_READ_AT_ONCE
from ._manifest import ColumnType
from ._row_columns import Figures, Part, Words

if TYPE_CHECKING:
    import apsw
    import duckdb

Batch: TypeAlias = Sequence[Part]


class State(Protocol):
    """One state of an index, being read.

    Attributes:
        tree_size: The size of the ledger that it stands for.
    """

    tree_size: int

    def batches(self, sql: str, types: Sequence[ColumnType]) -> Iterator[Batch]:
        """Run a query, and give its columns, which are of these types, some rows at a time."""


class SQLiteState:
    """A state of an index in SQLite."""

    def __init__(self, connection: apsw.Connection, tree_size: int) -> None:
        self._connection = connection
        self.tree_size = tree_size

    def batches(self, sql: str, types: Sequence[ColumnType]) -> Iterator[Batch]:
        rows = iter(self._connection.execute(sql))
        while found := list(islice(rows, OBJECTS_AT_ONCE)):
            columns = zip(*found, strict=True)
            yield [_of_objects(*each) for each in zip(columns, types, strict=True)]


class DuckState:
    """A state of an index in DuckDB."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, tree_size: int) -> None:
        self._cursor = cursor
        self.tree_size = tree_size

    def batches(self, sql: str, types: Sequence[ColumnType]) -> Iterator[Batch]:
        for batch in self._cursor.sql(sql).to_arrow_reader(ROWS_READ_AT_ONCE):
            yield [_of_arrow(*each) for each in zip(batch.columns, types, strict=True)]


def _of_objects(values: tuple[Any, ...], kind: ColumnType) -> Part:
    if kind in (ColumnType.TEXT, ColumnType.DATE):
        # From one copy of each text to its place: looking it up is all that is done for each row.
        places = {value: place for place, value in enumerate(dict.fromkeys(values))}
        codes = np.fromiter(map(places.__getitem__, values), np.int32, len(values))
        return Words(list(places), codes)
    number = np.float64 if kind is ColumnType.FLOAT else np.int64
    try:
        return Figures(
            np.fromiter(values, number, len(values))
        )  # A null among floats is no number.
    except TypeError:
        nulls = np.array([value is None for value in values], np.bool_)
        known = (0 if value is None else value for value in values)
        return Figures(np.fromiter(known, number, len(values)), nulls)


def _of_arrow(values: Any, kind: ColumnType) -> Part:
    if kind in (ColumnType.TEXT, ColumnType.DATE):
        encoded = values.dictionary_encode(null_encoding="encode")
        return Words(encoded.dictionary.to_pylist(), encoded.indices.to_numpy())
    if not values.null_count:
        return Figures(values.to_numpy())
    nulls = values.is_null().to_numpy(zero_copy_only=False)
    return Figures(values.fill_null(0).to_numpy(zero_copy_only=False), nulls)
