"""XLSX: one sheet of a workbook as rows. Nothing in it is run, followed or fetched.

openpyxl knows the format; this file bounds what it may be made to do. A workbook is a ZIP of XML,
so a small one can hold gigabytes, and a sheet can lie about itself: openpyxl's own loop over rows
stops at the size that the sheet says it has, and drops rows that come out of order. So the rows are
taken from its parser, each within a limit, and whatever is out of order ends the file.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, time
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from psp.errors import IntakeRefused, MissingExtra

from ._cells import Unreadable
from ._source import LINE_BYTES_MAX, Numbered, Source, batched

if TYPE_CHECKING:
    from openpyxl import Workbook

PART_BYTES_MAX: Final = 32 << 20
"""A part of a workbook other than a sheet, unpacked: the shared texts are kept in memory, some
twenty times as large at worst. A file with more texts than this is a CSV by now."""
SHEET_BYTES_MAX: Final = 1 << 30
"""A sheet, unpacked; it is read in pieces. A million rows of twenty cells take 0.8 GiB."""
PARTS_MAX: Final = 4_096
"""Parts of a workbook: its sheets, pictures and their lists."""
ROW_MAX: Final = 1_048_576
COLUMN_MAX: Final = 16_384
"""The format's own ends: a row beyond them would be a million empty ones for 40 bytes."""

_SHEET_TYPE: Final = "worksheet+xml"
_SERIAL_SAFE: Final = datetime(1900, 3, 1)

_ERROR: Final = Unreadable("holds an error of the spreadsheet, such as #REF!")
_FORMULA: Final = Unreadable(
    "holds a formula without its value; open the workbook, let it calculate, save it"
)
_EARLY: Final = Unreadable(
    "is a day before 1 March 1900, and spreadsheets disagree on which; write it as text"
)


def open_xlsx(file: BinaryIO, shown_name: str, sheet: str) -> Source:
    """Open one sheet and read the names of its columns from its first row.

    Raises:
        IntakeRefused: No workbook, one beyond the limits, or one with several sheets and none
            named. Also raised by `rows`.
        MissingExtra: openpyxl or defusedxml is not installed.
    """
    try:
        import defusedxml  # noqa: F401  # openpyxl then reads all XML through it.
        from openpyxl import load_workbook
    except ImportError as exc:
        raise MissingExtra(
            f"reading {shown_name}, an XLSX file,", library=exc.name or "openpyxl", extra="columns"
        ) from exc
    with _damage_explained(shown_name):
        _check_parts(file, shown_name)
        workbook = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        rows = _rows(workbook, _chosen(workbook, sheet, shown_name), shown_name)
        _, header = next(rows, (0, []))
    names = list(header)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise IntakeRefused(
            f"{shown_name}: the first row with a value must name every column, in text and without"
            " a gap. Write the names there, and remove titles above them."
        )
    return Source(
        shown_name,
        [str(name).strip() for name in names],
        has_nulls=True,
        batches=batched(_as_wide(rows, len(names))),
        bytes_done=file.tell,
    )


def _check_parts(file: BinaryIO, shown_name: str) -> None:
    """Refuse what would unpack to more than its limit: zipfile never gives more than it says."""
    from openpyxl.xml.functions import fromstring

    with zipfile.ZipFile(file) as packed:
        parts = {part.filename: part.file_size for part in packed.infolist()}
        small = {name for name in parts if not name.startswith("xl/worksheets/")}
        too_large = (
            len(parts) > PARTS_MAX
            or any(parts[name] > PART_BYTES_MAX for name in small)
            or any(size > SHEET_BYTES_MAX for size in parts.values())
        )
        if not too_large:
            # What a part is read as is decided here and not by its name.
            listed = fromstring(packed.read("[Content_Types].xml"))
            too_large = any(
                parts.get(str(one.get("PartName")).lstrip("/"), 0) > PART_BYTES_MAX
                and not str(one.get("ContentType")).endswith(_SHEET_TYPE)
                for one in listed
            )
    file.seek(0)
    if too_large:
        raise IntakeRefused(
            f"{shown_name} unpacks to more than a workbook may ({SHEET_BYTES_MAX >> 20} MiB a"
            f" sheet, {PART_BYTES_MAX >> 20} MiB of texts or anything else, {PARTS_MAX} parts)."
            " Save the sheet as CSV UTF-8."
        )


def _chosen(workbook: Workbook, sheet: str, shown_name: str) -> Any:
    names = [one.title for one in workbook.worksheets]
    if sheet in names or (not sheet and len(names) == 1):
        return workbook.worksheets[names.index(sheet) if sheet else 0]
    problem = f"has no sheet {sheet!r}" if sheet else f"has {len(names)} sheets, and none was named"
    raise IntakeRefused(
        f"{shown_name} {problem}; it has {', '.join(map(repr, names[:12]))}. Name one (--sheet)."
    )


