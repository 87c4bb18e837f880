"""What an archive has told of one table, over all who asked, and what it may still tell.

Each figure of an answer is the total of a set of rows: of a shown group, or of all hidden ones. A
count can be subtracted from any other count, a sum from any sum of the same column. All of them are
in one account of released sets (`QuerySets`), as if every question asked for every figure: mostly
it does, and one account is a third of the work of three. Only the sums of a column that may be
empty have an account of their own: their sets are not those of the counts beside them. Where an
answer would let a part that is too small be computed, one more group is hidden, and it is tried
again; where that does not help, the answer is refused.

What was answered is on the disk before it leaves: the question with the domains of its grant, the
state it was asked at, and what was folded. From that the accounts are made again at the next start.

An answer shows a *release point*: a state that moves on only when enough new subjects are there.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple, TypeAlias

from ._answer_sets import AnswerSets, check_rows, fold_all, left, reveals, to_fold
from ._canonical import canonical
from ._compiled import key_value
from ._concentration import Concentration
from ._disclosure import Cell, Decision, Key, Rule, Withheld
from ._groups import GroupLabels, StoredKey, merged
from ._histogram import counting, histogram_in
from ._history_file import Asked, HistoryFile
from ._manifest import Table
from ._published import columns_of, measures_of, published_sets, summed_columns
from ._query_sets import HistoryFull, QuerySets, Reveals
from ._row_versions import Reading, RowVersions
from ._stop import NEVER, Stop

FOLDS_MAX: Final = 3
"""Groups hidden for the sake of earlier answers. Where more would have to be, the question is a bad
one, and each try costs as much as the first."""

REPEATS_MAX: Final = 65_536
"""Questions remembered with what was folded. Beyond, one that had to fold groups is refused: its
repeat might have to fold others."""

REPEATS_BYTES_MAX: Final = 32 * 1024 * 1024
"""What they may take, in memory and on the disk, 500 bytes each: one with a list of a thousand
values has 16,000, and one tenant could ask it in many orders."""

TOLD_MAX: Final = 256
"""Questions of which it is kept in memory what they were told: a page of figures asks some ten, and
asks them again and again."""

LABELS_AT_ONCE: Final = 16_000_000
"""Labels of rows held while the accounts are made again, some 32 MiB, or as much of a file."""

Accounts: TypeAlias = dict[str, QuerySets]


@dataclass(frozen=True, slots=True)
class _Told:
    """What a question was told: which groups are shown, which hidden for the history, or nothing.

    It may be told so again without a look at the account: the same state gives the same groups.
    """

    shown: set[Key]
    folded: dict[Key, Rule]
    refused: Withheld | None = None


class Point(NamedTuple):
    """The state that answers show.

    Attributes:
        tree_size: Which answers name.
        same_since: The first state with the very same rows: by it a question is known again.
    """

    tree_size: int
    same_since: int


class TableHistory:
    """The history of one table. Called from worker threads, one at a time."""

    def __init__(
        self,
        table: Table,
        reading: Reading,
        file: HistoryFile,
        concentration: Concentration,
        directory: Path,
    ) -> None:
        """Begin with what the file remembers.

        Args:
            directory: Where what is too long for memory goes, into files without names.
        """
        self._table = table
        self._concentration = concentration
        self._directory = directory
        self._rows = RowVersions(table, reading, directory)
        self._generation = 0
        self._file = file
        self._accounts: Accounts = {}
        self._known: dict[bytes, list[StoredKey]] = {}
        self._known_bytes = 0
        self._unread: deque[tuple[Asked, list[StoredKey]]] = deque()
        self._told: OrderedDict[tuple[object, ...], _Told] = OrderedDict()
        self._points: dict[tuple[int, int], Point] = {}  # The latest one alone.
        self._lock = Lock()

    def release_point(self, tree_size: int, floor: int, stop: Stop = NEVER) -> Point:
        """Give the state that answers show, at most `tree_size`; move it on if it is time.

        Raises:
            ArchiveError: The disk refused.
            Stopped: It was given up while another answer was decided on.
        """
        with stop.holding(self._lock):
            asked = tree_size, floor
            if asked not in self._points:
                self._points = {asked: self._release_point(*asked)}
            return self._points[asked]

    def _release_point(self, tree_size: int, floor: int) -> Point:
        point = self._file.release_point(floor)
        if point:
            self._rows.follow(tree_size)
            if not self._rows.changed_between(point, tree_size):
                return Point(tree_size, point)  # Nothing of this table has changed since.
            if self._rows.new_subjects(point, tree_size) < floor:
                return Point(point, point)
        self._file.set_release_point(floor, tree_size)
        return Point(tree_size, tree_size)

    def reads_ahead(self, asked: Asked) -> Callable[[], None] | None:
        """Give what reads the rows that a question needs, while its engine counts them: the first
        time each takes as long as the other. None if there is nothing to read."""
        assert asked.plan.as_of is not None
        if self._rows.knows(asked.plan.as_of):
            return None
        return partial(self._read_ahead, asked)

    def _read_ahead(self, asked: Asked) -> None:
        # What goes wrong here goes wrong again in `release`, and is said there.
        with self._lock, suppress(Exception):
            self._read(asked, ())

    def release(
        self,
        asked: Asked,
        cells: Sequence[Cell],
        decision: Decision,
        floor: int,
        stop: Stop = NEVER,
    ) -> Decision:
        """Decide on an answer by all earlier ones, and remember it durably.

        Args:
            asked: At the state of a release point, as `same_since` has it.
            decision: What the answer alone would say.
            stop: Ends the search when nobody waits for the answer any more. The rows of the table
                are read to their end: once read, the next question need not.

        Raises:
            Withheld: It would tell too much.
            Stopped: It was given up. Nothing was answered, and nothing is remembered.
            RowsDisagree: The cells are of another state.
            ArchiveError: The disk refused.
        """
        measures = counting(asked.plan).measures
        if histogram_in(asked.plan) is None:
            sets = published_sets(measures, self._table)
            if not sets:
                return (
                    decision  # Least and greatest values alone: an owner who names them shows them.
                )
            asked = replace(asked, plan=replace(asked.plan, measures=measures_of(sets)))
        asked = canonical(asked, self._table)
        question = asked.encode()
        sums = summed_columns(measures) if self._concentration.is_set else ()
        with stop.holding(self._lock):
            told = self._told.get((question, floor, sums))
            if told is None or told.shown != left(decision, told.folded):
                told = self._release(asked, question, cells, decision, floor, sums, stop)
                self._told[question, floor, sums] = told
                if len(self._told) > TOLD_MAX:
                    self._told.popitem(last=False)
        if told.refused is not None:
            raise told.refused.again()
        return fold_all(decision, told.folded, measures)

    def _release(
        self,
        asked: Asked,
        question: bytes,
        cells: Sequence[Cell],
        decision: Decision,
        floor: int,
        sums: Sequence[str],
        stop: Stop,
    ) -> _Told:
        known = self._follow(asked, sums, stop)
        answer = self._answer(asked)
        check_rows(answer, cells)
        keys = {stored: key for key, stored in answer.keys.items()}
        folded: dict[Key, Rule] = {}
        try:
            if sums:
                folded = self._concentrated(answer, decision, sums)
            earlier = [keys[stored] for stored in known.get(question, ())]
            folded = dict.fromkeys(earlier, Rule.HISTORY) | folded
            folded, accounts = self._tried(answer, decision, folded, floor, stop)
        except Withheld as exc:  # For good: the account only grows.
            # Anew: this one's traceback would keep what was asked, and the engine, for ever.
            return _Told(left(decision, {}), {}, refused=exc.again())
        except HistoryFull:
            raise Withheld.by(
                Rule.HISTORY,
                f"so many different questions about {self._table.name!r} have been answered that no"
                " more can be kept account of; ask one that was answered before, or what can be"
                " added up from such",
            ) from None
        adds = any(self._accounts.get(name) is not it for name, it in accounts.items())
        if question not in known and (adds or folded):
            size = self._known_bytes + len(question)
            if len(known) >= REPEATS_MAX or size > REPEATS_BYTES_MAX:
                raise reveals(floor)
            shown = left(decision, folded)
            hidden = [stored for key, stored in answer.keys.items() if key not in shown]
            self._file.add(question, hidden)  # First: what the disk refused has not been answered.
            known[question] = hidden
            self._known_bytes = size
        self._accounts.update(accounts)
        return _Told(left(decision, folded), folded)

    def _tried(
        self,
        answer: AnswerSets,
        decision: Decision,
        folded: dict[Key, Rule],
        floor: int,
        stop: Stop,
    ) -> tuple[dict[Key, Rule], Accounts]:
        """Fold groups until nothing is told of that is too small."""
        for _ in range(FOLDS_MAX + 1):
            remaining = left(decision, folded)
            shown = [cell for cell in decision.shown if cell.key in remaining]
            try:
                return folded, self._with(
                    [(answer, [answer.keys[cell.key] for cell in shown])], floor, stop
                )
            except Reveals as exc:
                key = to_fold(answer, shown, exc)
            if key is None:
                break
            folded = {**folded, key: Rule.HISTORY}
        raise reveals(floor)

    def _concentrated(
        self, answer: AnswerSets, decision: Decision, sums: Sequence[str]
    ) -> dict[Key, Rule]:
        """Hide the groups whose sums are nearly one subject's, and what it takes to hide them."""
        rows, rule = self._rows, self._concentration
        parts = [rows.contributions(answer.groups, column) for column in sums]

        def hides(keys: Iterable[StoredKey]) -> bool:
            chosen = list(keys)
            return bool(chosen) and any(rule.hides(merged(part, chosen)) for part in parts)

        shown = {cell.key: answer.keys[cell.key] for cell in decision.shown}
        folded = {key: Rule.DOMINANCE for key, stored in shown.items() if hides([stored])}
        by_size = sorted(decision.shown, key=lambda cell: cell.rows)
        waiting = [cell.key for cell in by_size if cell.key not in folded]
        while hides(s for key, s in answer.keys.items() if key not in shown or key in folded):
            if not waiting:
                raise Withheld.by(
                    Rule.DOMINANCE,
                    "nearly all of this sum is one or two subjects'; ask for a count, or for a"
                    " coarser question",
                )
            folded[waiting.pop(0)] = Rule.COMPLEMENT
        return folded

    def _with(
        self, answers: Sequence[tuple[AnswerSets, list[StoredKey]]], floor: int, stop: Stop
    ) -> Accounts:
        """Give the accounts with some answers more."""
        rows = self._rows
        partitions: dict[str, list[GroupLabels]] = {}
        for answer, shown in answers:
            numbers = {key: number for number, key in enumerate(shown)}
            for of, sets in answer.sets.items():
                partitions.setdefault(of, []).extend(
                    GroupLabels.of(
                        answer.groups,
                        numbers,
                        len(shown),
                        None if column is None else rows.column(column),
                    )
                    for column in sets
                )
        accounts: Accounts = {}
        for name, sets_of_it in partitions.items():
            account = self._accounts.get(name)
            if account is None:
                account = QuerySets.over(rows.subjects, self._directory)
            elif len(account.atoms.numbers) < len(rows):
                account = account.with_rows(rows.subjects)
            accounts[name] = account.with_sets(sets_of_it, floor, stop)
        return accounts

    def _answer(self, asked: Asked) -> AnswerSets:
        plan = asked.plan
        assert plan.as_of is not None
        groups = self._rows.groups(plan.as_of, asked.rows, plan.group, histogram_in(plan))
        columns = [(key, self._table.column(key.column)) for key in plan.group]
        keys = {
            (
                *(key_value(*each, value) for each, value in zip(columns, stored, strict=False)),
                *stored[len(columns) :],  # The number of a histogram's bin.
            ): stored
            for stored in groups.keys
        }
        return AnswerSets(groups, keys, published_sets(counting(plan).measures, self._table))

    def _follow(
        self, asked: Asked, sums: Sequence[str], stop: Stop
    ) -> dict[bytes, list[StoredKey]]:
        """Read the rows as far as a question needs them, and make the accounts again where they are
        of rows that were numbered otherwise: those from before this start, in the first place.

        Returns:
            What was folded for each question that is remembered.
        """
        stop.check()
        self._read(asked, sums)
        at_once = LABELS_AT_ONCE // (len(self._rows) + 1) + 1
        while self._unread:
            # Bit by bit, each for good: one who waits no more leaves less to the next one.
            some = [self._unread[at] for at in range(min(at_once, len(self._unread)))]
            waiting = []
            for earlier, folded in some:
                stop.check()
                answer, gone = self._answer(earlier), set(folded)
                waiting.append((answer, [key for key in answer.groups.keys if key not in gone]))
            # Whatever they told of was told: of nobody at all too, under an earlier rule.
            self._accounts.update(self._with(waiting, 0, stop))
            for _ in some:
                self._unread.popleft()
        return self._known

    def _read(self, asked: Asked, sums: Sequence[str]) -> None:
        """Read the columns of a question, and of all that are remembered and not in the accounts.

        Where the rows were numbered otherwise, the accounts of the former numbers are dropped.
        """
        assert asked.plan.as_of is not None
        while True:
            if self._generation != self._rows.generation:
                self._remember()
                self._generation = self._rows.generation
            needed = {*columns_of(asked, self._table), *sums}
            for earlier, _ in self._unread:
                needed.update(columns_of(earlier, self._table))
            self._rows.follow(asked.plan.as_of, sorted(needed))
            if self._generation == self._rows.generation:
                break

    def _remember(self) -> None:
        """Take what was answered from the file, to make the accounts of it."""
        self._accounts.clear()
        self._known, self._known_bytes = {}, 0
        self._unread.clear()
        for question, folded in self._file.answered():
            asked = canonical(Asked.decode(question), self._table)
            self._known.setdefault(asked.encode(), folded)
            self._known_bytes += len(question)
            self._unread.append((asked, folded))
