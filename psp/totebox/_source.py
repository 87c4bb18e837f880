"""What every format of a table gives: its columns, then its rows, once."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, TypeAlias

from psp.errors import IntakeRefused

Numbered: TypeAlias = "tuple[int, Sequence[object]]"
"""The line a row begins on (in Parquet and XLSX: its number), and its cells in the file's order."""

LINE_BYTES_MAX: Final = 4 << 20
"""One line of text, or one row of a sheet's XML. Without it, a file without a line end is read into
memory whole."""


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

    def _refused(self, problem: str) -> IntakeRefused:
        return IntakeRefused(f"{self._shown_name}, line {self.line}: {problem}.")
