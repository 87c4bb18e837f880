"""What all answers about a table give away together: the audit of released row sets.

Whoever is told the totals of several row sets can add and subtract them. What follows from them is
their span: the row sets as vectors over the *atoms*, the finest parts that they cut (Chin and
Özsoyoğlu, "Auditing and Inference Control in Statistical Databases", 1982). An answer may leave if
afterwards no vector of the span stands on fewer than `floor` subjects alone: the total of a house
that two harmless totals differ by, or of three houses that it takes five to single out.

The basis is kept in reduced form, with pivots in *large* atoms (of `floor` subjects or more)
wherever there is a choice. Then the rows whose pivot is a small atom span exactly what is zero on
all large ones, and in a combination of them the value at a pivot *is* the coefficient. So for a sum
over whole subjects each coefficient is 0 or 1, and few combinations are left to try: mostly none.

Arithmetic is modulo a prime that nobody is told: exact, without the growth of fractions, and a
family of sets made to lose rank modulo some prime would have to guess it.

Here is pure arithmetic over row numbers: no table, no clock, no storage.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = "npt.NDArray[np.int64]"
Flags: TypeAlias = "npt.NDArray[np.bool_]"

ATOMS_MAX: Final = 32_768
"""Parts into which all answers about a table may cut it. Beyond, only what adds nothing is
answered. Atoms times basis rows is memory, 8 bytes each."""
BASIS_ENTRIES_MAX: Final = 8_388_608
"""64 MiB for a table, and 0.1 s to bring one more set into the basis."""
STEPS_MAX: Final = 20_000
"""Combinations tried for one answer, half a second. What is not settled then is not answered."""

_PIECE_BITS: Final = 11

NOWHERE: Final = -1
"""The label of a row that is in no set of a partition."""


class Reveals(Exception):
    """The sets would give a part away that is too small.

    Attributes:
        rows: The rows of such a part; empty where the search did not come to an end.
    """

    def __init__(self, rows: Numbers) -> None:
        super().__init__()
        self.rows = rows


class HistoryFull(Exception):
    """The sets would cut the table into more parts than are kept account of."""


@dataclass(frozen=True, slots=True)
class QuerySets:
    """The released sets of one table, over all who have asked. A value: `with_sets` makes the next.

    Attributes:
        subjects: Of each row, the number of its subject.
        atoms: Of each row, the number of its atom.
        basis: One row for each independent set, one column for each atom; modulo `prime`.
        pivots: Of each basis row, the atom where it alone is 1.
    """

    subjects: Numbers
    atoms: Numbers
    basis: Numbers
    pivots: Numbers
    prime: int

    @classmethod
    def over(cls, subjects: Numbers) -> QuerySets:
        """Begin with rows about which nothing has been released."""
        return cls(
            subjects,
            np.zeros(len(subjects), np.int64),
            np.zeros((0, 1), np.int64),
            np.zeros(0, np.int64),
            _secret_prime(),
        )

    def with_rows(self, subjects: Numbers) -> QuerySets:
        """Add rows, which no set released so far holds: they are one more atom."""
        count = self.basis.shape[1]
        return QuerySets(
            np.concatenate([self.subjects, subjects]),
            np.concatenate([self.atoms, np.full(len(subjects), count, np.int64)]),
            np.concatenate([self.basis, np.zeros((len(self.basis), 1), np.int64)], axis=1),
            self.pivots,
            self.prime,
        )

    def with_sets(self, partitions: Sequence[Numbers], floor: int) -> QuerySets:
        """Release some sets more.

        Args:
            partitions: Each tells of every row in which of several disjoint sets it is, numbered
                from 0; `NOWHERE` if in none.

        Raises:
            Reveals: Fewer than `floor` subjects would be told of.
            HistoryFull: Too many parts to keep account of.
        """
        atoms, firsts = _cut(self.atoms, partitions)
        parents = self.atoms[firsts]
        if len(firsts) > max(ATOMS_MAX, self.basis.shape[1]):
            raise HistoryFull
        sizes = _subjects_in(atoms, self.subjects, len(firsts))
        is_large = sizes >= floor
        basis = _Basis(self.basis[:, parents], self._heir(parents, sizes))
        basis = basis.preferring(is_large, self.prime)
        sets = np.concatenate([_indicators(partition[firsts]) for partition in partitions])
        basis = basis.joined(sets, is_large, self.prime)
        basis = basis.preferring(is_large, self.prime)
        if basis.rows.size > BASIS_ENTRIES_MAX:
            raise HistoryFull
        counter = _Counter(atoms, self.subjects, floor)
        if (found := _find_small(basis, is_large, counter, self.prime)) is not None:
            raise Reveals(np.flatnonzero(np.isin(atoms, found)))
        return QuerySets(self.subjects, atoms, basis.rows, basis.pivots, self.prime)

    def _heir(self, parents: Numbers, sizes: Numbers) -> Numbers:
        """Of each pivot's atom, the largest part: all of them have the same column."""
        heirs = np.zeros(self.basis.shape[1], np.int64)
        order = np.argsort(sizes, kind="stable")
        heirs[parents[order]] = order  # The last one written is the largest.
        return heirs[self.pivots]


