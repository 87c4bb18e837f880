"""Reads and receipts over real sockets and TLS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from psp.endpoint import connect
from psp.errors import Denied
from psp.totebox import Archive, ledger_origin
from psp.totebox._read_audit import reads_origin
from psp.totebox._receipts import hash_result, verify_receipt_untrusted
from psp.transport import MachineKey
from tests.unit.totebox.conftest import OWNER, ingest, machine, write

from .test_totebox_service import COUNT, served, token

ORIGIN = reads_origin(ledger_origin(OWNER.archive_id))
KEY = OWNER.ledger.public_bytes


@pytest.fixture
def user() -> MachineKey:
    return machine()


@pytest.fixture
def box(tmp_path: Path, user: MachineKey) -> Path:
    with OWNER.found(tmp_path / "box") as archive:
        archive.pair("user", user.certificate_pem, "USER")
        ingest(archive, write(tmp_path / "in.csv"))
    return tmp_path / "box"


async def test_a_reader_takes_away_what_proves_its_answer(box: Path, user: MachineKey) -> None:
    async with served(box) as address, connect(address, key=user) as connection:
        grant = connection.present(token(user))
        answer = await grant.call("table", "sales").call("query", COUNT.to_wire())
        assert isinstance(answer, Mapping)
        receipt = await grant.call("receipt", answer["read"])

    found = verify_receipt_untrusted(receipt, public_key=KEY, origin=ORIGIN)
    kept = {name: value for name, value in answer.items() if name != "read"}
    assert found.read.result == hash_result(kept)


async def test_the_record_goes_on_after_a_restart_and_strangers_get_no_receipt(
    box: Path, user: MachineKey
) -> None:
    other = machine()
    with Archive.open(box) as archive:
        archive.pair("other", other.certificate_pem, "USER")
    places = []
    for _ in range(2):
        async with served(box) as address, connect(address, key=user) as connection:
            grant = connection.present(token(user))
            await grant.call("table", "sales").call("row", ["0017"]).call("values")
            places.append(await grant.call("reads"))
            async with connect(address, key=other) as stranger:
                with pytest.raises(Denied):
                    await stranger.present(token(other)).call("receipt", 0)

    assert places == [[0], [1]]


async def test_within_a_second_an_answer_is_on_record_by_itself(
    box: Path, user: MachineKey
) -> None:
    manifest = box / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('"before-answer"', '"within-1s"'))
    async with served(box) as address, connect(address, key=user) as connection:
        await connection.present(token(user)).call("table", "sales").call("query", COUNT.to_wire())
        recorded, asked = 0, 0
        while not recorded:
            health = await connection.bootstrap.call("health")
            assert isinstance(health, Mapping)
            recorded, asked = health["reads"]["recorded"], asked + 1
    assert (recorded, asked > 1) == (1, True)
