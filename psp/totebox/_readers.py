"""Files as rows of cells: CSV, JSON Lines, Parquet and XLSX, told apart by their first bytes.

What breaks the shape of a file (bad quotes, bytes that are not UTF-8, a missing column) ends the
whole file, because nothing after it can be trusted. What is wrong with one row is that row's own.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import BinaryIO, Final, Protocol

from psp.errors import IntakeRefused, MissingExtra

from ._json_lines import open_json_lines
from ._source import BATCH_ROWS, Batch, Lines, Numbered, Source, batched
from ._xlsx import open_xlsx

PARQUET_ROWS: Final = 4_096
"""Rows of Parquet turned into Python objects at a time."""

_BEGIN_BYTES: Final = 64
_MEANT_AMONG: Final = 512
"""Names among which a similar one is looked for: each takes some 30 µs, and a stranger's header may
have thirty thousand."""

_PARQUET_MAGIC: Final = b"PAR1"
_ZIP_MAGIC: Final = b"PK\x03\x04"
# The column of a CSV may begin with a brace; it is followed by a quoted name only in JSON.
_JSON_OBJECT: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*["}]')
_DELIMITERS: Final = (",", ";", "\t", "|")


class _CSVReader(Protocol):
    """The reader of csv, whose own type has no name."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


def open_source(file: BinaryIO, *, shown_name: str, sheet: str = "") -> Source:
    """Recognise a file and read its header.

    Args:
        shown_name: How messages call the file; a sealed copy has only a hash for a name.
        sheet: Which sheet of a workbook; empty if it has only one, or is none.

    Raises:
        IntakeRefused: Not a table that can be read. Also raised by `rows`, with the line.
        MissingExtra: It is Parquet or XLSX and the library that reads it is not installed.
    """
    begin = file.read(_BEGIN_BYTES)
    file.seek(0)
    if begin.startswith(_ZIP_MAGIC):
        return open_xlsx(file, shown_name, sheet)
    if sheet:
        raise IntakeRefused(
            f"{shown_name} is no workbook, so it has no sheet {sheet!r}. Leave the sheet out."
        )
    if begin.startswith(_PARQUET_MAGIC):
        return _open_parquet(file, shown_name)
    if _JSON_OBJECT.match(begin):
        return open_json_lines(file, shown_name)
    return _open_csv(file, shown_name)


def column_order(source: Source, names: Sequence[str]) -> list[int]:
    """Say where in the file each of a table's columns stands.

    Raises:
        IntakeRefused: A column is missing, unknown or there twice.
    """
    header = source.header
    # Counted once: a stranger's header may have a hundred thousand names.
    if twice := sorted(name for name, count in Counter(header).items() if count > 1):
        raise IntakeRefused(
            f"{source.shown_name} has two columns named {twice[0]!r}; rename one of them."
        )
    missing = [name for name in names if name not in header]
    unknown = [name for name in header if name not in names]
    if missing:
        raise IntakeRefused(
            f"{source.shown_name} has no column {missing[0]!r}; it has {_listed(header)}."
            f"{_meant(missing[0], unknown)} Add or rename the column."
        )
    if unknown:
        raise IntakeRefused(
            f"{source.shown_name} has a column {unknown[0]!r} that the table does not have;"
            f" the table has {_listed(names)}. Remove the column, or make a table that has it."
        )
    return [header.index(name) for name in names]


def _open_csv(file: BinaryIO, shown_name: str) -> Source:
    lines = Lines(file, shown_name)
    first = next(lines, "")
    if not first.strip():
        raise IntakeRefused(
            f"{shown_name} begins with an empty line where the names of its columns must be."
            " Write them into the first line."
        )
    delimiter = delimiter_of(first)
    text = chain.from_iterable(chain([[first]], lines.in_blocks()))
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader)
    except csv.Error as exc:
        raise _broken_csv(shown_name, 1, exc) from exc
    return Source(
        shown_name,
        [name.strip() for name in header],
        has_nulls=False,
        batches=_csv_batches(reader, shown_name, line=1 + reader.line_num),
        bytes_done=lambda: lines.bytes_done,
    )


def delimiter_of(first: str) -> str:
    """Say what separates the names of a first line: what there is most of, or else the comma."""
    return max(_DELIMITERS, key=first.count)


def _csv_batches(reader: _CSVReader, shown_name: str, *, line: int) -> Iterator[Batch]:
    """Read many rows at a time; `line` is the one that the next row begins on."""
    end: csv.Error | IntakeRefused | None = None
    while end is None:
        rows: list[list[str]] = []
        try:
            rows.extend(islice(reader, BATCH_ROWS))
        except (csv.Error, IntakeRefused) as exc:
            end = exc
        if not rows and end is None:
            return
        if end is None and reader.line_num == line + len(rows) - 1 and all(rows):
            lines: Sequence[int] = range(line, line + len(rows))
            line += len(rows)
        else:
            # What csv leaves of the ends of lines are those inside of quotes.
            spans = (1 + sum(cell.count("\n") for cell in cells) for cells in rows)
            *begins, line = accumulate(spans, initial=line)
            lines = [begin for begin, cells in zip(begins, rows, strict=True) if cells]
            rows = [cells for cells in rows if cells]  # An empty line is not a row.
        yield lines, rows
    raise end if isinstance(end, IntakeRefused) else _broken_csv(shown_name, line, end) from end


def _broken_csv(shown_name: str, line: int, cause: csv.Error) -> IntakeRefused:
    return IntakeRefused(
        f"{shown_name}, line {line}: {cause}. A quote is opened and not closed, or stands inside"
        " an unquoted cell; nothing after it can be read safely. Correct it."
    )


def _open_parquet(file: BinaryIO, shown_name: str) -> Source:
    try:
        import pyarrow.parquet
    except ImportError as exc:
        raise MissingExtra(
            f"reading {shown_name}, a Parquet file,", library="pyarrow", extra="columns"
        ) from exc
    try:
        parquet = pyarrow.parquet.ParquetFile(file)
        header = [str(name) for name in parquet.schema_arrow.names]
    except (OSError, ValueError, pyarrow.ArrowException) as exc:
        raise _damaged_parquet(shown_name, exc) from exc

    def rows() -> Iterator[Numbered]:
        number = 0
        try:
            for batch in parquet.iter_batches(batch_size=PARQUET_ROWS, use_threads=False):
                columns = [column.to_pylist() for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield number, cells
        except (OSError, ValueError, pyarrow.ArrowException) as exc:
            raise _damaged_parquet(shown_name, exc) from exc

    # file.tell() jumps between row groups, but comes to the end when reading does.
    return Source(shown_name, header, has_nulls=True, batches=batched(rows()), bytes_done=file.tell)


def _damaged_parquet(shown_name: str, cause: Exception) -> IntakeRefused:
    first_line = str(cause).partition("\n")[0]
    return IntakeRefused(
        f"{shown_name} begins like a Parquet file and cannot be read as one: {first_line}."
        " Write it again."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:64] for name in names[:12]) + (", …" if len(names) > 12 else "")


def _meant(missing: str, unknown: Sequence[str]) -> str:
    unknown = unknown[:_MEANT_AMONG]
    close = difflib.get_close_matches(missing.lower(), [name.lower() for name in unknown], 1)
    if not close:
        return ""
    found = next(name for name in unknown if name.lower() == close[0])
    return f" Is {found!r} meant?"
