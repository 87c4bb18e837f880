"""Rows in columns and sealed documents, streamed by a served archive over real sockets and TLS."""

from __future__ import annotations

import gc
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from psp.buffers import Account, Buffers
from psp.capability import Scope, TableRule, ceiling, issue, verify_untrusted
from psp.endpoint import Address, Connection, Reference, connect, land
from psp.errors import (
    BudgetSpent,
    Denied,
    HandlerFailed,
    Invalid,
    LimitExceeded,
)
from psp.plan import Listing
from psp.testing import loopback
from psp.totebox import ledger_origin, listen_for_readers, seal_document, serve_archive
from psp.totebox._asset_object import AssetObject
from psp.totebox._clocks import read_clocks
from psp.totebox._engine import Engine
from psp.totebox._entries import DocumentEntry
from psp.totebox._in_columns import batch_of_rows
from psp.totebox._live import LiveGrant
from psp.totebox._read_audit import reads_origin
from psp.totebox._reader import Reader
from psp.totebox._receipts import verify_receipt_untrusted
from psp.totebox._rows import RowReads
from psp.totebox._service import Desk
from tests.unit.totebox.conftest import NOW, OWNER, ingest, machine, write

from .test_totebox_service import READER

MIB = 1024 * 1024
USER = machine()
ORIGIN = reads_origin(ledger_origin(OWNER.archive_id))
ALL = Listing(table="sales").to_wire()
IDS = [f"{number:05}" for number in range(900)]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bulk")
    rows = "".join(f"{each},2014-05-02,1.50,3\n" for each in IDS)
    with OWNER.found(place / "box") as archive:
        archive.pair("user", USER.certificate_pem, "ADMIN")
        ingest(archive, write(place / "in.csv", "id,date,price,rooms\n" + rows))
    return place / "box"


def token(rule: TableRule) -> bytes:
    now_s = int(time.time())
    return issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=USER.public_bytes,
        presenter=USER.spki_hash,
        scope=Scope({"sales": rule}),
        not_before_s=now_s,
        not_after_s=now_s + 600,
        depth=0,
        nonce=secrets.token_bytes(16),
    )


@asynccontextmanager
async def asking(
    box: Path, runtime: Path | None = None, **changes: Any
) -> AsyncIterator[tuple[Any, Any, Connection]]:
    """Serve the archive, and give a table and its grant under the rule of all tests here."""
    gc.collect()  # An archive is opened once in a process; here what served it before must go.
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            lambda task_status: serve_archive(
                box,
                host="127.0.0.1",
                port=0,
                hand_over=listen_for_readers(box, runtime, pytest.fail),
                task_status=task_status,
            )
        )
        address = Address(OWNER.archive_id, host, port, OWNER.box.certificate_pem, "box")
        async with connect(address, key=USER, runtime=runtime) as connection:
            grant = connection.present(token(replace(READER, rows_max=1_000, **changes)))
            yield await grant.call("table", "sales"), grant, connection
        nursery.cancel_scope.cancel()


def pool() -> Buffers:
    return Buffers(Account("process", 64 * MIB).tenant("t"))


async def test_rows_are_read_in_columns_where_they_landed_and_are_on_record(box: Path) -> None:
    async with asking(box) as (table, grant, connection):
        landed = await land(table.call("rows", ALL), pool(), bytes_max=MIB)
        assert isinstance(landed.header, dict)
        with landed.columns() as result:
            assert result.names == ("id", "rooms")
            assert result.arrow().sort_by("id").column("id").to_pylist() == IDS
            assert result.numpy("rooms").sum() == 3 * len(IDS)
        assert connection.unlanded_bytes == 0
        receipt = await grant.call("receipt", landed.header["read"])
    found = verify_receipt_untrusted(receipt, public_key=OWNER.ledger.public_bytes, origin=ORIGIN)
    assert (found.read.rows, found.read.tree_size) == (len(IDS), landed.header["as_of"])
    assert landed.header["rows"] == len(IDS)


@pytest.mark.parametrize("is_granted", [True, False])
async def test_rows_are_handed_over_on_one_machine_if_the_grant_allows_it(
    box: Path, short_path: Path, is_granted: bool
) -> None:
    async with asking(box, short_path / "run", local=is_granted) as (table, _, connection):
        before = connection.statistics().received_bytes
        asked = table.call("rows", ALL, connection.is_local, accept_bytes=1_000)
        landed = await land(asked, pool(), bytes_max=MIB)
        with landed.columns() as result:
            assert sorted(result.column("id").to_pylist()) == IDS
        said = connection.inspect().local
        assert ("does not allow it" in said) is not is_granted
        assert (said == "") is is_granted
        came = connection.statistics().received_bytes - before
        assert (came < 5_000) == is_granted


