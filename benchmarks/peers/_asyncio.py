"""What the peers that run on asyncio share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import perf_counter_ns

from benchmarks.peers._child import (
    Call,
    Command,
    Sample,
    Setting,
    answer_commands_async,
    one_by_one_async,
    together,
)

TASKS = 100


def run(setting: Setting, main: Coroutine[object, object, None]) -> None:
    """Run `main` on the loop that the setting names."""
    if setting.loop == "uvloop":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


async def drive(call: Call, more: dict[str, Command]) -> None:
    """Answer the commands that are the same for all, and `more`."""

    async def null(count: int) -> Sample:
        return await one_by_one_async(call, count)

    async def concurrent(count: int) -> Sample:
        async def ask() -> None:
            for _ in range(count // TASKS):
                await call()

        start = perf_counter_ns()
        await asyncio.gather(*(ask() for _ in range(TASKS)))
        return together(count // TASKS * TASKS, start)

    await answer_commands_async({"null": null, "concurrent": concurrent, **more}, asyncio.to_thread)
