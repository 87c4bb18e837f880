"""One archive, served over real sockets and TLS to real controllers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from psp.capability import Operation, Scope, TableRule, issue
from psp.endpoint import Address, connect
from psp.errors import ArchiveError, Denied, Expired, NotPaired
from psp.plan import Measure, Plan
from psp.totebox import Archive, serve_archive
from psp.transport import MachineKey
from tests.unit.totebox.conftest import OWNER, ingest, machine, stored, write

READER = TableRule(
    operations=frozenset({Operation.META, Operation.COUNT, Operation.READ}),
    output=frozenset({"id", "rooms"}),
    filters=frozenset({"id"}),
    rows_max=10,
)
COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),))
SCOPE = Scope({"sales": READER}, {"ledger": frozenset({"prove"})})


@pytest.fixture
def user() -> MachineKey:
    return machine()


@pytest.fixture
def box(tmp_path: Path, user: MachineKey) -> Path:
    with OWNER.found(tmp_path / "box") as archive:
        archive.pair("user", user.certificate_pem, "USER")
        ingest(archive, write(tmp_path / "in.csv"))
    return tmp_path / "box"


def token(user: MachineKey, *, lasts_s: int = 60) -> bytes:
    now_s = int(time.time())
    return issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=user.public_bytes,
        presenter=user.spki_hash,
        scope=SCOPE,
        not_before_s=now_s,
        not_after_s=now_s + lasts_s,
        depth=0,
        nonce=bytes(16),
    )


@asynccontextmanager
async def served(box: Path, sent: bytearray | None = None) -> AsyncIterator[Address]:
    def tap(direction: str, data: bytes) -> None:
        if sent is not None and direction == "out":
            sent.extend(data)

    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            lambda task_status: serve_archive(
                box, host="127.0.0.1", port=0, tap=tap, task_status=task_status
            )
        )
        yield Address(OWNER.archive_id, host, port, OWNER.box.certificate_pem, "box")
        nursery.cancel_scope.cancel()


async def test_five_dependent_hops_lead_from_a_grant_to_a_proof(
    box: Path, user: MachineKey
) -> None:
    async with served(box) as address, connect(address, key=user) as connection:
        table = connection.present(token(user)).call("table", "sales")
        row = table.call("row", ["0017"])
        original = row.call("original")
        answer = table.call("query", COUNT.to_wire())

        assert await row.call("values") == {"id": "0017", "rooms": None}
        proof = await original.call("proof")
        assert isinstance(proof, Mapping)
        assert (proof["index"], proof["tree_size"]) == (2, 3)
        counted = await answer
        assert isinstance(counted, Mapping)
        assert counted["cells"] == [[[], [3]]]
        health = await connection.bootstrap.call("health")
        assert isinstance(health, Mapping)
        assert health["record_bytes"] > 0


async def test_a_withheld_column_never_leaves_the_archive(box: Path, user: MachineKey) -> None:
    sent = bytearray()
    async with served(box, sent) as address, connect(address, key=user) as connection:
        table = connection.present(token(user)).call("table", "sales")
        await table.call("describe")
        await table.call("row", ["0016"]).call("values")

    assert b"0016" in sent  # The recorder hears the column that is granted,
    assert b"2014-05-02" not in sent  # and neither of those that are not,
    assert b"price" not in sent  # not even their names.


async def test_a_grant_ends_while_its_references_are_held(box: Path, user: MachineKey) -> None:
    async with served(box) as address, connect(address, key=user) as connection:
        row = (
            connection.present(token(user, lasts_s=2)).call("table", "sales").call("row", ["0016"])
        )
        await row.call("values")

        async def read_on() -> None:
            while True:
                await row.call("values")
                await trio.sleep(0.05)

        with pytest.raises(Expired), trio.fail_after(5):
            await read_on()


async def test_a_stolen_token_and_a_strange_machine_get_nothing(
    box: Path, user: MachineKey
) -> None:
    thief = machine()
    with Archive.open(box) as archive:
        archive.pair("thief", thief.certificate_pem, "ADMIN")
    async with served(box) as address:
        async with connect(address, key=thief) as connection:
            with pytest.raises(Denied):
                await connection.present(token(user)).call("table", "sales").call("describe")
        with pytest.raises(NotPaired):
            async with connect(address, key=machine()) as connection:
                await connection.bootstrap.call("health")


async def test_a_served_archive_takes_no_files_and_says_who_holds_it(
    box: Path, user: MachineKey
) -> None:
    async with served(box):
        with pytest.raises(ArchiveError, match="which serves it on 127"):
            Archive.open(box)

    with Archive.open(box) as archive:
        assert len(stored(archive)) == 3


def test_a_serving_process_loads_no_column_library() -> None:
    """Seventy archives share a gigabyte and a half; pyarrow alone takes eighty megabytes."""
    code = (
        "import sys, psp.totebox;"
        "print(sorted({'duckdb', 'pyarrow', 'sqlglot', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
