"""Whom each version of a row is about: a small number for each subject, the same for ever.

Equal values get equal numbers, and nothing else is asked of them. Where there are many rows, they
are parted by a hash of the value, and each part is looked at by itself: so it takes the memory of
one part. What comes later is compared with what is there, which keeps its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from ._limits import NUMBERED_AT_ONCE
from ._row_columns import Flags, RowColumn
from ._spool import Array, Readable, Spool, chunks, rising

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ divided by the golden ratio: multiplied by it, neighbours are far apart (Knuth, "The Art of
Computer Programming", volume 3, section 6.4)."""


class Subjects:
    """Of each row, the number of its subject.

    Attributes:
        count: How many subjects there are.
    """

    def __init__(self, numbers: Readable) -> None:
        """Take numbers that are given already: whole ones from 0 up, few of them left out."""
        self._numbers = numbers
        self.count = 0
        self._rows: Array = np.zeros(0, np.int32)  # Of each subject, how many rows it has.
        self._counted = 0
        self._count_rows()

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, start: int, stop: int) -> Array:
        return self._numbers.read(start, stop).astype(np.int64)

    def weights(self, start: int, stop: int) -> Array:
        """Give of each row its part of all rows of its subject: rows have never more weight than
        they have subjects."""
        parts: Array = 1 / self._rows[self._numbers.read(start, stop)]
        return parts

    def _count_rows(self) -> None:
        for start, stop in chunks(len(self) - self._counted):
            numbers = self.read(self._counted + start, self._counted + stop)
            self.count = max(self.count, int(numbers.max()) + 1)
            fresh = np.zeros(self.count - len(self._rows), np.int32)
            self._rows = np.concatenate([self._rows, fresh])
            np.add.at(self._rows, numbers, 1)
        self._counted = len(self)


class Numbering(Subjects):
    """Gives subjects their numbers as rows come."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spool = Spool(directory)
        self._next = 0
        super().__init__(self._spool)

    def extend(self, count: int, columns: Sequence[RowColumn] | None) -> None:
        """Number the rows up to `count`.

        Args:
            columns: What tells subjects apart. None: each row is a subject of its own.
        """
        first = len(self._spool)
        if columns is None:
            for start, stop in chunks(count - first):
                self._spool.append(np.arange(first + start, first + stop))
            self._next = max(self._next, count)
            self._count_rows()
            return
        for start, stop in chunks(count - first):
            self._spool.append(np.full(stop - start, count))  # Room for every number there can be.
        parts = (count - first) // NUMBERED_AT_ONCE + 1
        is_whole = len(columns) == 1 and (not count or columns[0].whole(0, 1) is not None)
        number = self._by_value if is_whole else self._by_values
        for part in range(parts):
            number(columns, first, count, part, parts)
        self._count_rows()

    def _by_value(
        self, columns: Sequence[RowColumn], first: int, count: int, part: int, parts: int
    ) -> None:
        """Number one part of the rows from `first` on, by a column of whole numbers."""
        found: list[Array] = []
        for _, _, _, values in _of_part(columns, first, count, part, parts):
            found.append(rising(values))
        known = rising(np.concatenate(found)) if found else np.zeros(0, np.int64)
        numbers = np.full(len(known), -1, np.int64)
        if not len(known):
            return
        for start, stop, inside, values in _of_part(columns, 0, first, part, parts):
            at = np.minimum(np.searchsorted(known, values), len(known) - 1)
            is_known = known[at] == values
            numbers[at[is_known]] = self._spool.read(start, stop)[inside][is_known]
        fresh = np.flatnonzero(numbers < 0)
        numbers[fresh] = np.arange(self._next, self._next + len(fresh))
        self._next += len(fresh)
        for start, stop, inside, values in _of_part(columns, first, count, part, parts):
            self._set(start, stop, inside, numbers[np.searchsorted(known, values)])

    def _by_values(
        self, columns: Sequence[RowColumn], first: int, count: int, part: int, parts: int
    ) -> None:
        """Number one part of the rows from `first` on, by texts or by several columns."""
        numbers: dict[tuple[object, ...], int] = {}
        mixed = np.zeros(1 << 16, np.bool_)
        for start, stop, inside in _insides(columns, first, count, part, parts):
            mixed[_short(columns, start, stop)[inside]] = True
            numbers |= dict.fromkeys(_values(columns, start, stop, inside), -1)
        for start, stop, inside in _insides(columns, 0, first, part, parts):
            inside &= mixed[_short(columns, start, stop)]
            if inside.any():
                theirs = self._spool.read(start, stop)[inside].tolist()
                for value, number in zip(
                    _values(columns, start, stop, inside), theirs, strict=True
                ):
                    if value in numbers:
                        numbers[value] = number
        for value, number in numbers.items():
            if number < 0:
                numbers[value] = self._next
                self._next += 1
        for start, stop, inside in _insides(columns, first, count, part, parts):
            ours = [numbers[value] for value in _values(columns, start, stop, inside)]
            self._set(start, stop, inside, np.array(ours, np.int64))

    def _set(self, start: int, stop: int, inside: Flags, numbers: Array) -> None:
        every = self._spool.read(start, stop).astype(np.int64)
        every[inside] = numbers
        self._spool.write(start, every)


def _of_part(
    columns: Sequence[RowColumn], first: int, count: int, part: int, parts: int
) -> Iterator[tuple[int, int, Flags, Array]]:
    """Give the rows of one part, some at a time, with their values."""
    for start, stop, inside in _insides(columns, first, count, part, parts):
        values = columns[0].whole(start, stop)
        assert values is not None
        yield start, stop, inside, values[inside]


def _insides(
    columns: Sequence[RowColumn], first: int, count: int, part: int, parts: int
) -> Iterator[tuple[int, int, Flags]]:
    for start, stop in chunks(count - first):
        start, stop = first + start, first + stop
        inside = np.ones(stop - start, np.bool_)
        if parts > 1:
            inside = _short(columns, start, stop) % parts == part
        yield start, stop, inside


def _short(columns: Sequence[RowColumn], start: int, stop: int) -> Array:
    """Give of each row a hash of sixteen bits."""
    mixed = np.zeros(stop - start, np.uint64)
    for column in columns:
        mixed ^= column.mixed(start, stop).view(np.uint64)
        mixed *= _MULTIPLIER
    mixed >>= np.uint64(48)
    return mixed.astype(np.int32)


def _values(
    columns: Sequence[RowColumn], start: int, stop: int, inside: Flags
) -> Iterator[tuple[object, ...]]:
    each = []
    for column in columns:
        values, codes = column.told_apart(start, stop, inside)
        each.append([values[code] for code in codes.tolist()])
    return zip(*each, strict=True)
