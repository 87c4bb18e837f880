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
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ._small_parts import Flags, Numbers, Residues, Weights, find_small

Labels: TypeAlias = "npt.NDArray[np.signedinteger[Any]]"

ATOMS_MAX: Final = 32_768
"""Parts into which all answers about a table may cut it. Beyond, only what adds nothing is
answered. Atoms times basis rows is memory, 4 bytes each."""
BASIS_ENTRIES_MAX: Final = 8_388_608
"""32 MiB for a table, and up to 0.1 s to bring one more answer into the basis."""

_PIECE_BITS: Final = 11

_ONE_BY_ONE: Final = 8
"""Vectors that are reduced without a matrix product: below, calling numpy costs more than it does.
"""
_ROUNDING: Final = 1e-6

_TABLE_OF_ROWS: Final = 8
"""Codes are numbered by a table of all that there could be, while it is not longer than so many
times the rows; else by sorting."""

NOWHERE: Final = -1
"""The label of a row that is in no set of a partition."""


class Reveals(Exception):
    """The sets would give a part away that is too small.

    Attributes:
        rows: The rows of such a part.
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
        subjects: Of each row, the number of its subject; small numbers.
        weights: Of each row, its part of all rows of its subject: rows have never more weight than
            they have subjects.
        atoms: Of each row, the number of its atom.
        basis: One row for each independent set, one column for each atom; modulo `prime`, around 0.
        pivots: Of each basis row, the atom where it alone is 1.
    """

    subjects: Numbers
    weights: Weights
    atoms: Numbers
    basis: Residues
    pivots: Numbers
    prime: int

    @classmethod
    def over(cls, subjects: Numbers) -> QuerySets:
        """Begin with rows about which nothing has been released."""
        return cls(
            subjects,
            _weights(subjects),
            np.zeros(len(subjects), np.int64),
            np.zeros((0, 1), np.int32),
            np.zeros(0, np.int64),
            _secret_prime(),
        )

    def with_rows(self, subjects: Numbers) -> QuerySets:
        """Add rows, which no set released so far holds: they are one more atom."""
        count = self.basis.shape[1]
        everybody = np.concatenate([self.subjects, subjects])
        return QuerySets(
            everybody,
            _weights(everybody),
            np.concatenate([self.atoms, np.full(len(subjects), count, np.int64)]),
            np.concatenate([self.basis, np.zeros((len(self.basis), 1), np.int32)], axis=1),
            self.pivots,
            self.prime,
        )

    def with_sets(self, partitions: Sequence[Labels], floor: int) -> QuerySets:
        """Release some sets more.

        Args:
            partitions: Each tells of every row in which of several disjoint sets it is, numbered
                from 0; `NOWHERE` if in none.

        Returns:
            This very value if the sets add nothing.

        Raises:
            Reveals: Fewer than `floor` subjects would be told of.
            HistoryFull: Too many parts to keep account of.
        """
        atoms, firsts = _cut(self.atoms, partitions)
        parents = self.atoms[firsts]
        is_cut = len(firsts) != self.basis.shape[1]
        if is_cut and len(firsts) > ATOMS_MAX:
            raise HistoryFull
        weights = np.bincount(atoms, self.weights, len(firsts)).astype(np.float64)
        is_large = self._is_large(atoms, weights, floor)
        rows, pivots = self.basis, self.pivots
        if is_cut:
            rows, pivots = rows[:, parents], self._heir(parents, weights)
        before = _Basis(rows, pivots).preferring(is_large, self.prime)
        sets = np.concatenate([_indicators(partition[firsts]) for partition in partitions])
        basis = before.joined(sets, is_large, self.prime)
        if len(basis.rows) == len(before.rows):
            return self
        if basis.rows.size > BASIS_ENTRIES_MAX:
            raise HistoryFull
        self._check(before, basis, atoms, is_large, floor)
        return QuerySets(self.subjects, self.weights, atoms, basis.rows, basis.pivots, self.prime)

    def _check(
        self, before: _Basis, basis: _Basis, atoms: Numbers, is_large: Flags, floor: int
    ) -> None:
        """Look for a part that is too small. One that was told of already is no reason to refuse:
        a grant with a higher floor may come after one with a lower."""
        is_small = ~is_large[basis.pivots]
        # These rows span all that is zero on large atoms: if they are no more, it is the same.
        if is_small.sum() == (~is_large[before.pivots]).sum():
            return
        weights = np.bincount(atoms, self.weights, len(is_large)).astype(np.float64)
        rows = basis.rows[is_small]
        columns = np.flatnonzero(rows.any(axis=0))

        def is_told(chosen: Numbers, coefficients: Numbers) -> bool:
            inside = np.isin(atoms, columns[chosen])
            if len(np.unique(self.subjects[inside])) >= floor:
                return False
            vector = np.zeros((1, len(is_large)), np.int32)
            vector[0, columns[chosen]] = coefficients
            return not before.spans(vector, self.prime)

        def reduce(rows: Residues) -> Residues:
            return _reduced(rows, np.zeros(rows.shape[1], np.bool_), self.prime).rows

        found = find_small(rows[:, columns], weights[columns], floor, self.prime, is_told, reduce)
        if found is not None:
            raise Reveals(np.flatnonzero(np.isin(atoms, columns[found])))

    def _heir(self, parents: Numbers, weights: Weights) -> Numbers:
        """Of each pivot's atom, the largest part: all of them have the same column."""
        heirs = np.zeros(self.basis.shape[1], np.int64)
        order = np.argsort(weights, kind="stable")
        heirs[parents[order]] = order  # The last one written is the largest.
        return heirs[self.pivots]

    def _is_large(self, atoms: Numbers, weights: Weights, floor: int) -> Flags:
        """Say of each atom whether it has enough subjects; the weight decides for most."""
        is_large: Flags = weights > floor - 1 + _ROUNDING
        counts = np.bincount(atoms, minlength=len(weights))
        doubtful = ~is_large & (counts >= floor)
        rows = np.flatnonzero(doubtful[atoms])
        if len(rows):
            pairs = np.unique(np.stack([atoms[rows], self.subjects[rows]]), axis=1)
            is_large |= np.bincount(pairs[0], minlength=len(weights)) >= floor
        return is_large


