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

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ._atoms import NOWHERE as NOWHERE
from ._atoms import Atoms, GivenLabels, Labels, Partition, cut
from ._atoms import HistoryFull as HistoryFull
from ._basis import Basis, Field, reduced, secret_prime
from ._small_parts import Flags, Numbers, Residues, find_small
from ._spool import Given, Readable, Spool, chunks
from ._stop import NEVER, Stop
from ._subjects import Subjects

ATOMS_MAX: Final = 32_768
"""Parts into which all answers about a table may cut it. Beyond, only what adds nothing is
answered. Atoms times basis rows is memory, 4 bytes each."""
BASIS_ENTRIES_MAX: Final = 8_388_608
"""32 MiB for a table, and up to 0.1 s to bring one more answer into the basis."""


class Reveals(Exception):
    """The sets would give a part away that is too small."""

    def __init__(self, atoms: Readable, inside: Flags) -> None:
        """Take of each row its atom, and of each atom whether it is of the part."""
        super().__init__()
        self._atoms = atoms
        self._inside = inside

    @property
    def rows(self) -> Numbers:
        """The rows of the part."""
        found = [
            start + np.flatnonzero(self._inside[self._atoms.read(start, stop)])
            for start, stop in chunks(len(self._atoms))
        ]
        return np.concatenate(found)

    def touched(self, codes: Readable) -> set[int]:
        """Give the numbers that some of the part's rows have, `NOWHERE` left out."""
        found: set[int] = set()
        for start, stop in chunks(len(self._atoms)):
            inside = self._inside[self._atoms.read(start, stop)]
            if inside.any():
                found.update(np.unique(codes.read(start, stop)[inside]).tolist())
        return found - {NOWHERE}


@dataclass(frozen=True, slots=True)
class QuerySets:
    """The released sets of one table, over all who have asked. A value: `with_sets` makes the next.

    Attributes:
        subjects: Of each row, the number of its subject; small numbers.
        basis: One row for each independent set, one column for each atom; modulo `prime`, around 0.
        pivots: Of each basis row, the atom where it alone is 1.
        directory: Where what is too long for memory goes.
    """

    subjects: Subjects
    atoms: Atoms
    basis: Residues
    pivots: Numbers
    prime: int
    directory: Path

    @classmethod
    def over(cls, subjects: Subjects | Numbers, directory: Path | None = None) -> QuerySets:
        """Begin with rows about which nothing has been released."""
        who = subjects if isinstance(subjects, Subjects) else Subjects(Given(subjects))
        where = directory or Path(tempfile.gettempdir())
        everybody = Spool(where)
        for start, stop in chunks(len(who)):
            everybody.append(np.zeros(stop - start, np.int8))
        return cls(
            who,
            Atoms.sized(everybody, who, 1),
            np.zeros((0, 1), np.int32),
            np.zeros(0, np.int64),
            secret_prime(),
            where,
        )

    def with_rows(self, subjects: Subjects | Numbers) -> QuerySets:
        """Add rows, which no set released so far holds: they are one more atom.

        Args:
            subjects: Of all rows, first of those that are known, and then of the new ones.
        """
        who = subjects if isinstance(subjects, Subjects) else Subjects(Given(subjects))
        known, count = len(self.atoms.numbers), self.basis.shape[1]
        numbers = Spool(self.directory)
        for start, stop in chunks(known):
            numbers.append(self.atoms.numbers.read(start, stop))
        for start, stop in chunks(len(who) - known):
            numbers.append(np.full(stop - start, count))
        return QuerySets(
            who,
            Atoms.sized(numbers, who, count + 1),
            np.concatenate([self.basis, np.zeros((len(self.basis), 1), np.int32)], axis=1),
            self.pivots,
            self.prime,
            self.directory,
        )

    def with_sets(
        self, partitions: Sequence[Partition | Labels], floor: int, stop: Stop = NEVER
    ) -> QuerySets:
        """Release some sets more.

        Args:
            partitions: Each tells of every row in which of several disjoint sets it is, numbered
                from 0; `NOWHERE` if in none.

        Returns:
            This very value if the sets add nothing.

        Raises:
            Reveals: Fewer than `floor` subjects would be told of.
            HistoryFull: Too many parts to keep account of.
            Stopped: Nobody waits for the answer any more.
        """
        field = Field(self.prime, stop)
        each = [GivenLabels(it) if isinstance(it, np.ndarray) else it for it in partitions]
        made = cut(self.atoms, each, self.directory, ATOMS_MAX, stop)
        atoms, rows, pivots = self.atoms, self.basis, self.pivots
        if len(made.parents) != rows.shape[1]:
            atoms = Atoms.sized(made.numbers, self.subjects, len(made.parents))
            rows, pivots = rows[:, made.parents], self._heir(made.parents, atoms)
        is_large = atoms.are_large(self.subjects, floor, stop)
        before = Basis(rows, pivots).preferring(is_large, field)
        sets = np.concatenate([_indicators(labels) for labels in made.labels])
        basis = before.joined(sets, is_large, field)
        if len(basis.rows) == len(before.rows):
            return self
        if basis.rows.size > BASIS_ENTRIES_MAX:
            raise HistoryFull
        _Check(self.subjects, atoms, is_large, field).look(before, basis, floor)
        return QuerySets(self.subjects, atoms, basis.rows, basis.pivots, self.prime, self.directory)

    def _heir(self, parents: Numbers, atoms: Atoms) -> Numbers:
        """Of each pivot's atom, the largest part: all of them have the same column."""
        heirs = np.zeros(self.basis.shape[1], np.int64)
        order = np.argsort(atoms.weights, kind="stable")
        heirs[parents[order]] = order  # The last one written is the largest.
        return heirs[self.pivots]


@dataclass(frozen=True, slots=True)
class _Check:
    """Looks for a part that is too small. One that was told of already is no reason to refuse: a
    grant with a higher floor may come after one with a lower."""

    subjects: Subjects
    atoms: Atoms
    is_large: Flags
    field: Field

    def look(self, before: Basis, basis: Basis, floor: int) -> None:
        """Raise `Reveals` for a part that is told of now, and was not before."""
        is_large, atoms = self.is_large, self.atoms
        is_small = ~is_large[basis.pivots]
        # These rows span all that is zero on large atoms: if they are no more, it is the same.
        if is_small.sum() == (~is_large[before.pivots]).sum():
            return
        rows = basis.rows[is_small]
        columns = np.flatnonzero(rows.any(axis=0))

        def is_told(chosen: Numbers, coefficients: Numbers) -> bool:
            self.field.stop.check()
            if not atoms.have_fewer(columns[chosen], self.subjects, floor):
                return False
            vector = np.zeros((1, len(is_large)), np.int32)
            vector[0, columns[chosen]] = coefficients
            return not before.spans(vector, self.field)

        def in_form(rows: Residues) -> Residues:
            return reduced(rows, np.zeros(rows.shape[1], np.bool_), self.field).rows

        field = self.field
        found = find_small(
            rows[:, columns],
            atoms.weights[columns],
            floor,
            field.prime,
            is_told,
            in_form,
            field.stop,
        )
        if found is not None:
            inside = np.zeros(len(is_large), np.bool_)
            inside[columns[found]] = True
            raise Reveals(atoms.numbers, inside)


def _indicators(labels: Numbers) -> Residues:
    """Give one vector for each label: 1 where it stands."""
    names = np.unique(labels[labels != NOWHERE])
    indicators: Residues = (labels == names[:, np.newaxis]).astype(np.int32)
    return indicators
