"""Opening what an archive remembers about grants: it is there, it never was, or it is gone.

Every archive is made with an empty one, and its first entry says so. One that an earlier release
made gets it when it is first served: until then it has counted nothing and taken nothing back, so
an empty memory is the true one. An entry says so too. From then on a missing file is a loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import apsw

from psp.errors import ArchiveError
from psp.ledger import Ledger

from ._entries import CLOCK, EPOCH, REASSERTED, REMEMBERS, encode_entry
from ._memory import GrantMemory
from ._state_file import STATE_FILE, StateFile, Stored

if TYPE_CHECKING:
    from ._archive import Archive

_NUMBERED: Final = {CLOCK: "clock_number", REASSERTED: "reassertion_number"}
_SCANNED_AT_A_TIME: Final = 1_024


def open_memory(archive: Archive) -> GrantMemory:
    """Open the memory of an archive that is open for writing.

    Where it is gone or cannot be read, what is given refuses every grant and says what to do.

    Raises:
        ArchiveError: It could not be made, for an archive that never had one.
        LedgerError: The ledger cannot be read, or not be written.
    """
    path, archive_id = archive.directory / STATE_FILE, archive.manifest.archive_id
    epoch = archive.anchor.epoch
    try:
        if not path.exists():
            if has_memory(archive.ledger):
                return _lost(archive, "is gone")
            StateFile.create(archive.directory, archive_id, {"epoch": epoch})
        file = StateFile(path, archive_id)
        memory = GrantMemory(file, archive.ledger, epoch=epoch)
    except (apsw.Error, OSError, ValueError) as exc:
        return _lost(archive, f"cannot be read ({exc})")
    if "recorded" not in file.facts():
        if not has_memory(archive.ledger):
            archive.record(encode_entry(REMEMBERS, datetime.now(UTC), {"state": STATE_FILE}))
        with file.writing():
            file.set_fact("recorded", 1)
    return memory


def has_memory(ledger: Ledger) -> bool:
    """Say whether the ledger tells of a memory; reads all of it where that is long ago."""
    return any(fact["kind"] == REMEMBERS or "remembers" in fact for fact in _facts(ledger))


def _lost(archive: Archive, how: str) -> GrantMemory:
    """Stand in for a memory that is lost, with the epoch and the number that the ledger tells."""
    facts: dict[str, Stored] = {
        "alarm": f"what it remembers about grants, {STATE_FILE}, {how}. Restoring an old copy would"
        " bring revoked grants back: begin a new epoch instead, with `psp epoch bump`",
    }
    for fact in _facts(archive.ledger):
        if fact["kind"] in (EPOCH, REASSERTED):
            facts["epoch"] = int(fact["epoch"])
        if fact["kind"] in _NUMBERED:
            facts[_NUMBERED[fact["kind"]]] = int(fact["number"])
    archive_id = archive.manifest.archive_id

    def found_again(facts: Mapping[str, Stored]) -> StateFile:
        try:
            StateFile.create(archive.directory, archive_id, {**facts, "recorded": 1})
            return StateFile(archive.directory / STATE_FILE, archive_id)
        except (apsw.Error, OSError, ValueError) as exc:
            raise ArchiveError(
                f"{STATE_FILE} could not be made anew ({exc}). Free space, and check the directory."
            ) from exc

    return GrantMemory(
        StateFile.stand_in(archive_id, facts),
        archive.ledger,
        epoch=archive.anchor.epoch,
        found_again=found_again,
    )


def _facts(ledger: Ledger) -> Iterator[Mapping[str, Any]]:
    size = ledger.checkpoint.tree_size
    for start in range(0, size, _SCANNED_AT_A_TIME):
        for entry in ledger.entries(start, min(start + _SCANNED_AT_A_TIME, size)):
            yield json.loads(entry)
