"""States of a directory that were looked at already."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path


class Seen:
    """Tells states apart by every name, mode and byte: of the same two, one look is enough.

    Args:
        but: Files of no consequence: a lock names the process that held it.
    """

    def __init__(self, *but: str) -> None:
        self._but = but
        self._states: set[tuple[object, frozenset[tuple[str, int, bytes]]]] = set()

    def __len__(self) -> int:
        return len(self._states)

    def is_new(self, directory: Path, beside: object = None) -> bool:
        """Say whether there was no such state yet, `beside` included; from now on there was."""
        files = frozenset(
            (str(path.relative_to(directory)), path.stat().st_mode, _contents(path))
            for path in directory.rglob("*")
            if path.name not in self._but
        )
        is_new = (beside, files) not in self._states
        self._states.add((beside, files))
        return is_new


def _contents(path: Path) -> bytes:
    return sha256(path.read_bytes()).digest() if path.is_file() else b""