class _Counter:
    """Counts the subjects of atoms, no further than the floor."""

    def __init__(self, atoms: Numbers, subjects: Numbers, floor: int) -> None:
        order = np.argsort(atoms, kind="stable")
        self._subjects = subjects[order]
        self._starts = np.searchsorted(atoms[order], np.arange(atoms.max(initial=-1) + 2))
        self._floor = floor

    def is_enough(self, chosen: Numbers) -> bool:
        """Whether these atoms together stand for `floor` subjects."""
        seen: set[int] = set()
        for atom in chosen.tolist():
            seen.update(self._subjects[self._starts[atom] : self._starts[atom + 1]].tolist())
            if len(seen) >= self._floor:
                return True
        return False


@dataclass(frozen=True, slots=True)
class _Basis:
    """Vectors in reduced row echelon form: each alone is 1 at its pivot, a large atom if it can."""

    rows: Numbers
    pivots: Numbers

    def joined(self, vectors: Numbers, is_large: Flags, prime: int) -> _Basis:
        """Bring vectors in; those in the span already change nothing."""
        if not len(self.rows):
            return _reduced(vectors, is_large, prime)
        rest = _minus(vectors, vectors[:, self.pivots], self.rows, prime)
        fresh = _reduced(rest[rest.any(axis=1)], is_large, prime)
        rows = _minus(self.rows, self.rows[:, fresh.pivots], fresh.rows, prime)
        return _Basis(
            np.concatenate([rows, fresh.rows]), np.concatenate([self.pivots, fresh.pivots])
        )

    def preferring(self, is_large: Flags, prime: int) -> _Basis:
        """Move pivots from small atoms to large ones, wherever a row has one."""
        stays = is_large[self.pivots] | ~self.rows[:, is_large].any(axis=1)
        if stays.all():
            return self
        rest = _Basis(self.rows[stays], self.pivots[stays])
        return rest.joined(self.rows[~stays], is_large, prime)


def _reduced(vectors: Numbers, is_large: Flags, prime: int) -> _Basis:
    """Reduce vectors among themselves, half and half: so nearly all of it is matrix products."""
    if len(vectors) > 1:
        half = len(vectors) // 2
        first = _reduced(vectors[:half], is_large, prime)
        return first.joined(vectors[half:], is_large, prime)
    if not vectors.any():
        return _Basis(vectors[:0], np.zeros(0, np.int64))
    nonzero = np.flatnonzero(vectors[0])
    pivot = nonzero[np.argmax(is_large[nonzero])]
    inverse = pow(int(vectors[0, pivot]), -1, prime)
    return _Basis(vectors * inverse % prime, np.array([pivot]))


def _minus(vectors: Numbers, factors: Numbers, rows: Numbers, prime: int) -> Numbers:
    """Give vectors − factors × rows. In floating point, which has a fast product, and exactly: in
    pieces of 11 bits, whose products of 42 bits add up to less than 2⁵³ for 2,048 rows."""
    touched, used = (np.flatnonzero(factors.any(axis=axis)) for axis in (1, 0))
    if not len(used):
        return vectors
    columns = np.flatnonzero(rows[used].any(axis=0))
    part = factors[np.ix_(touched, used)]
    wide = rows[np.ix_(used, columns)].astype(np.float64)
    total = vectors[np.ix_(touched, columns)]
    for shift in range(0, int(part.max()).bit_length(), _PIECE_BITS):
        piece = (part >> shift & (1 << _PIECE_BITS) - 1).astype(np.float64)
        product = (piece @ wide).astype(np.int64) % prime
        total = total - (product << shift)
    changed = vectors.copy()
    changed[np.ix_(touched, columns)] = total % prime
    return changed