async def test_where_no_more_may_be_sealed_rows_come_over_the_network(
    box: Path, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psp.totebox._granted.SEALED_BYTES_MAX", 8_000)
    async with asking(box, short_path / "run", local=True) as (table, _, connection):
        landed = await land(table.call("rows", ALL, True), pool(), bytes_max=MIB)
        assert "as much for others as it may" in connection.inspect().local
        with landed.columns() as result:
            assert result.row_count == len(IDS)


async def test_an_archive_that_hands_nothing_over_says_so(box: Path, short_path: Path) -> None:
    async with asking(box, None, local=True) as (_, _, there):
        now = token(replace(READER, rows_max=1_000, local=True))
        async with connect(there.address, key=USER, runtime=short_path) as connection:
            table = connection.present(now).call("table", "sales")
            await land(table.call("rows", ALL, connection.is_local), pool(), bytes_max=MIB)
            assert "hands nothing over" in connection.inspect().local


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"rows_total": 899}, BudgetSpent, None),
        ({"bytes_total": 8_000}, BudgetSpent, None),
        ({"bytes_max": 8_000}, LimitExceeded, "8000 bytes"),
        ({"rounding": 10}, Denied, None),
    ],
)
@pytest.mark.parametrize("is_local", [True, False])
async def test_what_a_grant_allows_bounds_a_stream(
    box: Path,
    short_path: Path,
    changes: dict[str, Any],
    error: type[Exception],
    says: str | None,
    is_local: bool,
) -> None:
    async with asking(box, short_path / "run", local=True, **changes) as (table, _, _):
        with pytest.raises(error, match=says):
            await land(table.call("rows", ALL, is_local), pool(), bytes_max=MIB)


async def test_a_slow_reader_slows_the_query_and_nobody_else(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = 0

    def counting(*arguments: Any) -> Any:
        nonlocal computed
        computed += 1
        return batch_of_rows(*arguments)

    closed = list[Engine]()
    close = Engine.close

    def closing(engine: Engine) -> None:
        closed.append(engine)
        close(engine)

    monkeypatch.setattr(Engine, "close", closing)
    monkeypatch.setattr("psp.totebox._engine.LISTED_ROWS", 10)
    monkeypatch.setattr("psp.totebox._engine.batch_of_rows", counting)
    async with asking(box) as (table, grant, _):
        stream: Any = await table.call("rows", ALL, accept_bytes=1_000)
        await anext(stream)
        for _ in range(50):
            await grant.call("describe")
        assert 0 < computed < 10, "it ran ahead of its reader"
        stream.release()
        while not closed:
            await grant.call("describe")  # Its engine is closed a moment after FINISH.
        assert computed < 10


PAPER = secrets.token_bytes(5 * MIB + 321)


class Paper(AssetObject):
    """A sealed document that a grant shows, and where it lies."""

    @property
    def path(self) -> Path:
        return self._desk.archive.assets.path(self._sealed.asset)


@asynccontextmanager
async def paper(place: Path, **changes: Any) -> AsyncIterator[tuple[Paper, Reference]]:
    gc.collect()
    rule, now = replace(READER, **changes), read_clocks()
    (place / "paper").write_bytes(PAPER)
    with OWNER.found(place / "box") as archive:
        seal_document(archive, place / "paper", operator="jane", now=NOW)
        sealed = archive.original_of(archive.ledger.checkpoint.tree_size - 1)
        assert isinstance(sealed, DocumentEntry)
        desk = Desk(archive, list[str]().append)
        grant = verify_untrusted(
            token(rule),
            anchor=archive.anchor,
            presenter=USER.spki_hash,
            ceiling=ceiling("ADMIN", {"sales": ("id", "rooms")}, 1),
            now_s=int(now.wall_s),
        )
        live = LiveGrant(grant, now, archive.memory)
        reader = Reader(desk.reads, grant, desk.clocks)
        reads = RowReads(desk, live, reader, rule, [], [("asset", [[]])], desk.data, None)
        found = Paper(reads, sealed)
        async with loopback(lambda: found) as near, connect(near.address, key=near.key) as far:
            yield found, far.bootstrap


@pytest.mark.parametrize(
    ("start", "count"),
    [(0, len(PAPER)), (4095, 4 * MIB + 2), (5 * MIB, MIB), (len(PAPER), 1), (2**60, 2**60)],
)
async def test_a_range_of_a_document_is_that_range(tmp_path: Path, start: int, count: int) -> None:
    async with paper(tmp_path) as (held, far):
        landed = await land(far.call("stream", start, count), pool(), bytes_max=8 * MIB)
        assert landed.buffer.lease().view == PAPER[start : start + count]
        assert isinstance(landed.header, dict)
        assert landed.header["size"] == len(PAPER)
        assert held._reads.reader.recent[-1] == landed.header["read"]


async def test_a_damaged_document_is_told_and_does_not_kill_the_archive(
    tmp_path: Path,
) -> None:
    async with paper(tmp_path) as (held, far):
        held.path.chmod(0o644)
        held.path.write_bytes(PAPER[:-1])
        with pytest.raises(HandlerFailed):
            await far.call("stream", 0, 10)
        held.path.unlink()
        with pytest.raises(HandlerFailed):
            await far.call("stream", 0, 10)
        # It is cut short while it is read: of what is no more there, nothing is touched.
        held.path.write_bytes(PAPER)
        stream: Any = await far.call("stream", 0, len(PAPER), accept_bytes=MIB)
        await anext(stream)
        os.truncate(held.path, 4 * MIB)
        with pytest.raises(HandlerFailed):
            async for _ in stream:
                pass


async def test_a_range_that_is_none_or_too_long_is_refused(tmp_path: Path) -> None:
    async with paper(tmp_path, bytes_max=MIB) as (_, far):
        with pytest.raises(LimitExceeded, match="range by range"):
            await far.call("stream", 0, MIB + 1)
        for start, count in ((-1, 1), (0, 0)):
            with pytest.raises(Invalid, match="a range begins"):
                await far.call("stream", start, count)
