"""A CSV looked at by DuckDB, many cells at a time, where that surely says what reading it would.

One rule holds for what is sealed, and it is written in `_readers` and `_cells`. Here is a second
way to the same values for files that are plain (no quote, no empty line, one kind of line end) and
whose every cell has one of the usual forms. `Unlike` is raised at the first doubt, and then the
file is read row by row: a refusal has one author. A test asks both about the same random files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psp.errors import IntakeRefused

from ._cells import TEXT_CHARACTERS_MAX, TRUTHS
from ._duckdb import import_duckdb, open_reader, text_literal
from ._manifest import Column, ColumnType, Table
from ._readers import column_order, delimiter_of, open_source

if TYPE_CHECKING:
    import pyarrow

_BATCH_ROWS: Final = 122_880
"""A row group of DuckDB."""

_BLOCK_BYTES: Final = 1 << 20

# Spreadsheets write a day as midnight of that day: what may follow it, as in `_cells`.
_MIDNIGHTS: Final = ["", *(f"{t}00:00{s}{z}" for t in "T " for s in ("", ":00") for z in ("", "Z"))]


class Unlike(Exception):
    """This file is to be read row by row."""


@dataclass(frozen=True, slots=True)
class _Plain:
    """A file that is split at line ends and separators, and has nothing else to know."""

    delimiter: str
    rows: int
    size_bytes: int


def typed_batches(path: Path, table: Table, *, null: str) -> Iterator[tuple[pyarrow.Table, int]]:
    """Give the rows of a CSV as the index stores them: columns c0, c1 and so on, and the line.

    With each batch comes about how many bytes have been read by then.

    Raises:
        Unlike: It may have to be read otherwise. Any number of batches may have come before.
        IntakeRefused: Its columns are not the table's.
    """
    import pyarrow

    duckdb = import_duckdb("the engine of this archive")
    plain, order = _look_at(path, table, null)
    with open_reader(path) as reading:
        done = 0
        try:
            reader = reading.sql(_query(path, plain, table, order, null)).to_arrow_reader(
                _BATCH_ROWS
            )
            for batch in reader:
                # Null, too, is a doubt.
                if batch.column("fits").true_count < batch.num_rows:
                    raise Unlike
                lines = pyarrow.array(range(done + 2, done + 2 + batch.num_rows), pyarrow.int64())
                done += batch.num_rows
                rows = pyarrow.Table.from_batches([batch]).append_column("line", lines)
                yield rows, plain.size_bytes * done // plain.rows
        except (duckdb.Error, pyarrow.ArrowException) as exc:
            raise Unlike from exc
    if done != plain.rows:
        raise Unlike


def _look_at(path: Path, table: Table, null: str) -> tuple[_Plain, list[int]]:
    with path.open("rb") as file:
        try:
            source = open_source(file, shown_name=path.name)
        except IntakeRefused:
            raise Unlike from None  # Whoever reads it row by row says why.
        file.seek(0)
        first = file.readline()
        if source.has_nulls or len(source.header) < 2 or "\\" in null:
            raise Unlike
        order = column_order(source, table.column_names)
        delimiter = delimiter_of(first.decode("utf-8"))
        if delimiter in null:
            raise Unlike
        file.seek(0)
        size, line_end, ends = 0, "\r\n" if first.endswith(b"\r\n") else "\n", 0
        while block := file.read(_BLOCK_BYTES):
            block += file.readline()
            size += len(block)
            ends += _count_plain_lines(block, line_end.encode())
            last = block
    *_, rest = last.rsplit(b"\n", 1)
    rows = ends - 1 + bool(rest)
    # At the end of a file without a line end, DuckDB lets one empty cell too many pass.
    if rows < 1 or (rest and rest.count(delimiter.encode()) != len(source.header) - 1):
        raise Unlike
    return _Plain(delimiter, rows, size), order


def _count_plain_lines(block: bytes, line_end: bytes) -> int:
    """Count the line ends of whole lines.

    Raises:
        Unlike: Something in them needs a closer look.
    """
    ends = block.count(b"\n")
    if (
        b'"' in block
        or b"\0" in block
        or block.startswith(line_end)
        or line_end * 2 in block
        or block.count(b"\r") != (ends if line_end == b"\r\n" else 0)
        or block.count(line_end) != ends
    ):
        raise Unlike
    if not block.isascii():
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError:
            raise Unlike from None
        # By the tables that `_cells` normalises with; DuckDB's may be of another year.
        if not unicodedata.is_normalized("NFC", text):
            raise Unlike
    return ends


def _query(path: Path, plain: _Plain, table: Table, order: list[int], null: str) -> str:
    columns = ", ".join(f"'r{at}': 'VARCHAR'" for at in range(len(table.columns)))
    source = (
        f"read_csv({text_literal(str(path))}, auto_detect = false, header = false, skip = 1,"
        f" columns = {{{columns}}}, delim = {text_literal(plain.delimiter)}, quote = '',"
        f" escape = '', comment = '', nullstr = {text_literal(null)}, strict_mode = true,"
        " null_padding = false)"
    )
    typed, given, fits = [], [], []
    for at, (column, place) in enumerate(zip(table.columns, order, strict=True)):
        value, fit = _FORMS[column.type](column, f"r{place}", f"t{at}")
        typed.append(f"r{place}, {value[0]} AS t{at}")
        given.append(f"{value[1]} AS c{at}")
        fit = f"coalesce({' AND '.join([fit, *_listed(column, value[1])])}, false)"
        fits.append(f"({'' if not column.nullable else f'r{place} IS NULL OR '}{fit})")
    return (
        f"SELECT {', '.join(given)}, {' AND '.join(fits)} AS fits"
        f" FROM (SELECT {', '.join(typed)} FROM {source})"
    )


_Form = tuple[tuple[str, str], str]
"""The cell read, then what is stored of that; and the condition under which this is right."""


def _integer(_column: Column, cell: str, read: str) -> _Form:
    # Written back it is the same: so there was no sign, zero or space that could mean something.
    return (f"TRY_CAST({cell} AS BIGINT)", read), f"CAST({read} AS VARCHAR) = {cell}"


def _decimal(column: Column, cell: str, read: str) -> _Form:
    if not column.scale:
        return _integer(column, cell, read)
    written = f"CAST({read} AS VARCHAR)"
    pointed = f"CASE WHEN contains({cell}, '.') THEN rtrim({cell}, '0') ELSE {cell} || '.' END"
    return (
        (
            f"TRY_CAST({cell} AS DECIMAL(18, {column.scale}))",
            f"TRY_CAST(replace({written}, '.', '') AS BIGINT)",
        ),
        f"{pointed} = rtrim({written}, '0') AND NOT suffix({cell}, '.') AND length({cell}) < 38",
    )


def _float(_column: Column, cell: str, read: str) -> _Form:
    form = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?"
    return (
        # + 0.0: SQLite has one zero.
        (f"TRY_CAST({cell} AS DOUBLE)", f"({read} + CAST(0 AS DOUBLE))"),
        f"regexp_full_match({cell}, '{form}') AND isfinite({read})",
    )


def _date(column: Column, cell: str, read: str) -> _Form:
    rest = ", ".join(map(text_literal, _MIDNIGHTS))
    fits = f"CAST(TRY_CAST({read} AS DATE) AS VARCHAR) = {read} AND substr({cell}, 11) IN ({rest})"
    if column.from_ and column.to:
        first, last = column.from_.isoformat(), column.to.isoformat()
        fits += f" AND {read} BETWEEN '{first}' AND '{last}'"
    return (f"left({cell}, 10)", read), f"length({read}) = 10 AND {fits}"


def _boolean(_column: Column, cell: str, read: str) -> _Form:
    def words(truth: int) -> str:
        return ", ".join(text_literal(word) for word, value in TRUTHS.items() if value == truth)

    value = f"CASE WHEN {read} IN ({words(1)}) THEN 1 WHEN {read} IN ({words(0)}) THEN 0 END"
    return (f"lower({cell})", f"CAST({value} AS BIGINT)"), f"({value}) IS NOT NULL"


def _text(_column: Column, cell: str, read: str) -> _Form:
    return (cell, read), f"length({read}) <= {TEXT_CHARACTERS_MAX}"


_FORMS: Final[Mapping[ColumnType, Callable[[Column, str, str], _Form]]] = {
    ColumnType.INTEGER: _integer,
    ColumnType.DECIMAL: _decimal,
    ColumnType.DATE: _date,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TEXT: _text,
    ColumnType.FLOAT: _float,
}


def _listed(column: Column, stored: str) -> list[str]:
    """Give the condition that a value is among those that a column lists.

    Raises:
        Unlike: They are of another kind than what it stores.
    """
    if not column.values:
        return []
    kinds = {ColumnType.TEXT: str, ColumnType.INTEGER: int, ColumnType.BOOLEAN: bool}
    if any(type(value) is not kinds.get(column.type) for value in column.values):
        raise Unlike
    written = ", ".join(
        text_literal(value) if isinstance(value, str) else str(int(value))
        for value in column.values
    )
    return [f"{stored} IN ({written})"]
