"""`psp epoch bump` and `psp grant revoke`, as an owner types them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from psp.capability import (
    Operation,
    Scope,
    TableRule,
    archive_id_of,
    issue,
    sign_anchor,
    token_to_text,
)
from psp.totebox import Archive, Column, ColumnType, Manifest, Table, epoch_of
from psp.transport import MachineKey


def psp(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "psp", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def root(tmp_path: Path) -> MachineKey:
    (tmp_path / "keys").mkdir()
    return MachineKey.create(tmp_path / "keys" / "root.key")


@pytest.fixture
def box(tmp_path: Path, root: MachineKey) -> Path:
    ledger = MachineKey.create(tmp_path / "keys" / "ledger.key")
    machine = MachineKey.create(tmp_path / "keys" / "machine.key")
    table = Table(name="t", columns=(Column(name="id", type=ColumnType.TEXT),), key=("id",))
    archive_id = archive_id_of(root.public_bytes, bytes(16))
    statement = sign_anchor(
        root,
        anchor_keys=[root.public_bytes],
        ledger_key=ledger.public_bytes,
        epoch=1,
        version=1,
        nonce=bytes(16),
    )
    directory = tmp_path / "archives" / "box"
    directory.parent.mkdir()
    Archive.create(
        directory,
        Manifest(name="box", archive_id=archive_id, module_id="m", tables=(table,), floor=1),
        machine_key=machine,
        ledger_key=ledger,
        anchor_statement=statement,
    ).close()
    return directory


def test_an_epoch_is_begun_with_the_key_of_the_estate(box: Path) -> None:
    assert epoch_of(box) is None
    done = psp("epoch", "bump", box)

    assert done.stdout == "epoch 2 has begun by entry 1; every earlier grant is over\n"
    assert epoch_of(box) == 2


def test_a_token_is_revoked_by_its_file_and_a_stranger_cannot(
    box: Path, root: MachineKey, tmp_path: Path
) -> None:
    now = int(time.time())
    token = issue(
        root,
        archive_id=archive_id_of(root.public_bytes, bytes(16)),
        epoch=1,
        holder=root.public_bytes,
        presenter=root.spki_hash,
        scope=Scope({"t": TableRule(operations=frozenset({Operation.COUNT}))}),
        not_before_s=now,
        not_after_s=now + 3600,
        depth=0,
        nonce=bytes(16),
    )
    file = tmp_path / "grant.token"
    file.write_text(token_to_text(token), "ascii")

    wrong = psp("grant", "revoke", box, file, "--root-key", tmp_path / "keys" / "machine.key")
    assert wrong.returncode != 0
    assert "Traceback" not in wrong.stderr
    done = psp("grant", "revoke", box, file)
    assert "is revoked by entry 1" in done.stdout, done.stderr
    with Archive.open(box) as archive:
        assert sum(map(len, archive.memory.revoked.values())) == 1
