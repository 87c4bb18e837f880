"""Whom each version of a row is about: a small number for each subject, the same for ever.

Equal values get equal numbers, and nothing else is asked of them. Where there are many rows, they
are parted by a hash of the value, and each part is looked at by itself: so it takes the memory of
one part. What comes later is compared with what is there, which keeps its numbers.

Rows whose subject is empty have a number too, and are nobody: they never help others over a floor.
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

_MIXED_BITS: Final = 16

_TABLE_MAX: Final = 1 << 22
"""Values that are so close together are numbered by a table of 16 MiB."""


class Subjects:
    """Of each row, the number of its subject.

    Attributes:
        count: How many numbers there are.
        nobody: The number that is no subject's; None if no row has it.
    """

    def __init__(self, numbers: Readable, nobody: int | None = None) -> None:
        """Take numbers that are given already: whole ones from 0 up, few of them left out."""
        self._numbers = numbers
        self.nobody = nobody
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
        numbers = self._numbers.read(start, stop)
        parts: Array = 1 / self._rows[numbers]
        if self.nobody is not None:
            parts[numbers == self.nobody] = 0
        return parts

    def somebody(self, numbers: Array) -> Array:
        """Leave out of some rows' numbers the one that is no subject's."""
        return numbers if self.nobody is None else numbers[numbers != self.nobody]

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
        if first == count:
            return
        if columns is None:
            for start, stop in chunks(count - first):
                self._spool.append(np.arange(first + start, first + stop))
            self._next = max(self._next, count)
            self._count_rows()
            return
        for start, stop in chunks(count - first):
            self._spool.append(np.full(stop - start, count))  # Room for every number there can be.
        rows = _Rows(self._directory, columns, first, count)
        if (table := rows.table()) is not None:
            self._by_table(rows, *table)
        else:
            number = self._by_values if rows.whole(0, 0) is None else self._by_value
            for part in range(rows.parts):
                number(rows, part)
        if self.nobody is None:
            self.nobody = self._nobody_of(rows)
        self._count_rows()

    def _nobody_of(self, rows: _Rows) -> int | None:
        """Give the number that the new rows without a value have."""
        for start, stop in rows.pieces(rows.first, rows.count):
            empty = np.flatnonzero(rows.empty(start, stop))
            if len(empty):
                return int(self.read(start + int(empty[0]), start + int(empty[0]) + 1)[0])
        return None

    def _by_table(self, rows: _Rows, low: int, width: int) -> None:
        """Number rows by values that are close together: one place for each."""
        numbers = np.full(width, -1, np.int32)
        for start, stop in rows.pieces(0, rows.first):
            numbers[rows.some(start, stop) - low] = self._spool.read(start, stop)
        for start, stop in rows.pieces(rows.first, rows.count):
            places = rows.some(start, stop) - low
            fresh = rising(places[numbers[places] < 0])
            numbers[fresh] = np.arange(self._next, self._next + len(fresh))
            self._next += len(fresh)
            self._spool.write(start, numbers[places])

    def _by_value(self, rows: _Rows, part: int) -> None:
        """Number one part of the rows by a column of whole numbers."""
        found = [
            rising(rows.some(*it[:2])[it[2]]) for it in rows.insides(rows.first, rows.count, part)
        ]
        known = rising(np.concatenate(found))
        numbers = np.full(len(known), -1, np.int64)
        if not len(known):
            return
        for start, stop, inside in rows.insides(0, rows.first, part):
            values = rows.some(start, stop)[inside]
            at = np.minimum(np.searchsorted(known, values), len(known) - 1)
            is_known = known[at] == values
            numbers[at[is_known]] = self._spool.read(start, stop)[inside][is_known]
        fresh = np.flatnonzero(numbers < 0)
        numbers[fresh] = np.arange(self._next, self._next + len(fresh))
        self._next += len(fresh)
        for start, stop, inside in rows.insides(rows.first, rows.count, part):
            values = rows.some(start, stop)[inside]
            self._set(start, stop, inside, numbers[np.searchsorted(known, values)])

    def _by_values(self, rows: _Rows, part: int) -> None:
        """Number one part of the rows by texts or by several columns."""
        numbers: dict[tuple[object, ...], int] = {}
        mixed = np.zeros(1 << _MIXED_BITS, np.bool_)
        for start, stop, inside in rows.insides(rows.first, rows.count, part):
            mixed[rows.mixed(start, stop)[inside]] = True
            numbers |= dict.fromkeys(rows.values(start, stop, inside), -1)
        for start, stop, inside in rows.insides(0, rows.first, part):
            inside &= mixed[rows.mixed(start, stop)]
            if inside.any():
                theirs = self._spool.read(start, stop)[inside].tolist()
                for value, number in zip(rows.values(start, stop, inside), theirs, strict=True):
                    if value in numbers:
                        numbers[value] = number
        for value, number in numbers.items():
            if number < 0:
                numbers[value] = self._next
                self._next += 1
        for start, stop, inside in rows.insides(rows.first, rows.count, part):
            ours = [numbers[value] for value in rows.values(start, stop, inside)]
            self._set(start, stop, inside, np.array(ours, np.int64))

    def _set(self, start: int, stop: int, inside: Flags, numbers: Array) -> None:
        every = self._spool.read(start, stop).astype(np.int64)
        every[inside] = numbers
        self._spool.write(start, every)


class _Rows:
    """Rows whose subjects are to be numbered, by what tells those apart.

    Attributes:
        first: The first of the new rows; those before it have numbers.
        parts: Into how many parts a hash of the values parts them.
    """

    def __init__(
        self, directory: Path, columns: Sequence[RowColumn], first: int, count: int
    ) -> None:
        self._columns = columns
        self.first = first
        self.count = count
        self.parts = (count - first) // NUMBERED_AT_ONCE + 1
        self._directory = directory
        self._part_of: Spool | None = None

    def pieces(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        for start, stop in chunks(count - first):
            yield first + start, first + stop

    def whole(self, start: int, stop: int) -> Array | None:
        """Give the whole numbers of the one column, if that is what tells subjects apart."""
        return self._columns[0].whole(start, stop) if len(self._columns) == 1 else None

    def some(self, start: int, stop: int) -> Array:
        values = self.whole(start, stop)
        assert values is not None
        return values

    def empty(self, start: int, stop: int) -> Flags:
        """Say which rows have no value. Of several columns, those of a key, each always has one."""
        return ~self._columns[0].present(start, stop)

    def table(self) -> tuple[int, int] | None:
        """Give the least value, and how many there can be; None if that is too many for a table."""
        if not self.count or self.whole(0, 0) is None:
            return None
        ends = [
            (int(values.min()), int(values.max()))
            for values in (self.some(*piece) for piece in self.pieces(0, self.count))
        ]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return (low, high - low + 1) if high - low < _TABLE_MAX else None

    def values(self, start: int, stop: int, inside: Flags) -> Iterator[tuple[object, ...]]:
        each = []
        for column in self._columns:
            values, codes = column.told_apart(start, stop, inside)
            each.append([values[code] for code in codes.tolist()])
        return zip(*each, strict=True)

    def mixed(self, start: int, stop: int) -> Array:
        """Give of each row a hash of sixteen bits."""
        mixed = np.zeros(stop - start, np.uint64)
        for column in self._columns:
            mixed ^= column.mixed(start, stop).view(np.uint64)
            mixed *= _MULTIPLIER
        mixed >>= np.uint64(64 - _MIXED_BITS)
        return mixed.astype(np.int32)

    def insides(self, first: int, count: int, part: int) -> Iterator[tuple[int, int, Flags]]:
        """Give the rows of one part, some at a time."""
        if self._part_of is None and self.parts > 1:
            self._part_of = Spool(self._directory)
            for start, stop in chunks(self.count):
                self._part_of.append(self.mixed(start, stop) % self.parts)
        for start, stop in self.pieces(first, count):
            if self._part_of is None:
                yield start, stop, np.ones(stop - start, np.bool_)
            else:
                yield start, stop, self._part_of.read(start, stop) == part
