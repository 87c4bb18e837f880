"""The query of the bulk benchmark, the same for every contestant, and a look at its answer."""

from __future__ import annotations

from typing import Any

import duckdb

BATCH_ROWS = 122_880
SQL = (
    "select i::bigint as id, (i * 7919 % 1000003)::double / 100 as price,"
    " (i % 70)::integer as member, 'house ' || (i % 100000) as name from range({rows}) t(i)"
)


def reader(rows: int, batch_rows: int = BATCH_ROWS) -> Any:
    """Run the query; its batches are computed as they are read."""
    return duckdb.connect().sql(SQL.format(rows=rows)).to_arrow_reader(batch_rows)


def check(table: Any, rows: int) -> None:
    """Be sure that the answer is there, at next to no cost."""
    assert table.num_rows == rows
    assert table.column("id")[rows - 1].as_py() == rows - 1
