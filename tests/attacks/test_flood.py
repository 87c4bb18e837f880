"""A paired machine that shows bad tokens without end, and an honest one beside it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from psp.capability import Chain, decode_chain_untrusted
from psp.endpoint import Address, connect
from psp.errors import CallFailed, Denied
from psp.totebox import serve_archive
from psp.transport import MachineKey
from tests.unit.totebox.conftest import OWNER, ingest, machine, write
from tests.unit.totebox.live import live_token

IN_FLIGHT = 32
HONEST_CALLS = 20


@dataclass
class Flood:
    """One connection that always has a few bad tokens under way."""

    address: Address
    key: MachineKey
    make: Callable[[], bytes]
    refused: int = 0

    async def run(self) -> None:
        async with connect(self.address, key=self.key) as connection:
            while True:
                shown = [connection.present(self.make()) for _ in range(IN_FLIGHT)]
                for one in shown:
                    with pytest.raises(CallFailed):
                        await one
                    self.refused += 1


@pytest.mark.parametrize("kind", ["of another machine", "with a bad signature"])
async def test_a_flood_of_bad_tokens_does_not_hold_up_an_honest_machine(
    tmp_path: Path, kind: str
) -> None:
    """Attack 21: counted in refusals and not in seconds, so that a slow machine shows the same.

    Between an honest question and its answer the archive may refuse what was under way, and what
    came meanwhile: a few times what the flood keeps in flight, however long it goes on.
    """
    honest, hostile = machine(), machine()
    with OWNER.found(tmp_path / "box") as archive:
        for name, key in (("honest", honest), ("hostile", hostile)):
            archive.pair(name, key.certificate_pem, "USER")
        ingest(archive, write(tmp_path / "in.csv"))

    stolen = live_token(honest)
    last = decode_chain_untrusted(live_token(hostile)).signed[0]

    def make() -> bytes:
        if kind == "of another machine":
            return stolen
        return Chain((replace(last, signature=secrets.token_bytes(64)),)).encode()

    logged: list[str] = []
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            lambda task_status: serve_archive(
                tmp_path / "box",
                host="127.0.0.1",
                port=0,
                log=logged.append,
                task_status=task_status,
            )
        )
        address = Address(OWNER.archive_id, host, port, OWNER.box.certificate_pem, "box")
        flood = Flood(address, hostile, make)
        nursery.start_soon(flood.run)
        waits = []
        with trio.fail_after(60):
            async with connect(address, key=honest) as connection:
                while flood.refused < IN_FLIGHT:  # noqa: ASYNC110 - until it is under way
                    await trio.sleep(0.001)
                for _ in range(HONEST_CALLS):
                    before = flood.refused
                    await connection.present(stolen).call("describe")
                    waits.append(flood.refused - before)
                with pytest.raises(Denied):
                    await connection.present(make() if kind != "of another machine" else b"\x90")
        assert flood.refused > IN_FLIGHT, "the flood must have gone on meanwhile"
        nursery.cancel_scope.cancel()

    assert max(waits) <= 8 * IN_FLIGHT
    assert {line.rpartition(" ")[2] for line in logged} <= {
        "'presenter'",
        "'signature'",
        "'decode'",
    }
