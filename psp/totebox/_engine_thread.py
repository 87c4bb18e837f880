"""A query in a thread: a scan must not stop whoever reads the other calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import trio

from psp.errors import PSPError
from psp.plan import Plan
from psp.values import Value

from ._engine import Engine, Release

_INTERRUPT_EVERY_S: Final = 0.01

_Result = TypeVar("_Result")


async def query_in_thread(
    engine: Engine, plan: Plan, release: Release | None = None
) -> dict[str, Value]:
    """Run a query in a thread, and end it when the call is cancelled.

    Raises:
        PSPError: As the engine says it.
    """
    answer = await run_in_thread(engine, partial(engine.query, plan, release))
    return {} if answer is None else answer


async def run_in_thread(engine: Engine, work: Callable[[], _Result]) -> _Result | None:
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


async def _interrupt_if_cancelled(engine: Engine, finished: trio.Event) -> None:
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
