from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apsw
import msgpack
import pytest
import trio
import trio.testing

from psp.capability import (
    Operation,
    Revokes,
    Scope,
    TableRule,
    issue,
    one_of,
    sign_revocation,
)
from psp.endpoint import Exposed
from psp.errors import (
    CallFailed,
    Denied,
    Expired,
    Invalid,
    LimitExceeded,
    Overloaded,
    Revoked,
    Suppressed,
)
from psp.ledger import hash_leaf, verify_checkpoint_untrusted, verify_inclusion
from psp.plan import GroupKey, Measure, Plan
from psp.totebox import Archive, State, hear_untrusted
from psp.totebox._clocks import Clocks
from psp.totebox._founding import ledger_origin
from psp.totebox._limits import REFUSALS_LOGGED_MAX, TABLES_OPEN_MAX
from psp.totebox._rows import RowObject
from psp.totebox._service import Desk, GrantObject, TableObject
from psp.transport import MachineKey, Peer
from psp.values import Value

from .conftest import CSV, NOW, OWNER, call_on, ingest, machine, write

START_S = 1_800_000_000
LASTS_S = 900
READER = TableRule(
    operations=frozenset({Operation.META, Operation.COUNT, Operation.SUM, Operation.READ}),
    output=frozenset({"id", "price", "rooms"}),
    filters=frozenset({"id"}),
    groups=frozenset({"rooms"}),
    rows_max=10,
)
PROVE = {"ledger": frozenset({"prove"})}
COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),))


@dataclass
class Clock:
    """Two clocks that stand still until they are moved."""

    wall_s: float = START_S
    boot_s: float = 1_000

    def __call__(self) -> Clocks:
        return Clocks(self.wall_s, self.boot_s)


@dataclass
class Bench:
    """A served archive without a network: what peers would call, called."""

    archive: Archive
    clock: Clock = field(default_factory=Clock)
    logged: list[str] = field(default_factory=list)
    user: MachineKey = field(default_factory=machine)
    interface: MachineKey = field(default_factory=machine)

    def __post_init__(self) -> None:
        self.archive.pair("user", self.user.certificate_pem, "USER")
        self.archive.pair("interface", self.interface.certificate_pem, "INTERFACE")
        self.desk = Desk(self.archive, self.logged.append, self.clock)

    def token(self, key: MachineKey, scope: Scope, *, lasts_s: int = LASTS_S) -> bytes:
        return issue(
            OWNER.anchor,
            archive_id=OWNER.archive_id,
            epoch=1,
            holder=key.public_bytes,
            presenter=key.spki_hash,
            scope=scope,
            not_before_s=START_S,
            not_after_s=START_S + lasts_s,
            depth=0,
            nonce=bytes(16),
        )

    def grant(self, rule: TableRule = READER, *, key: MachineKey | None = None) -> GrantObject:
        key = key or self.user
        return self.present(key, self.token(key, Scope({"sales": rule}, PROVE)))

    def present(self, key: MachineKey, token: bytes) -> GrantObject:
        return self.desk.present(peer(key), token)

    def table(self, rule: TableRule = READER) -> TableObject:
        return self.grant(rule).table("sales")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def values_of(row: RowObject) -> Mapping[str, Value]:
    """Read a row, whether its record has to be waited for or not."""
    values = row.values()
    return await values if isinstance(values, Coroutine) else values


def peer(key: MachineKey) -> Peer:
    return Peer(key.spki_hash, key.public_bytes, "somebody")


@pytest.fixture
def bench(tmp_path: Path, archive: Archive) -> Bench:
    ingest(archive, write(tmp_path / "in.csv"))
    return Bench(archive)


def test_health_needs_a_pairing_and_no_grant(bench: Bench) -> None:
    health = bench.desk.bootstrap(peer(bench.interface)).health()

    assert health["state"] == "active"
    assert health["tree_size"] == 4
    assert (health["record_bytes"], health["result_bytes"]) == (0, 0)


def test_a_description_lists_what_a_pairing_may_be_granted(bench: Bench) -> None:
    described = bench.desk.bootstrap(peer(bench.interface)).describe()

    tables = described["tables"]
    assert isinstance(tables, list)
    (table,) = tables
    assert [column["name"] for column in table["columns"]] == ["id", "date", "price", "rooms"]
    assert "read" not in table["operations"]


