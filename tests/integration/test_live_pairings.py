"""Pairings that change while an archive is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from psp.endpoint import connect
from psp.errors import ArchiveError, ConnectionLost, Denied, NotPaired
from psp.totebox import Archive, audit_archive
from psp.totebox._unpair import shut_out
from psp.transport import MachineKey
from tests.unit.totebox.conftest import machine, write

from .test_control_socket import command, ingest_arguments
from .test_totebox_service import box as box
from .test_totebox_service import served, token
from .test_totebox_service import user as user


def recorded(box: Path) -> list[tuple[Any, ...]]:
    """What the ledger says about pairings."""
    with Archive.open(box) as archive:
        entries = map(json.loads, archive.ledger.entries(0, archive.ledger.checkpoint.tree_size))
        return [
            (one["kind"], one["operator"], one["peer"], one["ceiling"], one["spki"])
            for one in entries
            if one["kind"] in {"paired", "unpaired"}
        ]


async def test_an_added_machine_connects_without_a_restart(box: Path) -> None:
    guest = machine()
    async with served(box) as address:
        with pytest.raises(NotPaired):
            async with connect(address, key=guest) as connection:
                await connection.bootstrap.call("health")
        await command(box, "pair", "guest", guest.certificate_pem, "INTERFACE", "jane")
        async with connect(address, key=guest) as connection:
            health: Any = await connection.bootstrap.call("health")
    assert health["tree_size"] == 4
    assert recorded(box)[-1] == ("paired", "jane", "guest", "INTERFACE", guest.spki_hash.hex())


async def test_a_removed_machine_is_disconnected_at_once_and_refused_from_then_on(
    box: Path, user: MachineKey
) -> None:
    async with served(box) as address:
        async with connect(address, key=user) as connection:
            row = connection.present(token(user)).call("table", "sales").call("row", ["0016"])
            await row.call("values")
            await command(box, "unpair", "user", "jane")
            with trio.fail_after(5):
                await connection.wait_closed()
            with pytest.raises(ConnectionLost):
                await row.call("values")
        with pytest.raises(NotPaired):
            async with connect(address, key=user) as connection:
                await connection.bootstrap.call("health")
    assert recorded(box)[-1] == ("unpaired", "jane", "user", "USER", user.spki_hash.hex())
    assert audit_archive(box).findings == []


async def test_the_others_stay_connected_when_one_is_removed(box: Path, user: MachineKey) -> None:
    guest = machine()
    async with served(box) as address:
        await command(box, "pair", "guest", guest.certificate_pem, "USER", "jane")
        async with connect(address, key=user) as connection:
            await connection.bootstrap.call("health")
            await command(box, "unpair", "guest", "jane")
            await connection.bootstrap.call("health")


async def test_a_machine_whose_ceiling_changes_must_connect_again(
    box: Path, user: MachineKey
) -> None:
    """What a grant has opened under the former ceiling must not outlive it."""
    async with served(box) as address:
        async with connect(address, key=user) as connection:
            row = connection.present(token(user)).call("table", "sales").call("row", ["0016"])
            await row.call("values")
            await command(box, "pair", "user", user.certificate_pem, "INTERFACE", "jane")
            with trio.fail_after(5):
                await connection.wait_closed()
        async with connect(address, key=user) as connection:
            with pytest.raises(Denied):
                await connection.present(token(user)).call("table", "sales").call("row", ["0016"])


async def test_a_removal_does_not_wait_for_a_file_that_is_being_sealed(
    box: Path, tmp_path: Path, user: MachineKey
) -> None:
    rows = "".join(f"n{n:06},2014-07-01,{n},4\n" for n in range(60_000))
    large = write(tmp_path / "large.csv", "id,date,price,rooms\n" + rows)
    ended: list[str] = []
    async with served(box) as address, connect(address, key=user) as connection:
        await connection.bootstrap.call("health")

        async def seal() -> None:
            await command(box, "ingest", *ingest_arguments(large))
            ended.append("sealed")

        async def wait_out() -> None:
            await connection.wait_closed()
            ended.append("out")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(seal)
            nursery.start_soon(wait_out)
            while not [*(box / "assets").glob(".*")]:  # noqa: ASYNC110 The large file is being copied.
                await trio.sleep(0.001)
            await command(box, "unpair", "user", "jane")
            ended.append("recorded")
    assert ended[0] == "out"
    # In the ledger and not in the order of the replies, which a busy machine can turn round.
    with Archive.open(box, read_only=True) as archive:
        entries = archive.ledger.entries(0, archive.ledger.checkpoint.tree_size)
        assert [json.loads(it)["kind"] for it in entries][-2:] == ["ingested", "unpaired"]
    assert [one[0] for one in recorded(box)] == ["paired", "unpaired"]


async def test_a_removal_that_was_cut_off_is_finished_by_the_same_command(box: Path) -> None:
    shut_out(box, "user")  # Killed here: the machine is out, and no entry says so.
    with Archive.open(box) as archive:
        assert archive.pairings() == []
    await command(box, "unpair", "user", "jane")
    assert [one[0] for one in recorded(box)] == ["paired", "unpaired"]
    with pytest.raises(ArchiveError, match="no machine 'user' is paired"):
        await command(box, "unpair", "user", "jane")


async def test_a_pin_that_came_back_after_its_removal_is_damage(box: Path) -> None:
    pin = box / "keys" / "peers" / "user.toml"
    saved = pin.read_bytes()
    await command(box, "unpair", "user", "jane")
    pin.write_bytes(saved)
    (finding,) = audit_archive(box).findings
    assert (finding.part, finding.severity.name) == ("pins", "DAMAGE")


async def test_a_name_means_one_key_and_a_key_has_one_name(box: Path, user: MachineKey) -> None:
    with pytest.raises(ArchiveError, match="Remove that pairing first"):
        await command(box, "pair", "user", machine().certificate_pem, "USER", "jane")
    with pytest.raises(ArchiveError, match="Remove that pairing first"):
        await command(box, "pair", "other", user.certificate_pem, "USER", "jane")
    with pytest.raises(ArchiveError, match="cannot name a peer"):
        await command(box, "unpair", "../../manifest", "jane")
