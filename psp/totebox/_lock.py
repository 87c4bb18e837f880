"""One process writes an archive at a time, and whoever is turned away learns who that is."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from psp.errors import ArchiveError, ArchiveInUse

LOCK_FILE: Final = "lock"
_NOTE_BYTES_MAX: Final = 200


class DirectoryLock:
    """Held until closed, or until the process ends in whatever way: the kernel sees to it.

    A lock on an open file, not the file's presence: a killed process leaves none behind.
    """

    def __init__(self, directory: Path, *, shared: bool, doing: str) -> None:
        """Take the lock at once or not at all.

        Raises:
            ArchiveInUse: Another process holds it.
            ArchiveError: There is no archive here, or it cannot be locked.
        """
        path = directory / LOCK_FILE
        try:
            # A reader must manage in a directory that it cannot write.
            self._fd = os.open(path, (os.O_RDONLY if shared else os.O_RDWR) | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ArchiveError(
                f"{directory} is not an archive: it has no file {LOCK_FILE!r}. Check the path, or"
                " make one with `psp estate new`."
            ) from None
        except OSError as exc:
            raise ArchiveError(
                f"the archive {directory} cannot be locked for writing ({exc.strerror})."
                " Make the directory writable for this user."
            ) from exc
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, _NOTE_BYTES_MAX).decode("utf-8", "replace")
            os.close(self._fd)
            raise ArchiveInUse(
                f"the archive {directory} is in use by {ascii(holder.strip())[1:-1] or 'a reader'}."
                " Stop that process first, then try again."
            ) from None
        self._shared = shared
        if not shared:
            self._say(doing)

    def _say(self, doing: str) -> None:
        """Note what the holder does, for whoever is turned away."""
        note = f"process {os.getpid()}, {doing}".encode()[:_NOTE_BYTES_MAX]
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, note, 0)

    def close(self) -> None:
        if self._fd >= 0:
            if not self._shared:
                os.ftruncate(self._fd, 0)  # Or a later reader would be taken for this process.
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
