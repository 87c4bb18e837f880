"""The rows of a table as the audit of answers sees them: every version that there ever was.

A row's version has a ledger entry that it came with and one that ended it, so any state of the
table is a choice among them. In the order of entry and line, what is sealed later stands behind
what was there: a version keeps its number for ever, and so does its subject.

Each column is kept as a list of its distinct values and one small number for each version. So a
filter looks at each distinct value once, and an answer is told apart by arithmetic on numbers,
where asking the index again would be one more scan.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any, Final, TypeAlias

import numpy as np

from psp.capability import RowDomain, between
from psp.plan import Filter, GroupKey, Measure

from ._index import PAST_PREFIX
from ._listed import bucket_text
from ._manifest import Table
from ._query_sets import NOWHERE, Labels, numbered
from ._small_parts import Flags, Numbers
from ._storage import SQLValue, from_storage, quoted, to_typed_domain

StoredKey: TypeAlias = tuple[SQLValue, ...]
"""A group's key as the index has it, a bucket as its text."""

Reading: TypeAlias = Callable[
    [str], AbstractContextManager[tuple[int, Iterable[Sequence[SQLValue]]]]
]
"""Runs a query on one state of the index: the tree size that it stands for, and the rows."""

_STILL: Final = 2**62
"""The end of a version that stands."""

_BATCH_ROWS: Final = 20_000


class Moved(Exception):
    """The index came to another state while one was read column by column: begin anew."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A column: each distinct value once, and for each version the number of its value."""

    values: list[SQLValue]
    codes: Labels


@dataclass(frozen=True, slots=True)
class Groups:
    """The versions that an answer is about, told apart by group.

    Attributes:
        rows: Their numbers.
        group: Of each, the number of its group.
        keys: Of each group, its key.
    """

    rows: Numbers
    group: Numbers
    keys: list[StoredKey]


