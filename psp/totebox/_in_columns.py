"""Rows in columns: from what the index stores to what travels.

Both engines store the same: whole numbers, scaled whole numbers for decimals, ISO text for dates, 0
and 1 for truths, floats, texts. Whole numbers, floats and texts travel as they come; only decimals,
dates and truths are made anew, by the engine's library and not row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psp.buffers import import_pyarrow

from ._manifest import Column, ColumnType

LISTED_ROWS: Final = 122_880
"""Rows of one batch: what DuckDB keeps together, and some MiB."""

_STORED_DIGITS: Final = 19
"""Of a whole number of 64 bits."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows that are being read.

    Attributes:
        row_count: How many there are.
        batches: `pyarrow.RecordBatch`es, each computed when it is asked for.
    """

    row_count: int
    columns: Sequence[Column]
    batches: Iterator[Any]

    def reader(self) -> Any:
        """Give them as a `pyarrow.RecordBatchReader`."""
        arrow = import_pyarrow()
        schema = arrow.schema([(it.name, _travelling(arrow, it)) for it in self.columns])
        return arrow.RecordBatchReader.from_batches(schema, self.batches)


def batch_of_rows(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> Any:
    """Make a batch of rows as SQLite gives them."""
    arrow = import_pyarrow()
    stored = [
        arrow.array(values, _stored(arrow, column))
        for column, values in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    return _batch(arrow, columns, stored)


def batch_of_arrow(columns: Sequence[Column], batch: Any) -> Any:
    """Make a batch of one that DuckDB gives."""
    return _batch(import_pyarrow(), columns, batch.columns)


def _batch(arrow: Any, columns: Sequence[Column], stored: Sequence[Any]) -> Any:
    travelling = [_as_it_travels(arrow, *each) for each in zip(columns, stored, strict=True)]
    return arrow.RecordBatch.from_arrays(travelling, names=[column.name for column in columns])


def _as_it_travels(arrow: Any, column: Column, stored: Any) -> Any:
    kind = _travelling(arrow, column)
    if column.type is not ColumnType.DECIMAL:
        return stored if stored.type == kind else stored.cast(kind)
    # A stored decimal is its digits without the point: as a decimal of no places it has the very
    # bytes of the one with them.
    digits = stored.cast(arrow.decimal128(_STORED_DIGITS, 0))
    return arrow.Array.from_buffers(
        kind, len(digits), digits.buffers(), digits.null_count, digits.offset
    )


def _stored(arrow: Any, column: Column) -> Any:
    match column.type:
        case ColumnType.TEXT | ColumnType.DATE:
            return arrow.utf8()
        case ColumnType.FLOAT:
            return arrow.float64()
    return arrow.int64()


def _travelling(arrow: Any, column: Column) -> Any:
    match column.type:
        case ColumnType.DECIMAL:
            return arrow.decimal128(_STORED_DIGITS, column.scale)
        case ColumnType.DATE:
            return arrow.date32()
        case ColumnType.BOOLEAN:
            return arrow.bool_()
    return _stored(arrow, column)
