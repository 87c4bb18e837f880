"""PSP through its public doors: two-sided TLS 1.3, default limits, a grant that was presented."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter_ns
from typing import Any

import trio

from benchmarks.peers._archive import Node, Null
from benchmarks.peers._bulk import p99_alone, p99_under_bulk
from benchmarks.peers._child import (
    Call,
    Sample,
    Setting,
    answer_commands_async,
    one_by_one_async,
    say,
    summary,
    together,
)
from benchmarks.peers._pairing import Pairing
from benchmarks.peers._signed import SignedNode, sign
from psp.capability import Grant
from psp.endpoint import Exposed, Reference, Result, Stub, connect, remote
from psp.endpoint import serve as serve_archive
from psp.values import Value
from psp.wire import INITIAL_LIMITS

STEPS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TASKS = 100
OUTSTANDING_CALLS = 10_000
PLAN: list[Value] = ["count", "sales"]


class NodeStub(Stub):
    """A typed stub, for what it adds to a call by name."""

    @remote
    def null(self) -> Result[None]: ...


def serve(setting: Setting) -> None:
    trio.run(_serve, setting)


def drive(setting: Setting) -> None:
    trio.run(_drive, setting)


async def _serve(setting: Setting) -> None:
    async with trio.open_nursery() as nursery:
        _, port = await nursery.start(listener(Pairing.of(setting)))
        say({"port": port})


def listener(pairing: Pairing) -> Callable[..., Awaitable[None]]:
    """Make what `nursery.start` starts, and gets the address from."""
    return partial(
        serve_archive,
        key=pairing.subject,
        archive_id=pairing.anchor.archive_id,
        pins=[pairing.pin],
        bootstrap=lambda _peer: Null(),
        present=pairing.present(_granted),
        host="127.0.0.1",
        port=0,
        log=partial(print, file=sys.stderr),
    )


def _granted(grant: Grant) -> Exposed:
    return SignedNode(grant) if grant.is_interactive else Node()


async def _drive(setting: Setting) -> None:
    async with AsyncExitStack() as idle:
        driver = Driver(setting, idle)
        async with connect(driver.address, key=driver.pairing.controller) as connection:
            node = await connection.present(driver.token)
            assert isinstance(node, Reference)

            # Not `partial`: with a keyword it costs as much as a tenth of a call.
            def null() -> Result[Any]:
                return node.call("null", is_last=True)

            def null_async() -> Result[Any]:
                return node.call("null_async", is_last=True)

            await answer_commands_async(
                {
                    "null": partial(one_by_one_async, null),
                    "null_stub": partial(one_by_one_async, NodeStub.of(node).null),
                    "null_async": partial(one_by_one_async, null_async),
                    "concurrent": partial(concurrent, null),
                    "concurrent_async": partial(concurrent, null_async),
                    "batch": partial(batch, null),
                    "batch_async": partial(batch, null_async),
                    "outstanding": partial(outstanding, null),
                    "chain10": partial(one_by_one_async, partial(chain, node)),
                    "chain10_kept": partial(one_by_one_async, partial(chain_kept, node)),
                    "p99_alone": partial(p99_alone, null),
                    "p99_under_bulk": partial(p99_under_bulk, null, node),
                    "cold": driver.cold,
                    "cold_interactive": driver.cold_interactive,
                    "hold": partial(driver.hold, node),
                    "let_go": partial(driver.let_go, node),
                    "connect": driver.connect,
                    "disconnect": driver.disconnect,
                },
                trio.to_thread.run_sync,
            )


async def concurrent(call: Call, count: int) -> Sample:
    """Let a hundred tasks ask, each one call after the other."""

    async def ask() -> None:
        for _ in range(count // TASKS):
            await call()

    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(ask)
    return together(count // TASKS * TASKS, start)


async def batch(call: Call, count: int) -> Sample:
    """Send all calls without awaiting each, as many as may be in flight, and await them all."""
    start = perf_counter_ns()
    promises: deque[Any] = deque()
    at_once = INITIAL_LIMITS.calls_in_flight
    for _ in range(count):
        if len(promises) == at_once:
            await promises.popleft()
        promises.append(call())
    for promise in promises:
        await promise
    return together(count, start)


async def outstanding(call: Call, at_once: int) -> Sample:
    """Give the time per call when so many leave together, and are awaited before the next ones."""
    times = []
    repeats = max(OUTSTANDING_CALLS // at_once, 1)
    for _ in range(repeats):
        start = perf_counter_ns()
        for promise in [call() for _ in range(at_once)]:
            await promise
        times.append((perf_counter_ns() - start) // at_once)
    return {**summary(times), "calls": repeats * at_once}


async def chain(node: Reference) -> None:
    """Make ten dependent calls; only the last answer is waited for, and the others are only steps
    to it."""
    step: Any = node
    for name in STEPS:
        step = step.call(name, is_step=True)
    assert await step.call("ten", is_last=True) == 10


async def chain_kept(node: Reference) -> None:
    """The same, where each answer comes back and could be used again."""
    five = node.call("one").call("two").call("three").call("four").call("five")
    nine = five.call("six").call("seven").call("eight").call("nine")
    assert await nine.call("ten", is_last=True) == 10


class Driver:
    """What the commands that open connections share."""

    def __init__(self, setting: Setting, idle: AsyncExitStack) -> None:
        self.pairing = Pairing.of(setting)
        self.address = self.pairing.address(setting.port)
        self.token = self.pairing.token()
        self.signed_token = self.pairing.token(self.pairing.console)
        self._idle = idle
        self._held: list[Any] = []

    async def cold(self, count: int) -> Sample:
        """From TCP connect to the answer of a first query; leaving the connection is not in it."""
        times = []
        for _ in range(count):
            start = perf_counter_ns()
            async with connect(self.address, key=self.pairing.controller) as connection:
                grant = connection.present(self.token)
                answer = await grant.call("query", PLAN, is_last=True)
                times.append(perf_counter_ns() - start)
                assert isinstance(answer, dict)
        return summary(times)

    async def cold_interactive(self, count: int) -> Sample:
        """The same under a grant of which every call is signed."""
        times = []
        for _ in range(count):
            start = perf_counter_ns()
            async with connect(self.address, key=self.pairing.controller) as connection:
                grant = connection.present(self.signed_token)
                signature = sign(self.pairing.console, self.signed_token, ("query", [PLAN]))
                answer = await grant.call("query", PLAN, is_last=True, invocation=signature)
                times.append(perf_counter_ns() - start)
                assert isinstance(answer, dict)
        return summary(times)

    async def hold(self, node: Reference, count: int) -> Sample:
        """Leave calls outstanding; each has reached its handler when this answers."""
        start = perf_counter_ns()
        self._held = [node.call("hold", is_last=True) for _ in range(count)]
        await node.call("null", is_last=True)
        return together(count, start)

    async def let_go(self, node: Reference, count: int) -> Sample:
        start = perf_counter_ns()
        await node.call("let_go", is_last=True)
        for promise in self._held:
            await promise
        self._held.clear()
        return together(count, start)

    async def connect(self, count: int) -> Sample:
        """Open connections that have presented a grant and then stay idle."""
        start = perf_counter_ns()
        for _ in range(count):
            opened = connect(self.address, key=self.pairing.controller)
            connection = await self._idle.enter_async_context(opened)
            self._held.append(await connection.present(self.token))
        return together(count, start)

    async def disconnect(self, count: int) -> Sample:
        start = perf_counter_ns()
        self._held.clear()
        await self._idle.aclose()
        return together(count, start)
