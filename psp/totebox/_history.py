"""What an archive has told of one table, over all who asked, and what it may still tell.

Each figure of an answer is the total of a set of rows: of a shown group, or of all hidden ones. A
count can be subtracted from any other count, a sum from any sum of the same column; so there is one
account of released sets for the counts and one for the sums of each column (`QuerySets`). Where an
answer would let a part that is too small be computed, one more group is hidden, and it is tried
again; where that does not help, the answer is refused.

What was answered is on the disk before it leaves: the question with the domains of its grant, the
state it was asked at, and what was folded. From that the accounts are made again at the next start.

An answer shows a *release point*: a state that moves on only when enough new subjects are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final, TypeAlias, TypeVar

import numpy as np

from psp.capability import Operation
from psp.errors import Suppressed
from psp.plan import Measure

from ._compile import key_value
from ._disclosure import Cell, Decision, Key, fold
from ._history_file import Asked, HistoryFile, RowsDisagree
from ._manifest import Table
from ._query_sets import NOWHERE, HistoryFull, Labels, QuerySets, Reveals
from ._row_versions import Groups, Moved, Reading, RowVersions, StoredKey, labels_of
from ._storage import to_typed_domain

FOLDS_MAX: Final = 8
"""Groups hidden for the sake of earlier answers. Where more would have to be, the question is a bad
one, and each try costs as much as the first."""

REPEATS_MAX: Final = 65_536
"""Questions remembered with what was folded, some 20 MiB. Beyond, one that had to fold groups is
refused: its repeat might have to fold others."""

LABELS_AT_ONCE: Final = 16_000_000
"""Labels of rows held while the accounts are made again, 128 MiB."""

MOVED_MAX: Final = 5

COUNTS: Final = ""
"""The account of counts; those of sums have the names of their columns."""

Accounts: TypeAlias = dict[str, QuerySets]
Sets: TypeAlias = Mapping[str, Sequence[str | None]]
"""For each account, the released sets: all rows of a cell, or those with a value in a column."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer on its way, as sets of rows."""

    groups: Groups
    keys: dict[Key, StoredKey]
    sets: Sets


