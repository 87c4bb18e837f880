"""Results handed over on one machine, through every door, by one archive that is served beside."""

from __future__ import annotations

import asyncio
import gc
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from psp import aio, blocking
from psp.aggregator import Fleet, Member, Roster, Tenant
from psp.aggregator._carried import CarriedLine
from psp.aggregator._columns import read_rows
from psp.buffers import Account, Buffers
from psp.capability import Scope, issue, token_to_text
from psp.endpoint import Address, Inspection, Landed, Portal, Progress, connect, land
from psp.errors import ArchiveInUse, DeadlineExceeded, EstateError
from psp.estate import _supervisor
from psp.estate._servers import Served, Servers, _wire
from psp.plan import Listing
from psp.totebox import listen_for_readers, serve_archive
from psp.transport import MachineKey, runtime_directory
from psp.transport._same_host import socket_path
from tests.unit.totebox.conftest import OWNER, ingest, write

from .test_totebox_service import READER

Through: TypeAlias = "Callable[[World, Path], tuple[Landed, Inspection]]"
MIB = 1024 * 1024
ALL = Listing(table="sales")
IDS = [f"{number:05}" for number in range(900)]


@dataclass(frozen=True)
class World:
    """A served archive, where it hands over, and an estate of it alone."""

    address: Address
    key: MachineKey
    token: bytes
    runtime: Path
    elsewhere: Path
    roster: Roster


@asynccontextmanager
async def served(box: Path, runtime: Path) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        _, port = await nursery.start(
            lambda task_status: serve_archive(
                box,
                host="127.0.0.1",
                port=0,
                hand_over=listen_for_readers(box, runtime, pytest.fail),
                task_status=task_status,
            )
        )
        yield port
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("doors")
    rows = "".join(f"{each},2014-05-02,1.50,3\n" for each in IDS)
    user = MachineKey.create(place / "user.pem")
    with OWNER.found(place / "box") as archive:
        archive.pair("user", user.certificate_pem, "ADMIN")
        ingest(archive, write(place / "in.csv", "id,date,price,rooms\n" + rows))
    del archive
    gc.collect()  # An archive is opened once in a process; here what founded it must go.
    now_s = int(time.time())
    token = issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=user.public_bytes,
        presenter=user.spki_hash,
        scope=Scope({"sales": replace(READER, rows_max=1_000, local=True)}),
        not_before_s=now_s,
        not_after_s=now_s + 600,
        depth=0,
        nonce=secrets.token_bytes(16),
    )
    (place / "box.token").write_text(token_to_text(token), "utf-8")
    # Short, because a socket's path has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="psp-") as short, Portal() as portal:
        elsewhere = Path(short, "elsewhere")
        elsewhere.mkdir(mode=0o700)
        runtime = Path(short, "run")
        with portal.enter(served(place / "box", runtime)) as port:
            address = Address(OWNER.archive_id, "127.0.0.1", port, OWNER.box.certificate_pem, "box")
            roster = Roster(
                name="one",
                file=place / "estate.toml",
                members=(
                    Member(name="box", label="Box", address=address),
                    Member(name="above", label="Above", address=address, is_aggregator=True),
                ),
                tenants={
                    "user": Tenant(
                        name="user", sentence="", key_file=place / "user.pem", grants=place
                    )
                },
            )
            yield World(address, user, token, runtime, elsewhere, roster)


def pool() -> Buffers:
    return Buffers(Account("process", 64 * MIB).tenant("t"))


def through_trio(world: World, runtime: Path) -> tuple[Landed, Inspection]:
    async def ask() -> tuple[Landed, Inspection]:
        async with connect(world.address, key=world.key, runtime=runtime) as connection:
            table = connection.present(world.token).call("table", "sales")
            asked = table.call("rows", ALL.to_wire(), connection.is_local, accept_bytes=1_000)
            return await land(asked, pool(), bytes_max=MIB), connection.inspect()

    return trio.run(ask)


def through_blocking(world: World, runtime: Path) -> tuple[Landed, Inspection]:
    with blocking.connect(world.address, key=world.key, runtime=runtime) as connection:
        table = connection.present(world.token).call("table", "sales")
        asked = table.call("rows", ALL.to_wire(), connection.is_local, accept_bytes=1_000)
        progress = Progress()
        landed = blocking.land(asked, pool(), bytes_max=MIB, progress=progress, timeout_s=60)
        assert progress.received_bytes == progress.announced_bytes == landed.buffer.filled_bytes
        return landed, connection.inspect()


def through_aio(world: World, runtime: Path) -> tuple[Landed, Inspection]:
    async def ask() -> tuple[Landed, Inspection]:
        async with aio.connect(world.address, key=world.key, runtime=runtime) as connection:
            table = connection.present(world.token).call("table", "sales")
            asked = table.call("rows", ALL.to_wire(), connection.is_local, accept_bytes=1_000)
            return await aio.land(asked, pool(), bytes_max=MIB), await connection.inspect()

    return asyncio.run(ask())


def through_blocking_fleet(world: World, runtime: Path) -> tuple[Landed, Inspection]:
    with Fleet(world.roster, runtime=runtime) as fleet:
        landed = fleet.rows("box", ALL, pool(), bytes_max=MIB, deadline_s=60)
        return landed, fleet.inspect()["box"]


async def in_a_fleet(world: World, runtime: Path) -> tuple[Landed, Inspection]:
    async with Fleet(world.roster, runtime=runtime) as fleet:
        landed = await fleet.rows("box", ALL, pool(), bytes_max=MIB, deadline_s=60)
        return landed, (await fleet.inspect())["box"]


