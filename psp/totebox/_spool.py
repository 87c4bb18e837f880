"""Long columns of numbers: in memory while they are short, in a file without a name when not.

They are read and written some rows at a time, by read and write and not by a map of the file: what
is read stays the kernel's memory and not the process's, and a full disk is an error, where a map
would end the process. The file has no name, so that a crash leaves nothing behind.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from psp.errors import ArchiveError

from ._limits import SPOOL_CHUNK_ROWS, SPOOL_MEMORY_BYTES

Array: TypeAlias = "npt.NDArray[Any]"

_WHOLE: Final = (np.int8, np.int16, np.int32, np.int64)


class Readable(Protocol):
    """One number for each row, read some rows at a time."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Array: ...


def chunks(count: int, step: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut so many rows into pieces that fit a processor's cache, or into one if they are few."""
    step = step or SPOOL_CHUNK_ROWS
    for start in range(0, count, step):
        yield start, min(start + step, count)


def rising(numbers: Array) -> Array:
    """Give the different numbers, sorted. `numpy.unique` finds them by hashing first, which takes
    ten times as long."""
    ordered = np.sort(numbers)
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first]


class Given:
    """Numbers that are in memory already."""

    def __init__(self, numbers: Array) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, start: int, stop: int) -> Array:
        return self._numbers[start:stop]


class Spool:
    """Numbers in a row. Whole numbers take 1, 2, 4 or 8 bytes, as the longest of them needs."""

    def __init__(self, directory: Path, kind: npt.DTypeLike = np.int8) -> None:
        """Begin empty.

        Args:
            directory: Where the file will be, once there is one.
            kind: Floats and truths stay what they are; whole numbers grow from this.
        """
        self._directory = directory
        self._memory: Array | None = np.empty(0, kind)
        self._kind = self._memory.dtype
        self._count = 0
        self._file = -1

    def __len__(self) -> int:
        return self._count

    def append(self, numbers: Array) -> None:
        """Put some at the end.

        Raises:
            ArchiveError: The disk refused. What is here is of no use any more.
        """
        self._widen(numbers)
        numbers = np.ascontiguousarray(numbers, self._kind)
        if self._memory is not None:
            if (self._count + len(numbers)) * self._kind.itemsize <= SPOOL_MEMORY_BYTES:
                self._memory = np.concatenate([self._memory, numbers])
                self._count += len(numbers)
                return
            self._begin_file()
        self._put(self._count, numbers)
        self._count += len(numbers)

    def read(self, start: int, stop: int) -> Array:
        """Give those from `start` up to `stop`; not to be written into.

        Raises:
            ArchiveError: The disk refused.
        """
        if self._memory is not None:
            return self._memory[start:stop]
        found = np.empty(stop - start, self._kind)
        if start == stop:
            return found  # What is empty has no bytes to point to.
        left, at = found.view(np.uint8).data, start * self._kind.itemsize
        while left:
            try:
                done = os.preadv(self._file, [left], at)
            except OSError as exc:
                raise _refused(self._directory, exc) from exc
            if not done:
                raise _refused(self._directory, None)
            left, at = left[done:], at + done
        return found

    def write(self, start: int, numbers: Array) -> None:
        """Put others in the place of some.

        Raises:
            ArchiveError: The disk refused. What is here is of no use any more.
        """
        self._widen(numbers)
        if self._memory is not None:
            self._memory = self._memory.copy()  # Somebody may be reading it.
            self._memory[start : start + len(numbers)] = numbers
        else:
            self._put(start, np.ascontiguousarray(numbers, self._kind))

    def _widen(self, numbers: Array) -> None:
        if self._kind.kind != "i" or not len(numbers):
            return
        low, high = int(numbers.min()), int(numbers.max())
        limits = np.iinfo(self._kind)
        if limits.min <= low and high <= limits.max:
            return
        kind = next(
            it
            for it in _WHOLE
            if np.iinfo(it).min <= min(low, limits.min)
            and max(high, limits.max) <= np.iinfo(it).max
        )
        wider = Spool(self._directory, kind)
        for start, stop in chunks(self._count):
            wider.append(self.read(start, stop))
        if self._file >= 0:
            self._close()
        self._kind, self._memory, self._file = wider._kind, wider._memory, -1
        if wider._file >= 0:
            self._adopt(os.dup(wider._file))

    def _begin_file(self) -> None:
        assert self._memory is not None
        try:
            with tempfile.TemporaryFile(dir=self._directory, buffering=0) as made:
                self._adopt(os.dup(made.fileno()))
        except OSError as exc:
            raise _refused(self._directory, exc) from exc
        memory, self._memory = self._memory, None
        self._put(0, memory)

    def _adopt(self, file: int) -> None:
        self._file = file
        self._close = weakref.finalize(self, os.close, file)

    def _put(self, start: int, numbers: Array) -> None:
        if not len(numbers):
            return
        left, at = numbers.view(np.uint8).data, start * self._kind.itemsize
        while left:
            try:
                done = os.pwrite(self._file, left, at)
            except OSError as exc:
                raise _refused(self._directory, exc) from exc
            left, at = left[done:], at + done


def _refused(directory: Path, cause: OSError | None) -> ArchiveError:
    why = "its end came too early" if cause is None else cause.strerror
    return ArchiveError(
        f"the account of answers needs room in {directory} for the rows of a large table, and the"
        f" disk refused ({why}). Free space and ask again: nothing was answered."
    )
