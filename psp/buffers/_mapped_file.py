"""A file of a disk, mapped: its pages leave from where the kernel has them."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
from pathlib import Path
from typing import Final

_POPULATE_READ: Final = 22
"""MADV_POPULATE_READ of madvise(2), since Linux 5.14; Python has no name for it before 3.12."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


class MappedFile:
    """A file that nobody changes, as memory. It is unmapped when the last view of it has gone."""

    def __init__(self, path: Path, size: int) -> None:
        """Map it.

        Args:
            size: How long it must be, one byte at least.

        Raises:
            OSError: It is not there, no file, or not as long.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                raise OSError(errno.EIO, "it is no file, or not as long as it was")
            # Private: what is wanted is its address, which Python gives for writable memory only.
            # A page that is never written is the kernel's own, without a copy.
            self._map = mmap.mmap(fd, size, access=mmap.ACCESS_COPY)
            self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        finally:
            os.close(fd)

    def load(self, start: int, stop: int) -> None:
        """Wait in this thread until a range is in memory, and let other threads run meanwhile.

        A page that a disk cannot give kills whoever touches it first; this one is told instead.

        Raises:
            OSError: The disk cannot give it.
        """
        first = start - start % mmap.PAGESIZE
        size = stop - first
        if _libc.madvise(
            ctypes.c_void_p(self._address + first), ctypes.c_size_t(size), _POPULATE_READ
        ):
            failure = ctypes.get_errno()
            if failure != errno.EINVAL:  # A kernel that does not know it: then touching loads.
                raise OSError(failure, os.strerror(failure))

    def view(self, start: int, stop: int) -> memoryview:
        """Give a range, read-only."""
        return memoryview(self._map)[start:stop].toreadonly()
