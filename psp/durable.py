"""What is still there after a crash of the machine: only what was synced, and whose name was."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path, *, kind: int = 0) -> None:
    """Make the content of a file durable, or the names in a directory.

    Args:
        kind: `os.O_DIRECTORY` if it must be one.

    Raises:
        OSError: It is not there, or the disk has failed; what was written may be lost.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | kind)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make durable which files were made, renamed or removed in a directory.

    Syncing a file does not do that: fsync(2), "Description".

    Raises:
        OSError: It is no directory, or the disk has failed.
    """
    sync(directory, kind=os.O_DIRECTORY)