def _weights(subjects: Numbers) -> Weights:
    weights: Weights = 1 / np.maximum(np.bincount(subjects), 1)
    return weights[subjects]


@dataclass(frozen=True, slots=True)
class _Basis:
    """Vectors in reduced row echelon form: each alone is 1 at its pivot, a large atom if it can."""

    rows: Residues
    pivots: Numbers

    def joined(self, vectors: Residues, is_large: Flags, prime: int) -> _Basis:
        """Bring vectors in; those in the span already change nothing."""
        if not len(self.rows):
            return _reduced(vectors, is_large, prime)
        rest = _minus(vectors, vectors[:, self.pivots], self.rows, prime)
        rest = rest[rest.any(axis=1)]
        if not len(rest):
            return self
        fresh = _reduced(rest, is_large, prime)
        rows = _minus(self.rows, self.rows[:, fresh.pivots], fresh.rows, prime)
        return _Basis(
            np.concatenate([rows, fresh.rows]), np.concatenate([self.pivots, fresh.pivots])
        )

    def spans(self, vector: Residues, prime: int) -> bool:
        """Say whether a vector can be made of these."""
        return not _minus(vector, vector[:, self.pivots], self.rows, prime).any()

    def preferring(self, is_large: Flags, prime: int) -> _Basis:
        """Move pivots from small atoms to large ones, wherever a row has one."""
        stays = is_large[self.pivots]
        doubtful = np.flatnonzero(~stays)
        stays[doubtful] = ~self.rows[np.ix_(doubtful, is_large)].any(axis=1)
        if stays.all():
            return self
        rest = _Basis(self.rows[stays], self.pivots[stays])
        return rest.joined(self.rows[~stays], is_large, prime)


def _reduced(vectors: Residues, is_large: Flags, prime: int) -> _Basis:
    """Reduce vectors among themselves, half and half: so most of it is matrix products."""
    if len(vectors) > _ONE_BY_ONE:
        half = len(vectors) // 2
        first = _reduced(vectors[:half], is_large, prime)
        return first.joined(vectors[half:], is_large, prime)
    rows = vectors.astype(np.int64)
    pivots: dict[int, int] = {}
    for number, row in enumerate(rows):
        nonzero = np.flatnonzero(row)
        if not len(nonzero):
            continue
        pivots[number] = pivot = int(nonzero[np.argmax(is_large[nonzero])])
        if (leading := int(row[pivot])) != 1:
            row[:] = _centred(row * pow(leading, -1, prime), prime)
        factors = rows[:, pivot].copy()
        factors[number] = 0
        touched = np.flatnonzero(factors)
        if len(touched):
            rest = rows[touched] - factors[touched, np.newaxis] * row
            rows[touched] = _centred(rest, prime) if np.abs(rest).max() > prime // 2 else rest
    kept: Residues = rows[[*pivots]].astype(np.int32)
    return _Basis(kept, np.array([*pivots.values()], np.int64))


