"""The database in which an archive remembers what is derived from nothing: `state/grants.db`.

SQLite with a write-ahead log and a sync at each commit: one sync makes a commit durable, where a
rollback journal takes three, and one that is deleted can come back after a power cut and undo what
was acknowledged. The archive's lock lets one process in, so SQLite takes its own for good and needs
no shared memory. After a kill the log stands beside the file and belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import apsw

from psp.errors import ArchiveError

from ._assets import sync_directory

STATE_FILE: Final = "state/grants.db"
_LAYOUT: Final = 1

Stored: TypeAlias = "int | str | bytes"

_LAYOUT_SQL: Final = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE revoked (
    kind TEXT NOT NULL, name BLOB NOT NULL, until_s INTEGER NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE holder_epoch (holder BLOB PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE spent (
    grant_id BLOB NOT NULL, line TEXT NOT NULL, holder BLOB NOT NULL, until_s INTEGER NOT NULL,
    amount INTEGER NOT NULL, PRIMARY KEY (grant_id, line)
) STRICT, WITHOUT ROWID;
"""


class StateFile:
    """The open database. Used by one thread at a time; whoever shares it sees to that."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open what is there, and read all of it once: what is damaged is found here.

        Raises:
            apsw.Error, OSError, ValueError: It is missing, damaged, in use or of another layout.
        """
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        self._connection = apsw.Connection(str(path), flags=flags)
        try:
            self.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.execute("PRAGMA journal_mode = WAL")
            self.execute("PRAGMA synchronous = FULL")
            if create:
                path.chmod(0o600)
                with self._connection:
                    self._connection.execute(_LAYOUT_SQL)
                    self.set_fact("layout", _LAYOUT)
            if (found := self.execute("PRAGMA integrity_check")) != [("ok",)]:
                raise ValueError(f"it is damaged: {found[0][0]}")
            if (layout := self.facts().get("layout")) != _LAYOUT:
                raise ValueError(f"its layout is {layout!r}, and this release knows {_LAYOUT}")
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def create(cls, archive: Path) -> StateFile:
        """Make an empty database in an archive that has none, durably."""
        state = cls(archive / STATE_FILE, create=True)
        sync_directory((archive / STATE_FILE).parent)
        return state

    def execute(self, sql: str, values: tuple[Stored, ...] = ()) -> list[tuple[Stored, ...]]:
        """Run one statement and give its rows."""
        return [tuple(row) for row in self._connection.execute(sql, values)]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: durable on leaving, or, after an exception, as if nothing had been.

        Raises:
            ArchiveError: The disk refused. Nothing was changed.
        """
        try:
            with self._connection:
                yield
        except apsw.Error as exc:
            raise ArchiveError(
                f"what the archive remembers about grants could not be written ({exc}). Free space"
                f" and check the disk under {STATE_FILE}, then try again."
            ) from exc

    def facts(self) -> dict[str, Stored]:
        return {str(name): value for name, value in self.execute("SELECT name, value FROM fact")}

    def set_fact(self, name: str, value: Stored) -> None:
        """Inside `writing`."""
        self.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def close(self) -> None:
        self._connection.close()