class TableHistory:
    """The history of one table. Called from worker threads, one at a time."""

    def __init__(self, table: Table, reading: Reading, file: HistoryFile) -> None:
        self._table = table
        self._rows = RowVersions(table, reading)
        self._file = file
        self._accounts: Accounts = {}
        self._folded: dict[bytes, list[StoredKey]] | None = None
        self._lock = Lock()

    def release_point(self, tree_size: int, floor: int) -> int:
        """Give the state that answers show, at most `tree_size`; move it on if it is time.

        Raises:
            ArchiveError: The disk refused.
        """
        with self._lock:
            return self._settled(lambda: self._release_point(tree_size, floor))

    def _release_point(self, tree_size: int, floor: int) -> int:
        self._rows.follow(tree_size)
        point = self._file.release_point(floor)
        rows = self._rows
        if point:
            is_new = (rows.begun >= point) & (rows.begun < tree_size)
            if not (is_new | ((rows.ended >= point) & (rows.ended < tree_size))).any():
                return tree_size  # Nothing of this table has changed since.
            subjects = np.unique(rows.subjects[is_new])
            known = np.unique(rows.subjects[rows.begun < point])
            if len(np.setdiff1d(subjects, known, assume_unique=True)) < floor:
                return point
        self._file.set_release_point(floor, tree_size)
        return tree_size

    def release(
        self, asked: Asked, cells: Sequence[Cell], decision: Decision, floor: int
    ) -> Decision:
        """Decide on an answer by all earlier ones, and remember it durably.

        Args:
            asked: With the state, as `release_point` gave it.
            decision: What the answer alone would say.

        Raises:
            Suppressed: It would tell too much.
            RowsDisagree: The cells are of another state.
            ArchiveError: The disk refused.
        """
        with self._lock:
            return self._settled(lambda: self._release(asked, cells, decision, floor))

    def _release(
        self, asked: Asked, cells: Sequence[Cell], decision: Decision, floor: int
    ) -> Decision:
        assert asked.plan.as_of is not None
        self._rows.follow(asked.plan.as_of)
        known = self._known()
        answer = self._answer(asked)
        _check_rows(answer, cells)
        question = asked.encode()
        keys = {stored: key for key, stored in answer.keys.items()}
        for stored in known.get(question, ()):
            if any(cell.key == keys[stored] for cell in decision.shown):
                decision = fold(decision, keys[stored], asked.plan.measures)
        before = len(decision.shown)
        try:
            decision, accounts = self._tried(answer, decision, asked.plan.measures, floor)
        except HistoryFull:
            raise Suppressed(
                f"hidden: so many different questions about {self._table.name!r} have been answered"
                " that no more can be kept account of; ask one that was answered before, or what"
                " can be added up from such"
            ) from None
        adds = any(self._accounts.get(name) is not it for name, it in accounts.items())
        if question not in known and (adds or len(decision.shown) < before):
            if len(known) >= REPEATS_MAX:
                raise _reveals(floor)
            shown = {cell.key for cell in decision.shown}
            folded = [stored for key, stored in answer.keys.items() if key not in shown]
            self._file.add(question, folded)
            known[question] = folded
        self._accounts.update(accounts)
        return decision

    def _tried(
        self, answer: _Answer, decision: Decision, measures: Sequence[Measure], floor: int
    ) -> tuple[Decision, Accounts]:
        """Fold groups until nothing is told of that is too small."""
        for _ in range(FOLDS_MAX + 1):
            shown = [answer.keys[cell.key] for cell in decision.shown]
            try:
                return decision, self._with([(answer, shown)], floor)
            except Reveals as exc:
                key = _to_fold(answer, decision, exc)
            if key is None:
                break
            decision = fold(decision, key, measures)
        raise _reveals(floor)

    def _with(self, answers: Sequence[tuple[_Answer, list[StoredKey]]], floor: int) -> Accounts:
        """Give the accounts with some answers more."""
        rows = self._rows
        partitions: dict[str, list[Labels]] = {}
        for answer, shown in answers:
            numbers = {key: number for number, key in enumerate(shown)}
            labels = labels_of(len(rows.begun), answer.groups, numbers, len(shown))
            for of, sets in answer.sets.items():
                for column in sets:
                    cut = labels
                    if column is not None:
                        cut = np.where(rows.has_value(column), labels, NOWHERE)
                    partitions.setdefault(of, []).append(cut)
        accounts: Accounts = {}
        for name, sets_of_it in partitions.items():
            account = self._accounts.get(name)
            if account is None:
                account = QuerySets.over(rows.subjects)
            elif (late := rows.subjects[len(account.subjects) :]).size:
                account = account.with_rows(late)
            accounts[name] = account.with_sets(sets_of_it, floor)
        return accounts

    def _answer(self, asked: Asked) -> _Answer:
        plan = asked.plan
        assert plan.as_of is not None
        filters = [
            replace(each, domain=to_typed_domain(self._table.column(each.column), each.domain))
            for each in plan.filters
        ]
        groups = self._rows.groups(plan.as_of, [*asked.rows, *filters], plan.group)
        columns = [(key, self._table.column(key.column)) for key in plan.group]
        keys = {
            tuple(
                key_value(key, column, value)
                for (key, column), value in zip(columns, stored, strict=True)
            ): stored
            for stored in groups.keys
        }
        return _Answer(groups, keys, published_sets(plan.measures, self._table))

    def _known(self) -> dict[bytes, list[StoredKey]]:
        """Make the accounts again from what was answered before this start."""
        if self._folded is not None:
            return self._folded
        known: dict[bytes, list[StoredKey]] = {}
        waiting: list[tuple[_Answer, list[StoredKey]]] = []
        at_once = LABELS_AT_ONCE // (len(self._rows.begun) + 1) + 1
        for question, folded in self._file.answered():
            known[question] = folded
            asked = Asked.decode(question)
            assert asked.plan.as_of is not None
            answer = self._answer(asked)
            gone = set(folded)
            waiting.append((answer, [key for key in answer.groups.keys if key not in gone]))
            if len(waiting) >= at_once:
                self._accounts.update(self._with(waiting, 1))
                waiting.clear()
        if waiting:
            self._accounts.update(self._with(waiting, 1))
        self._folded = known
        return known

    def _settled(self, work: Callable[[], _T]) -> _T:
        """Begin again where the index moved on while it was read."""
        for _ in range(MOVED_MAX):
            try:
                return work()
            except Moved:
                continue
        raise RowsDisagree("the index changed faster than it could be read")


def published_sets(measures: Sequence[Measure], table: Table) -> Sets:
    """Say which sets the figures of a plan publish, by account."""
    sets: dict[str, dict[str | None, None]] = {}
    for measure in measures:
        column = measure.column
        if column is not None and not table.column(column).nullable:
            present = None  # As many values as rows.
        else:
            present = column
        if measure.operation in (Operation.COUNT, Operation.MEAN):
            sets.setdefault(COUNTS, {})[present] = None
        if measure.operation in (Operation.SUM, Operation.MEAN):
            assert column is not None
            sets.setdefault(column, {})[present] = None
    return {name: list(it) for name, it in sets.items()}


def _to_fold(answer: _Answer, decision: Decision, told: Reveals) -> Key | None:
    """Choose the group to hide: the smallest that holds some of what would be told of."""
    groups = answer.groups
    inside = np.isin(groups.rows, told.rows)
    if not inside.any():
        return None
    touched = {groups.keys[group] for group in np.unique(groups.group[inside]).tolist()}
    holding = [cell for cell in decision.shown if answer.keys[cell.key] in touched]
    # All of it hidden already: then what is hidden has to grow.
    chosen = holding or decision.shown
    if not chosen:
        return None
    return min(chosen, key=lambda cell: cell.subjects).key


def _check_rows(answer: _Answer, cells: Sequence[Cell]) -> None:
    counts = np.bincount(answer.groups.group, minlength=len(answer.groups.keys)).tolist()
    ours = dict(zip(answer.groups.keys, counts, strict=True))
    theirs = {answer.keys.get(cell.key): sum(part.rows for part in cell.parts) for cell in cells}
    if ours != theirs:
        raise RowsDisagree("the engine and the audit of answers count different rows")


def _reveals(floor: int) -> Suppressed:
    return Suppressed(
        f"hidden: with earlier answers this one would tell of fewer than {floor} subjects; ask a"
        " coarser question, or the same one as before"
    )
