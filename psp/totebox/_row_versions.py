"""The rows of a table as the audit of answers sees them: every version that there ever was.

A row's version has a ledger entry that it came with and one that ended it, so any state of the
table is a choice among them. What is sealed later stands behind what was there: a version keeps its
number, and so does its subject. A later state of the index adds what is new in it, and nothing is
read twice.

So a filter compares numbers, and an answer is told apart by arithmetic on them, where asking the
index again would be one more scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from psp.capability import RowDomain
from psp.plan import Filter, GroupKey, Measure

from ._groups import Binned, Groups, Keyed, KeyParts, Numbered, StoredKey, added_up
from ._index import PAST_PREFIX
from ._manifest import ColumnType, Table
from ._query_sets import NOWHERE
from ._row_batches import Batch, State
from ._row_columns import Figures, Flags, RowColumn, Test, distinct, row_column
from ._spool import Array, Spool, chunks
from ._storage import quoted
from ._subjects import Numbering

Reading: TypeAlias = Callable[[], AbstractContextManager[State]]
"""Opens one state of the index, beside everything else."""

_STILL: Final = 2**62
"""The end of a version that stands."""

_LINE_BITS: Final = 36
"""A line of a file: 68 billion rows. What is left of 64 bits holds as many entries as a ledger that
grows by one each second for four years."""

_OURS: Final = ("psp_entry", "psp_line")


class _OtherOrder(Exception):
    """The index gives its rows in another order than before."""


class RowVersions:
    """All versions of one table's rows, read as far as they are asked for.

    Attributes:
        tree_size: Of the state that is known.
        generation: Counts how often the versions were numbered anew.
        subjects: The number of each one's subject.
    """

    def __init__(self, table: Table, reading: Reading, directory: Path) -> None:
        """Begin with nothing.

        Args:
            directory: Where what is too long for memory goes, into files without names.
        """
        self.table = table
        self.generation = 0
        self._reading = reading
        self._directory = directory
        self._forget()

    def _forget(self) -> None:
        self.tree_size = 0
        self.generation += 1
        self.subjects = Numbering(self._directory)
        self._entries, self._lines = Spool(self._directory), Spool(self._directory)
        self._ends: Spool | None = None
        self._columns: dict[str, RowColumn] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def knows(self, tree_size: int) -> bool:
        """Say whether a state was read, or a later one."""
        return self.tree_size >= tree_size

    def follow(self, tree_size: int, names: Iterable[str] = ()) -> None:
        """Read what is new, unless what is known stands for that state or a later one; and these
        columns, if they are not known.

        Raises:
            ArchiveError: The disk refused.
        """
        missing = [it for it in dict.fromkeys(names) if it not in self._columns]
        if self.tree_size >= tree_size and not missing:
            return
        try:
            with self._reading() as state:
                self._follow(state, missing)
        except BaseException:
            self._forget()  # Some columns may be longer than others now.
            raise

    def _follow(self, state: State, missing: Sequence[str]) -> None:
        if self.tree_size:
            try:
                self._extend(state)
                self._add(state, missing)
                return
            except _OtherOrder:
                missing = [*self._columns, *missing]
                self._forget()
        for name in dict.fromkeys([*self._telling(), *missing]):
            self._columns[name] = row_column(self.table.column(name), self._directory)
        self._extend(state)

    def _telling(self) -> list[str]:
        return [] if self.table.subject is None else [self.table.subject]

    def column(self, name: str) -> RowColumn:
        """Give a column that was read."""
        return self._columns[name]

    # What is asked

    def standing(self, tree_size: int, start: int, stop: int) -> Flags:
        """Say which versions stood at a state."""
        found: Flags = self._entries.read(start, stop) < tree_size
        if self._ends is not None:
            found &= self._ends.read(start, stop) >= tree_size
        return found

    def changed_between(self, earlier: int, later: int) -> bool:
        """Say whether any version began or ended between two states."""
        for start, stop in chunks(len(self)):
            for moments in (self._entries, self._ends):
                if moments is not None:
                    found = moments.read(start, stop)
                    if ((found >= earlier) & (found < later)).any():
                        return True
        return False

    def new_subjects(self, earlier: int, later: int) -> int:
        """Count the subjects of which a first version came between two states."""
        is_known, is_new = (np.zeros(self.subjects.count, np.bool_) for _ in range(2))
        for start, stop in chunks(len(self)):
            begun, subjects = self._entries.read(start, stop), self.subjects.read(start, stop)
            is_known[subjects[begun < earlier]] = True
            is_new[subjects[(begun >= earlier) & (begun < later)]] = True
        fresh = np.flatnonzero(is_new & ~is_known)
        return len(self.subjects.somebody(fresh))

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
        tests = [self._test(each.column, each.domain) for each in filters]
        parts: list[KeyParts] = [Keyed(self.column(key.column), key.bucket) for key in keys]
        if binned is not None and binned.column is not None:
            column = self.column(binned.column)
            tests.append(column.present)
            parts.append(Binned(len(binned.edges) + 1, column.bins(binned.edges)))
        found, codes = Numbered(), Spool(self._directory)
        for start, stop in chunks(len(self)):
            passing = self.standing(tree_size, start, stop)
            for test in tests:
                passing = passing & test(start, stop)
            here = np.full(stop - start, NOWHERE, np.int64)
            if passing.any():
                each = [part(start, stop, passing) for part in parts]
                here[passing] = found.number(each, int(passing.sum()))
            codes.append(here)
        return Groups(list(found.known), found.counts, codes)

    def _test(self, name: str, domain: RowDomain) -> Test:
        if name not in self.table.column_names:
            # As in the grant's view: a domain on a column that is not there lets nothing through.
            return lambda start, stop: np.zeros(stop - start, np.bool_)
        return self.column(name).test(domain)

    def contributions(self, groups: Groups, name: str) -> dict[StoredKey, dict[int, int | float]]:
        """Add a column of numbers up by group and subject."""
        column, count = self.column(name), max(self.subjects.count, 1)
        found: dict[StoredKey, dict[int, int | float]] = {key: {} for key in groups.keys}
        for start, stop in chunks(len(self)):
            inside = (groups.codes.read(start, stop) != NOWHERE) & column.present(start, stop)
            group = groups.codes.read(start, stop)[inside].astype(np.int64)
            pairs, places = distinct(group * count + self.subjects.read(start, stop)[inside])
            for pair, part in zip(
                pairs.tolist(), added_up(column.amounts(start, stop)[inside], places), strict=True
            ):
                of_subject = found[groups.keys[pair // count]]
                of_subject[pair % count] = of_subject.get(pair % count, 0) + part
        return found

    # What is read

    def _extend(self, state: State) -> None:
        """Add the versions that have come, and note the ends of those that have gone."""
        known = self.tree_size
        if state.tree_size <= known:
            return
        now, past = quoted(self.table.name), quoted(PAST_PREFIX + self.table.name)
        names = list(self._columns)
        since = f" WHERE psp_entry >= {known:d}" if known else ""
        for batch in self._batches(state, f"{{}} FROM {now}{since}", names):
            self._append(batch, None)
        for batch in self._batches(state, f"{{}}, psp_end FROM {past}{since}", names, ended=True):
            self._append(batch[:-1], batch[-1])
        if known:
            gone = f"{{}}, psp_end FROM {past} WHERE psp_entry < {known:d} AND psp_end >= {known:d}"
            for batch in self._batches(state, gone, [], ended=True):
                self._end(*(_numbers(part) for part in batch))
        self.tree_size = state.tree_size
        telling = self._telling()
        if not telling and self._ends is not None:
            # Without a subject column a key is the subject, and all its versions are.
            telling = list(self.table.key)
            self._add(state, [name for name in telling if name not in self._columns])
        self.subjects.extend(len(self), [self.column(it) for it in telling] if telling else None)

    def _append(self, batch: Batch, ends: Any) -> None:
        entries, lines, *columns = batch
        self._entries.append(_numbers(entries))
        self._lines.append(_numbers(lines))
        for column, part in zip(self._columns.values(), columns, strict=False):
            column.append(part)
        if ends is not None and self._ends is None:
            self._begin_ends(len(self) - len(_numbers(entries)))
        if self._ends is not None:
            still = np.full(len(_numbers(entries)), _STILL)
            self._ends.append(still if ends is None else _numbers(ends))

    def _begin_ends(self, count: int) -> None:
        self._ends = Spool(self._directory)
        for start, stop in chunks(count):
            self._ends.append(np.full(stop - start, _STILL))

    def _end(self, entries: Array, lines: Array, ends: Array) -> None:
        """Note the ends of versions that stood."""
        if self._ends is None:
            self._begin_ends(len(self))
        assert self._ends is not None
        for start, stop, rows, which in self._places(entries, lines):
            every = self._ends.read(start, stop).astype(np.int64)
            every[rows] = ends[which]
            self._ends.write(start, every)

    def _places(self, entries: Array, lines: Array) -> Iterator[tuple[int, int, Array, Array]]:
        """Find versions by entry and line: where each is, and which of them it is."""
        order = np.lexsort((lines, entries))
        wanted = _paired(entries[order], lines[order])
        for start, stop in chunks(len(self)):
            here = _paired(self._entries.read(start, stop), self._lines.read(start, stop))
            at = np.minimum(np.searchsorted(wanted, here), len(wanted) - 1)
            rows = np.flatnonzero(wanted[at] == here)
            if len(rows):
                yield start, stop, rows, order[at[rows]]

    def _add(self, state: State, names: Sequence[str]) -> None:
        """Read columns of versions that are known, in the order in which those are known.

        Raises:
            _OtherOrder: The index gives them in another one: after corrections it may.
        """
        if not names:
            return
        now, past = quoted(self.table.name), quoted(PAST_PREFIX + self.table.name)
        added = [row_column(self.table.column(name), self._directory) for name in names]
        at = 0
        for sql in (f"{{}} FROM {now}", f"{{}} FROM {past}"):
            for batch in self._batches(state, sql, names):
                stop = at + len(_numbers(batch[0]))
                for known, part in zip((self._entries, self._lines), batch[:2], strict=True):
                    if not np.array_equal(known.read(at, min(stop, len(self))), _numbers(part)):
                        raise _OtherOrder
                for column, part in zip(added, batch[2:], strict=True):
                    column.append(part)
                at = stop
        if at != len(self):
            raise _OtherOrder
        self._columns |= dict(zip(names, added, strict=True))

    def _batches(
        self, state: State, sql: str, names: Sequence[str], *, ended: bool = False
    ) -> Iterator[Batch]:
        columns = ", ".join([*_OURS, *map(quoted, names)])
        types = [
            *(ColumnType.INTEGER for _ in _OURS),
            *(self.table.column(name).type for name in names),
            *([ColumnType.INTEGER] if ended else []),
        ]
        return state.batches("SELECT " + sql.format(columns), types)


def _paired(entries: Array, lines: Array) -> Array:
    """Join an entry and a line into one number, which names a version."""
    return (entries.astype(np.int64) << _LINE_BITS) + lines


def _numbers(part: object) -> Array:
    assert isinstance(part, Figures)
    return part.numbers
