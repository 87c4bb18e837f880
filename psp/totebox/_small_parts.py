"""The search for a part that is too small and yet follows from the sets that were released.

What is zero on all large atoms is spanned by a few rows in reduced form: each alone is 1 at its own
pivot. A part whose total follows is a sum of some of them that is 0 or 1 everywhere, so each row is
in or out. That is a system of 0/1 inequalities, one for each atom, and is searched as such: what
is settled already bounds each atom from both sides, and what the bounds leave no choice about is
settled with it. Rows that touch no atom in common, even over others, are searched apart.

Here is pure arithmetic, like all of the audit.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ._stop import NEVER, Stop

Residues: TypeAlias = "npt.NDArray[np.int32]"
Numbers: TypeAlias = "npt.NDArray[np.int64]"
Flags: TypeAlias = "npt.NDArray[np.bool_]"
Weights: TypeAlias = "npt.NDArray[np.float64]"
IsTold: TypeAlias = Callable[[Numbers, Numbers], bool]

Sums: TypeAlias = "npt.NDArray[np.signedinteger[Any]]"

WORK_MAX: Final = 2_000_000
"""Entries looked at for one answer, some 5 ms. What is not settled then is looked for by chance."""

FORMS: Final = 3
"""Reduced forms tried for what is not settled. A part of one atom is a row of every form; one of
nine, in ordinary tables, of four forms in five."""

_IN: Final = 1
_OUT: Final = -1
_ROUNDING: Final = 1e-6


Reduce: TypeAlias = Callable[[Residues], Residues]


class _UnsettledError(Exception):
    """The search did not come to an end within `WORK_MAX`."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is settled, and between which numbers that leaves each atom's coefficient."""

    choice: npt.NDArray[np.int8]
    low: Sums
    high: Sums


def find_small(
    rows: Residues,
    weights: Weights,
    floor: int,
    prime: int,
    is_told: IsTold,
    reduce: Reduce,
    stop: Stop = NEVER,
) -> Numbers | None:
    """Find columns that a vector of the span stands on, and that are too few subjects.

    Exact for 0/1 vectors while the search comes to an end. A row alone counts with any weights.
    Beyond, vectors of little weight are looked for as for those of a code (Prange 1962): brought
    into another reduced form, with pivots chosen by chance, a vector with one pivot in it is a row.
    One that stands on a single column is a row of every form.

    Args:
        rows: Reduced, as residues around 0.
        weights: Of each column, at most as much as it adds to the subjects of any set.
        is_told: Takes columns and their coefficients: whether it is of these that nobody may be
            told, because they are too few.
        reduce: Gives the reduced form of rows, with pivots as far to the left as it can.

    Raises:
        Stopped: Nobody waits for it any more.
    """
    found = _small_row(rows, weights, floor, is_told)
    if found is not None:
        return found
    try:
        return _small_union(rows, weights, floor, prime, is_told, stop)
    except _UnsettledError:
        pass
    chance = np.random.default_rng(secrets.randbits(128))
    for _ in range(FORMS):
        stop.check()
        # Heavy columns first: of those, few fit into a small part.
        order = np.lexsort((chance.random(len(weights)), -weights.round()))
        found = _small_row(reduce(rows[:, order]), weights[order], floor, is_told, order)
        if found is not None:
            return found
    return None


def _small_row(
    rows: Residues, weights: Weights, floor: int, is_told: IsTold, order: Numbers | None = None
) -> Numbers | None:
    touches = rows != 0
    for row in np.flatnonzero(touches @ weights < floor - 1 + _ROUNDING).tolist():
        at = np.flatnonzero(touches[row])
        found = at if order is None else order[at]
        if is_told(found, rows[row, at].astype(np.int64)):
            return found
    return None


def _small_union(
    rows: Residues, weights: Weights, floor: int, prime: int, is_told: IsTold, stop: Stop
) -> Numbers | None:
    touches = rows != 0
    work = 0
    for members in _apart(touches):
        stop.check()
        columns = np.flatnonzero(touches[members].any(axis=0))
        search = _Search(rows[np.ix_(members, columns)], weights[columns], floor, prime, work)
        for chosen in search.unions():
            found = columns[chosen]
            if is_told(found, np.ones(len(found), np.int64)):
                return found
        work = search.work
    return None


