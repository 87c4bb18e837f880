"""The atoms of a table: the finest parts into which the sets of all answers cut its rows.

The rows are looked at some at a time, and what is known of each is the number of its atom: two
bytes, as there are at most 32,768. All else is known of atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ._small_parts import Flags, Numbers, Weights
from ._spool import Array, Readable, Spool, chunks, rising
from ._stop import Stop
from ._subjects import Subjects

Labels: TypeAlias = "npt.NDArray[np.signedinteger[Any]]"

NOWHERE: Final = -1
"""The label of a row that is in no set of a partition."""

_ROUNDING: Final = 1e-6

_TABLE_OF_ROWS: Final = 8
_TABLE_MIN: Final = 1 << 20
_TABLE_MAX: Final = 1 << 24
"""Codes are looked up in a table of all that there could be, while it is not longer than so many
times the rows, or short anyway, and never more than 16 MiB; else they are sorted."""


class HistoryFull(Exception):
    """The sets would cut the table into more parts than are kept account of."""


class Partition(Protocol):
    """Tells of every row in which of several disjoint sets it is, numbered from 0.

    Attributes:
        count: How many sets there may be.
    """

    @property
    def count(self) -> int: ...

    def read(self, start: int, stop: int) -> Array: ...


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """A partition that is in memory already."""

    labels: Labels

    @property
    def count(self) -> int:
        return int(self.labels.max(initial=NOWHERE)) + 1

    def read(self, start: int, stop: int) -> Array:
        return self.labels[start:stop]


@dataclass(frozen=True, slots=True)
class Atoms:
    """Of each row, the number of its atom; and of each atom, how large it is.

    Attributes:
        weights: What its rows are of all rows of their subjects: at most as much as it has
            subjects.
        counts: How many rows it has.
    """

    numbers: Readable
    weights: Weights
    counts: Numbers

    @classmethod
    def sized(cls, numbers: Readable, subjects: Subjects, count: int) -> Atoms:
        weights, counts = np.zeros(count), np.zeros(count, np.int64)
        for start, stop in chunks(len(numbers)):
            here = numbers.read(start, stop)
            weights += np.bincount(here, subjects.weights(start, stop), count)
            counts += np.bincount(here, minlength=count)
        return cls(numbers, weights, counts)

    def are_large(self, subjects: Subjects, floor: int, stop: Stop) -> Flags:
        """Say of each atom whether it has enough subjects; the weight decides for most."""
        is_large: Flags = self.weights > floor - 1 + _ROUNDING
        doubtful = ~is_large & (self.counts >= floor)
        pairs = np.zeros(0, np.int64)  # Of those in doubt: an atom, and a subject in it.
        for begin, end in chunks(len(self.numbers)) if doubtful.any() else ():
            stop.check()
            here = self.numbers.read(begin, end)
            rows = np.flatnonzero(doubtful[here])
            if not len(rows):
                continue
            who = subjects.read(begin, end)[rows]
            found = here[rows].astype(np.int64) * subjects.count + who
            if subjects.nobody is not None:
                found = found[who != subjects.nobody]
            pairs = rising(np.concatenate([pairs, found]))
            is_large |= np.bincount(pairs // subjects.count, minlength=len(is_large)) >= floor
            doubtful &= ~is_large
            pairs = pairs[doubtful[pairs // subjects.count]]
        return is_large

    def have_fewer(self, chosen: Numbers, subjects: Subjects, floor: int) -> bool:
        """Say whether some atoms have fewer subjects together than so many."""
        is_chosen = np.zeros(len(self.weights), np.bool_)
        is_chosen[chosen] = True
        found = np.zeros(0, np.int64)
        for start, stop in chunks(len(self.numbers)):
            inside = is_chosen[self.numbers.read(start, stop)]
            if inside.any():
                who = subjects.somebody(subjects.read(start, stop)[inside])
                found = rising(np.concatenate([found, who]))
                if len(found) >= floor:
                    return False
        return True


@dataclass(frozen=True, slots=True)
class Cut:
    """Atoms cut by partitions.

    Attributes:
        numbers: Of each row, the number of its new atom.
        parents: Of each new atom, the one that it is a part of.
        labels: Of each partition, the label of each new atom.
    """

    numbers: Readable
    parents: Numbers
    labels: list[Numbers]


def cut(
    atoms: Atoms, partitions: Sequence[Partition], directory: Path, limit: int, stop: Stop
) -> Cut:
    """Cut atoms by partitions, one after the other.

    Raises:
        HistoryFull: They would be more than the limit, and more than they are.
        Stopped: Nobody waits for it any more.
    """
    numbers, count = atoms.numbers, len(atoms.weights)
    parents: Numbers = np.arange(count)
    labels: list[Numbers] = []
    for partition in partitions:
        codes = _Codes(numbers, count, partition, max(limit, count), stop)
        found = codes.found()
        if len(found) > max(limit, len(atoms.weights)):
            raise HistoryFull
        old, label = np.divmod(found, codes.width)
        labels = [*(each[old] for each in labels), label - 1]
        parents = parents[old]
        if len(found) != count:
            numbers, count = codes.numbered(found, directory), len(found)
    return Cut(numbers, parents, labels)


class _Codes:
    """For each row, one number for its atom and its label together; the atom comes first."""

    def __init__(
        self, numbers: Readable, count: int, partition: Partition, limit: int, stop: Stop
    ) -> None:
        self.width = partition.count + 1
        self._numbers = numbers
        self._partition = partition
        self._limit = limit
        self._stop = stop
        self._space = count * self.width
        table = max(_TABLE_OF_ROWS * len(numbers), _TABLE_MIN)
        self._in_table = self._space <= min(table, _TABLE_MAX)
        # Once only, where all rows are one piece.
        self._read: Callable[[int, int], Array] = lru_cache(1)(self._codes)

    def _codes(self, start: int, stop: int) -> Array:
        self._stop.check()
        atoms = self._numbers.read(start, stop).astype(np.int64)
        atoms *= self.width
        atoms += self._partition.read(start, stop)
        atoms += 1
        return atoms

    def found(self) -> Numbers:
        """Give the codes that there are, rising."""
        rows = len(self._numbers)
        if self._in_table:
            is_there = np.zeros(self._space, np.bool_)
            for start, stop in chunks(rows):
                is_there[self._read(start, stop)] = True
            return np.flatnonzero(is_there)
        found: Numbers = np.zeros(0, np.int64)
        for start, stop in chunks(rows):
            here = rising(self._read(start, stop))
            found = here if not len(found) else rising(np.concatenate([found, here]))
            if len(found) > self._limit:
                raise HistoryFull
        return found

    def numbered(self, found: Numbers, directory: Path) -> Readable:
        """Give each row the place of its code."""
        numbers, places = Spool(directory), np.zeros(0, np.int32)
        if self._in_table:
            places = np.empty(self._space, np.int32)
            places[found] = np.arange(len(found))
        for start, stop in chunks(len(self._numbers)):
            codes = self._read(start, stop)
            numbers.append(places[codes] if self._in_table else np.searchsorted(found, codes))
        return numbers