def _find_small(basis: _Basis, is_large: Flags, counter: _Counter, prime: int) -> Numbers | None:
    """Find atoms that a vector of the span stands on, and that are too few subjects.

    Exact for sums over whole subjects. Where a combination with unequal weights is come across that
    stands on too few, it counts as well.

    Raises:
        Reveals: The search has not come to an end in `STEPS_MAX` steps.
    """
    rows = basis.rows[~is_large[basis.pivots]]
    columns = np.flatnonzero(rows.any(axis=0))
    rows = rows[:, columns]
    rows = rows[_worth_trying(rows != 0, columns, counter)]
    return _Search(rows, columns, counter, prime).run()


def _worth_trying(touches: Flags, columns: Numbers, counter: _Counter) -> Numbers:
    """Leave out rows that no small part can be made with.

    What only one row touches stays in every combination that it takes part in. Where that alone is
    enough subjects the row is out, and others are then alone where they were not before.
    """
    left = np.arange(len(touches))
    while len(left):
        alone = touches[left].sum(axis=0) == 1
        keep = [not counter.is_enough(columns[touches[row] & alone]) for row in left.tolist()]
        if all(keep):
            break
        left = left[np.array(keep)]
    return left


class _Search:
    """Tries sums of rows, one row after the other, as long as few enough subjects are decided."""

    def __init__(self, rows: Numbers, columns: Numbers, counter: _Counter, prime: int) -> None:
        self._rows = rows
        self._columns = columns
        self._counter = counter
        self._prime = prime
        self._steps = 0
        # After the last row that touches a column, its value stands.
        touches = rows != 0
        lasts = len(rows) - 1 - np.argmax(touches[::-1], axis=0) if len(rows) else columns * 0
        self._decided = [lasts < row for row in range(len(rows) + 1)]

    def run(self) -> Numbers | None:
        # A stack and no recursion: there may be hundreds of rows.
        waiting = [(0, np.zeros(len(self._columns), np.int64), False)]
        while waiting:
            row, total, has_any = waiting.pop()
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise Reveals(np.zeros(0, np.int64))
            decided: Numbers = self._columns[(total != 0) & self._decided[row]]
            if self._counter.is_enough(decided):
                continue
            if row < len(self._rows):
                waiting.append((row + 1, total, has_any))
                waiting.append((row + 1, (total + self._rows[row]) % self._prime, True))
            elif has_any:
                return decided
        return None


def _indicators(labels: Numbers) -> Numbers:
    """Give one vector for each label: 1 where it stands."""
    names = np.unique(labels[labels != NOWHERE])
    return (labels == names[:, np.newaxis]).astype(np.int64)


def _cut(atoms: Numbers, partitions: Sequence[Numbers]) -> tuple[Numbers, Numbers]:
    """Cut atoms by partitions: the new atom of each row, and a first row of each new atom."""
    _, firsts, cut = np.unique(atoms, return_index=True, return_inverse=True)
    for partition in partitions:
        width = int(partition.max(initial=NOWHERE)) + 2
        _, firsts, cut = np.unique(
            cut * width + partition + 1, return_index=True, return_inverse=True
        )
    return cut.astype(np.int64), firsts


def _subjects_in(atoms: Numbers, subjects: Numbers, count: int) -> Numbers:
    """Count the distinct subjects of each atom."""
    width = int(subjects.max(initial=0)) + 1
    pairs = np.unique(atoms * width + subjects)
    return np.bincount(pairs // width, minlength=count).astype(np.int64)


def _secret_prime() -> int:
    """Choose a prime between 2³⁰ and 2³¹: products of two residues fit 64 bits."""
    sieve = np.ones(2**16, np.bool_)
    sieve[:2] = False
    for number in range(2, 2**8):
        sieve[number * number :: number] = False
    divisors = np.flatnonzero(sieve)
    while True:
        candidate = 2**30 + secrets.randbelow(2**30)
        if (candidate % divisors).all():
            return candidate
