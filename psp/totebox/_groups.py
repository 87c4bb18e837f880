"""The rows that an answer is about, told apart by group.

A group's key is as the index has it. Of each row there is the number of its group, of each group
its key, and nothing else: so what an answer takes is a byte or two for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from psp.plan import Bucket

from ._atoms import NOWHERE
from ._listed import bucket_text
from ._row_columns import Flags, RowColumn, distinct
from ._spool import Array, Spool
from ._storage import SQLValue

StoredKey: TypeAlias = tuple[SQLValue, ...]
"""A group's key as the index has it, a bucket as its text."""


@dataclass(slots=True)
class Groups:
    """The versions that an answer is about, told apart by group.

    Attributes:
        keys: Of each group, its key.
        counts: Of each group, how many versions are in it.
        codes: Of each version, the number of its group; `NOWHERE` if it is in none.
    """

    keys: list[StoredKey]
    counts: list[int]
    codes: Spool


@dataclass(frozen=True, slots=True)
class GroupLabels:
    """A partition of the versions by their groups' labels, made when it is read.

    Attributes:
        count: How many labels there are.
    """

    groups: Groups
    of_group: Array
    count: int
    column: RowColumn | None

    @classmethod
    def of(
        cls,
        groups: Groups,
        labels: Mapping[StoredKey, int],
        rest: int,
        column: RowColumn | None = None,
    ) -> GroupLabels:
        """Give each version the label of its group's key, or `rest`; `NOWHERE` to all others, and
        to those without a value in the column."""
        of_group = [*(labels.get(key, rest) for key in groups.keys), NOWHERE]
        return cls(groups, np.array(of_group, np.int64), rest + 1, column)

    def read(self, start: int, stop: int) -> Array:
        labels = self.of_group[self.groups.codes.read(start, stop)]  # The last one is NOWHERE's.
        if self.column is not None:
            labels[~self.column.present(start, stop)] = NOWHERE
        return labels


KeyParts: TypeAlias = Callable[[int, int, Flags], tuple[Sequence[SQLValue], Array]]
"""Gives a part of the group keys of some rows: each value, and for each row the place of its."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """The part of a key that is a column's value, or the bucket that a day falls into."""

    column: RowColumn
    bucket: Bucket | None

    def __call__(self, start: int, stop: int, inside: Flags) -> tuple[Sequence[SQLValue], Array]:
        values, codes = self.column.told_apart(start, stop, inside)
        if self.bucket is None:
            return values, codes
        names: dict[SQLValue, int] = {}
        places = [names.setdefault(_bucket(it, self.bucket), len(names)) for it in values]
        return list(names), np.array(places, np.int64)[codes]


@dataclass(frozen=True, slots=True)
class Binned:
    """The part of a key that is a histogram's bin."""

    count: int
    bins: Callable[[int, int], Array]

    def __call__(self, start: int, stop: int, inside: Flags) -> tuple[Sequence[SQLValue], Array]:
        return range(self.count), self.bins(start, stop)[inside]


class Numbered:
    """Numbers groups by their keys, as they are seen.

    Attributes:
        known: Of each key, its group's number.
        counts: Of each group, how many rows it has.
    """

    def __init__(self) -> None:
        self.known: dict[StoredKey, int] = {}
        self.counts: list[int] = []

    def number(self, parts: Sequence[tuple[Sequence[SQLValue], Array]], rows: int) -> Array:
        """Give the group of each of some rows, whose keys have these parts."""
        combined = np.zeros(rows, np.int64)
        keys: list[StoredKey] = [()]
        for values, codes in parts:
            found, combined = distinct(combined * len(values) + codes)
            pairs = [divmod(it, len(values)) for it in found.tolist()]
            keys = [(*keys[begin], values[end]) for begin, end in pairs]
        places = [self.known.setdefault(key, len(self.known)) for key in keys]
        self.counts += [0] * (len(self.known) - len(self.counts))
        for place, count in zip(places, np.bincount(combined).tolist(), strict=True):
            self.counts[place] += count
        return np.array(places, np.int64)[combined]


def merged(
    parts: Mapping[StoredKey, Mapping[int, int | float]], keys: Iterable[StoredKey]
) -> list[int | float]:
    """Give each subject's part of the sum over some groups."""
    total: dict[int, int | float] = {}
    for key in keys:
        for subject, part in parts[key].items():
            total[subject] = total.get(subject, 0) + part
    return list(total.values())


def added_up(amounts: Array, places: Array) -> list[int | float]:
    """Add numbers up by place; whole ones exactly.

    A sum of scaled decimals can be longer than 64 bits: the halves are added apart, each of which
    has room in a float's 53 bits for as many rows as are read at a time, and Python joins them.
    """
    if amounts.dtype.kind == "f":
        floats: list[int | float] = np.bincount(places, amounts).tolist()
        return floats
    high, low = (np.bincount(places, half) for half in (amounts >> 32, amounts & 0xFFFF_FFFF))
    return [(int(up) << 32) + int(down) for up, down in zip(high, low, strict=True)]


@lru_cache(maxsize=8_192)
def _bucket(day: SQLValue, bucket: Bucket) -> SQLValue:
    """Name the bucket of a stored day. Two decades of days are remembered: all answers ask them."""
    return None if day is None else bucket_text(date.fromisoformat(str(day)), bucket)
