"""A column of so many different texts that they are kept as they are, one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from psp.capability import OneOf, RowDomain, StartsWith

from ._spool import Array, Spool
from ._storage import SQLValue

Flags: TypeAlias = "npt.NDArray[np.bool_]"

_HASHES: Final = 1 << 16
_PIECE_BYTES: Final = 4 << 20
"""Texts read at a time; one text is at most 400 KB."""


class LongTexts:
    """The texts, where each ends, and of each a short hash by which most others are ruled out."""

    def __init__(self, directory: Path) -> None:
        self._bytes = Spool(directory, np.uint8)
        self._ends = Spool(directory)
        self._hashes = Spool(directory)  # Around 0, to fit two bytes; null has its own flag.
        self._present = Spool(directory, np.bool_)

    def append(self, texts: Sequence[str | None]) -> None:
        encoded = [b"" if it is None else it.encode() for it in texts]
        ends = list(accumulate(map(len, encoded), initial=len(self._bytes)))[1:]
        self._bytes.append(np.frombuffer(b"".join(encoded), np.uint8))
        self._ends.append(np.array(ends, np.int64))
        self._hashes.append(np.array([_hash_of(it) for it in texts], np.int64) - _HASHES // 2)
        self._present.append(np.array([it is not None for it in texts], np.bool_))

    def present(self, start: int, stop: int) -> Flags:
        return self._present.read(start, stop)

    def mixed(self, start: int, stop: int) -> Array:
        return self._hashes.read(start, stop).astype(np.int64)

    def test(self, domain: RowDomain) -> Callable[[int, int], Flags]:
        match domain:
            case OneOf(_, values):
                texts = [it for it in values if isinstance(it, str)]
                return lambda start, stop: self._among(texts, start, stop)
            case StartsWith(prefix):
                return lambda start, stop: self._beginning(prefix.encode(), start, stop)
        return lambda start, stop: np.zeros(stop - start, np.bool_)

    def told_apart(self, start: int, stop: int, inside: Flags) -> tuple[list[SQLValue], Array]:
        known: dict[SQLValue, int] = {}
        codes = [known.setdefault(it, len(known)) for it in self.texts(start, stop, inside)]
        return list(known), np.array(codes, np.int64)

    def texts(self, start: int, stop: int, inside: Flags) -> Iterator[str | None]:
        """Give the texts of some rows."""
        present = self._present.read(start, stop)
        for first, begins, ends, data in self._pieces(start, stop):
            raw = data.tobytes()
            for row in np.flatnonzero(inside[first : first + len(ends)]).tolist():
                is_null = not present[first + row]
                yield None if is_null else raw[begins[row] : ends[row]].decode()

    def _among(self, texts: Sequence[str], start: int, stop: int) -> Flags:
        hashes = np.array([_hash_of(it) for it in texts], np.int64) - _HASHES // 2
        found: Flags = np.isin(self._hashes.read(start, stop), hashes)
        found &= self._present.read(start, stop)
        wanted = set(texts)
        if found.any():
            found[found] = [it in wanted for it in self.texts(start, stop, found.copy())]
        return found

    def _beginning(self, prefix: bytes, start: int, stop: int) -> Flags:
        found = self._present.read(start, stop).copy()
        for first, begins, ends, data in self._pieces(start, stop):
            here = found[first : first + len(ends)]
            here &= ends - begins >= len(prefix)
            for at, byte in enumerate(prefix):
                rows = np.flatnonzero(here)
                here[rows] = data[begins[rows] + at] == byte
        return found

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, Array, Array, Array]]:
        """Give the texts some at a time: the first one's place, where each begins and ends in the
        bytes, and the bytes."""
        if start == stop:
            return
        ends = self._ends.read(start, stop).astype(np.int64)
        origin = int(self._ends.read(start - 1, start)[0]) if start else 0
        begins = np.concatenate([[origin], ends[:-1]])
        first = 0
        while first < len(ends):
            base = int(begins[first])
            last = int(np.searchsorted(ends, base + _PIECE_BYTES, "right"))
            last = max(last, first + 1)
            data = self._bytes.read(base, int(ends[last - 1]))
            yield first, begins[first:last] - base, ends[first:last] - base, data
            first = last


def _hash_of(text: str | None) -> int:
    # Python's own is keyed anew in each process: nobody can make texts that share one.
    return hash(text) % _HASHES