def through_trio_fleet(world: World, runtime: Path) -> tuple[Landed, Inspection]:
    return trio.run(in_a_fleet, world, runtime)


def through_asyncio_fleet(world: World, runtime: Path) -> tuple[Landed, Inspection]:
    return asyncio.run(in_a_fleet(world, runtime))


DOORS = [
    through_trio,
    through_blocking,
    through_aio,
    through_blocking_fleet,
    through_trio_fleet,
    through_asyncio_fleet,
]


@pytest.mark.parametrize("through", DOORS)
def test_through_every_door_a_result_is_handed_over(world: World, through: Through) -> None:
    landed, seen = through(world, world.runtime)
    assert (seen.handed_over, seen.local) == (1, "")
    with landed.columns() as result:
        assert sorted(result.column("id").to_pylist()) == IDS


@pytest.mark.parametrize("through", DOORS)
def test_through_every_door_it_comes_over_tls_where_nobody_listens_and_the_reason_is_told(
    world: World, through: Through
) -> None:
    landed, seen = through(world, world.elsewhere)
    assert seen.handed_over == 0
    assert "nobody passed it (FileNotFoundError)" in seen.local
    with landed.columns() as result:
        assert sorted(result.column("id").to_pylist()) == IDS


def test_a_fleet_without_a_directory_reads_the_same_rows(world: World) -> None:
    with Fleet(world.roster) as fleet:
        landed = fleet.rows("box", ALL, pool(), bytes_max=MIB, deadline_s=60)
        seen = fleet.inspect()["box"]
        assert (seen.handed_over, seen.local) == (0, "")
        with landed.columns() as result:
            assert result.row_count == len(IDS)


@pytest.mark.parametrize("name", ["above", "nobody"])
def test_rows_are_asked_of_archives_alone(world: World, name: str) -> None:
    with (
        Fleet(world.roster) as fleet,
        pytest.raises(EstateError, match=r"there is one to \['box'\]"),
    ):
        fleet.rows(name, ALL, pool(), bytes_max=MIB)


async def test_rows_are_not_asked_of_an_archive_whose_calls_another_carries(world: World) -> None:
    line = CarriedLine.__new__(CarriedLine)
    line.member = world.roster.members[0]
    with pytest.raises(EstateError, match=r"there is one to \[\]"):
        await read_rows({"box": line}, "box", ALL, pool(), bytes_max=MIB)


def test_rows_that_are_not_whole_in_time_are_given_up(world: World) -> None:
    with blocking.connect(world.address, key=world.key) as connection:
        asked = connection.present(world.token).call("table", "sales").call("rows", ALL.to_wire())
        with pytest.raises(DeadlineExceeded, match="within 0 seconds"):
            blocking.land(asked, pool(), bytes_max=MIB, timeout_s=0)
    with Fleet(world.roster) as fleet, pytest.raises(DeadlineExceeded, match="within 0 seconds"):
        fleet.rows("box", ALL, pool(), bytes_max=MIB, deadline_s=0)


async def test_an_archive_that_cannot_be_served_leaves_its_place_free(world: World) -> None:
    """Or its next try, by the same program, would find somebody there."""
    box = world.roster.file.parent / "box"
    with tempfile.TemporaryDirectory(prefix="psp-") as short:
        for _ in range(2):
            hand_over = listen_for_readers(box, Path(short), pytest.fail)
            with pytest.raises(ArchiveInUse):
                await serve_archive(box, host="127.0.0.1", port=0, hand_over=hand_over)
            assert [*Path(short).iterdir()] == []


def test_whose_place_an_archive_takes_is_its_estates_word(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What breaks into an archive can write another's id into its files, for the next start."""
    text = (world.roster.file.parent / "box" / "manifest.toml").read_text()
    others = secrets.token_bytes(32)
    write(tmp_path / "manifest.toml", text.replace(OWNER.archive_id.hex(), others.hex()))
    with tempfile.TemporaryDirectory(prefix="psp-") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        served = Served(
            name="box", archive_id=OWNER.archive_id, directory=tmp_path, host="localhost", port=0
        )
        hand_over = _supervisor._listen(_wire(served))
        assert hand_over is not None
        assert [*Path(short, "psp").iterdir()] == [
            socket_path(Path(short, "psp"), OWNER.archive_id)
        ]
        hand_over.close()
        hand_over.clear()


def test_a_confined_archive_hands_over_and_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It took its place before it was confined; whoever started it takes that away."""
    box = tmp_path / "box"
    shutil.copytree(
        world.roster.file.parent / "box", box, ignore=shutil.ignore_patterns("socket", "*.lock")
    )
    with tempfile.TemporaryDirectory(prefix="psp-") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        runtime = runtime_directory()
        assert runtime is not None
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        served = Served(
            name="box", archive_id=OWNER.archive_id, directory=box, host="127.0.0.1", port=port
        )
        with Servers([served]):
            with pytest.raises(EstateError, match="in use"), Servers([replace(served, port=0)]):
                pass  # Whoever starts it once more leaves its place alone.
            there = replace(world, address=replace(world.address, port=port))
            landed, seen = through_trio(there, runtime)
            assert (seen.handed_over, seen.local) == (1, "")
            with landed.columns() as result:
                assert sorted(result.column("id").to_pylist()) == IDS
        assert list(runtime.iterdir()) == []
