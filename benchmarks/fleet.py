"""A fleet: a thousand members asked at once, beside one; and what they answered, combined.

The thousand are real: TLS connections to listeners in one other process (`_village.py`), which
answer from memory, so that nothing but our own work is measured. Ten thousand are simulated: real
cores on both sides of a virtual network, each size in a process of its own, whose memory is told.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio

from benchmarks._contest import Spread
from benchmarks._reconciled import compare
from benchmarks._report import Bar, Report
from benchmarks._versions import in_force
from benchmarks._village import ANSWER, WORK_S, archive_id
from psp.aggregator import (
    Answer,
    Desk,
    Member,
    MemberState,
    Outcome,
    Query,
    Roster,
    Tenant,
    TrioFleet,
    Turns,
    open_fleet,
)
from psp.aggregator._reply import Reply, read_reply_untrusted
from psp.endpoint import Address
from psp.errors import Overloaded
from psp.plan import plan_from_sql
from psp.transport import MachineKey
from psp.values import Value

BARS: Final = {
    "fanout_1000_vs_one": Bar(at_most=1.5),
    "slowest_vs_median": Bar(at_most=1.7),
    "combine_vs_duckdb_union": Bar(at_most=3),
    "greedy_tenant_p99": Bar(at_most=2),
}
SQL: Final = (
    "select month(day) as month, count(*) as n, sum(price) as volume, sum(area) as area"
    " from {} group by month"
)
QUESTION: Final = plan_from_sql(SQL.format("at_once"))
AT_WORK: Final = plan_from_sql(SQL.format("at_work"))
DEADLINE_S: Final = 60.0
SIZES: Final = (10, 100, 1_000, 3_000, 10_000)


class Effort(NamedTuple):
    """How much is measured.

    Attributes:
        members: Real ones.
        rounds: Samples of each pair.
        asked: Questions of the modest tenant, for its 99th percentile.
        rows: Of each side of a reconciliation.
        sizes: Simulated members.
        settle_s: How long is waited for the member that never answers, before it is measured.
    """

    members: int
    rounds: int
    asked: int
    rows: int
    sizes: tuple[int, ...]
    settle_s: float


FULL: Final = Effort(members=1_000, rounds=9, asked=200, rows=1_000_000, sizes=SIZES, settle_s=5.0)
QUICK: Final = Effort(members=20, rounds=2, asked=10, rows=2_000, sizes=(10,), settle_s=0.5)


class Ready(Tenant):
    """A tenant whose tokens need no file; the member of that name hangs."""

    def token_for(self, member: str) -> bytes:
        return b"slow" if member == "slow" else b"token"


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure everything."""
    effort = QUICK if quick else FULL
    report = Report("fleet", BARS)
    report.limits["load_before"] = round(os.getloadavg()[0], 1)
    with village(effort.members) as roster:
        trio.run(_real, roster, effort, report)
    _combining(effort, report)
    for title, value in compare(effort.rows).items():
        report.note("reconciliation", title, Spread(value, value, value))
    for size in effort.sizes:
        _simulated(size, report)
    report.limits.update(in_force(), members=effort.members, rounds=effort.rounds)
    return report.to_json()


