"""The same table in four formats is the same rows."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from psp.totebox import Column, ColumnType, Table
from psp.totebox._intake import TypedRows
from psp.totebox._readers import open_source

NAMES = ("id", "price", "day", "sold", "ratio", "word")
TABLE = Table(
    name="t",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, nullable=True),
        Column(name="day", type=ColumnType.DATE, nullable=True),
        Column(name="sold", type=ColumnType.BOOLEAN, nullable=True),
        Column(name="ratio", type=ColumnType.FLOAT, nullable=True),
        Column(name="word", type=ColumnType.TEXT, nullable=True),
    ),
    key=("id",),
)

# Fifteen digits are what a spreadsheet keeps; XML has no control characters but these.
cells = st.tuples(
    st.integers(-(10**15), 10**15),
    st.none() | st.decimals(-(10**12), 10**12, places=2, allow_nan=False),
    st.none() | st.dates(date(1900, 3, 1), date(9999, 12, 31)),
    st.none() | st.booleans(),
    # A CSV keeps every digit of a float; a spreadsheet writes fifteen or seventeen of them.
    st.none() | st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 3)),
    st.none()
    | st.text(st.characters(blacklist_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=12)
    .map(lambda text: f"w{text}"),
)  # fmt: skip


def as_csv(rows: list[tuple[Any, ...]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(NAMES)
    for row in rows:
        writer.writerow(["" if cell is None else plain(cell) for cell in row])
    return out.getvalue().encode()


def plain(cell: object) -> str:
    return format(Decimal(repr(cell)), "f") if isinstance(cell, float) else str(cell)


def as_json_lines(rows: list[tuple[Any, ...]]) -> bytes:
    def written(cell: object) -> str:
        if isinstance(cell, Decimal | float):
            return plain(cell)
        return json.dumps(str(cell) if isinstance(cell, date) else cell)

    lines = (
        ",".join(
            f"{json.dumps(name)}:{written(cell)}" for name, cell in zip(NAMES, row, strict=True)
        )
        for row in rows
    )
    return "".join(f"{{{line}}}\n" for line in lines).encode()


def as_xlsx(rows: list[tuple[Any, ...]]) -> bytes:
    book, out = Workbook(), io.BytesIO()
    book.worksheets[0].append(NAMES)
    for row in rows:
        book.worksheets[0].append(row)
    book.save(out)
    return out.getvalue()


def as_parquet(rows: list[tuple[Any, ...]]) -> bytes:
    kinds = (pa.int64(), pa.decimal128(18, 2), pa.date32(), pa.bool_(), pa.float64(), pa.string())
    columns = [
        pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)
    ]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(dict(zip(NAMES, columns, strict=True))), out)
    return out.getvalue()


def read(data: bytes) -> list[tuple[Any, ...]]:
    refused: list[str] = []
    source = open_source(io.BytesIO(data), shown_name="in")
    rows = TypedRows(source, TABLE, null="", refuse=lambda one: refused.append(str(one)))
    found = [row[:-1] for row in rows]  # Without the line: a format begins to count where it does.
    assert not refused
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, min_size=1, max_size=8))
def test_the_same_table_is_the_same_rows_in_every_format(rows: list[tuple[Any, ...]]) -> None:
    expected = read(as_csv(rows))

    assert read(as_json_lines(rows)) == expected
    assert read(as_xlsx(rows)) == expected
    assert read(as_parquet(rows)) == expected