def test_a_grant_describes_only_the_columns_that_it_shows(bench: Bench) -> None:
    grant = bench.grant(replace(READER, output=frozenset({"price"}), groups=frozenset()))
    bare = bench.grant(replace(READER, operations=frozenset({Operation.COUNT})))

    described = grant.describe()
    assert "'date'" not in repr(described)
    assert [column["name"] for column in grant.table("sales").describe()["columns"]] == [  # type: ignore[union-attr,index,call-overload]
        "id",
        "price",
    ]
    assert bare.table("sales").describe() == {"name": "sales", "columns": []}


async def test_a_query_names_the_ledger_state_that_it_answered_at(bench: Bench) -> None:
    answer = await bench.table().query(COUNT.to_wire())

    checkpoint = bench.archive.ledger.checkpoint
    assert (answer["as_of"], answer["root"]) == (checkpoint.tree_size, checkpoint.root_hash)
    assert answer["cells"] == [[[], [3]]]


async def test_an_earlier_state_is_answered_as_it_was_and_names_its_root(
    bench: Bench, tmp_path: Path
) -> None:
    before = bench.archive.ledger.checkpoint
    ingest(bench.archive, write(tmp_path / "more.csv", CSV.replace("001", "002")))
    then = replace(COUNT, as_of=before.tree_size)

    answer = await bench.table().query(then.to_wire())

    assert (answer["as_of"], answer["root"]) == (before.tree_size, before.root_hash)
    assert answer["cells"] == [[[], [3]]]
    assert (await bench.table().query(COUNT.to_wire()))["cells"] == [[[], [6]]]
    with pytest.raises(Invalid, match="it has 1 to 5"):
        await bench.table().query(replace(COUNT, as_of=6).to_wire())


async def test_a_grant_with_a_floor_shows_no_earlier_state(bench: Bench) -> None:
    table = bench.table(replace(READER, floor=2))
    with pytest.raises(Denied, match="difference of two states"):
        await table.query(replace(COUNT, as_of=2).to_wire())


async def test_results_and_records_are_counted_apart(bench: Bench) -> None:
    table, counters = bench.table(), bench.desk.counters

    await table.query(COUNT.to_wire())
    assert (counters.record_bytes, counters.result_bytes > 0) == (0, True)

    results = counters.result_bytes
    row = table.row(["0016"])
    assert counters.record_bytes == 0  # Nothing has left yet.
    await values_of(row)
    assert (counters.record_bytes > 0, counters.result_bytes) == (True, results)


async def test_a_failed_query_fails_as_itself_and_not_as_a_group(bench: Bench) -> None:
    unknown = replace(COUNT, group=(GroupKey("date"),))
    floored = bench.table(replace(READER, floor=10))

    with pytest.raises(Invalid):
        await bench.table().query([])
    with pytest.raises(CallFailed):
        await bench.table().query(unknown.to_wire())
    with pytest.raises(Suppressed):
        await floored.query(COUNT.to_wire())


async def test_a_cancelled_query_ends_in_its_thread_and_the_next_one_answers(bench: Bench) -> None:
    table = bench.table()
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    connection = apsw.Connection(":memory:")
    engine = table._answers.engine
    scope = trio.CancelScope()
    token = trio.lowlevel.current_trio_token()

    def leave() -> bool:
        token.run_sync_soon(scope.cancel, idempotent=True)
        return False

    class Endless:
        """An engine whose query never ends by itself."""

        interrupted = apsw.InterruptError

        def query(self, plan: Plan, *_: object) -> dict[str, Value]:
            # From within the scan: an interrupt before it would have found nothing to end.
            connection.set_progress_handler(leave, 1_000)
            connection.execute(endless).fetchall()
            raise AssertionError("unreachable")

        def interrupt(self) -> None:
            connection.interrupt()

    table._answers.engine = Endless()  # type: ignore[assignment]
    with scope:
        await table.query(COUNT.to_wire())
    assert scope.cancelled_caught

    table._answers.engine = engine
    assert (await table.query(COUNT.to_wire()))["cells"] == [[[], [3]]]


async def test_a_call_that_waited_until_its_grant_was_over_is_not_answered(bench: Bench) -> None:
    """A caller may ask a thousand times in the last second and wait for a day."""
    table = bench.table()
    refused = 0

    async def ask() -> None:
        nonlocal refused
        with pytest.raises(Expired):
            await table.query(COUNT.to_wire())
        refused += 1

    await table._scanning.acquire()  # As a scan of somebody else's does.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        bench.clock.wall_s += LASTS_S
        table._scanning.release()
    assert refused == 1


