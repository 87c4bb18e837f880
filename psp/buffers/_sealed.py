"""Memory files that nobody can change any more, to be passed to another process of this machine."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Iterable
from typing import Final

from psp.errors import LocalRefused

from ._account import Account

_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
"""What must hold before a byte is looked at. F_SEAL_FUTURE_WRITE is none of them: mappings that
were made before it can still be written through (memfd_create(2))."""


class SealedMap(mmap.mmap):
    """A mapping of a sealed file. A class of its own, so that its end can be noticed."""


class SealedFile:
    """Bytes in a memory file without a name, written once and then sealed.

    Attributes:
        size: How many bytes.
        descriptor: Opened for reading alone; this is what may be passed on.
    """

    def __init__(self, pieces: Iterable[bytes | memoryview], account: Account) -> None:
        """Write and seal it.

        Args:
            account: Holds its bytes until it is closed. Who is given the file counts them too.

        Raises:
            LimitExceeded: The account has not so much left; nothing is kept.
        """
        self.size, self.descriptor = 0, -1
        self._account = account
        fd = os.memfd_create("psp-sealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            for piece in pieces:
                data = memoryview(piece).cast("B")
                account.charge(len(data))
                self.size += len(data)
                _write_all(fd, data)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
            self.descriptor = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            account.release(self.size)
            raise
        finally:
            os.close(fd)

    def map(self) -> memoryview:
        """Give its bytes, for those who read them over the network."""
        return memoryview(map_sealed_untrusted(self.descriptor, self.size))

    def close(self) -> None:
        """Let it go; who was given it keeps it. More than once is once."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor != -1:
            os.close(descriptor)
            self._account.release(self.size)

    def __del__(self) -> None:
        self.close()


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def map_sealed_untrusted(fd: int, size: int) -> SealedMap:
    """Map a file that another process has passed, `size` bytes as it said.

    The seals are looked at before the size, and the size before the mapping: in any other order
    the peer could change what was looked at.

    Raises:
        LocalRefused: It could still be changed, or is not what was said.
    """
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
        raise _refused("is open for more than reading")
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        raise _refused("is no memory file") from None
    if seals & _SEALS != _SEALS:
        raise _refused("could still be changed: a seal is missing")
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size or size <= 0:
        raise _refused(f"has {status.st_size} bytes, and {size} were announced")
    return SealedMap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)


def _refused(what: str) -> LocalRefused:
    return LocalRefused(
        f"a result was handed over on this machine, and the file {what}."
        " It is read over the network; look at the other process if this goes on"
    )
