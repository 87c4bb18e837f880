"""Files as lines of cells: CSV and Parquet, told apart by their first bytes.

What breaks the shape of a file (bad quotes, bytes that are not UTF-8, a missing column) ends the
whole file, because nothing after it can be trusted. What is wrong with one row is that row's own.
"""

from __future__ import annotations

import codecs
import csv
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, TypeAlias

from psp.errors import IntakeRefused, MissingExtra

Numbered: TypeAlias = "tuple[int, Sequence[object]]"
"""The line a row begins on (in Parquet: its number), and its cells in the file's order."""

LINE_BYTES_MAX: Final = 4 << 20
"""One line of a CSV. Without it, a file without a line end is read into memory whole."""
BATCH_ROWS: Final = 4_096
"""Rows of Parquet turned into Python objects at a time."""

_PARQUET_MAGIC: Final = b"PAR1"
_DELIMITERS: Final = (",", ";", "\t", "|")


@dataclass(slots=True)
class Source:
    """An open file: its columns, then its rows, once.

    Attributes:
        bytes_done: How far reading has come; for progress only.
        has_nulls: The format has a null of its own, so no text stands for it.
    """

    shown_name: str
    header: list[str]
    has_nulls: bool
    rows: Iterator[Numbered] = field(default_factory=lambda: iter(()))
    bytes_done: Callable[[], int] = lambda: 0


def open_source(file: BinaryIO, *, shown_name: str) -> Source:
    """Recognise a file and read its header.

    Args:
        shown_name: How messages call the file; a sealed copy has only a hash for a name.

    Raises:
        IntakeRefused: Not a table that can be read. Also raised by `rows`, with the line.
        MissingExtra: It is Parquet and pyarrow is not installed.
    """
    magic = file.read(4)
    file.seek(0)
    return (
        _open_parquet(file, shown_name) if magic == _PARQUET_MAGIC else _open_csv(file, shown_name)
    )


def column_order(source: Source, names: Sequence[str]) -> list[int]:
    """Say where in the file each of a table's columns stands.

    Raises:
        IntakeRefused: A column is missing, unknown or there twice.
    """
    header = source.header
    if twice := sorted({name for name in header if header.count(name) > 1}):
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
    lines = _Lines(file, shown_name)
    first = next(lines, "")
    if not first.strip():
        raise IntakeRefused(
            f"{shown_name} begins with an empty line where the names of its columns must be."
            " Write them into the first line."
        )
    # A header holds names; the separator is what there is most of. Ties go to the comma.
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(_again(first, lines), delimiter=delimiter, strict=True)
    rows = _csv_rows(reader, shown_name)
    _, header = next(rows)
    return Source(
        shown_name,
        [str(name).strip() for name in header],
        has_nulls=False,
        rows=rows,
        bytes_done=lambda: lines.bytes_done,
    )


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _csv_rows(reader: Iterator[list[str]], shown_name: str) -> Iterator[Numbered]:
    line = 1
    try:
        for cells in reader:
            if cells:  # An empty line is not a row.
                yield line, cells
            line = 1 + reader.line_num  # type: ignore[attr-defined]  # csv's reader has no type.
    except csv.Error as exc:
        raise IntakeRefused(
            f"{shown_name}, line {line}: {exc}. A quote is opened and not closed, or stands inside"
            " an unquoted cell; nothing after it can be read safely. Correct it."
        ) from exc


class _Lines:
    """Lines of text out of bytes, one at a time, each within the limit."""

    def __init__(self, file: BinaryIO, shown_name: str) -> None:
        self._file = file
        self._shown_name = shown_name
        self.line = 0
        self.bytes_done = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(LINE_BYTES_MAX + 1)
        if not raw:
            raise StopIteration
        self.line += 1
        self.bytes_done += len(raw)
        if self.line == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > LINE_BYTES_MAX:
            raise self._refused(
                f"longer than {LINE_BYTES_MAX} bytes. Is it a table? Put each row on its own line"
            )
        if b"\0" in raw or raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise self._refused(
                "it holds a NUL byte, so the file is UTF-16 or damaged. Save it as CSV UTF-8"
            )
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise self._refused(
                f"byte {exc.start + 1} is 0x{raw[exc.start]:02x}, which is not UTF-8."
                " Save the file as CSV UTF-8"
            ) from None

    def _refused(self, problem: str) -> IntakeRefused:
        return IntakeRefused(f"{self._shown_name}, line {self.line}: {problem}.")


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
            for batch in parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                columns = [column.to_pylist() for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield number, cells
        except (OSError, ValueError, pyarrow.ArrowException) as exc:
            raise _damaged_parquet(shown_name, exc) from exc

    # file.tell() jumps between row groups, but comes to the end when reading does.
    return Source(shown_name, header, has_nulls=True, rows=rows(), bytes_done=file.tell)


def _damaged_parquet(shown_name: str, cause: Exception) -> IntakeRefused:
    first_line = str(cause).partition("\n")[0]
    return IntakeRefused(
        f"{shown_name} begins like a Parquet file and cannot be read as one: {first_line}."
        " Write it again."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:64] for name in names[:12]) + (", …" if len(names) > 12 else "")


def _meant(missing: str, unknown: Sequence[str]) -> str:
    close = difflib.get_close_matches(missing.lower(), [name.lower() for name in unknown], 1)
    if not close:
        return ""
    found = next(name for name in unknown if name.lower() == close[0])
    return f" Is {found!r} meant?"
