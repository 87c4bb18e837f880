"""Tenants of one process share its time, however much each asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from psp.aggregator import Turns
from psp.aggregator._limits import QUESTIONS_AT_ONCE_MAX
from psp.endpoint._limits import CONTENDED_S


def virtual(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def ask(turns: Turns, tenant: str, takes_s: float) -> None:
    async with turns.of(tenant):
        await trio.sleep(takes_s)


def test_a_tenant_alone_has_several_questions_out_and_beside_another_one() -> None:
    async def main() -> None:
        turns = Turns()
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(ask, turns, "greedy", 10)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert turns.running["greedy"] == QUESTIONS_AT_ONCE_MAX
            await trio.sleep(1)
            nursery.start_soon(ask, turns, "modest", 100)
            await trio.sleep(11)
            assert turns.running == {"greedy": 1, "modest": 1}
            await trio.sleep(100 + CONTENDED_S + 10)  # The one that is out ends first.
            assert turns.running["greedy"] == QUESTIONS_AT_ONCE_MAX
        assert not any(turns.running.values())

    virtual(main)


def test_a_modest_tenant_never_waits_for_a_greedy_one() -> None:
    async def main() -> None:
        turns = Turns()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask, turns, "greedy", 10)
            for _ in range(20):
                before_s = trio.current_time()
                await ask(turns, "modest", 1)
                assert trio.current_time() - before_s < 1.1
            nursery.cancel_scope.cancel()

    virtual(main)


def test_who_has_more_waiting_leaves_half_of_the_time_to_others() -> None:
    """A pause as long as the work before it, and none where nobody else asks."""

    async def main() -> None:
        turns, out = Turns(), []

        async def greedy() -> None:
            for _ in range(100):
                async with turns.of("greedy"):
                    out.append(trio.current_time())
                    await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(greedy)
            await trio.sleep(1.05)
            assert len(out) == 11 * QUESTIONS_AT_ONCE_MAX
            for _ in range(20):
                await ask(turns, "modest", 0.1)
            began_s = trio.current_time()
            out.clear()
            for _ in range(20):
                await ask(turns, "modest", 0.1)
            assert 9 <= len(out) <= 11
            assert trio.current_time() - began_s < 2.01
            nursery.cancel_scope.cancel()

    virtual(main)


def test_who_gives_up_while_waiting_leaves_no_turn_behind() -> None:
    async def main() -> None:
        turns = Turns()
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask, turns, "a", 10)
                await trio.sleep(1)
                nursery.cancel_scope.cancel()
        assert not turns.running["a"]
        await ask(turns, "a", 1)

    virtual(main)
