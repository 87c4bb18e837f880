"""Rows of a file, each accepted or refused with its line and reason. Silence is never acceptance.

Deterministic: the same bytes, table and null text give the same rows and the same refusals, today
and when an index is rebuilt from the sealed original years later.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, TextIO

from psp.durable import sync_directory
from psp.errors import IntakeRefused

from ._cells import CellRefused, Converter, Unreadable, converter
from ._index import Row
from ._manifest import Table
from ._readers import column_order
from ._source import Batch, Source

REFUSALS_SHOWN: Final = 3
"""In one sentence; the quarantine file has them all."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that was not accepted.

    Attributes:
        column: Empty if the row as a whole is at fault.
        reason: Completes "the cell …", or "the row …".
        cells: The row, for the quarantine file alone: never in a message.
    """

    line: int
    column: str
    reason: str
    cells: Sequence[object]

    def __str__(self) -> str:
        where = (
            f"line {self.line}, column {self.column!r}: the cell"
            if self.column
            else (f"line {self.line}: the row")
        )
        return f"{where} {self.reason}"


class TypedRows:
    """The rows of a source as its table stores them; a refused row goes to `refuse`."""

    def __init__(
        self, source: Source, table: Table, *, null: str, refuse: Callable[[Refusal], None]
    ) -> None:
        """Compare the columns of the file with the table's.

        Raises:
            IntakeRefused: They are not the same.
        """
        order = column_order(source, table.column_names)
        self._source = source
        self._names = table.column_names
        marker = None if source.has_nulls else null
        self._steps: list[tuple[int, Converter]] = [
            (at, converter(column, null=marker))
            for at, column in zip(order, table.columns, strict=True)
        ]
        self._refuse = refuse

    def __iter__(self) -> Iterator[Row]:
        # chain: a row goes from zip to the index without a step of Python for itself.
        return chain.from_iterable(map(self._typed, self._source.batches))

    def _typed(self, batch: Batch) -> Iterable[Row]:
        """Convert column by column: three times as fast, and most batches hold no bad cell."""
        lines, rows = batch
        if set(map(len, rows)) != {len(self._source.header)}:
            return self._one_by_one(batch)
        columns = list(zip(*rows, strict=True))
        try:
            typed = [list(map(convert, columns[at])) for at, convert in self._steps]
        except CellRefused:
            return self._one_by_one(batch)
        return zip(*typed, lines, strict=True)

    def _one_by_one(self, batch: Batch) -> Iterator[Row]:
        width = len(self._source.header)
        for line, cells in zip(*batch, strict=True):
            # Counted first: a row of another width has shifted cells, which may well convert.
            if len(cells) != width:
                self._refuse(Refusal(line, "", why_not(cells, width), cells))
                continue
            try:
                row = [convert(cells[at]) for at, convert in self._steps]
            except CellRefused:
                self._refuse(self._explain(line, cells))
                continue
            yield (*row, line)

    def _explain(self, line: int, cells: Sequence[object]) -> Refusal:
        """Convert again, cell by cell, to name the column: only refused rows pay for it."""
        for name, (at, convert) in zip(self._names, self._steps, strict=True):
            try:
                convert(cells[at])
            except CellRefused as refused:
                ordered = [cells[at] for at, _ in self._steps]
                return Refusal(line, name, str(refused), ordered)
        raise AssertionError("a converter refused a cell once and took it the second time")


def why_not(cells: Sequence[object], width: int) -> str:
    """Say why a row that is not as wide as its file is refused; completes "the row …"."""
    match cells:
        case [Unreadable() as whole]:
            return whole.reason
    return f"has {len(cells)} cells; the first line names {width} columns"


class Quarantine:
    """The file beside the input that holds every refused row, with its line and reason.

    It appears only when the whole file has been looked at, under its final name.
    """

    def __init__(self, beside: Path, table: Table) -> None:
        self.path = beside.with_name(f"{beside.name}.refused.csv")
        self.first: list[Refusal] = []
        self.count = 0
        self._draft = self.path.with_name(f".{self.path.name}.draft")
        self._header = ["line", "column", "reason", *table.column_names]
        self._file: TextIO | None = None
        # Why the file could not be written; the refusal itself must not be lost over it.
        self.unwritable: str | None = None

    def add(self, refusal: Refusal) -> None:
        self.count += 1
        if len(self.first) < REFUSALS_SHOWN:
            self.first.append(refusal)
        if self.unwritable is None:
            try:
                self._write(refusal)
            except OSError as exc:
                self.unwritable = exc.strerror or type(exc).__name__

    def keep(self) -> None:
        """Give the file its name, durably, if anything was refused; an older one is replaced."""
        if self._file is None or self.unwritable is not None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._draft.rename(self.path)
            self._file = None
            sync_directory(self.path.parent)
        except OSError as exc:  # The last lines did not fit on the disk.
            self.unwritable = exc.strerror or type(exc).__name__

    def discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._draft.unlink(missing_ok=True)
            self._file = None

    def refused(self, name: str, *, is_of_a_stranger: bool = False) -> IntakeRefused:
        """Make the error for a file with refused rows, of which nothing was sealed.

        Args:
            is_of_a_stranger: Whoever sent it sees neither the list of them nor our options.
        """
        more = self.count - len(self.first)
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        remedy = (
            "Correct the file"
            if is_of_a_stranger
            else f"{self._listing()} Correct the file, or accept the other rows without these"
            " (--accept-partial)"
        )
        return IntakeRefused(
            f"{name}: {rows} refused, nothing sealed. {'; '.join(map(str, self.first))}"
            f"{f'; and {more:,} more' if more else ''}. {remedy}."
        )

    def _listing(self) -> str:
        if self.unwritable is None:
            return f"All of them are in {self.path}."
        return f"They could not be listed in {self.path} ({self.unwritable})."

    def _write(self, refusal: Refusal) -> None:
        if self._file is None:
            # It holds records: for this user alone, whatever the umask says. O_EXCL: what a killed
            # intake left is removed, and a link planted at this name is not followed.
            self._draft.unlink(missing_ok=True)
            fd = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(fd, "w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(self._header)
        cells = ["" if cell is None else str(cell) for cell in refusal.cells]
        csv.writer(self._file).writerow([refusal.line, refusal.column, refusal.reason, *cells])
