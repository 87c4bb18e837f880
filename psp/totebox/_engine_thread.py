"""A query in a thread: a scan must not stop whoever reads the other calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

import trio

from psp.errors import PSPError
from psp.plan import Plan
from psp.values import Value

from ._engine import Engine, Release
from ._stop import Stop, Stopped

_INTERRUPT_EVERY_S: Final = 0.01

_Result = TypeVar("_Result")


class Interruptible(Protocol):
    """What works in a thread and can be told to stop.

    Attributes:
        interrupted: What `interrupt` raises in the thread that works.
    """

    @property
    def interrupted(self) -> type[Exception]: ...

    def interrupt(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Both:
    """An engine, and what decides on its answer: one of them works."""

    engine: Engine
    stop: Stop

    @property
    def interrupted(self) -> type[Exception]:
        return self.engine.interrupted

    def interrupt(self) -> None:
        self.stop.interrupt()
        self.engine.interrupt()


async def query_in_thread(
    engine: Engine,
    plan: Plan,
    release: Release | None = None,
    stop: Stop | None = None,
    ahead: Callable[[], None] | None = None,
) -> dict[str, Value]:
    """Run a query in a thread, and end it when the call is cancelled.

    Args:
        stop: Ends what `release` does.
        ahead: What `release` waits for, done while the engine counts.

    Raises:
        PSPError: As the engine says it.
    """
    both = engine if stop is None else _Both(engine, stop)
    answer = await run_in_thread(both, partial(engine.query, plan, release, ahead))
    return {} if answer is None else answer


async def run_in_thread(engine: Interruptible, work: Callable[[], _Result]) -> _Result | None:
    """Do something with an engine in a thread, and end it when the call is cancelled; then there is
    no result, and nobody who waits for it.

    Raises:
        PSPError: As the engine says it.
    """
    answer: _Result | None = None
    failure: PSPError | None = None
    finished = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_interrupt_if_cancelled, engine, finished)
        try:
            answer = await trio.to_thread.run_sync(work)
        except Stopped:
            pass
        except PSPError as exc:
            failure = exc  # Kept: out of a nursery it would come as a group.
        except engine.interrupted:
            pass  # Cancelled, as the other task knows.
        finally:
            finished.set()
    if failure is not None:
        try:
            raise failure
        finally:
            # This frame is in its traceback: together they would keep engines open until some
            # collection of garbage.
            del failure
    return answer


async def _interrupt_if_cancelled(engine: Interruptible, finished: trio.Event) -> None:
    try:
        await finished.wait()
    except trio.Cancelled:
        # The call keeps its slot until the thread has ended, or a peer could start threads without
        # end. Again and again: the thread may not have come to its query yet.
        with trio.CancelScope(shield=True):
            while not finished.is_set():
                engine.interrupt()
                with trio.move_on_after(_INTERRUPT_EVERY_S):
                    await finished.wait()
        raise
