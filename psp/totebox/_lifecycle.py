"""An archive's life: active, suspended, archived. Each change is signed, and on record.

The entry decides, the manifest follows. `finish_transition` does what a crash in between left
undone. It can only be the last entry: an archive whose manifest could not follow is closed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psp.capability import Transition, verify_transition_untrusted
from psp.errors import ArchiveError, CapabilityError
from psp.ledger import Ledger

from ._assets import write_durably
from ._entries import STATE, asked_facts, encode_entry
from ._ingest import disk_errors
from ._manifest import Manifest, State
from ._manifest_file import write_manifest

if TYPE_CHECKING:
    from ._archive import Archive

TRANSITIONS: Final[Mapping[State, tuple[State, ...]]] = {
    State.ACTIVE: (State.SUSPENDED, State.ARCHIVED),
    State.SUSPENDED: (State.ACTIVE, State.ARCHIVED),
    State.ARCHIVED: (),
}
"""Where each state can go. What is archived stays so: its ledger is closed to files for ever."""


def change_state_untrusted(
    archive: Archive,
    statement: bytes,
    *,
    operator: str,
    now: datetime,
    allowed: frozenset[bytes] | None = None,
    after: State | None = None,
    asked: Mapping[str, str] | None = None,
) -> int:
    """Follow a signed transition; return the place of its entry.

    Args:
        allowed: The public keys that may have signed it; by default the owner's root keys and
            those of machines that are paired as ADMIN.
        after: The one state that it may lead to; by default any that can follow.
        asked: The call under a grant that brings it, for the entry.

    Raises:
        CapabilityError: Nobody signed it who may, or it is not the next one, or not the one asked
            for.
        ArchiveError: From this state there is no way to that one, the archive is read-only, or the
            disk refused.
    """
    archive.require_writing("change its state")
    manifest = archive.manifest
    said = verify_transition_untrusted(
        statement,
        archive_id=manifest.archive_id,
        number=manifest.transitions,
        before=manifest.state.value,
        allowed=_administrators(archive) if allowed is None else allowed,
    )
    changed = _follow(manifest, said, after)
    facts = {
        "operator": operator,
        "before": said.before,
        "after": said.after,
        "number": said.number,
        "signer": said.signer.hex(),
        "statement": statement.hex(),
        "manifest": hashlib.sha256(write_manifest(changed).encode()).hexdigest(),
        **asked_facts(asked),
    }
    with disk_errors(f"the archive {manifest.name!r} was not changed", ArchiveError):
        place = archive.record(encode_entry(STATE, now, facts))
    archive.manifest = changed  # Before the disk is asked: it holds from its entry on.
    try:
        _write(archive.directory, changed)
    except OSError as exc:
        archive.close()
        raise ArchiveError(
            f"the archive is {said.after} by entry {place}, but its manifest could not follow"
            f" ({exc}). Free space and open it again: that repairs it."
        ) from exc
    return place


def _follow(manifest: Manifest, said: Transition, after: State | None) -> Manifest:
    if after is not None and said.after != after.value:
        raise CapabilityError(
            f"the transition is not followed: it leads to {said.after}, and what was asked leads to"
            f" {after.value}. Sign the one that is asked for."
        )
    following = {state.value: state for state in TRANSITIONS[manifest.state]}
    if said.after not in following:
        raise ArchiveError(
            f"the archive {manifest.name!r} is {manifest.state.value}, and cannot become"
            f" {said.after!r}; it can become {' or '.join(following) or 'nothing else'}."
        )
    return replace(manifest, state=following[said.after], transitions=said.number)


def finish_transition(
    directory: Path, manifest: Manifest, ledger: Ledger, read_only: bool
) -> Manifest:
    """Write the state of the last entry into the manifest, if a crash kept it out.

    Raises:
        ArchiveError: It has to be written and the archive was opened only to read.
    """
    size = ledger.checkpoint.tree_size
    last = json.loads(ledger.entries(size - 1, size)[0]) if size else {}
    if last.get("kind") != STATE or last["number"] <= manifest.transitions:
        return manifest
    if read_only:
        raise ArchiveError(
            f"the manifest of {directory} is not in the state of the ledger's last entry, and was"
            " opened only to read. Serve the archive once."
        )
    after = replace(manifest, state=State(last["after"]), transitions=last["number"])
    _write(directory, after)
    return after


def _administrators(archive: Archive) -> frozenset[bytes]:
    paired = (one.pin for one in archive.pairings() if one.ceiling == "ADMIN")
    return archive.anchor.roots.keys | {pin.certificate.public_bytes for pin in paired}


def _write(directory: Path, manifest: Manifest) -> None:
    write_durably(directory / "manifest.toml", write_manifest(manifest).encode())
