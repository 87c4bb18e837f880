"""Sealed originals: files by the hash of their content, read-only, never changed again."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from psp.durable import sync_directory
from psp.errors import ArchiveError, IntakeRefused

_COPY_BYTES: Final = 1 << 20
_DRAFT_PREFIX: Final = ".draft-"
INPUT_DIRECTORY: Final = "app-console-input"
STAGED_PREFIX: Final = ".appended-"
"""A directory there that holds what a call has brought, until it is sealed."""
_SEALED_MODE: Final = 0o444
_WRITTEN_DIRECTORIES: Final = (".", "assets", "keys", "keys/peers", "state")


@dataclass(frozen=True, slots=True)
class DraftAsset:
    """A whole, durable copy that nothing refers to yet.

    Attributes:
        sha256: Of the copied bytes: what is parsed later is what was hashed.
    """

    path: Path
    sha256: bytes
    size_bytes: int


class Assets:
    """The directory of sealed originals."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, sha256: bytes) -> Path:
        return self._directory / sha256.hex()

    def copy_in(self, source: Path) -> DraftAsset:
        """Copy a file in under a draft's name and hash it on the way.

        Raises:
            IntakeRefused: It is missing, or not a file.
            OSError: The disk is full, or the directory is not writable. No draft is left.
        """
        draft = self._directory / f"{_DRAFT_PREFIX}{os.getpid()}"
        try:
            with open_input(source) as reading, draft.open("xb") as writing:
                digest, size_bytes = _copy(reading, writing)
                writing.flush()
                os.fsync(writing.fileno())
                os.fchmod(writing.fileno(), _SEALED_MODE)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return DraftAsset(draft, digest, size_bytes)

    def seal(self, draft: DraftAsset) -> bool:
        """Give a draft its final name, durably; say whether the asset is new."""
        final = self.path(draft.sha256)
        is_new = not final.exists()
        draft.path.rename(final)
        sync_directory(self._directory)
        return is_new

    def discard(self, draft: DraftAsset) -> None:
        draft.path.unlink(missing_ok=True)

    @contextmanager
    def open_verified(self, sha256: bytes) -> Iterator[BinaryIO]:
        """Open a sealed original, after its bytes have been hashed again.

        Raises:
            ArchiveError: It is missing or changed.
        """
        path = self.path(sha256)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").digest()
                if found != sha256:
                    raise ArchiveError(
                        f"the sealed original {sha256.hex()} has changed: its bytes now hash to"
                        f" {found.hex()}. Restore {path} from a backup."
                    )
                file.seek(0)
                yield file
        except FileNotFoundError:
            raise ArchiveError(
                f"the sealed original {sha256.hex()} is missing. Restore {path} from a backup."
            ) from None


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Open a file that a person named, and only a file: a pipe would wait for ever.

    Raises:
        IntakeRefused: It is missing, not readable, or not a file.
    """
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to must not hang before we can look at it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise IntakeRefused(
            f"the file {path} cannot be read ({exc.strerror}). Check the path and its permissions."
        ) from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise IntakeRefused(f"{path} is not a file. Name one.")
    with os.fdopen(fd, "rb") as file:
        yield file


def remove_drafts(archive: Path) -> None:
    """Remove what a killed process left half written. Only the holder of the lock may.

    Before anything is written: in a container every process may have the same number, and so the
    same name for its draft.
    """
    for name in _WRITTEN_DIRECTORIES:
        for draft in (archive / name).glob(f"{_DRAFT_PREFIX}*"):
            draft.unlink(missing_ok=True)
    for staged in (archive / INPUT_DIRECTORY).glob(f"{STAGED_PREFIX}*"):
        shutil.rmtree(staged, ignore_errors=True)


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file that is there whole or not at all, over an older one if there is one."""
    draft = path.with_name(f"{_DRAFT_PREFIX}{os.getpid()}-{path.name}")
    # An audit writes without the lock for writing, and finds the draft of a killed one.
    draft.unlink(missing_ok=True)
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def _copy(reading: BinaryIO, writing: BinaryIO) -> tuple[bytes, int]:
    digest, size_bytes = hashlib.sha256(), 0
    while block := reading.read(_COPY_BYTES):
        digest.update(block)
        writing.write(block)
        size_bytes += len(block)
    return digest.digest(), size_bytes
