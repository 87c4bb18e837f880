"""The proxy of the `wan` benchmark: as far away as a process on this machine can be."""

from __future__ import annotations

from typing import Final

import trio

from benchmarks.peers._child import Setting, say
from psp.testing import Far

ROUND_TRIP_S: Final = 0.08


def serve(setting: Setting) -> None:
    trio.run(_serve, setting)


async def _serve(setting: Setting) -> None:
    async with trio.open_nursery() as nursery:
        _, port = await nursery.start(Far(ROUND_TRIP_S).serve, "127.0.0.1", setting.port)
        say({"port": port})