@pytest.mark.parametrize("how", ["over", "revoked"])
async def test_a_grant_that_ends_while_its_question_is_computed_gets_no_answer(
    bench: Bench, how: str
) -> None:
    """A scan may take as long as it likes; what was taken back meanwhile is not shown."""
    table = bench.table()
    engine = table._answers.engine
    statement = sign_revocation(
        OWNER.root,
        archive_id=OWNER.archive_id,
        what=Revokes.GRANT,
        target=table._reader.grant.grant_id,
        until_s=START_S + LASTS_S,
    )

    class Ending:
        """The table's own engine, whose answer comes too late."""

        interrupted = engine.interrupted

        def query(self, *asked: Any) -> dict[str, Value]:
            answer = engine.query(*asked)
            if how == "over":
                bench.clock.wall_s += LASTS_S
            else:
                hear_untrusted(bench.archive, "revoked", statement, now=NOW)
            return answer

    table._answers.engine = Ending()  # type: ignore[assignment]
    recorded = bench.desk.reads.recorded
    with pytest.raises(Expired if how == "over" else Revoked):
        await table.query(COUNT.to_wire())
    assert bench.desk.reads.recorded == recorded


async def test_a_row_shows_the_granted_columns_alone(bench: Bench) -> None:
    table = bench.table(replace(READER, output=frozenset({"rooms"})))
    values = await values_of(table.row(["0016"]))

    assert values == {"rooms": 3}


def test_no_row_no_table_and_not_allowed_are_refused_alike(bench: Bench) -> None:
    unread = replace(READER, operations=frozenset({Operation.COUNT}))
    one_row = replace(READER, rows={"id": one_of(["0017"])})
    refusals: list[Callable[[], object]] = [
        lambda: bench.table().row(["9999"]),
        lambda: bench.table(one_row).row(["0016"]),
        lambda: bench.table(unread).row(["0016"]),
        lambda: bench.table(unread).row(["9999"]),
        lambda: bench.grant().table("rents"),
        lambda: bench.present(
            bench.user, bench.token(bench.user, Scope({"rents": READER}, PROVE))
        ).table("sales"),
        lambda: bench.present(
            bench.user, bench.token(bench.user, Scope({"sales": READER}))
        ).table("sales").row(["0016"]).original(),
    ]  # fmt: skip

    said = set()
    for refused in refusals:
        with pytest.raises(Denied) as caught:
            refused()
        said.add(str(caught.value))
    assert said == {Denied.default_text}


def test_an_interface_pairing_reads_no_row_whatever_was_signed(bench: Bench) -> None:
    table = bench.grant(key=bench.interface).table("sales")

    with pytest.raises(Denied):
        table.row(["0016"])


async def test_a_row_leads_to_its_original_and_its_proof(bench: Bench) -> None:
    original = bench.table().row(["0017"]).original()
    info, proof = await original.info(), await original.proof()

    assert (info["file"], info["line"], info["entry"]) == ("in.csv", 3, 1)
    checkpoint = verify_checkpoint_untrusted(
        proof["checkpoint"],  # type: ignore[arg-type]
        origin=ledger_origin(OWNER.archive_id),
        public_key=OWNER.ledger.public_bytes,
    )
    verify_inclusion(
        hash_leaf(proof["entry"]),  # type: ignore[arg-type]
        proof["index"],  # type: ignore[arg-type]
        proof["hashes"],  # type: ignore[arg-type]
        checkpoint,
    )
    assert info["sha256"].hex().encode() in proof["entry"]  # type: ignore[union-attr,operator]


def all_objects(bench: Bench) -> Iterator[Exposed]:
    grant = bench.grant()
    table = grant.table("sales")
    row = table.row(["0016"])
    yield from (grant, table, row, row.original())


@pytest.mark.parametrize("clock", ["wall", "boot"])
def test_either_clock_ends_every_object_of_a_grant(bench: Bench, clock: str) -> None:
    """Attack 12: the wall clock goes back in the middle of a connection."""
    objects = list(all_objects(bench))

    bench.clock.wall_s += LASTS_S - 1
    bench.clock.boot_s += LASTS_S - 1
    for held in objects:
        held.check(call_on(held, "describe"))
    if clock == "wall":
        bench.clock.wall_s += 1
    else:  # Somebody sets the wall clock back: the other one goes on.
        bench.clock.boot_s, bench.clock.wall_s = bench.clock.boot_s + 1, START_S
    for held in objects:
        with pytest.raises(Expired):
            held.check(call_on(held, "describe"))


