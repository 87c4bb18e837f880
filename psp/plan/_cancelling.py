"""Two sets compared by tables that cancel: what both sides have falls out, what differs is left.

An invertible Bloom lookup table (Goodrich and Mitzenmacher 2011; its use for differences: Eppstein,
Goodrich, Uyeda and Varghese, "What's the Difference?", SIGCOMM 2011). Each member of a set is a
tag, a pseudorandom number below a prime; it is added to three cells. One table minus the other
holds the difference alone, and a cell with one tag in it gives that tag away, which then leaves its
other two cells. Cells add modulo a prime, where the papers take XOR: so a tag may be there several
times.

A table of n cells gives up to about 0.7 n differences, whatever the size of the sets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from psp.errors import Invalid

TAG_BYTES: Final = 16
CELL_BYTES: Final = 28
CELLS_MIN: Final = 48
CELLS_MAX: Final = 9_216
"""Cells of a table: 252 KiB, which one RETURN of 256 KiB just takes, and some 6,000 differences."""
TIMES_MAX: Final = 64
"""How often one tag can be there more on one side than on the other, to be found."""

_HASHES: Final = 3
# 2^127 - 1 is a Mersenne prime: every count that is not zero can be divided by.
PRIME: Final = 2**127 - 1
_CHECK: Final = 2**64
_CELL: Final = struct.Struct(">I16sQ")


@dataclass(slots=True)
class CancellingTable:
    """A table of tags.

    Attributes:
        cells: Their number: a multiple of three.
        tags: How many were added.
    """

    cells: int
    tags: int = 0
    _sums: list[int] = field(init=False)

    def __post_init__(self) -> None:
        if not CELLS_MIN <= self.cells <= CELLS_MAX or self.cells % _HASHES:
            raise Invalid(
                f"a table of {self.cells} cells; it has {CELLS_MIN} to {CELLS_MAX}, a multiple of"
                f" {_HASHES}."
            )
        self._sums = [0] * self.cells

    def add(self, digest: bytes) -> None:
        """Add a tag, made of the first 16 bytes of a pseudorandom function's value."""
        tag = int.from_bytes(digest[:TAG_BYTES], "big") % PRIME
        # Tags, checks from bit 192 and the count from bit 320 in one addition: each has room for
        # more members than there will ever be, and is taken modulo at the end.
        packed = (1 << 320) | (_check_of(tag) << 192) | tag
        third, sums = self.cells // _HASHES, self._sums
        sums[tag % third] += packed
        sums[third + (tag >> 40) % third] += packed
        sums[2 * third + (tag >> 80) % third] += packed
        self.tags += 1

    def to_bytes(self) -> bytes:
        """Give the cells: count, sum of tags, sum of checks; 28 bytes each."""
        return b"".join(_CELL.pack(c, s.to_bytes(16, "big"), k) for c, s, k in self._cells())

    def _cells(self) -> Iterator[tuple[int, int, int]]:
        for packed in self._sums:
            yield packed >> 320, packed % (1 << 192) % PRIME, (packed >> 192) % (1 << 128) % _CHECK


@dataclass(frozen=True, slots=True)
class Difference:
    """What is on one side only, by tag; a tag stands as often as it is there more."""

    left: tuple[bytes, ...]
    right: tuple[bytes, ...]


def difference_untrusted(left: bytes, right: bytes) -> Difference | None:
    """Take one table from the other; None if the difference is too large for them.

    Raises:
        Invalid: They are no two tables of one size.
    """
    if len(left) != len(right) or len(left) % CELL_BYTES:
        raise Invalid("two tables of different sizes, or none at all, have no difference.")
    cells = [
        [c - d, (int.from_bytes(s, "big") - int.from_bytes(t, "big")) % PRIME, (k - m) % _CHECK]
        for (c, s, k), (d, t, m) in zip(
            _CELL.iter_unpack(left), _CELL.iter_unpack(right), strict=True
        )
    ]
    found = _peel(cells)
    if found is None:
        return None
    sides: tuple[list[bytes], list[bytes]] = ([], [])
    for tag, times in found:
        sides[times < 0].extend([tag.to_bytes(TAG_BYTES, "big")] * abs(times))
    return Difference(tuple(sides[0]), tuple(sides[1]))


def tag_of(digest: bytes) -> bytes:
    """The form in which a difference names the tag of a digest."""
    tag = int.from_bytes(digest[:TAG_BYTES], "big") % PRIME
    return tag.to_bytes(TAG_BYTES, "big")


def _peel(cells: list[list[int]]) -> list[tuple[int, int]] | None:
    found: list[tuple[int, int]] = []
    third = len(cells) // _HASHES
    pending = list(range(len(cells)))
    while pending:
        at = pending.pop()
        times, total, checks = cells[at]
        if not 0 < abs(times) <= TIMES_MAX:
            continue
        tag = total * pow(times, -1, PRIME) % PRIME
        if times * _check_of(tag) % _CHECK != checks or at not in _places(tag, third):
            continue
        found.append((tag, times))
        if len(found) > len(cells):
            return None  # A table that was made to go round in circles.
        for place in _places(tag, third):
            cell = cells[place]
            cell[0] -= times
            cell[1] = (cell[1] - times * tag) % PRIME
            cell[2] = (cell[2] - times * _check_of(tag)) % _CHECK
            pending.append(place)
    return None if any(any(cell) for cell in cells) else found


def _places(tag: int, third: int) -> tuple[int, int, int]:
    return tag % third, third + (tag >> 40) % third, 2 * third + (tag >> 80) % third


def _check_of(tag: int) -> int:
    # Not linear: or the check of two tags' sum would be the sum of their checks, always.
    return tag * tag % PRIME % _CHECK
