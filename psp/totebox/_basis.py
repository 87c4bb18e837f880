"""Vectors modulo a prime in reduced form: what is spanned by the sets that were released.

The arithmetic is exact, without the growth of fractions.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

import numpy as np

from ._small_parts import Flags, Numbers, Residues, Sums
from ._stop import Stop

_PIECE_BITS: Final = 11

_ONE_BY_ONE: Final = 8
"""Vectors that are reduced without a matrix product: below, calling numpy costs more than it does.
"""


@dataclass(frozen=True, slots=True)
class Field:
    """The numbers modulo a prime, and whether anybody waits for what is computed with them."""

    prime: int
    stop: Stop


@dataclass(frozen=True, slots=True)
class Basis:
    """Vectors in reduced row echelon form: each alone is 1 at its pivot, a large atom if it can."""

    rows: Residues
    pivots: Numbers

    def joined(self, vectors: Residues, is_large: Flags, field: Field) -> Basis:
        """Bring vectors in; those in the span already change nothing."""
        prime = field.prime
        if not len(self.rows):
            return reduced(vectors, is_large, field)
        rest = _minus(vectors, vectors[:, self.pivots], self.rows, prime)
        rest = rest[rest.any(axis=1)]
        if not len(rest):
            return self
        fresh = reduced(rest, is_large, field)
        rows = _minus(self.rows, self.rows[:, fresh.pivots], fresh.rows, prime)
        return Basis(
            np.concatenate([rows, fresh.rows]), np.concatenate([self.pivots, fresh.pivots])
        )

    def spans(self, vector: Residues, field: Field) -> bool:
        """Say whether a vector can be made of these."""
        return not _minus(vector, vector[:, self.pivots], self.rows, field.prime).any()

    def preferring(self, is_large: Flags, field: Field) -> Basis:
        """Move pivots from small atoms to large ones, wherever a row has one."""
        stays = is_large[self.pivots]
        doubtful = np.flatnonzero(~stays)
        stays[doubtful] = ~self.rows[np.ix_(doubtful, is_large)].any(axis=1)
        if stays.all():
            return self
        rest = Basis(self.rows[stays], self.pivots[stays])
        return rest.joined(self.rows[~stays], is_large, field)


def reduced(vectors: Residues, is_large: Flags, field: Field) -> Basis:
    """Reduce vectors among themselves, half and half: so most of it is matrix products.

    Raises:
        Stopped: Nobody waits for it any more.
    """
    field.stop.check()
    prime = field.prime
    if len(vectors) > _ONE_BY_ONE:
        half = len(vectors) // 2
        first = reduced(vectors[:half], is_large, field)
        return first.joined(vectors[half:], is_large, field)
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
    return Basis(kept, np.array([*pivots.values()], np.int64))


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


def _product(left: Residues, right: Residues, prime: int) -> Sums:
    """Multiply in floating point, which has a fast product, and exactly.

    Mostly all entries are a few units, and whole sums fit 24 bits, or 53. Else the left side is
    taken in pieces of 11 bits: 2¹¹ × 2³⁰ × 2,896 rows, the most that the basis can have, fit 53.
    """
    sizes = [max(int(side.max()), -int(side.min())) for side in (left, right)]
    bound = sizes[0] * sizes[1] * len(right)
    if bound < 2**53:
        # A residue is less than 2³⁰: what is taken from it fits 32 bits as long as it is short.
        kind, whole = (np.float32, np.int32) if bound < 2**24 else (np.float64, np.int64)
        product: Sums = (left.astype(kind) @ right.astype(kind)).astype(whole)
        return product
    total = np.zeros((len(left), right.shape[1]), np.int64)
    wide = right.astype(np.float64)
    for shift in range(0, 31, _PIECE_BITS):
        piece = left >> shift  # The sign goes with the last piece.
        if shift + _PIECE_BITS < 31:
            piece = piece & (1 << _PIECE_BITS) - 1
        total += (piece.astype(np.float64) @ wide).astype(np.int64) % prime << shift
    return _centred(total, prime)


def _centred(numbers: Sums, prime: int) -> Sums:
    """Give residues around 0: what is a few units then looks like it."""
    rest = numbers % prime
    return np.where(rest > prime // 2, rest - prime, rest)


def secret_prime() -> int:
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
