"""One more table for an archive: a schema is approved once, and the ledger says by whom.

The entry decides; the manifest follows, and then the index. `finish_table` does what a crash in
between left undone. It can only be the last entry: an archive whose manifest could not follow is
closed, so that nothing is written after it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from psp.errors import ArchiveError, IntakeRefused
from psp.ledger import Ledger

from ._assets import write_durably
from ._entries import TableEntry, decode_change
from ._index import Built
from ._ingest import disk_errors
from ._manifest import Manifest, State, Table
from ._manifest_file import write_manifest

if TYPE_CHECKING:
    from ._archive import Archive


def add_table(archive: Archive, table: Table, *, operator: str, now: datetime) -> None:
    """Add an empty table, as approved by `operator`.

    Raises:
        IntakeRefused: The archive is not active, has a table of this name, or the disk refused.
        ArchiveError: The archive was opened only to read.
    """
    archive.require_writing(f"take the table {table.name!r}")
    manifest = archive.manifest
    if manifest.state is not State.ACTIVE:
        raise IntakeRefused(
            f"the archive {manifest.name!r} is {manifest.state}; only an active one takes tables."
            " Resume it first."
        )
    if table.name.lower() in {one.name.lower() for one in manifest.tables}:
        raise IntakeRefused(
            f"the archive {manifest.name!r} has a table {table.name!r} already."
            " Choose another name."
        )
    after = replace(manifest, tables=(*manifest.tables, table))
    text = write_manifest(after).encode()
    digest = hashlib.sha256(text).digest()
    entry = TableEntry(operator=operator, time=now, table=table, manifest=digest).encode()
    with disk_errors(f"the table {table.name!r} was not added", IntakeRefused):
        appended = archive.ledger.append([entry])
    try:
        write_durably(archive.directory / "manifest.toml", text)
        archive.manifest = after
        with archive.index.writing():
            archive.index.add_table(table, after.tables)
            archive.index.mark(Built(appended.checkpoint.tree_size, appended.checkpoint.root_hash))
    except (apsw.Error, OSError) as exc:
        archive.close()
        raise ArchiveError(
            f"the table {table.name!r} is added as entry {appended.first_index}, but the archive's"
            f" files could not follow ({exc}). Free space and open it again: that repairs it."
        ) from exc


def finish_table(directory: Path, manifest: Manifest, ledger: Ledger, read_only: bool) -> Manifest:
    """Write the table of the last entry into the manifest, if a crash kept it out.

    Raises:
        ArchiveError: It has to be written and the archive was opened only to read.
    """
    size = ledger.checkpoint.tree_size
    found = decode_change(ledger.entries(size - 1, size)[0]) if size else None
    if not isinstance(found, TableEntry) or found.table.name in {
        table.name for table in manifest.tables
    }:
        return manifest
    if read_only:
        raise ArchiveError(
            f"the manifest of {directory} lacks the table {found.table.name!r} of the ledger's last"
            " entry, and was opened only to read. Serve the archive or ingest once."
        )
    after = replace(manifest, tables=(*manifest.tables, found.table))
    write_durably(directory / "manifest.toml", write_manifest(after).encode())
    return after
