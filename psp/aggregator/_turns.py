"""Whose question goes next: tenants of one process share its time, however much each asks.

A tenant alone has `QUESTIONS_AT_ONCE_MAX` questions out at once. While another has asked within the
last `CONTENDED_S`, each has one: what a greedy tenant can take from its neighbour is then the
processor time of one question beside the neighbour's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from psp.errors import Overloaded

from ._limits import CONTENDED_S, QUESTIONS_AT_ONCE_MAX, QUESTIONS_WAITING_MAX


@dataclass(slots=True)
class Turns:
    """The turns of all tenants of one process.

    Attributes:
        running: Questions that are out, by tenant.
    """

    running: Counter[str] = field(default_factory=Counter)
    _asked_s: dict[str, float] = field(default_factory=dict)
    _waiting: defaultdict[str, trio.lowlevel.ParkingLot] = field(
        default_factory=lambda: defaultdict(trio.lowlevel.ParkingLot)
    )

    @asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for as long as the block lasts.

        Raises:
            Overloaded: Too many questions of this tenant wait already.
        """
        waiting = self._waiting[tenant]
        self._asked_s[tenant] = trio.current_time()
        if self.running[tenant] < self._allowed(tenant) and not waiting:
            self.running[tenant] += 1
        elif len(waiting) >= QUESTIONS_WAITING_MAX:
            raise Overloaded(
                f"{QUESTIONS_WAITING_MAX} questions of this tenant wait already; ask again when"
                " some are answered"
            )
        else:
            await waiting.park()  # Whoever wakes it has counted it as running.
        try:
            yield
        finally:
            self._asked_s[tenant] = trio.current_time()
            self.running[tenant] -= 1
            while waiting and self.running[tenant] < self._allowed(tenant):
                self.running[tenant] += 1
                waiting.unpark()

    def _allowed(self, tenant: str) -> int:
        now_s = trio.current_time()
        contended = any(
            self.running[other] or now_s - asked_s < CONTENDED_S
            for other, asked_s in self._asked_s.items()
            if other != tenant
        )
        return 1 if contended else QUESTIONS_AT_ONCE_MAX
