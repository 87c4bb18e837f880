"""Everything the ledger does to a disk, each step by name. All else decides; this does.

A test replaces this class by a disk that forgets what was not synced, and stops at every step.
Another records the calls themselves, which is why whatever changes a file is a call of `os` here.
"""
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH208

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from psp.durable import sync
from psp.errors import LedgerError

TEMPORARY: Final = "temporary"
"""The one name under which files are written before they get theirs: a crash leaves at most one,
and the next write removes it."""

SEALED: Final = 0o444
GROWING: Final = 0o600


class Files:
    """The files below one directory. Paths are relative to it, with `/`.

    Raises:
        LedgerError: From every method: what the system refused, and for which file.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # The journal, while this process appends; None before the first batch and after each reset.
        self._journal: int | None = None

    def read(self, path: str, *, bytes_max: int) -> bytes:
        """Return a whole file; refuse one that is longer than it can rightly be."""
        with self._told(path), (self.directory / path).open("rb") as file:
            data = file.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise LedgerError(
                f"{self.name(path)} is damaged: longer than {bytes_max:,} bytes. Restore it from a"
                " copy; nothing was changed."
            )
        return data

    def exists(self, path: str) -> bool:
        """Say whether there is such a file or directory."""
        return (self.directory / path).exists()

    def mode(self, path: str) -> int:
        """Return kind and permissions as `stat` has them; links are not followed."""
        with self._told(path):
            return (self.directory / path).lstat().st_mode

    def names(self, path: str) -> list[str]:
        """Return the names in a directory, none if it is not there."""
        try:
            return sorted(os.listdir(self.directory / path))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise LedgerError(f"{self.name(path)}: {exc.strerror or exc}.") from exc

    def make_root(self) -> None:
        """Make the ledger's own directory if it is not there, durably."""
        with self._told("."):
            parents = [self.directory, *self.directory.absolute().parents]
            missing = [path for path in parents if not path.exists()]
            for path in reversed(missing):
                with suppress(FileExistsError):  # Made by another, and perhaps not durable yet.
                    os.mkdir(path)
                sync(path.parent)

    def make_directory(self, path: str) -> None:
        """Make one directory; its parent is there."""
        with self._told(path):
            os.mkdir(self.directory / path)

    def write_temporary(self, data: bytes, *, mode: int, size: int | None = None) -> None:
        """Write the temporary file, extended with a hole up to `size`."""
        path = self.directory / TEMPORARY
        with self._told(TEMPORARY):
            # Not truncated but removed: a sealed one cannot be opened for writing.
            with suppress(FileNotFoundError):
                os.unlink(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, GROWING)
            try:
                self._write_at(descriptor, data, 0)
                if size is not None:
                    os.ftruncate(descriptor, size)
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)

    def sync_temporary(self) -> None:
        """Make the content of the temporary file durable."""
        with self._told(TEMPORARY):
            sync(self.directory / TEMPORARY)

    def rename_temporary(self, path: str) -> None:
        """Give the temporary file its name, in place of any file of that name."""
        with self._told(path):
            os.rename(self.directory / TEMPORARY, self.directory / path)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""
        with self._told(path):
            sync(self.directory / path)

    def remove(self, path: str) -> None:
        """Remove a file that may be gone already."""
        with self._told(path), suppress(FileNotFoundError):
            os.unlink(self.directory / path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        with self._told(path):
            os.rmdir(self.directory / path)

    def write_journal(self, path: str, data: bytes, *, offset: int) -> None:
        """Write into the journal, which keeps its size."""
        with self._told(path):
            if self._journal is None:
                self._journal = os.open(self.directory / path, os.O_WRONLY | os.O_CLOEXEC)
            self._write_at(self._journal, data, offset)

    def sync_journal(self, path: str) -> None:
        """Make what was written into the journal durable. This is the acknowledgement's price."""
        assert self._journal is not None, "written before it is synced"
        with self._told(path):
            os.fdatasync(self._journal)

    def close_journal(self) -> None:
        """Let go of the journal: it is about to be replaced, or we are done."""
        if self._journal is not None:
            journal, self._journal = self._journal, None
            with suppress(OSError):  # What matters in it was synced and reported before.
                os.close(journal)

    def name(self, path: str) -> str:
        """Return how a message names a file."""
        return str(self.directory / path)

    @staticmethod
    def _write_at(descriptor: int, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as exc:
            raise LedgerError(
                f"{self.name(path)} is missing. Restore it from a copy; nothing was changed."
            ) from exc
        except OSError as exc:
            raise LedgerError(f"{self.name(path)}: {exc.strerror or exc}.") from exc
