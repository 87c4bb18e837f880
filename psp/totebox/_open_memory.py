"""Opening what an archive remembers about grants: it is there, it never was, or it is gone.

Every archive is made with an empty one, and its first entry says so. One that an earlier release
made gets it when it is first served: until then it has counted nothing and taken nothing back, so
an empty memory is the true one. An entry says so too. From then on a missing file is a loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import apsw

from psp.errors import ArchiveError, CapabilityError
from psp.ledger import Ledger

from ._entries import REMEMBERS, encode_entry
from ._limits import REVOCATIONS_MAX
from ._memory import GrantMemory, owed_in
from ._owner import install_anchor, record_owed
from ._said import OWNERS_KINDS, facts_of, said_in
from ._state_file import STATE_FILE, StateFile, Stored

if TYPE_CHECKING:
    from ._archive import Archive


def open_memory(archive: Archive) -> GrantMemory:
    """Open the memory of an archive that is open for writing.

    Where it is gone or cannot be read, what is given refuses every grant and says what to do.

    Raises:
        ArchiveError: It could not be made, for an archive that never had one.
        LedgerError: The ledger cannot be read, or not be written.
    """
    path, archive_id = archive.directory / STATE_FILE, archive.manifest.archive_id
    try:
        if not path.exists():
            if has_memory(archive.ledger):
                return _lost(archive, "is gone")
            StateFile.create(archive.directory, archive_id, {"epoch": archive.anchor.epoch})
        file = StateFile(path, archive_id)
        if (place := unknown_word(archive.ledger, file)) is not None:
            file.close()
            return _lost(archive, f"is an old copy: entry {place} of the ledger is not in it")
        newest = file.facts().get("anchor_statement", b"")
        if isinstance(newest, bytes) and newest not in (b"", archive.anchor_statement):
            # A crash came before it was in its own file, or somebody has put the old one back.
            install_anchor(archive, newest)
        memory = GrantMemory(file, archive.ledger, anchor=archive.anchor)
    except (apsw.Error, OSError, ValueError, CapabilityError) as exc:
        return _lost(archive, f"cannot be read ({exc})")
    if "recorded" not in file.facts():
        if not has_memory(archive.ledger):
            archive.record(encode_entry(REMEMBERS, datetime.now(UTC), {"state": STATE_FILE}))
        with file.writing():
            file.set_fact("recorded", 1)
    record_owed(archive, memory)
    return memory


def has_memory(ledger: Ledger) -> bool:
    """Say whether the ledger tells of a memory; reads all of it where that is long ago."""
    return any(fact["kind"] == REMEMBERS or "remembers" in fact for _, fact in facts_of(ledger))


def unknown_word(ledger: Ledger, file: StateFile) -> int | None:
    """Give the place of an owner's word in the ledger that a memory has never heard.

    Entries from the size on that it remembers: few, since it is remembered at each save.
    """
    facts = file.facts()
    owed = {json.loads(it)["statement"] for it in owed_in(facts)}
    for place, fact in facts_of(ledger, int(facts.get("ledger_size", 0))):
        if fact["kind"] in OWNERS_KINDS and fact["statement"] not in owed:
            return place
    return None


def _lost(archive: Archive, how: str) -> GrantMemory:
    """Stand in for a memory that is lost, with the epoch and the number that the ledger tells."""
    facts: dict[str, Stored] = {
        "alarm": f"what it remembers about grants, {STATE_FILE}, {how}. Restoring an old copy would"
        " bring revoked grants back: begin a new epoch instead, with `psp epoch bump`",
    }
    said = said_in(archive.ledger)
    facts.update(
        epoch=said.epoch,
        clock_number=said.clock_number,
        reassertion_number=said.reassertion_number,
    )
    archive_id = archive.manifest.archive_id

    def found_again(facts: Mapping[str, Stored]) -> StateFile:
        try:
            StateFile.create(archive.directory, archive_id, {**facts, "recorded": 1})
            file = StateFile(archive.directory / STATE_FILE, archive_id)
            with file.writing():
                for kind, name, until_s in said.newest_revocations(REVOCATIONS_MAX):
                    file.execute("INSERT INTO revoked VALUES (?, ?, ?)", (int(kind), name, until_s))
            return file
        except (apsw.Error, OSError, ValueError) as exc:
            raise ArchiveError(
                f"{STATE_FILE} could not be made anew ({exc}). Free space, and check the directory."
            ) from exc

    return GrantMemory(
        StateFile.stand_in(archive_id, facts),
        archive.ledger,
        anchor=archive.anchor,
        found_again=found_again,
    )