def _apart(touches: Flags) -> Iterator[Numbers]:
    """Part the rows into those that touch no column in common."""
    left = np.ones(len(touches), np.bool_)
    while left.any():
        members = np.zeros(len(touches), np.bool_)
        fresh = members.copy()
        fresh[np.argmax(left)] = True
        while fresh.any():
            members |= fresh
            columns = touches[fresh].any(axis=0)
            fresh = touches[:, columns].any(axis=1) & left & ~members
        left &= ~members
        yield np.flatnonzero(members)


def _sum(rows: Sums) -> Sums:
    """Add rows up, in their own kind of number: numpy would take a longer one."""
    total: Sums = rows.sum(axis=0, dtype=rows.dtype)
    return total


class _Search:
    """Goes through the sums of some rows that are 0/1 vectors and may be small."""

    def __init__(self, rows: Residues, weights: Weights, floor: int, prime: int, work: int) -> None:
        # Mostly entries are a few units, and all sums of them fit 32 bits.
        longest = int(np.abs(rows).max(initial=0)) * (len(rows) + 1)
        kind: type[np.signedinteger[Any]] = np.int32 if longest < 2**31 else np.int64
        self._are_plain = longest < prime - 1
        self._up: Sums = np.maximum(rows, 0).astype(kind)
        self._down: Sums = np.minimum(rows, 0).astype(kind)
        self._weights = weights
        self._most = floor - 1 + _ROUNDING
        self._prime = prime
        self.work = work

    def unions(self) -> Iterator[Flags]:
        """Give each vector's columns. Not the empty one.

        Raises:
            _UnsettledError: It was given up.
        """
        begin = np.zeros(len(self._up), np.int8)
        waiting = [_State(begin, _sum(self._down), _sum(self._up))]
        while waiting:
            state = self._settled(waiting.pop())
            if state is None:
                continue
            open_rows = np.flatnonzero(state.choice == 0)
            if len(open_rows):
                row = self._next(state, open_rows)
                waiting.append(self._with(state, row, _OUT))
                waiting.append(self._with(state, row, _IN))
            elif (state.choice == _IN).any():
                total = state.low % self._prime
                if (total <= 1).all():
                    yield total == 1

    def _next(self, state: _State, open_rows: Numbers) -> int:
        """Choose the row that settles most about what is begun, else the one with most to it."""
        begun = state.choice == _IN
        if begun.any():
            value = self._up[begun].sum(axis=0) + self._down[begun].sum(axis=0)
            wrong = (value < 0) | (value > 1)
            if wrong.any():
                column = np.flatnonzero(wrong)[0]
                touching = open_rows[
                    (self._up[open_rows, column] > 0) | (self._down[open_rows, column] < 0)
                ]
                if len(touching):
                    return int(touching[0])
        return int(open_rows[0])

    def _with(self, state: _State, row: int, what: int) -> _State:
        choice = state.choice.copy()
        choice[row] = what
        if what == _IN:
            return _State(choice, state.low + self._up[row], state.high + self._down[row])
        return _State(choice, state.low - self._down[row], state.high - self._up[row])

    def _settled(self, state: _State) -> _State | None:
        """Settle whatever has no choice left; None if nothing is possible."""
        while True:
            if not self._is_possible(state.low, state.high).all():
                return None
            rows = np.flatnonzero(state.choice == 0)
            self.work += (len(rows) + 1) * len(state.low)
            if self.work > WORK_MAX:
                raise _UnsettledError
            up, down = self._up[rows], self._down[rows]
            can_in = self._is_possible(state.low + up, state.high + down)
            can_out = self._is_possible(state.low - down, state.high - up)
            outs, ins = ~can_in, ~can_out
            if (outs & ins).any():
                return None
            if not (outs | ins).any():
                return state
            choice = state.choice.copy()
            choice[rows[outs]], choice[rows[ins]] = _OUT, _IN
            state = _State(
                choice,
                state.low + _sum(up[ins]) - _sum(down[outs]),
                state.high + _sum(down[ins]) - _sum(up[outs]),
            )

    def _is_possible(self, low: Sums, high: Sums) -> Flags:
        """Say, for bounds of every column, whether a small 0/1 vector can lie between them.

        They bound whole numbers of which only the remainder counts: where they are farther apart
        than the prime, nothing is said.
        """
        wrong: Flags = (low > 1) | (high < 0)
        certain: Flags = low == 1
        if not self._are_plain:
            is_plain = (high < self._prime) & (low > 1 - self._prime)
            wrong, certain = wrong & is_plain, certain & is_plain
        possible: Flags = ~wrong.any(axis=-1) & (certain @ self._weights < self._most)
        return possible
