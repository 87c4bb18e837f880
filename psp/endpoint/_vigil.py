"""The patience of a subject: with a peer that greets late, sends by the byte, or says nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from psp.rpc import Subject
from psp.wire import AbortCode

from ._limits import FRAME_S_MAX, HELLO_S_MAX, IDLE_S_MAX


class Vigil:
    """Watches one connection, at a cost of one wake-up in half a minute.

    Attributes:
        was_heard: Set by whoever reads; a clock would cost more than the rest of it.
    """

    def __init__(self, core: Subject, end: Callable[[int, str], Awaitable[None]]) -> None:
        """`end` tells the peer why, with an abort code and words, and closes the connection."""
        self._core = core
        self._end = end
        self.was_heard = False

    async def keep(self) -> None:
        """Watch until the connection ends."""
        await trio.sleep(HELLO_S_MAX)
        if self._core.peer_hello is None:
            await self._end(AbortCode.LIMIT, f"no HELLO within {HELLO_S_MAX:g} seconds")
            return
        silent_s = 0.0
        while True:
            begun = self._core.partial_frame
            await trio.sleep(FRAME_S_MAX)
            if begun and begun == self._core.partial_frame:
                await self._end(AbortCode.LIMIT, f"a frame took more than {FRAME_S_MAX:g} seconds")
                return
            silent_s = 0.0 if self.was_heard else silent_s + FRAME_S_MAX
            self.was_heard = False
            if silent_s >= IDLE_S_MAX and not self._core.calls_in_flight:
                await self._end(AbortCode.LIMIT, f"nothing was said for {IDLE_S_MAX:g} seconds")
                return