@dataclass(slots=True)
class RowVersions:
    """All versions of one table's rows, read as far as they are asked for."""

    table: Table
    reading: Reading
    tree_size: int = -1
    begun: Numbers = field(init=False)
    ended: Numbers = field(init=False)
    subjects: Numbers = field(init=False)
    _columns: dict[str, Coded] = field(init=False, default_factory=dict)

    def follow(self, tree_size: int) -> None:
        """Read the table anew, unless what is known stands for that state or a later one.

        Raises:
            Moved: The state changed meanwhile; so may `column` and what asks it.
        """
        if self.tree_size >= tree_size:
            return
        self.tree_size = -1
        self._columns.clear()
        self._read(() if self.table.subject is None else (self.table.subject,))
        if self.table.subject is not None:
            self.subjects = _in_order_of_sight(self._columns[self.table.subject].codes)
        elif (self.ended == _STILL).all():
            self.subjects = np.arange(len(self.begun))
        else:
            # Without a subject column a key is the subject, and all its versions are.
            keys = self._combined([self.column(name) for name in self.table.key], slice(None))
            self.subjects = _in_order_of_sight(keys)

    def column(self, name: str) -> Coded:
        """Give a column; read at its first use."""
        if name not in self._columns:
            self._read((name,))
        return self._columns[name]

    def at(self, tree_size: int) -> Flags:
        """Say which versions stood at a state."""
        return (self.begun < tree_size) & (self.ended >= tree_size)

    def has_value(self, name: str) -> Flags:
        """Say which versions have a value in a column."""
        coded = self.column(name)
        return self._each(coded, [value is not None for value in coded.values])

    def groups(
        self,
        tree_size: int,
        filters: Sequence[Filter],
        keys: Sequence[GroupKey],
        binned: Measure | None = None,
    ) -> Groups:
        """Tell the versions of a state that pass all filters apart by group key.

        Args:
            binned: A histogram, whose bin's number is then the last part of the key.
        """
        passing = self.at(tree_size)
        if binned is not None and binned.column is not None:
            passing &= self.has_value(binned.column)
        for each in filters:
            passing &= self._in_domain(each.column, each.domain)
        rows = np.flatnonzero(passing)
        columns = [self._bucketed(key) for key in keys]
        if binned is not None and binned.column is not None:
            columns.append(self._binned(binned.column, binned.edges))
        group = self._combined(columns, rows)
        firsts = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
        firsts[group] = np.arange(len(group))
        named = [
            tuple(column.values[column.codes[row]] for column in columns)
            for row in rows[firsts].tolist()
        ]
        return Groups(rows, group, named)

    def contributions(self, groups: Groups, name: str) -> dict[StoredKey, dict[int, int | float]]:
        """Add a column of numbers up by group and subject."""
        coded = self.column(name)
        found: dict[StoredKey, dict[int, int | float]] = {key: {} for key in groups.keys}
        subjects, codes = self.subjects[groups.rows].tolist(), coded.codes[groups.rows].tolist()
        # In Python's numbers: a sum of scaled decimals can be longer than 64 bits.
        for group, subject, code in zip(groups.group.tolist(), subjects, codes, strict=True):
            value = coded.values[code]
            if isinstance(value, int | float):
                of_subject = found[groups.keys[group]]
                of_subject[subject] = of_subject.get(subject, 0) + value
        return found

    def _combined(self, columns: Sequence[Coded], rows: Any) -> Numbers:
        combined: Numbers = np.zeros(len(self.begun), np.int64)[rows]
        for column in columns:
            combined = numbered(combined * max(len(column.values), 1) + column.codes[rows])
        return combined

    def _in_domain(self, name: str, domain: RowDomain) -> Flags:
        if name not in self.table.column_names:
            return np.zeros(len(self.begun), np.bool_)  # As in the grant's view.
        coded, column = self.column(name), self.table.column(name)
        contains, null = domain.contains, None
        return self._each(
            coded,
            [value is not null and contains(from_storage(column, value)) for value in coded.values],
        )

    def _each(self, coded: Coded, flags: Sequence[bool]) -> Flags:
        found: Flags = np.array(flags, np.bool_)[coded.codes]
        return found

    def _bucketed(self, key: GroupKey) -> Coded:
        coded = self.column(key.column)
        if key.bucket is None:
            return coded
        numbers: dict[SQLValue, int] = {}
        codes = [
            numbers.setdefault(
                None if value is None else bucket_text(date.fromisoformat(str(value)), key.bucket),
                len(numbers),
            )
            for value in coded.values
        ]
        return Coded([*numbers], np.array(codes, np.int32)[coded.codes])

    def _binned(self, name: str, edges: Sequence[int | Decimal]) -> Coded:
        """Number the bin of each value: the edges at or below it."""
        coded, column = self.column(name), self.table.column(name)
        above = [to_typed_domain(column, between(edge, None)) for edge in edges]
        bins = [
            0 if value is None else sum(it.contains(from_storage(column, value)) for it in above)
            for value in coded.values
        ]
        return Coded([*range(len(edges) + 1)], np.array(bins, np.int32)[coded.codes])

    def _read(self, names: Sequence[str]) -> None:
        columns = "".join(f", {quoted(name)}" for name in names)
        select = f"SELECT psp_entry, psp_line, {{}}{columns} FROM {{}}"
        now, past = quoted(self.table.name), quoted(PAST_PREFIX + self.table.name)
        sql = f"{select.format(_STILL, now)} UNION ALL {select.format('psp_end', past)}"
        whole: list[array[int]] = [array("q") for _ in range(3)]
        codes = [array("i") for _ in names]
        numbers: list[dict[SQLValue, int]] = [{} for _ in names]
        with self.reading(sql) as (tree_size, found):
            rows = iter(found)
            while batch := list(islice(rows, _BATCH_ROWS)):
                parts: list[Any] = list(zip(*batch, strict=True))
                for numbers_so_far, values in zip(whole, parts[:3], strict=True):
                    numbers_so_far.extend(values)
                for coded, known, values in zip(codes, numbers, parts[3:], strict=True):
                    coded.extend([known.setdefault(it, len(known)) for it in values])
        if self.tree_size not in (-1, tree_size):
            self.tree_size = -1
            raise Moved
        begun, line, ended = (np.frombuffer(it, np.int64) for it in whole)
        order = np.lexsort((line, begun))
        self.begun, self.ended = begun[order], ended[order]
        for name, coded, known in zip(names, codes, numbers, strict=True):
            least = np.min_scalar_type(-len(known) - 1)
            self._columns[name] = Coded(
                [*known], np.frombuffer(coded, np.int32)[order].astype(least)
            )
        self.tree_size = tree_size


def merged(
    parts: Mapping[StoredKey, Mapping[int, int | float]], keys: Iterable[StoredKey]
) -> list[int | float]:
    """Give each subject's part of the sum over some groups."""
    total: dict[int, int | float] = {}
    for key in keys:
        for subject, part in parts[key].items():
            total[subject] = total.get(subject, 0) + part
    return list(total.values())


def labels_of(count: int, groups: Groups, labels: Mapping[StoredKey, int], rest: int) -> Labels:
    """Give each version the label of its group's key, or `rest`; `NOWHERE` to all others."""
    of_group = np.array([labels.get(key, rest) for key in groups.keys], np.int64)
    found = np.full(count, NOWHERE, np.int64)
    if len(groups.rows):
        found[groups.rows] = of_group[groups.group]
    return found


def _in_order_of_sight(codes: Any) -> Numbers:
    """Number codes by their first place: what comes later does not change a number."""
    _, firsts, numbers = np.unique(codes, return_index=True, return_inverse=True)
    ranks = np.empty(len(firsts), np.int64)
    ranks[np.argsort(firsts)] = np.arange(len(firsts))
    sighted: Numbers = ranks[numbers]
    return sighted
