"""What is computed for an answer ends when nobody waits for it, and nothing has come of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trio

from psp.totebox import _query_sets as query_sets
from psp.totebox._query_sets import QuerySets
from psp.totebox._stop import Stop, Stopped

from .test_history import ALL_BUT_ONE, TENANT, ask, bench, counted, is_refused, told
from .test_service import Bench


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Bench]:
    made = bench(tmp_path)
    yield made
    made.archive.close()


class After(Stop):
    """Is given up when it has been asked so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def check(self) -> None:
        self.left -= 1
        if not self.left:
            self.interrupt()
        super().check()


def dense(count: int) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Sets of twenty out of so many rows, all across one another."""
    chance = np.random.default_rng(7)
    return [np.where(chance.random(count) < 20 / count, 0, -1) for _ in range(count // 2)]


def test_the_search_asks_again_and_again_whether_anybody_waits() -> None:
    audit, sets = QuerySets.over(np.arange(200)), dense(200)
    never = After(-1)
    assert audit.with_sets(sets, 10, never) is not audit
    asked = -1 - never.left
    assert asked > 20

    for times in (1, 2, asked // 2, asked):
        with pytest.raises(Stopped):
            audit.with_sets(sets, 10, After(times))


def endless(*arguments: object) -> None:
    """A search that finds nothing and ends only when it is given up."""
    *_, stop = arguments
    assert isinstance(stop, Stop)
    while True:
        stop.check()


async def test_a_call_that_is_over_ends_its_search_and_nothing_is_remembered(
    homes: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = homes.table(TENANT)
    assert await counted(table, ask()) == [80]
    with monkeypatch.context() as endlessly, trio.move_on_after(0.2) as scope:
        endlessly.setattr(query_sets, "find_small", endless)
        await told(table, ALL_BUT_ONE)

    assert scope.cancelled_caught
    assert homes.archive.memory.state().execute("SELECT count(*) FROM answered") == [(1,)]
    assert await is_refused(table, ALL_BUT_ONE)


async def test_a_call_that_waits_for_another_answer_can_be_over_too(
    homes: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = homes.table(TENANT), homes.table(TENANT)
    assert await counted(first, ask()) == [80]
    searching = threading.Event()

    def search(*arguments: object) -> None:
        searching.set()
        endless(*arguments)

    async with trio.open_nursery() as nursery:
        with monkeypatch.context() as endlessly:
            endlessly.setattr(query_sets, "find_small", search)
            nursery.start_soon(told, first, ALL_BUT_ONE)
            assert await trio.to_thread.run_sync(searching.wait, 30)
            with trio.move_on_after(0.2) as scope:
                await told(second, ask())
            assert scope.cancelled_caught
            nursery.cancel_scope.cancel()
    assert await counted(second, ask()) == [80]
