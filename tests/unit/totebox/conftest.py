"""A small archive and the machines around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.capability import archive_id_of, sign_anchor
from psp.endpoint import Exposed
from psp.rpc import AnswerId, CallReady
from psp.totebox import Archive, Column, ColumnType, Ingested, Manifest, Table
from psp.transport import MachineKey

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NONCE = bytes(16)

SALES = Table(
    name="sales",
    columns=(
        Column(name="id", type=ColumnType.TEXT),
        Column(name="date", type=ColumnType.DATE),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, currency="USD"),
        Column(name="rooms", type=ColumnType.INTEGER, nullable=True),
    ),
    key=("id",),
    subject="id",
)

CSV = """\
id,date,price,rooms
0016,2014-05-02,221900.50,3
0017,2014-06-03,538000,
0018,2014-06-04,180000.00,2
"""


def call_on(
    held: Exposed, name: str, arguments: list[Any] | None = None, invocation: bytes | None = None
) -> CallReady:
    """A call as it comes to an object's `check`."""
    return CallReady(
        answer_id=AnswerId(1),
        object=held,
        method=name,
        arguments=arguments or [],
        deadline_ms=0,
        grant_tag=None,
        invocation=invocation,
        accept_bytes=0,
        flags=0,
    )


def machine() -> MachineKey:
    return MachineKey(Ed25519PrivateKey.generate())


@dataclass(frozen=True)
class Owner:
    """All keys of an owner who keeps them in one place."""

    root: MachineKey
    anchor: MachineKey
    box: MachineKey
    ledger: MachineKey

    @property
    def archive_id(self) -> bytes:
        return archive_id_of(self.root.public_bytes, NONCE)

    def statement(self, ledger_key: bytes | None = None) -> bytes:
        return sign_anchor(
            self.root,
            anchor_keys=[self.anchor.public_bytes],
            ledger_key=ledger_key or self.ledger.public_bytes,
            epoch=1,
            version=1,
            nonce=NONCE,
        )

    def manifest(self, *tables: Table, floor: int = 1) -> Manifest:
        return Manifest(
            name="cluster-totebox-98004-1",
            archive_id=self.archive_id,
            module_id="homes",
            tables=tables or (SALES,),
            floor=floor,
        )

    def found(self, directory: Path, *tables: Table, floor: int = 1) -> Archive:
        return Archive.create(
            directory,
            self.manifest(*tables, floor=floor),
            machine_key=self.box,
            ledger_key=self.ledger,
            anchor_statement=self.statement(),
            now=NOW,
        )


# Keys cost half a millisecond each and hold no state.
OWNER = Owner(machine(), machine(), machine(), machine())


@pytest.fixture
def owner() -> Owner:
    return OWNER


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with OWNER.found(tmp_path / "box") as archive:
        yield archive


def write(path: Path, text: str = CSV) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def ingest(archive: Archive, file: Path, *, accept_partial: bool = False) -> Ingested:
    return archive.ingest(file, "sales", operator="jane", now=NOW, accept_partial=accept_partial)


def stored(archive: Archive) -> list[tuple[object, ...]]:
    """The rows of `sales` as the index has them, in the order of their keys."""
    connection = archive.index._connection
    return list(connection.execute('SELECT id, date, price, rooms FROM "sales" ORDER BY id'))