def _minus(vectors: Residues, factors: Residues, rows: Residues, prime: int) -> Residues:
    """Give vectors − factors × rows, where a factor or row that is zero costs nothing."""
    touched, used = (np.flatnonzero(factors.any(axis=axis)) for axis in (1, 0))
    if not len(used):
        return vectors
    part, wide = factors[np.ix_(touched, used)], rows[used]
    columns = np.flatnonzero(wide.any(axis=0))
    is_sparse = 2 * len(columns) < wide.shape[1]  # To pick columns takes longer than to compute.
    if is_sparse:
        wide = wide[:, columns]
    before = vectors[np.ix_(touched, columns)] if is_sparse else vectors[touched]
    total = before - _product(part, wide, prime)
    if max(total.max(), -total.min()) > prime // 2:
        total = _centred(total, prime)
    changed = vectors.copy()
    changed[np.ix_(touched, columns) if is_sparse else touched] = total
    return changed


def _product(left: Residues, right: Residues, prime: int) -> Numbers:
    """Multiply in floating point, which has a fast product, and exactly.

    Mostly all entries are a few units, and whole sums fit 24 bits, or 53. Else the left side is
    taken in pieces of 11 bits: 2¹¹ × 2³⁰ × 2,896 rows, the most that the basis can have, fit 53.
    """
    sizes = [max(int(side.max()), -int(side.min())) for side in (left, right)]
    bound = sizes[0] * sizes[1] * len(right)
    if bound < 2**53:
        kind = np.float32 if bound < 2**24 else np.float64
        product: Numbers = (left.astype(kind) @ right.astype(kind)).astype(np.int64)
        return product
    total = np.zeros((len(left), right.shape[1]), np.int64)
    wide = right.astype(np.float64)
    for shift in range(0, 31, _PIECE_BITS):
        piece = left >> shift  # The sign goes with the last piece.
        if shift + _PIECE_BITS < 31:
            piece = piece & (1 << _PIECE_BITS) - 1
        total += (piece.astype(np.float64) @ wide).astype(np.int64) % prime << shift
    return _centred(total, prime)


def _centred(numbers: Numbers, prime: int) -> Numbers:
    """Give residues around 0: what is a few units then looks like it."""
    rest = numbers % prime
    return np.where(rest > prime // 2, rest - prime, rest)


def _indicators(labels: Labels) -> Residues:
    """Give one vector for each label: 1 where it stands."""
    names = np.unique(labels[labels != NOWHERE])
    indicators: Residues = (labels == names[:, np.newaxis]).astype(np.int32)
    return indicators


def _cut(atoms: Numbers, partitions: Sequence[Labels]) -> tuple[Numbers, Numbers]:
    """Cut atoms by partitions: the new atom of each row, and a first row of each new atom."""
    cut = atoms
    for partition in (None, *partitions):
        if partition is not None:
            cut = cut * (int(partition.max(initial=NOWHERE)) + 2) + (partition + 1)
        cut = numbered(cut)
    firsts = np.zeros(int(cut.max(initial=-1)) + 1, np.int64)
    # Of several written to one place, the last one stays.
    firsts[cut[::-1]] = np.arange(len(cut) - 1, -1, -1)
    return cut, firsts


def numbered(codes: Numbers) -> Numbers:
    """Number codes anew, without gaps and in their order."""
    if (width := int(codes.max(initial=-1)) + 1) > _TABLE_OF_ROWS * len(codes) + 1024:
        return np.unique(codes, return_inverse=True)[1].astype(np.int64)
    is_there = np.zeros(width, np.bool_)
    is_there[codes] = True
    numbers: Numbers = (np.cumsum(is_there) - 1)[codes]
    return numbers


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
