"""What an archive's owner says to it: taken back, next epoch, the clock was wrong, I have looked.

Each is a signed statement (capabilities.md, "Owners"). The memory is changed first, and durably,
the entry follows: what takes away must bite even if the disk fails in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from psp.capability import (
    verify_clock_untrusted,
    verify_epoch_untrusted,
    verify_reassertion_untrusted,
    verify_revocation_untrusted,
)
from psp.errors import ArchiveError

from ._assets import write_durably
from ._entries import CLOCK, EPOCH, REASSERTED, REVOKED, encode_entry

if TYPE_CHECKING:
    from ._archive import Archive

EPOCH_FILE: Final = "state/epoch"

_Facts: TypeAlias = Mapping[str, object]


def hear_untrusted(archive: Archive, kind: str, statement: bytes, *, now: datetime) -> int:
    """Do what the owner has signed, and return the ledger entry that tells of it.

    Args:
        kind: What it is: `revoked`, `epoch`, `clock` or `reasserted`.

    Raises:
        CapabilityError: The owner has not signed it, or it is not the next one.
        ArchiveError: There is no such kind, or the disk refused.
        LedgerError: It is done, but could not be put on record.
    """
    if (heed := _KINDS.get(kind)) is None:
        raise ArchiveError(f"an owner says {', '.join(_KINDS)}, and not {kind[:40]!r}.")
    facts = heed(archive, statement)
    # For whoever issues on this machine; whatever it says, the memory decides.
    epoch = f"{archive.memory.epoch}\n".encode()
    write_durably(archive.directory / EPOCH_FILE, epoch)
    return archive.record(encode_entry(kind, now, {**facts, "statement": statement.hex()}))


def epoch_of(directory: Path) -> int | None:
    """Say at which epoch an archive on this machine is; None if its owner has never begun one."""
    try:
        return int((directory / EPOCH_FILE).read_text("ascii"))
    except (OSError, ValueError):
        return None


def _revoke(archive: Archive, statement: bytes) -> _Facts:
    said = verify_revocation_untrusted(statement, anchor=archive.anchor)
    archive.memory.revoke(said)
    return {said.what.name.lower(): said.target.hex(), "until": said.until_s}


def _begin_epoch(archive: Archive, statement: bytes) -> _Facts:
    memory = archive.memory
    epoch = verify_epoch_untrusted(statement, anchor=archive.anchor, epoch=memory.epoch)
    memory.begin_epoch(epoch)
    return {"epoch": epoch}


def _reset_clock(archive: Archive, statement: bytes) -> _Facts:
    memory = archive.memory
    number = memory.clock_number
    said = verify_clock_untrusted(statement, anchor=archive.anchor, number=number)
    memory.set_clock(said)
    return {"number": said.number, "clock": said.time_s}


def _reassert(archive: Archive, statement: bytes) -> _Facts:
    memory = archive.memory
    said = verify_reassertion_untrusted(
        statement, anchor=archive.anchor, number=memory.reassertion_number, epoch=memory.epoch
    )
    if (fault := memory.contradicts(said.audit)) is not None:
        raise ArchiveError(
            f"the re-assertion is about another ledger: its signer {fault}. Look at"
            " `psp ledger show`, and sign what is there."
        )
    memory.begin_epoch(said.epoch, said)
    return {"number": said.number, "epoch": said.epoch, "size": said.audit.tree_size}


_KINDS: Final[Mapping[str, Callable[[Archive, bytes], _Facts]]] = {
    REVOKED: _revoke,
    EPOCH: _begin_epoch,
    CLOCK: _reset_clock,
    REASSERTED: _reassert,
}