@contextmanager
def village(members: int) -> Iterator[Roster]:
    """Serve so many members from another process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 16_384), most))
    with tempfile.TemporaryDirectory() as directory:
        key = MachineKey.create(Path(directory) / "aggregator.key")
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks._village"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin
            assert process.stdout
            setup = {"certificate": key.certificate_pem, "members": members}
            process.stdin.write(json.dumps(setup) + "\n")
            process.stdin.flush()
            ready = json.loads(process.stdout.readline())
            names = [f"m{number}" for number in range(members - 1)] + ["slow"]
            yield _roster(Path(directory), names, ready)
            process.stdin.close()


def _roster(directory: Path, names: list[str], ready: dict[str, list[str]]) -> Roster:
    certificate = str(ready["certificate"])
    members = [
        Member(
            name=name,
            label=name,
            address=Address.from_text_untrusted(text, certificate_pem=certificate, name=name),
        )
        for name, text in zip(names, ready["addresses"], strict=True)
    ]
    tenants = {
        name: Ready(name=name, sentence="", key_file=directory / "aggregator.key", grants=directory)
        for name in ("modest", "greedy")
    }
    return Roster(name="village", file=directory, members=tuple(members), tenants=tenants)


async def _real(roster: Roster, effort: Effort, report: Report) -> None:
    well = Roster(
        name=roster.name, file=roster.file, members=roster.members[:-1], tenants=roster.tenants
    )
    async with open_fleet(well, connect_s=DEADLINE_S) as fleet:
        started_s = time.perf_counter()
        await _view(fleet)
        report.note("first_view_ms", str(len(well.members)), _ms(time.perf_counter() - started_s))
        await _fan_out(fleet, effort, report)
    async with open_fleet(roster, connect_s=DEADLINE_S) as fleet:
        await _slowest(fleet, effort, report)
    await _greedy(well, effort, report)


async def _fan_out(fleet: TrioFleet, effort: Effort, report: Report) -> None:
    line = next(iter(fleet.lines.values()))
    query = Query(plan=QUESTION.plan, deadline_s=DEADLINE_S, receipts=False, depth=1)
    ratios, views, calls = [], [], []
    for _ in range(effort.rounds):
        lone_s = statistics.median([await _timed(lambda: query.put_to(line)) for _ in range(200)])
        view_s = await _timed(lambda: _view(fleet))
        per_member_s = view_s / len(fleet.lines)
        ratios.append(per_member_s / lone_s)
        views.append(view_s)
        calls.append(lone_s)
    report.add("fanout_1000_vs_one", Spread.of(ratios))
    report.note("view_ms", str(len(fleet.lines)), _spread_ms(views))
    report.note("lone_call_ms", "1", _spread_ms(calls))


async def _slowest(fleet: TrioFleet, effort: Effort, report: Report) -> None:
    """One member never answers: what does the view cost, beside the one without it?"""
    others = ",".join(name for name in fleet.lines if name != "slow")
    await _view(fleet, members=others)
    # Once with a long deadline, so that the connection to the slow one is not what is measured.
    await _view(fleet, deadline_s=effort.settle_s)
    ratios = []
    for _ in range(effort.rounds):
        fleet.lines["slow"].breaker.answer()  # Asked each time, as if it had just begun to hang.
        without_s = await _timed(lambda: _view(fleet, members=others))
        limit_s = 1.5 * without_s
        with_s = await _timed(partial(_view, fleet, deadline_s=limit_s))
        ratios.append(with_s / without_s)
    report.add("slowest_vs_median", Spread.of(ratios))


async def _greedy(roster: Roster, effort: Effort, report: Report) -> None:
    """Twenty members, two tenants: how long does the modest one wait for its answer?"""
    few = Roster(
        name=roster.name, file=roster.file, members=roster.members[:20], tenants=roster.tenants
    )
    async with open_fleet(few, tenant="modest") as one, open_fleet(few, tenant="greedy") as other:
        turns = Turns()
        modest, greedy = Desk(one, turns), Desk(other, turns)
        await _put(modest)
        await _put(greedy)
        ratios, alone, beside = [], [], []
        for _ in range(max(effort.rounds // 3, 1)):
            alone_s = await _p99(modest, effort.asked)
            async with trio.open_nursery() as nursery:
                for _ in range(32):
                    nursery.start_soon(_ask_always, greedy)
                await trio.sleep(0.2)
                beside_s = await _p99(modest, effort.asked)
                nursery.cancel_scope.cancel()
            await trio.sleep(1.5)  # Until the greedy one counts as gone.
            ratios.append(beside_s / alone_s)
            alone.append(alone_s)
            beside.append(beside_s)
    report.add("greedy_tenant_p99", Spread.of(ratios))
    report.note("modest_tenant_p99_ms", "alone", _spread_ms(alone))
    report.note("modest_tenant_p99_ms", "beside_a_greedy_one", _spread_ms(beside))
    report.limits["archive_at_work_ms"] = WORK_S * 1000


async def _ask_always(desk: Desk) -> None:
    while True:
        try:
            await _put(desk)
        except Overloaded:
            await trio.sleep(0.001)


async def _put(desk: Desk) -> None:
    await desk.put(AT_WORK.plan, deadline_s=DEADLINE_S, depth=1, receipts=False)


async def _p99(desk: Desk, asked: int) -> float:
    times = sorted([await _timed(lambda: _put(desk)) for _ in range(asked)])
    return times[int(len(times) * 0.99)]


async def _view(
    fleet: TrioFleet, *, members: str = "", deadline_s: float = DEADLINE_S
) -> list[object]:
    answer = await fleet.put(QUESTION, members=members, deadline_s=deadline_s)
    return [*answer.rows]


def _combining(effort: Effort, report: Report) -> None:
    """The answers lie there as the wire gave them; both add them up by month, to the cent."""
    outcomes = tuple(_outcome(f"m{number}") for number in range(effort.members))
    import duckdb
    import pyarrow as pa

    def ours() -> list[Sequence[Value]]:
        answer = Answer(question=QUESTION, outcomes=outcomes, asked_at=datetime.now(UTC))
        return [*answer.rows]

    def as_table() -> object:
        cells = [part for it in outcomes if it.reply for part in it.reply.parts]
        return pa.table(
            {
                "month": [cell.key[0] if cell.key else None for cell in cells],
                "n": [cell.figures[0] for cell in cells],
                "volume": pa.array([cell.figures[1] for cell in cells], type=pa.decimal128(38, 2)),
                "area": [cell.figures[2] for cell in cells],
            }
        )

    connection = duckdb.connect()
    grouped = "select month, sum(n), sum(volume), sum(area) from cells group by month order by 1"

    def theirs() -> list[tuple[Any, ...]]:
        cells = as_table()  # noqa: F841 - found by DuckDB, by its name.
        return connection.execute(grouped).fetchall()

    connection.register("there_already", as_table())
    of_table = grouped.replace("cells", "there_already")

    def grouping_alone() -> list[tuple[Any, ...]]:
        return connection.execute(of_table).fetchall()

    assert [[*row] for row in ours()] == [[*row] for row in theirs()]
    ratios, alone = [], []
    for _ in range(effort.rounds):
        gc.collect()
        ours_s, theirs_s, grouping_s = map(_seconds, (ours, theirs, grouping_alone))
        ratios.append(ours_s / theirs_s)
        alone.append(grouping_s)
        report.note("combine_ms", "ours", _ms(ours_s))
    report.add("combine_vs_duckdb_union", Spread.of(ratios))
    report.note("combine_ms", "duckdb_grouping_once_it_has_the_table", _spread_ms(alone))


def _outcome(name: str) -> Outcome[Reply]:
    reply = read_reply_untrusted(name, QUESTION.plan, ANSWER)
    return Outcome(member=name, state=MemberState.ANSWERED, reply=reply)


# Simulated


def _simulated(size: int, report: Report) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fleet", str(size)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for title, value in json.loads(done.stdout).items():
        report.note(title, str(size), Spread(value, value, value))


async def simulate(size: int) -> dict[str, float]:
    """Ask so many members over a virtual network; say what it took."""
    from benchmarks._village import Bootstrap, Grant
    from psp.testing import VirtualHost, VirtualNetwork

    # Both sides live in this one process, and all that is made stays: the collector would walk over
    # twenty thousand cores again and again, and find nothing.
    gc.disable()
    network = VirtualNetwork()
    members = []
    for number in range(size):
        network.hosts[archive_id(number)] = VirtualHost(
            Bootstrap, lambda _peer, token: Grant(token)
        )
        address = Address(archive_id(number), "virtual", 1, "", f"m{number}")
        members.append(Member(name=f"m{number}", label=f"m{number}", address=address))
    with tempfile.TemporaryDirectory() as directory:
        key = Path(directory) / "machine.key"
        MachineKey.create(key)
        tenant = Ready(name="modest", sentence="", key_file=key, grants=Path(directory))
        roster = Roster(
            name="virtual", file=key, members=tuple(members), tenants={"modest": tenant}
        )
        gc.collect()
        before = _resident_bytes()
        async with open_fleet(roster, dial=network.dial, connect_s=600.0) as fleet:
            first_s = await _timed(lambda: _view(fleet, deadline_s=600.0))
            rounds = 3 if size < 1_000 else 1
            warm_s = [await _timed(lambda: _view(fleet, deadline_s=600.0)) for _ in range(rounds)]
            held = _resident_bytes() - before
            answered = sum(line.state is MemberState.ANSWERED for line in fleet.lines.values())
    return {
        "simulated_answered": answered,
        "simulated_first_view_ms": first_s * 1000,
        "simulated_view_ms": statistics.median(warm_s) * 1000,
        "simulated_memory_mib": held / 2**20,
    }


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# Time


async def _timed(do: Callable[[], Awaitable[object]]) -> float:
    started_s = time.perf_counter()
    await do()
    return time.perf_counter() - started_s


def _seconds(do: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    do()
    return time.perf_counter() - started_s


def _ms(seconds: float) -> Spread:
    return Spread(*[seconds * 1000] * 3)


def _spread_ms(seconds: list[float]) -> Spread:
    return Spread.of([each * 1000 for each in seconds])


if __name__ == "__main__":
    print(json.dumps(trio.run(simulate, int(sys.argv[1]))))
