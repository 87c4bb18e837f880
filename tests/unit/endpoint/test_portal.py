from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from psp.endpoint import Portal
from psp.errors import LocalProtocolError


async def double(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * number


async def fail() -> None:
    raise ValueError("as planned")


def test_a_blocking_program_gets_results_and_errors_as_they_are() -> None:
    with Portal() as portal:
        assert portal.run(double, 21) == 42
        with pytest.raises(ValueError, match="as planned"):
            portal.run(fail)
        assert portal.run(double, 4) == 8


def test_several_threads_may_use_one_portal() -> None:
    results: list[int] = []
    with Portal() as portal:
        threads = [
            threading.Thread(target=lambda n=n: results.append(portal.run(double, n)))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(results) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_an_asyncio_program_gets_results_and_errors_as_they_are() -> None:
    async def main(portal: Portal) -> list[int]:
        with pytest.raises(ValueError, match="as planned"):
            await portal.arun(fail)
        return list(await asyncio.gather(*(portal.arun(double, n) for n in range(5))))

    with Portal() as portal:
        assert asyncio.run(main(portal)) == [0, 2, 4, 6, 8]


def test_cancelling_the_asyncio_task_cancels_the_function() -> None:
    started, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def main(portal: Portal) -> None:
        task = asyncio.create_task(portal.arun(wait))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, 5)

    with Portal() as portal:
        asyncio.run(main(portal))


def test_ctrl_c_cancels_the_function_and_the_portal_goes_on() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)  # As a terminal does.
            await trio.sleep_forever()
        finally:
            ended.append("ended")

    with Portal() as portal:
        with pytest.raises(KeyboardInterrupt):
            portal.run(wait)
        assert ended == ["ended"]
        assert portal.run(double, 1) == 2


def test_a_context_is_entered_and_left_by_one_task() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def resource() -> AsyncIterator[int]:
        async with trio.open_nursery() as nursery:  # Leaving it in another task would crash.
            steps.append("entered")
            yield 7
            nursery.cancel_scope.cancel()
        steps.append("left")

    with Portal() as portal, portal.enter(resource()) as number:
        assert number == 7
        assert portal.run(double, number) == 14

    assert steps == ["entered", "left"]


def test_a_context_that_cannot_be_entered_says_why() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def broken() -> AsyncIterator[int]:
        await trio.lowlevel.checkpoint()
        if steps == []:
            raise ValueError("no such thing")
        yield 1

    with (
        Portal() as portal,
        pytest.raises(ValueError, match="no such thing"),
        portal.enter(broken()),
    ):
        pass


def test_leaving_the_portal_cancels_what_still_runs() -> None:
    errors: list[BaseException] = []
    started = threading.Event()

    async def wait() -> None:
        started.set()
        await trio.sleep_forever()

    def other(portal: Portal) -> None:
        try:
            portal.run(wait)
        except BaseException as exc:
            errors.append(exc)

    with Portal() as portal:
        thread = threading.Thread(target=other, args=(portal,))
        thread.start()
        started.wait()
    thread.join()

    assert [type(error).__name__ for error in errors] == ["CancelledError"]


def test_a_closed_portal_and_one_called_from_inside_say_what_to_do() -> None:
    portal = Portal()
    with pytest.raises(LocalProtocolError, match="Use it inside its `with` block"):
        portal.run(double, 1)

    async def inside() -> int:
        return portal.run(double, 1)

    with portal, pytest.raises(LocalProtocolError, match="Use `await` there"):
        portal.run(inside)
    with pytest.raises(LocalProtocolError, match="not open"):
        portal.run(double, 1)
