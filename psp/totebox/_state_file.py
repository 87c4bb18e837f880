"""The database in which an archive remembers what is derived from nothing: `state/grants.db`.

SQLite with a write-ahead log and a sync at each commit: one sync makes a commit durable, where a
rollback journal takes three, and one that is deleted can come back after a power cut and undo what
was acknowledged. The archive's lock lets one process in, so SQLite takes its own for good and needs
no shared memory. After a kill the log stands beside the file and belongs to it.

Every page ends in a checksum (SQLite's checksum VFS): nothing else would notice a flipped bit in a
count or in a revocation, and nothing else knows what stood there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Final, TypeAlias

import apsw
import apsw.sqlite_extra

from psp.durable import sync_directory
from psp.errors import ArchiveError

STATE_FILE: Final = "state/grants.db"
_LAYOUT: Final = 1
CHECKSUM_VFS: Final = "cksmvfs"
_CHECKSUM_BYTES: Final = 8
"""At the end of each page; the VFS takes a file for one of its own by exactly this number."""

Stored: TypeAlias = "int | str | bytes"

_LAYOUT_SQL: Final = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE revoked (
    kind INTEGER NOT NULL, name BLOB NOT NULL, until_s INTEGER NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE spent (
    grant_id BLOB NOT NULL, line TEXT NOT NULL, root_id BLOB NOT NULL, holder BLOB NOT NULL,
    until_s INTEGER NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (grant_id, line)
) STRICT, WITHOUT ROWID;
"""

# Apart: the files of earlier archives get them when they are opened. They have answered before the
# first, and nobody can say what any more. The second can be read from the ledger again.
_LATER_SQL: Final = """
CREATE TABLE IF NOT EXISTS answered (
    number INTEGER PRIMARY KEY, of_table TEXT NOT NULL, question BLOB NOT NULL, folded BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS commanded (
    principal BLOB NOT NULL, key BLOB NOT NULL, made_s INTEGER NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;
"""


class StateFile:
    """The open database, for any thread: they take turns."""

    def __init__(self, path: Path, archive_id: bytes) -> None:
        """Open what is there, and read all of it once: what is damaged is found here.

        Raises:
            apsw.Error, OSError, ValueError: It is missing, damaged, in use, or another archive's.
        """
        self._lock = RLock()
        self._connection = _connect(path)
        try:
            if (found := self.execute("PRAGMA integrity_check")) != [("ok",)]:
                raise ValueError(f"it is damaged: {found[0][0]!r}")
            facts = self.facts()
            if (layout := facts.get("layout")) != _LAYOUT:
                raise ValueError(f"its layout is {layout!r}, and this release knows {_LAYOUT}")
            if facts.get("archive") != archive_id:
                raise ValueError("it is another archive's")
            self.execute(_LATER_SQL)
        except BaseException:
            self._connection.close()
            raise

    @staticmethod
    def create(archive: Path, archive_id: bytes, facts: Mapping[str, Stored]) -> None:
        """Make the database of an archive, whole or not at all, over an older one if there is one.

        Raises:
            apsw.Error, OSError: The disk refused.
        """
        path = archive / STATE_FILE
        draft = path.with_name(f".draft-{os.getpid()}.db")
        draft.unlink(missing_ok=True)
        # Never readable by others, not even while it is made; its log takes the mode from it.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = _connect(draft, is_new=True)
        _lay_out(connection, archive_id, facts)
        connection.close()  # Now all of it is in the one file, and the log is gone.
        # The log of the older one must not be taken for this one's.
        path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
        draft.rename(path)
        sync_directory(path.parent)

    @classmethod
    def stand_in(cls, archive_id: bytes, facts: Mapping[str, Stored]) -> StateFile:
        """Make one that is nowhere, for an archive that has lost its own."""
        state = cls.__new__(cls)
        state._lock = RLock()
        state._connection = apsw.Connection(":memory:")
        _lay_out(state._connection, archive_id, facts)
        return state

    def execute(self, sql: str, values: tuple[Stored, ...] = ()) -> list[tuple[Stored, ...]]:
        """Run one statement and give its rows."""
        with self._lock:  # apsw refuses a connection that two threads enter at once.
            return [tuple(row) for row in self._connection.execute(sql, values)]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: durable on leaving, or, after an exception, as if nothing had been.

        Raises:
            ArchiveError: The disk refused. Nothing was changed.
        """
        try:
            with self._lock, self._connection:
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


def _connect(path: Path, *, is_new: bool = False) -> apsw.Connection:
    if CHECKSUM_VFS not in (known := apsw.vfs_names()):
        apsw.sqlite_extra.load(apsw.Connection(":memory:"), "cksumvfs")
        # It has made itself the default of the whole process, which is not ours to choose.
        apsw.set_default_vfs(known[0])
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=CHECKSUM_VFS)
    if is_new:
        connection.reserve_bytes(reserve=_CHECKSUM_BYTES)
    elif connection.reserve_bytes() != _CHECKSUM_BYTES:
        connection.close()
        raise ValueError("its pages have no checksums")
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _lay_out(connection: apsw.Connection, archive_id: bytes, facts: Mapping[str, Stored]) -> None:
    with connection:
        connection.execute(_LAYOUT_SQL + _LATER_SQL)
        for name, value in {"layout": _LAYOUT, "archive": archive_id, **facts}.items():
            connection.execute("INSERT INTO fact VALUES (?, ?)", (name, value))
