"""Machines that ask one archive share its time, however much each asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from psp.capability import Operation, TableRule
from psp.plan import Measure, Plan
from psp.totebox import Archive
from psp.totebox import _answers as answers
from psp.totebox._engine import Engine, Release
from psp.totebox._limits import SCANS_AT_ONCE_MAX
from psp.totebox._service import TableObject
from psp.values import Value

from .conftest import ingest, write
from .test_service import Bench

COUNTER = TableRule(operations=frozenset({Operation.COUNT}), aggregates_only=True)
COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),))


async def test_a_machine_that_asks_without_end_takes_nobody_elses_turn(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(archive)
    ingest(archive, write(tmp_path / "in.csv"))
    running: list[Engine] = []

    async def held(
        engine: Engine, plan: Plan, release: Release | None, *_: object
    ) -> dict[str, Value]:
        running.append(engine)
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(answers, "query_in_thread", held)

    def tables(number: int, *, of_user: bool) -> list[TableObject]:
        key = bench.user if of_user else bench.interface
        return [bench.grant(COUNTER, key=key).table("sales") for _ in range(number)]

    greedy, modest = tables(10, of_user=True), tables(2, of_user=False)
    async with trio.open_nursery() as nursery:
        for table in greedy:
            nursery.start_soon(table.query, COUNT.to_wire())
        await trio.testing.wait_all_tasks_blocked()
        assert len(running) == SCANS_AT_ONCE_MAX
        for table in modest:
            nursery.start_soon(table.query, COUNT.to_wire())
        await trio.testing.wait_all_tasks_blocked()
        # One of the modest machine's at once; beside another it has one, as everybody.
        assert len(running) == SCANS_AT_ONCE_MAX + 1
        nursery.cancel_scope.cancel()
    assert not any(bench.desk.scans.running.values())
