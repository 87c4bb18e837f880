"""What a new archive consists of, before it is opened for the first time."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from psp.ledger import Ledger
from psp.transport import MachineKey

from ._assets import write_durably
from ._entries import CREATED, encode_entry
from ._lock import LOCK_FILE
from ._manifest import Manifest
from ._manifest_file import write_manifest
from ._read_audit import create_reads, reads_origin
from ._state_file import STATE_FILE

_DIRECTORIES: Final = ("app-console-input", "assets", "state", "keys", "keys/peers", "index")
_PRIVATE: Final = 0o700


def ledger_origin(archive_id: bytes) -> str:
    """Name an archive's ledger, as its checkpoints do."""
    return f"psp-archive/{archive_id.hex()}"


def lay_out(
    directory: Path,
    manifest: Manifest,
    machine_key: MachineKey,
    ledger_key: MachineKey,
    anchor_statement: bytes,
) -> None:
    directory.mkdir(mode=_PRIVATE, parents=True)
    for name in _DIRECTORIES:
        (directory / name).mkdir(mode=_PRIVATE)
    (directory / LOCK_FILE).touch(mode=0o600)
    keys = directory / "keys"
    write_durably(keys / "machine.key", machine_key.private_pem(), mode=0o600)
    write_durably(keys / "ledger.key", ledger_key.private_pem(), mode=0o600)
    write_durably(keys / "anchor", anchor_statement)
    write_durably(directory / "manifest.toml", write_manifest(manifest).encode())


def begin_ledger(
    directory: Path,
    manifest: Manifest,
    ledger_key: MachineKey,
    anchor_statement: bytes,
    now: datetime | None,
) -> None:
    origin = ledger_origin(manifest.archive_id)
    facts = {
        "archive": manifest.archive_id.hex(),
        "name": manifest.name,
        "manifest": hashlib.sha256(write_manifest(manifest).encode()).hexdigest(),
        "anchor": hashlib.sha256(anchor_statement).hexdigest(),
        "reads": reads_origin(origin),
        "remembers": STATE_FILE,
    }
    with Ledger.create(directory / "ledger", origin=origin, key=ledger_key) as ledger:
        create_reads(directory, origin, ledger_key)
        ledger.append([encode_entry(CREATED, now or datetime.now(UTC), facts)])
