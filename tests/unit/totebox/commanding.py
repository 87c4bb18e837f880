"""A served archive without a network, and machines that command it under grants."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from psp.capability import (
    CommandKey,
    Operation,
    Scope,
    TableRule,
    issue,
    sign_transition,
)
from psp.totebox import DOCUMENTS, Archive
from psp.totebox._add_table import add_table
from psp.totebox._changes import Changes
from psp.totebox._clocks import Clocks
from psp.totebox._service import Desk, GrantObject
from psp.transport import MachineKey, Peer

from .conftest import NOW, OWNER, SALES, ingest, machine, write

START_S = 1_800_000_000
MORE = "id,date,price,rooms\n0019,2014-07-01,300000,4\n0020,2014-07-02,310000,4\n"
WRITER = TableRule(operations=frozenset({Operation.APPEND}), output=frozenset(SALES.column_names))
PAPERS = TableRule(
    operations=frozenset({Operation.APPEND}), output=frozenset(DOCUMENTS.column_names)
)
ALL = Scope(
    {"sales": WRITER, "documents": PAPERS}, {"archive": frozenset({"audit", "resume", "suspend"})}
)
MACHINES = {name: machine() for name in ("ADMIN", "INPUT", "USER", "INTERFACE", "other")}


@cache
def _original() -> TemporaryDirectory[str]:
    kept = TemporaryDirectory(prefix="psp-commanding-")
    directory = Path(kept.name)
    with OWNER.found(directory / "box") as archive:
        add_table(archive, DOCUMENTS, operator="jane", now=NOW)
        for name, key in MACHINES.items():
            archive.pair(name.lower(), key.certificate_pem, "ADMIN" if name == "other" else name)
        ingest(archive, write(directory / "in.csv"))
    return kept


def found(directory: Path) -> Path:
    """Give an archive with one sealed file, to which every machine is paired: made once, copied."""
    box = directory / "box"
    shutil.copytree(Path(_original().name) / "box", box)
    return box


def token(key: MachineKey, scope: Scope = ALL, *, start_s: int = START_S) -> bytes:
    return issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=key.public_bytes,
        presenter=key.spki_hash,
        scope=scope,
        not_before_s=start_s,
        not_after_s=start_s + 24 * 3600,
        depth=0,
        nonce=bytes(16),
    )


@dataclass
class Served:
    """An archive while it is served; opened again by another `serving`."""

    archive: Archive
    desk: Desk
    logged: list[str]

    def grant(self, machine: str = "ADMIN", scope: Scope = ALL) -> GrantObject:
        key = MACHINES[machine]
        peer = Peer(key.spki_hash, key.public_bytes, machine.lower())
        return self.desk.present(peer, token(key, scope, start_s=int(self.desk.clocks().wall_s)))

    def entries(self) -> list[dict[str, Any]]:
        ledger = self.archive.ledger
        return [json.loads(entry) for entry in ledger.entries(0, ledger.checkpoint.tree_size)]

    def commanded(self) -> list[dict[str, Any]]:
        """The entries that commands have left."""
        return [entry for entry in self.entries() if "asked" in entry]


@dataclass
class Clock:
    wall_s: float = START_S
    boot_s: float = field(default=1_000.0)

    def __call__(self) -> Clocks:
        return Clocks(self.wall_s, self.boot_s)


@contextmanager
def serving(box: Path, clock: Clock | None = None) -> Iterator[Served]:
    logged: list[str] = []
    with Archive.open(box) as archive:
        desk = Desk(archive, logged.append, clock or Clock())
        changes = Changes(desk, desk.follow_pairings)
        try:
            yield Served(archive, desk, logged)
        finally:
            changes.close()


def key(made_s: int = START_S) -> bytes:
    return CommandKey(made_s, secrets.token_bytes(16)).to_bytes()


async def command(
    grant: GrantObject, name: str, given: dict[str, Any] | None = None, key: bytes | None = None
) -> dict[str, Any]:
    """Do as a fleet does: for a transition, ask first and sign what follows."""
    used, arguments = key or globals()["key"](), given or {}
    statement = b""
    after = {"suspend": "suspended", "resume": "active"}.get(name)
    if after is not None:
        seen: Any = await grant.do(name, arguments, used, True)
        if seen["done"] is None and seen["state"] != after:
            statement = sign_transition(
                next(it for it in MACHINES.values() if it.public_bytes == grant._grant.leaf_holder),
                archive_id=OWNER.archive_id,
                number=seen["transitions"] + 1,
                before=seen["state"],
                after=after,
            )
    return dict(await grant.do(name, arguments, used, False, statement))


def rows_file(text: str = MORE, name: str = "more.csv", table: str = "sales") -> dict[str, Any]:
    return {"table": table, "file": name, "content": text.encode()}
