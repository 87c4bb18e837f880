"""What an archive's owner says to it: taken back, next epoch, wrong clock, I have looked, new keys.

Each is a signed statement (capabilities.md, "Owners"). The memory is changed first, and durably,
the entry follows: what takes away must bite even if the ledger is busy, or the disk fails in
between. The memory keeps the entry until then, so a crash loses none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from psp.capability import (
    verify_anchor_untrusted,
    verify_clock_untrusted,
    verify_epoch_untrusted,
    verify_next_anchor_untrusted,
    verify_reassertion_untrusted,
    verify_revocation_untrusted,
)
from psp.errors import ArchiveError

from ._assets import write_durably
from ._entries import ANCHORED, CLOCK, EPOCH, REASSERTED, REVOKED, encode_entry
from ._limits import STATEMENT_IN_ENTRY_BYTES_MAX

if TYPE_CHECKING:
    from ._archive import Archive
    from ._memory import GrantMemory

EPOCH_FILE: Final = "state/epoch"

_Facts: TypeAlias = Mapping[str, object]
_Entry: TypeAlias = Callable[[_Facts], bytes]


def hear_untrusted(archive: Archive, kind: str, statement: bytes, *, now: datetime) -> int:
    """Do what the owner has signed, and return the ledger entry that tells of it.

    Args:
        kind: What it is: `revoked`, `epoch`, `clock`, `reasserted` or `anchored`.

    Raises:
        CapabilityError: The owner has not signed it, or it is not the next one.
        ArchiveError: There is no such kind, or the disk refused.
        LedgerError: It is done, and will be put on record when the archive is next opened.
    """
    heed_untrusted(archive, kind, statement, now=now)
    return record_owed(archive, archive.memory, statement)


def heed_untrusted(archive: Archive, kind: str, statement: bytes, *, now: datetime) -> None:
    """Do what the owner has signed; the entry is owed (`record_owed`).

    Raises:
        CapabilityError, ArchiveError: As for `hear_untrusted`; nothing was done.
    """
    if (heed := _KINDS.get(kind)) is None:
        raise ArchiveError(f"an owner says {', '.join(_KINDS)}, and not {kind[:40]!r}.")
    heed(archive, statement, lambda facts: _entry(kind, now, facts, statement))
    if kind == ANCHORED:
        install_anchor(archive, statement)
    # For whoever issues on this machine; whatever it says, the memory decides.
    epoch = f"{archive.memory.epoch}\n".encode()
    write_durably(archive.directory / EPOCH_FILE, epoch)


def record_owed(archive: Archive, memory: GrantMemory, statement: bytes | None = None) -> int:
    """Put on record what was done and is not yet, and return the place of the last; -1 if nothing.

    A crash may have come between an entry and the note that it is there, so none is made twice.

    Args:
        statement: Which of them; all by default.

    Raises:
        LedgerError, ArchiveError: The disk refused. It is still owed.
    """
    place = -1
    for entry in memory.owed():
        if statement is not None and _statement_of(entry) != _as_recorded(statement):
            continue
        known = memory.known.tree_size
        since = list(archive.ledger.entries(known, archive.ledger.checkpoint.tree_size))
        place = known + since.index(entry) if entry in since else archive.record(entry)
        memory.settle_entry(entry)
    return place


def is_owed(memory: GrantMemory, statement: bytes) -> bool:
    """Say whether a statement was done, and is not on record yet."""
    return _as_recorded(statement) in map(_statement_of, memory.owed())


def epoch_of(directory: Path) -> int | None:
    """Say at which epoch an archive on this machine is; None if its owner has never begun one."""
    try:
        return int((directory / EPOCH_FILE).read_text("ascii"))
    except (OSError, ValueError):
        return None


def _entry(kind: str, now: datetime, facts: _Facts, statement: bytes) -> bytes:
    return encode_entry(kind, now, {**facts, "statement": _as_recorded(statement)})


def _as_recorded(statement: bytes) -> str:
    # An anchor statement with many rotations is longer than an entry; it has a file of its own.
    is_short = len(statement) <= STATEMENT_IN_ENTRY_BYTES_MAX
    return statement.hex() if is_short else "sha256:" + hashlib.sha256(statement).hexdigest()


def _statement_of(entry: bytes) -> str:
    return str(json.loads(entry)["statement"])


def _revoke(archive: Archive, statement: bytes, entry: _Entry) -> None:
    said = verify_revocation_untrusted(statement, anchor=archive.anchor)
    facts = {said.what.name.lower(): said.target.hex(), "until": said.until_s}
    archive.memory.revoke(said, entry(facts))


def _begin_epoch(archive: Archive, statement: bytes, entry: _Entry) -> None:
    memory = archive.memory
    epoch = verify_epoch_untrusted(statement, anchor=archive.anchor, epoch=memory.epoch)
    memory.begin_epoch(epoch, entry({"epoch": epoch}))


def _reset_clock(archive: Archive, statement: bytes, entry: _Entry) -> None:
    memory = archive.memory
    number = memory.clock_number
    said = verify_clock_untrusted(statement, anchor=archive.anchor, number=number)
    memory.set_clock(said, entry({"number": said.number, "clock": said.time_s}))


def _reassert(archive: Archive, statement: bytes, entry: _Entry) -> None:
    memory = archive.memory
    said = verify_reassertion_untrusted(
        statement, anchor=archive.anchor, number=memory.reassertion_number, epoch=memory.epoch
    )
    if (fault := memory.contradicts(said.audit)) is not None:
        raise ArchiveError(
            f"the re-assertion is about another ledger: its signer {fault}. Look at"
            " `psp ledger show`, and sign what is there."
        )
    facts = {"number": said.number, "epoch": said.epoch, "size": said.audit.tree_size}
    memory.begin_epoch(said.epoch, entry(facts), said)


def _anchor(archive: Archive, statement: bytes, entry: _Entry) -> None:
    said = verify_next_anchor_untrusted(
        statement, current=archive.anchor, epoch=archive.memory.epoch
    )
    facts = {
        "anchor": hashlib.sha256(statement).hexdigest(),
        "version": said.version,
        "epoch": said.epoch,
    }
    archive.memory.take_anchor(said, statement, entry(facts))


def install_anchor(archive: Archive, statement: bytes) -> None:
    """Put an anchor statement in force, which was taken before."""
    write_durably(archive.directory / "keys" / "anchor", statement)
    archive.anchor_statement = statement
    archive.anchor = verify_anchor_untrusted(statement, archive_id=archive.manifest.archive_id)


_KINDS: Final[Mapping[str, Callable[[Archive, bytes, _Entry], None]]] = {
    REVOKED: _revoke,
    EPOCH: _begin_epoch,
    CLOCK: _reset_clock,
    REASSERTED: _reassert,
    ANCHORED: _anchor,
}
