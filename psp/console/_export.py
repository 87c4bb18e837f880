"""Answers and views as files for other programs: JSON, CSV, XLSX, Arrow."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from ._tables import Cell, sheets_of
from ._view import Json

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins so for a program. Source: OWASP, "CSV Injection"."""

EXACT_DIGITS_XLSX: Final = 15
"""A spreadsheet holds numbers as binary floats, which keep fifteen decimal digits; what is longer
is written as text, which keeps all."""


def as_json(document: Json) -> bytes:
    """Give the document itself, as ASCII: no character of a member reaches a terminal as it is."""
    return json.dumps(document, indent=1).encode("ascii") + b"\n"


def as_csv(document: Json) -> bytes:
    """Give the first table, RFC 4180, in UTF-8; texts that look like formulas begin with `'`."""
    sheet = sheets_of(document)[0]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_unarmed(column) for column in sheet.columns])
    writer.writerows([_unarmed(cell) for cell in row] for row in sheet.rows)
    return text.getvalue().encode()


def as_xlsx(document: Json) -> bytes:
    """Give every table as a sheet; no cell is a formula."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    for sheet in sheets_of(document):
        page = book.create_sheet(sheet.name)
        for row in (sheet.columns, *sheet.rows):
            cells = []
            for value in row:
                cell: Any = WriteOnlyCell(page, value=_for_xlsx(value))
                if isinstance(cell.value, str):
                    cell.data_type = "s"  # Text, whatever it begins with.
                cells.append(cell)
            page.append(cells)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def as_arrow(document: Json) -> bytes:
    """Give the first table as an Arrow IPC file; decimals are exact, those too long are text."""
    import pyarrow as pa

    sheet = sheets_of(document)[0]
    columns = [
        _arrow_column(pa, [row[at] for row in sheet.rows], is_figure=sheet.figures[at])
        for at in range(len(sheet.columns))
    ]
    table = pa.Table.from_arrays(columns, names=list(sheet.columns))
    stream = pa.BufferOutputStream()
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    data: bytes = stream.getvalue().to_pybytes()
    return data


FORMATS: Final[Mapping[str, Callable[[Json], bytes]]] = {
    ".json": as_json,
    ".csv": as_csv,
    ".xlsx": as_xlsx,
    ".arrow": as_arrow,
}


def _unarmed(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
    return "" if cell is None else f"{cell:f}" if isinstance(cell, Decimal) else str(cell)


def _for_xlsx(cell: Cell) -> Any:
    if isinstance(cell, int | Decimal) and len(Decimal(cell).as_tuple().digits) > EXACT_DIGITS_XLSX:
        return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)
    return cell


def _arrow_column(pa: Any, cells: list[Cell], *, is_figure: bool) -> Any:
    present = [cell for cell in cells if cell is not None]
    if not is_figure or any(isinstance(cell, str) for cell in present):
        return pa.array([None if cell is None else _plain(cell) for cell in cells], pa.string())
    if all(isinstance(cell, int) and abs(cell) < 2**63 for cell in present):
        return pa.array(cells, pa.int64())
    numbers = [None if cell is None else Decimal(cell) for cell in cells]
    try:
        return pa.array(numbers)
    except pa.ArrowInvalid:
        return pa.array([None if it is None else f"{it:f}" for it in numbers], pa.string())


def _plain(cell: Cell) -> str:
    return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)
