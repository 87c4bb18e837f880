"""No answer without an entry, few syncs, and receipts that only their reader gets."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from psp.capability import Command, Scope, hash_commands, issue, narrow
from psp.errors import ArchiveError, Denied, HandlerFailed, LedgerError, Overloaded, Suppressed
from psp.ledger import Appended, Ledger
from psp.totebox import Archive
from psp.totebox._disk_wait import DiskWait
from psp.totebox._entries import encode_entry
from psp.totebox._founding import ledger_origin
from psp.totebox._limits import (
    FREE_BYTES_MIN,
    GRANTS_COUNTED_MAX,
    QUICK_WAITS_MIN,
    READS_BATCH_MAX,
    READS_BURST,
    READS_PER_S,
    READS_WAITING_MAX,
)
from psp.totebox._manifest import ReadPolicy
from psp.totebox._rates import Rates
from psp.totebox._read_audit import READS_DIRECTORY, ReadAudit, reads_origin
from psp.totebox._receipts import (
    READ,
    Read,
    decode_read_untrusted,
    hash_result,
    verify_receipt_untrusted,
)
from psp.transport import flusher

from .conftest import OWNER, ingest, write
from .test_service import COUNT, READER, START_S, Bench, peer, values_of

ORIGIN = reads_origin(ledger_origin(OWNER.archive_id))
KEY = OWNER.ledger.public_bytes


@pytest.fixture
def bench(tmp_path: Path, archive: Archive) -> Bench:
    ingest(archive, write(tmp_path / "in.csv"))
    return Bench(archive)


def verified(receipt: object) -> Any:
    return verify_receipt_untrusted(receipt, public_key=KEY, origin=ORIGIN)


async def test_an_answer_tells_its_place_and_its_receipt_proves_it(bench: Bench) -> None:
    grant = bench.grant()
    answer = dict(await grant.table("sales").query(COUNT.to_wire()))
    place = answer.pop("read")
    receipt = verified(await grant.receipt(place))  # type: ignore[arg-type]

    data = bench.archive.ledger.checkpoint
    read = receipt.read
    assert (receipt.index, read.grant_id) == (0, grant._grant.grant_id)
    commands: list[Command] = [("table", ["sales"]), ("query", [COUNT.to_wire()])]
    assert read.command == hash_commands(commands)
    assert (read.tree_size, read.root_hash) == (data.tree_size, data.root_hash)
    assert (read.rows, read.groups, read.result) == (0, 1, hash_result(answer))
    assert read.time.timestamp() == START_S


async def test_all_that_is_shown_of_a_row_is_on_record(bench: Bench) -> None:
    grant = bench.grant()
    row = grant.table("sales").row(["0017"])
    await values_of(row)
    await row.original().info()
    await row.original().proof()

    assert grant.reads() == [0, 1, 2]
    reads = [verified(await grant.receipt(place)).read for place in (0, 1, 2)]
    assert [read.rows for read in reads] == [1, 1, 1]
    found = ("table", ["sales"]), ("row", [["0017"]])
    assert reads[0].command == hash_commands([*found, ("values", [])])
    assert reads[2].command == hash_commands([*found, ("original", []), ("proof", [])])


async def test_a_refused_question_is_no_read(bench: Bench) -> None:
    with pytest.raises(Suppressed):
        await bench.table(replace(READER, floor=10)).query(COUNT.to_wire())
    with pytest.raises(Denied):
        bench.table().row(["9999"])

    assert bench.desk.reads.recorded == 0


async def test_a_receipt_is_for_the_grant_that_made_the_read(bench: Bench) -> None:
    reader = bench.grant()
    await reader.table("sales").query(COUNT.to_wire())
    token = bench.token(bench.user, Scope({"sales": READER}, {}))
    other = bench.present(bench.user, token)
    elsewhere = bench.grant()  # The same grant, over another connection.

    said = set()
    for grant, place in ((other, 0), (reader, 1), (reader, -1)):
        with pytest.raises(Denied) as caught:
            await grant.receipt(place)
        said.add(str(caught.value))
    assert said == {Denied.default_text}
    assert verified(await elsewhere.receipt(0)).index == 0


@dataclass
class SlowLedger:
    """A real ledger whose batches wait for permission; it counts them."""

    ledger: Ledger
    open: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)

    def append(self, entries: Sequence[bytes]) -> Appended:
        self.open.wait()
        self.batches.append(len(entries))
        return self.ledger.append(entries)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)


def plenty() -> int:
    return FREE_BYTES_MIN


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SlowLedger]:
    with Ledger.create(tmp_path / "reads", origin=ORIGIN, key=OWNER.ledger) as ledger:
        yield SlowLedger(ledger)


def audit_on(
    ledger: object,
    policy: ReadPolicy = ReadPolicy.BEFORE_ANSWER,
    free_bytes: Callable[[], int] = plenty,
) -> ReadAudit:
    return ReadAudit(ledger, policy, free_bytes=free_bytes)  # type: ignore[arg-type]


async def test_answers_that_are_ready_meanwhile_share_one_sync(slow: SlowLedger) -> None:
    audit, places = audit_on(slow), []

    async def read(number: int) -> None:
        places.append((await audit.record(b"%d" % number, 0), number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, 0)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(1, 100):
            nursery.start_soon(read, number)
        await trio.testing.wait_all_tasks_blocked()
        assert places == []  # Nothing leaves before it is durable.
        slow.open.set()

    assert slow.batches == [1, 99]
    assert len(places) == 100
    entries = slow.ledger.entries(0, 100)
    assert all(entries[place] == b"%d" % number for place, number in places)


async def test_on_a_quick_disk_one_read_of_a_turn_is_on_record_at_once(bench: Bench) -> None:
    """And the others of that turn share a batch."""
    audit, row = bench.desk.reads, bench.table().row(["0016"])
    audit._disk = DiskWait(clock=lambda: 0.0)  # Which never sees anything take long.
    for _ in range(QUICK_WAITS_MIN):
        values = row.values()
        assert isinstance(values, Coroutine)
        await values
    flusher().turn += 1

    assert isinstance(row.values(), Mapping)
    assert audit.recorded == audit._ledger.checkpoint.tree_size == QUICK_WAITS_MIN + 1
    second = row.values()
    assert isinstance(second, Coroutine)
    await second
    assert audit._ledger.checkpoint.tree_size == QUICK_WAITS_MIN + 2


async def test_what_cannot_be_on_record_at_once_does_not_leave(bench: Bench) -> None:
    audit, row = bench.desk.reads, bench.table().row(["0016"])
    audit._disk = DiskWait(clock=lambda: 0.0)
    for _ in range(QUICK_WAITS_MIN):
        await values_of(row)
    flusher().turn += 1
    audit._ledger.close()

    with pytest.raises(HandlerFailed, match="cannot record reads"):
        row.values()
    assert (audit.state, audit.recorded) == ("stopped", QUICK_WAITS_MIN)


async def test_a_read_under_a_budget_is_never_at_once(bench: Bench) -> None:
    bench.desk.reads.policy = ReadPolicy.WITHIN_1S
    row = bench.table(replace(READER, bytes_total=10_000)).row(["0016"])
    values = (await row).values() if isinstance(row, Coroutine) else row.values()

    assert isinstance(values, Coroutine)
    await values


async def test_who_hangs_up_takes_no_other_entry_along(slow: SlowLedger) -> None:
    audit = audit_on(slow)
    first, second = trio.CancelScope(), trio.CancelScope()
    place = -1

    async def read(scope: trio.CancelScope) -> None:
        nonlocal place
        with scope:
            place = await audit.record(b"entry", 0)

    async with trio.open_nursery() as nursery:
        for scope in (first, second, trio.CancelScope()):
            nursery.start_soon(read, scope)
            await trio.testing.wait_all_tasks_blocked()
        first.cancel()  # The one that writes,
        second.cancel()  # and one that waits.
        slow.open.set()

    assert (place, audit.recorded, slow.ledger.checkpoint.tree_size) == (2, 3, 3)


async def test_more_reads_than_a_batch_takes_are_several_batches(slow: SlowLedger) -> None:
    slow.open.set()
    audit = audit_on(slow, ReadPolicy.WITHIN_1S)
    for _ in range(READS_BATCH_MAX + 1):
        await audit.record(b"x" * 600, 0)
    await audit.seal_through(READS_BATCH_MAX)

    assert slow.batches == [READS_BATCH_MAX, 1]


async def test_within_a_second_the_answer_leaves_first_and_a_receipt_hurries(
    bench: Bench,
) -> None:
    bench.desk.reads.policy = ReadPolicy.WITHIN_1S
    grant = bench.grant()
    await grant.table("sales").query(COUNT.to_wire())

    assert bench.desk.reads.recorded == 0
    assert verified(await grant.receipt(0)).index == 0


async def test_within_a_second_entries_are_written_by_themselves(
    slow: SlowLedger, mock_clock: trio.testing.MockClock
) -> None:
    slow.open.set()
    audit = audit_on(slow, ReadPolicy.WITHIN_1S)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(audit.run)
        await audit.record(b"entry", 0)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.999)
        while not audit.recorded:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


def test_a_record_that_is_a_second_behind_lets_nobody_in(bench: Bench) -> None:
    bench.desk.reads.policy = ReadPolicy.WITHIN_1S
    grant = bench.grant()

    async def two_reads() -> None:
        table = grant.table("sales")
        await table.query(COUNT.to_wire())
        bench.clock.boot_s += 1.01
        with pytest.raises(Overloaded, match="behind"):
            await table.query(COUNT.to_wire())

    trio.run(two_reads)


def test_what_waits_when_the_archive_closes_is_written(tmp_path: Path) -> None:
    with OWNER.found(tmp_path / "new") as archive:
        audit = archive.read_audit()
        audit.policy = ReadPolicy.WITHIN_1S
        trio.run(audit.record, b"entry", 0.0)
    with Archive.open(tmp_path / "new") as archive:
        assert archive.read_audit().recorded == 1


async def test_a_record_that_cannot_be_written_stops_answers_and_shows(bench: Bench) -> None:
    """The disk itself is made to fail in tests/faults/test_read_audit_crash.py."""
    grant, table = bench.grant(), bench.table()
    row = table.row(["0016"])
    bench.desk.reads._ledger.close()

    with pytest.raises(HandlerFailed, match="cannot record reads") as caught:
        await table.query(COUNT.to_wire())
    assert str(bench.archive.directory) not in str(caught.value)
    for read in (
        partial(values_of, row),
        row.original().info,
        partial(table.query, COUNT.to_wire()),
    ):
        with pytest.raises(HandlerFailed):
            await read()
    with pytest.raises(Denied):
        await grant.receipt(99)
    health = bench.desk.bootstrap(peer(bench.user)).health()
    assert [text for text in bench.logged if "reads are stopped" in text] == bench.logged[-1:]
    assert health["state"] == "active, reads stopped"
    assert health["reads"] == {"policy": "before-answer", "state": "stopped", "recorded": 0}


async def test_a_nearly_full_disk_is_refused_before_anything_is_done(slow: SlowLedger) -> None:
    audit = audit_on(slow, free_bytes=lambda: FREE_BYTES_MIN - 1)

    with pytest.raises(Overloaded, match="disk is nearly full"):
        audit.admit(None, 0)  # type: ignore[arg-type]


async def test_a_long_line_for_the_record_is_refused(slow: SlowLedger) -> None:
    audit = audit_on(slow, ReadPolicy.WITHIN_1S)
    for _ in range(READS_WAITING_MAX):
        await audit.record(b"entry", 0)

    with pytest.raises(Overloaded, match="wait for their record"):
        audit.admit(None, 0)  # type: ignore[arg-type]


def test_a_grant_reads_so_fast_and_no_faster() -> None:
    rates = Rates()
    for _ in range(int(READS_BURST)):
        rates.spend(b"one", 0)
    with pytest.raises(Overloaded, match="times a second"):
        rates.spend(b"one", 0)
    rates.spend(b"two", 0)  # Another's allowance is its own.
    for _ in range(int(READS_PER_S)):
        rates.spend(b"one", 1)
    with pytest.raises(Overloaded):
        rates.spend(b"one", 1)
    with pytest.raises(Overloaded):
        rates.spend(b"one", 0.5)  # A clock that goes back gives nothing.


def test_counting_grants_takes_bounded_room() -> None:
    rates = Rates()
    for number in range(GRANTS_COUNTED_MAX + 10):
        rates.spend(b"%d" % number, 0)

    assert len(rates._left) == GRANTS_COUNTED_MAX


async def test_narrowing_a_grant_gives_no_second_allowance(bench: Bench) -> None:
    now = START_S
    scope = Scope({"sales": READER}, {})
    whole = issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=bench.user.public_bytes,
        presenter=bench.user.spki_hash,
        scope=scope,
        not_before_s=now,
        not_after_s=now + 60,
        depth=1,
        nonce=bytes(16),
    )
    narrowed = narrow(
        whole,
        bench.user,
        holder=bench.user.public_bytes,
        presenter=bench.user.spki_hash,
        scope=scope,
        not_before_s=now,
        not_after_s=now + 60,
        depth=0,
        nonce=bytes([1] * 16),
    )
    first, second = bench.present(bench.user, whole), bench.present(bench.user, narrowed)
    assert first._grant.grant_id != second._grant.grant_id
    bench.desk.reads._rates._left[first._grant.ids[0]] = (1.0, bench.clock.boot_s)

    await first.table("sales").query(COUNT.to_wire())
    with pytest.raises(Overloaded, match="times a second"):
        await second.table("sales").query(COUNT.to_wire())


def test_a_lost_record_is_never_begun_again(tmp_path: Path) -> None:
    OWNER.found(tmp_path / "new").close()
    shutil.rmtree(tmp_path / "new" / READS_DIRECTORY)

    with Archive.open(tmp_path / "new") as archive, pytest.raises(ArchiveError, match="is gone"):
        archive.read_audit()


def test_an_archive_opened_only_to_read_serves_nothing(tmp_path: Path) -> None:
    OWNER.found(tmp_path / "new").close()

    with (
        Archive.open(tmp_path / "new", read_only=True) as archive,
        pytest.raises(ArchiveError, match="only to read"),
    ):
        archive.read_audit()


def changed(receipt: dict[str, Any]) -> Iterator[object]:
    """A receipt in all the ways in which a stranger could send it wrongly."""
    yield from (None, [], {}, {**receipt, "index": True}, {**receipt, "index": -1})
    for name in receipt:
        yield {key: value for key, value in receipt.items() if key != name}
        yield {**receipt, name: None}
    for name in ("index", "tree_size"):
        yield {**receipt, name: receipt[name] + 1}
    for name in ("checkpoint", "entry"):
        data = receipt[name]
        for at in range(len(data)):
            yield {**receipt, name: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]}
    yield {**receipt, "hashes": receipt["hashes"][1:]}
    yield {**receipt, "hashes": [*receipt["hashes"], bytes(32)]}
    yield {**receipt, "hashes": [receipt["hashes"][0][:31]]}
    yield {**receipt, "hashes": [bytes(32)] * 64}


async def test_a_changed_receipt_proves_nothing(bench: Bench) -> None:
    grant = bench.grant()
    for _ in range(3):
        await grant.table("sales").query(COUNT.to_wire())
    receipt = await grant.receipt(1)
    verified(receipt)

    for wrong in changed(dict(receipt)):
        with pytest.raises(LedgerError):
            verified(wrong)
    for key, origin in ((OWNER.box.public_bytes, ORIGIN), (KEY, ORIGIN.removesuffix("/reads"))):
        with pytest.raises(LedgerError):
            verify_receipt_untrusted(receipt, public_key=key, origin=origin)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"[]",
        b"[" * 4_000,
        b"x" * 5_000,
        b'{"kind":"created"}',
    ],
)
def test_an_entry_that_is_no_read_is_refused(entry: bytes) -> None:
    with pytest.raises(LedgerError, match="proves nothing"):
        decode_read_untrusted(entry)


@pytest.mark.parametrize("result", [None, bytes(range(32))])
def test_a_read_is_written_as_every_other_entry_is(result: bytes | None) -> None:
    """By hand, because each answer waits for it; to the byte what the one encoder makes."""
    when = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    read = Read(b"g" * 32, b"c" * 32, 7, b"r" * 32, 1, 2, 300, when, result)
    facts = {
        "grant": read.grant_id.hex(),
        "command": read.command.hex(),
        "tree_size": 7,
        "root": read.root_hash.hex(),
        "rows": 1,
        "groups": 2,
        "bytes": 300,
    }
    if result is not None:
        facts["result"] = result.hex()

    assert read.encode() == encode_entry(READ, when, facts)
    assert decode_read_untrusted(read.encode()) == read


async def test_an_entry_has_one_form(bench: Bench) -> None:
    await bench.table().query(COUNT.to_wire())
    (entry,) = bench.desk.reads._ledger.entries(0, 1)
    decode_read_untrusted(entry)

    for wrong in (
        entry.replace(b'"rows":0', b'"rows":-1'),
        entry.replace(b'"rows":0', b'"rows":0.0'),
        entry.replace(b'"rows":0', b'"rows":0,"rows":0'),
        entry.replace(b'"rows":0', b'"rows":false'),
        entry.replace(b'"kind":"read"', b'"kind":"ingested"'),
        entry + b" ",
    ):
        assert wrong != entry
        with pytest.raises(LedgerError):
            decode_read_untrusted(wrong)


def test_a_long_result_has_no_hash() -> None:
    assert hash_result({"a": "x" * 300_000}) is None
    assert hash_result({"b": [1], "a": {"d": 1, "c": 2}}) == hash_result(
        {"a": {"c": 2, "d": 1}, "b": (1,)}
    )
