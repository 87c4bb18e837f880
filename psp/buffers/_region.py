"""A mapped file without a name: in memory, or on a chosen disk."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from pathlib import Path
from typing import Final

from psp.errors import LimitExceeded

from ._limits import GRAIN_BYTES, SIZES_PER_DOUBLING

_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
"""How a file system says that it has no files without a name (open(2), O_TMPFILE)."""


def region_size(size: int) -> int:
    """Give the size of the mapping for so many bytes: the next of few sizes."""
    if size <= GRAIN_BYTES:
        return GRAIN_BYTES
    step = max((1 << ((size - 1).bit_length() - 1)) // SIZES_PER_DOUBLING, GRAIN_BYTES)
    return -(-size // step) * step


class Region:
    """One mapping, shared with nobody. It goes when the last view of it does.

    Nothing of it has a name, so nothing is left behind by a process that is killed.

    Attributes:
        size: Its length, a size of `region_size`.
        map: The mapping, writable.
        is_memory: Whether it lies in memory, else on a disk.
    """

    __slots__ = ("is_memory", "map", "size")

    def __init__(self, size: int, spool: Path | None = None) -> None:
        """Make one.

        Args:
            spool: The directory of the disk where it lies; in memory if not given.

        Raises:
            LimitExceeded: The disk has no room for it.
            OSError: The machine has no file descriptors or addresses left.
        """
        self.size = size
        self.is_memory = spool is None
        fd = os.memfd_create("psp-result", os.MFD_CLOEXEC) if spool is None else _nameless(spool)
        try:
            if spool is None:
                os.ftruncate(fd, size)  # Without pages: they come as they are touched.
            else:
                _reserve(fd, size, spool)
            self.map = mmap.mmap(fd, size)
        finally:
            os.close(fd)  # The mapping has its own.


def _reserve(fd: int, size: int, spool: Path) -> None:
    """Take the room on the disk now: writing into a mapping of a full disk kills the process."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise LimitExceeded(
            f"a result of {size} bytes was to lie in {spool}, and there is no room for it."
            " Free some, choose another disk, or ask for less"
        ) from exc


def _nameless(directory: Path) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno not in _NO_TMPFILE:
            raise
    fd, name = tempfile.mkstemp(prefix="psp-result-", dir=directory)
    os.unlink(name)  # noqa: PTH108  # At once: between these two lines alone it has a name.
    return fd