def _rows(workbook: Workbook, sheet: Any, shown_name: str) -> Iterator[Numbered]:
    """Give every row that has a value, as wide as it is."""
    before = 0
    with sheet._get_source() as part:
        bounded = _Bounded(part, shown_name)
        parser = _parser(workbook, sheet, bounded)
        parsed = iter(parser.parse())
        while True:
            with warnings.catch_warnings():
                # A date that is none becomes an error cell, which is refused with its column.
                warnings.simplefilter("ignore")
                with _damage_explained(shown_name):
                    line, cells = next(parsed, (0, []))
            if not line:
                break
            if not before < line <= ROW_MAX:
                raise IntakeRefused(
                    f"{shown_name}, row {line}: out of order after row {before}, or beyond"
                    f" {ROW_MAX:,}. Open the workbook in a spreadsheet and save it again."
                )
            before, bounded.since_row = line, 0
            if row := _row(cells, line, shown_name, parser.epoch.year < 1904):
                yield line, row
    if parser.merged_cells is not None and parser.merged_cells.count:
        raise IntakeRefused(
            f"{shown_name}: the sheet has merged cells, and a merged cell says nothing for the rows"
            " below its first. Unmerge them and fill every cell."
        )


def _row(
    cells: Sequence[dict[str, Any]], line: int, shown_name: str, counts_from_1900: bool
) -> list[object]:
    row: list[object] = []
    for cell in cells:
        column = cell["column"]
        if cell["row"] != line or not len(row) < column <= COLUMN_MAX:
            raise IntakeRefused(
                f"{shown_name}, row {line}: its cells are out of order, or beyond column"
                f" {COLUMN_MAX:,}. Open the workbook in a spreadsheet and save it again."
            )
        value = _value(cell, counts_from_1900)
        if value is not None:
            row.extend([None] * (column - 1 - len(row)))
            row.append(value)
    return row


def _value(cell: dict[str, Any], counts_from_1900: bool) -> object:
    value, kind = cell["value"], cell["data_type"]
    if kind == "e":
        return _ERROR
    if kind == "f":
        return _FORMULA
    if isinstance(value, datetime):
        if counts_from_1900 and value < _SERIAL_SAFE:
            return _EARLY
        # A day is kept as midnight of that day.
        return value.date() if value.time() == time() else value
    # An empty text looks like an empty cell, and to a person is one.
    return None if value == "" else value


def _as_wide(rows: Iterator[Numbered], width: int) -> Iterator[Numbered]:
    for line, cells in rows:
        yield line, [*cells, *[None] * (width - len(cells))]


def _parser(workbook: Workbook, sheet: Any, source: _Bounded) -> Any:
    from openpyxl.worksheet._reader import FORMULA_TAG, WorkSheetParser

    class Parser(WorkSheetParser):
        def parse_cell(self, element: Any) -> dict[str, Any]:
            cell: dict[str, Any] = super().parse_cell(element)
            if cell["value"] is None and element.find(FORMULA_TAG) is not None:
                # data_only would call it empty: a sum that nobody calculated is not nothing.
                cell["data_type"] = "f"
            return cell

    private: Any = workbook
    return Parser(
        source,
        sheet._shared_strings,
        data_only=True,
        epoch=workbook.epoch,
        date_formats=private._date_formats,
        timedelta_formats=private._timedelta_formats,
    )


class _Bounded:
    """A sheet's XML, of which no more than one row's limit is read between two rows."""

    def __init__(self, part: Any, shown_name: str) -> None:
        self._part = part
        self._shown_name = shown_name
        self.since_row = 0

    def read(self, count: int = -1) -> bytes:
        data: bytes = self._part.read(count)
        self.since_row += len(data)
        if self.since_row > LINE_BYTES_MAX:
            raise IntakeRefused(
                f"{self._shown_name}: more than {LINE_BYTES_MAX >> 20} MiB of the sheet without the"
                " end of a row. Save it as CSV UTF-8."
            )
        return data

    def close(self) -> None:
        self._part.close()


@contextmanager
def _damage_explained(shown_name: str) -> Iterator[None]:
    try:
        yield
    except (IntakeRefused, MemoryError):
        raise
    except Exception as exc:
        # Three libraries read strangers' XML here, and none says what it raises. Only the kind is
        # told: their words quote cells.
        raise IntakeRefused(
            f"{shown_name} begins like an XLSX file and cannot be read as one"
            f" ({type(exc).__name__}). Open it in a spreadsheet and save it again, as XLSX or CSV."
        ) from None
