"""A plain method that finds that it has to wait: its rest runs as any call that waits does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from psp.endpoint import CallSeen, Connection, Exposed, connect, method
from psp.errors import CallFailed, DeadlineExceeded, Denied, HandlerFailed
from psp.testing import loopback


class Counter(Exposed):
    """Knows a number at once, or later."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.told: list[str] = []

    @method
    def number(self, later: bool) -> int | Coroutine[Any, Any, int]:
        return self._later() if later else 1

    @method
    def denied(self) -> Coroutine[Any, Any, None]:
        return self._fail(Denied())

    @method
    def broken(self) -> Coroutine[Any, Any, None]:
        return self._fail(RuntimeError("a secret"))

    async def _later(self) -> int:
        self.told.append("waits")
        try:
            await self.gate.wait()
        except trio.Cancelled:
            self.told.append("cancelled")
            raise
        return 2

    async def _fail(self, exc: Exception) -> None:
        await trio.lowlevel.checkpoint()
        raise exc


@asynccontextmanager
async def met(
    counter: Counter, *, seen: list[str] | None = None
) -> AsyncIterator[tuple[Connection, list[str]]]:
    @contextmanager
    def watch(call: CallSeen) -> Iterator[None]:
        assert seen is not None
        try:
            yield
        except BaseException as exc:
            seen.append(f"{call.method} {type(exc).__name__}")
            raise
        seen.append(f"{call.method} left")

    async with (
        loopback(lambda: counter, middleware=[] if seen is None else [watch]) as near,
        connect(near.address, key=near.key) as connection,
    ):
        yield connection, near.log


async def test_what_need_not_wait_overtakes_what_must() -> None:
    counter = Counter()
    async with met(counter) as (connection, _):
        later = connection.bootstrap.call("number", True)
        assert await connection.bootstrap.call("number", False) == 1
        counter.gate.set()
        assert await later == 2


async def test_how_the_rest_fails_is_told_as_of_any_call() -> None:
    async with met(Counter()) as (connection, log):
        with pytest.raises(Denied):
            await connection.bootstrap.call("denied", is_last=True)
        with pytest.raises(HandlerFailed) as caught:
            await connection.bootstrap.call("broken", is_last=True)
    assert caught.value.correlation_id in log[0]
    assert "a secret" not in log[0]


async def test_a_rest_that_nobody_wants_or_that_takes_too_long_is_cancelled() -> None:
    counter = Counter()
    async with met(counter) as (connection, _):
        with pytest.raises(DeadlineExceeded):
            await connection.bootstrap.call("number", True, timeout_s=0.02)
        async with connection.bootstrap.call("number", True):
            while counter.told.count("waits") < 2:
                await connection.bootstrap.call("number", False)
        while counter.told.count("cancelled") < 2:
            await connection.bootstrap.call("number", False)


async def test_one_that_is_given_up_before_its_rest_has_begun_still_ends() -> None:
    """The call and its end come in one flight; the method itself has run by then."""
    counter = Counter()
    async with met(counter) as (connection, _):
        await connection.bootstrap.call("number", False)
        connection.bootstrap.call("number", True).release()
        while counter.told != ["waits", "cancelled"]:
            await connection.bootstrap.call("number", False)


async def test_a_middleware_is_left_when_the_rest_has_ended() -> None:
    counter, seen = Counter(), list[str]()
    async with met(counter, seen=seen) as (connection, _):
        later = connection.bootstrap.call("number", True)
        await connection.bootstrap.call("number", False)
        assert seen == ["number left"]  # The second one.
        counter.gate.set()
        await later
        with pytest.raises(CallFailed):
            await connection.bootstrap.call("denied")
        connection.bootstrap.call("number", False).release()
    assert seen[:3] == ["number left", "number left", "denied Denied"]
