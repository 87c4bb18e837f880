"""What every format of a table gives: its columns, then its rows, once."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Final, TypeAlias

from psp.errors import IntakeRefused

Numbered: TypeAlias = "tuple[int, Sequence[object]]"
"""The line a row begins on (in Parquet and XLSX: its number), and its cells in the file's order."""

Batch: TypeAlias = "tuple[Sequence[int], Sequence[Sequence[object]]]"
"""Rows that were read together: the line of each, and the cells of each."""

BATCH_ROWS: Final = 512
"""Rows looked at together: enough to amortise, few enough that one bad cell costs little."""

LINE_BYTES_MAX: Final = 4 << 20
"""One line of text, or one row of a sheet's XML. Without it, a file without a line end is read into
memory whole."""

_BLOCK_BYTES: Final = 256 * 1024
"""Text decoded at once: a thousand usual lines, and still in the processor's cache."""


@dataclass(slots=True)
class Source:
    """An open file: its columns, then its rows, once.

    Attributes:
        batches: Its rows. `IntakeRefused` comes out of it after every row before the fault.
        bytes_done: How far reading has come; for progress only.
        has_nulls: The format has a null of its own, so no text stands for it.
    """

    shown_name: str
    header: list[str]
    has_nulls: bool
    batches: Iterator[Batch]
    bytes_done: Callable[[], int] = lambda: 0

    @property
    def rows(self) -> Iterator[Numbered]:
        """The same rows, one by one."""
        for lines, rows in self.batches:
            yield from zip(lines, rows, strict=True)


def batched(rows: Iterator[Numbered]) -> Iterator[Batch]:
    """Put rows that are read one by one together, all that come before a fault included."""
    end: IntakeRefused | None = None
    while end is None:
        batch: list[Numbered] = []
        try:
            batch.extend(islice(rows, BATCH_ROWS))
        except IntakeRefused as exc:
            end = exc
        if batch:
            yield [line for line, _ in batch], [cells for _, cells in batch]
        elif end is None:
            return
    raise end


class Lines:
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
        is_utf16 = False
        if self.line == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
            is_utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if len(raw) > LINE_BYTES_MAX:
            raise self._refused(
                f"longer than {LINE_BYTES_MAX} bytes. Is it a table? Put each row on its own line"
            )
        if is_utf16 or b"\0" in raw:
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

    def in_blocks(self) -> Iterator[Iterable[str]]:
        """Give the lines that are left, many at a time: a tenth of the steps.

        A block with a fault is read again, line by line, to say in which one it is.
        """
        while block := self._file.read(_BLOCK_BYTES):
            block += self._file.readline(LINE_BYTES_MAX + 1)
            if (text := _plain(block)) is None:
                self._file.seek(-len(block), os.SEEK_CUR)
                yield self
            else:
                self.line += text.count("\n")
                self.bytes_done += len(block)
                # Only at \n, as readline does it; str.splitlines() knows ten other ends of lines.
                yield io.StringIO(text, newline="\n")

    def _refused(self, problem: str) -> IntakeRefused:
        return IntakeRefused(f"{self._shown_name}, line {self.line}: {problem}.")


def _plain(block: bytes) -> str | None:
    """Decode whole lines; None if one of them is to be refused."""
    if b"\0" in block:
        return None
    if len(block) > LINE_BYTES_MAX and max(map(len, block.split(b"\n"))) >= LINE_BYTES_MAX:
        return None
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError:
        return None