def test_a_suspended_archive_answers_health_only(bench: Bench) -> None:
    objects = list(all_objects(bench))
    bench.archive.manifest = replace(bench.archive.manifest, state=State.SUSPENDED)

    for held in objects:
        with pytest.raises(Denied, match="suspended"):
            held.check(call_on(held, "describe"))
    assert bench.desk.bootstrap(peer(bench.user)).health()["state"] == "suspended"


def test_a_refused_token_is_explained_to_the_owner_alone(bench: Bench) -> None:
    token = bench.token(bench.user, Scope({"sales": READER}))
    late = Bench.token(bench, bench.user, Scope({"sales": READER}), lasts_s=1)

    with pytest.raises(Denied) as stolen:
        bench.present(bench.interface, token)
    bench.clock.wall_s += 1
    with pytest.raises(Denied) as expired:
        bench.present(bench.user, late)

    assert str(stolen.value) == str(expired.value) == Denied.default_text
    assert bench.logged == [
        "a token of somebody was refused at the check 'presenter'",
        "a token of somebody was refused at the check 'time'",
    ]
    assert stolen.value.__suppress_context__


def test_a_peer_that_is_refused_without_end_is_written_some_times_a_minute_and_counted(
    bench: Bench,
) -> None:
    token = bench.token(bench.user, Scope({"sales": READER}))

    def steal(times: int) -> None:
        for _ in range(times):
            with pytest.raises(Denied):
                bench.present(bench.interface, token)

    line = "a token of somebody was refused at the check 'presenter'"
    more = "more refusals of the same peer within 60 seconds; the last: " + line
    most = REFUSALS_LOGGED_MAX
    steal(500)
    assert bench.logged == [line] * most
    with pytest.raises(Denied):  # Another peer is written for itself.
        bench.present(bench.user, b"nothing")
    assert len(bench.logged) == most + 1
    bench.clock.boot_s += 60
    steal(most + 2)
    assert bench.logged[most + 1 :] == [f"{500 - most} {more}", *[line] * most]
    bench.desk._refusals.end_those_over(bench.clock.boot_s)
    assert len(bench.logged) == 2 * (most + 1)
    bench.desk._refusals.end_those_over(bench.clock.boot_s + 60)
    assert bench.logged[2 * (most + 1) :] == [f"2 {more}"]
    bench.desk._refusals.end_those_over(bench.clock.boot_s + 600)
    assert len(bench.logged) == 2 * (most + 1) + 1


def test_what_was_only_counted_is_told_when_an_archive_is_no_longer_served(
    bench: Bench,
) -> None:
    token = bench.token(bench.user, Scope({"sales": READER}))

    async def served() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.desk.keep)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(REFUSALS_LOGGED_MAX + 3):
                with pytest.raises(Denied):
                    bench.present(bench.interface, token)
            nursery.cancel_scope.cancel()

    trio.run(served)
    assert [line[:23] for line in bench.logged[REFUSALS_LOGGED_MAX:]] == ["3 more refusals of the "]


def test_a_peer_opens_a_limited_number_of_tables_and_gets_room_back(bench: Bench) -> None:
    """A thousand tables took every file that the process may open: nobody could connect again."""
    files = open_files()
    gc.disable()  # What is released is closed at once, not when garbage is next collected.
    try:
        held = [bench.table() for _ in range(TABLES_OPEN_MAX)]
        with pytest.raises(Overloaded):
            bench.table()
        assert bench.grant(key=bench.interface).table("sales")
        held.clear()
        assert open_files() <= files + 1
        assert bench.table()
    finally:
        gc.enable()


def test_a_grant_keeps_one_engine_for_a_table(bench: Bench) -> None:
    grant = bench.grant()

    assert grant.table("sales") is grant.table("sales")


async def test_bytes_are_counted_over_the_whole_of_what_leaves(bench: Bench) -> None:
    """The state and its root are part of an answer, and so is what tells about an original."""
    answer = await bench.table().query(COUNT.to_wire())
    figures = {name: answer[name] for name in answer if name not in ("as_of", "root", "read")}
    size = len(msgpack.packb(figures))

    with pytest.raises(LimitExceeded, match=f"this grant allows {size}"):
        await bench.table(replace(READER, bytes_max=size)).query(COUNT.to_wire())
    row = bench.table(replace(READER, bytes_max=70)).row(["0016"])
    assert (await values_of(row))["id"] == "0016"
    with pytest.raises(LimitExceeded, match="allows 70"):
        await row.original().info()
    assert (await bench.table(replace(READER, bytes_max=300)).query(COUNT.to_wire()))["cells"]
