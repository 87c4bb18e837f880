"""Ending a pairing: shut out first, recorded after.

An addition is recorded before it takes effect, so that no machine is in that no entry names. A
removal takes effect before it is recorded: it must not wait for a disk, nor for a file that is
being sealed. What a crash between the two leaves is finished by the same command.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from psp.durable import sync_directory
from psp.errors import ArchiveError
from psp.ledger import Appended

from ._entries import UNPAIRED, encode_entry
from ._index import Built
from ._ingest import disk_errors
from ._pairing import check_peer_name, peer_file, read_pairing, read_pairings

if TYPE_CHECKING:
    from ._archive import Archive


def shut_out(directory: Path, name: str) -> None:
    """Take a machine's pin away, durably. Harmless when repeated.

    Raises:
        ArchiveError: No machine of that name is paired, or the disk refused.
    """
    check_peer_name(name)
    path, removed = peer_file(directory, name), _removed_file(directory, name)
    with disk_errors(f"the pairing of {name!r} was not ended", ArchiveError):
        if path.exists():
            path.rename(removed)
            sync_directory(path.parent)
    if not removed.exists():
        names = ", ".join(one.pin.name for one in read_pairings(directory)) or "none"
        raise ArchiveError(
            f"no machine {name!r} is paired with {directory}; there are {names}. Name one of them."
        )


def unpair(archive: Archive, name: str, *, operator: str, now: datetime | None = None) -> Appended:
    """End a pairing and record it. Whoever serves the archive closes the machine's connections.

    Raises:
        ArchiveError: No machine of that name is paired, the archive is read-only, or the disk
            refused.
    """
    archive.require_writing("end a pairing")
    shut_out(archive.directory, name)
    removed = _removed_file(archive.directory, name)
    was = read_pairing(removed, name)
    facts = {
        "operator": operator,
        "peer": name,
        "ceiling": was.ceiling,
        "spki": was.pin.certificate.spki_hash.hex(),
    }
    with disk_errors(f"the end of the pairing of {name!r} was not recorded", ArchiveError):
        appended = archive.ledger.append([encode_entry(UNPAIRED, now or datetime.now(UTC), facts)])
        with archive.index.writing():
            now_at = appended.checkpoint
            archive.index.mark(Built(now_at.tree_size, now_at.root_hash))
        removed.unlink()
        sync_directory(removed.parent)
    return appended


def _removed_file(directory: Path, name: str) -> Path:
    # The leading dot: a pairing is read from files without one.
    return peer_file(directory, name).with_name(f".removed-{name}.toml")
