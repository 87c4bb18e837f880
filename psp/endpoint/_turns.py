"""Whose work goes next: those who share a process share its time, however much each asks.

Somebody alone has `at_once` pieces of work under way. While others work, or have within the last
`CONTENDED_S`, each has `beside`, and whoever has more waiting pauses before each for as long as the
last one took. What a greedy one can take from its neighbour is then half the processor time of so
few pieces of work, and the neighbour never waits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from psp.errors import Overloaded

from ._limits import CONTENDED_S, PAUSE_S_MAX


@dataclass(slots=True)
class Turns:
    """The turns of all who share one process.

    Attributes:
        at_once: Pieces of work of somebody alone.
        waiting_max: Pieces of work of one that may wait.
        beside: Pieces of work of each, beside others.
        running: Pieces of work that are under way, by whose they are.
    """

    at_once: int
    waiting_max: int
    beside: int = 1
    running: Counter[Hashable] = field(default_factory=Counter)
    _asked_s: dict[Hashable, float] = field(default_factory=dict)
    _took_s: defaultdict[Hashable, float] = field(default_factory=lambda: defaultdict(float))
    _waiting: defaultdict[Hashable, trio.lowlevel.ParkingLot] = field(
        default_factory=lambda: defaultdict(trio.lowlevel.ParkingLot)
    )

    @asynccontextmanager
    async def of(self, whose: Hashable) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for as long as the block lasts.

        Raises:
            Overloaded: Too much work of the same one waits already.
        """
        waiting, pause_s = self._waiting[whose], 0.0
        self._asked_s[whose] = trio.current_time()
        if self.running[whose] < self._allowed(whose) and not waiting:
            self.running[whose] += 1
        elif len(waiting) >= self.waiting_max:
            raise Overloaded(
                f"{self.waiting_max} questions of this tenant wait already; ask again when some are"
                " answered"
            )
        else:
            await waiting.park()  # Whoever wakes it has counted it as running.
            pause_s = min(self._took_s[whose], PAUSE_S_MAX)
        try:
            if pause_s and self._is_contended(whose):
                await trio.sleep(pause_s)
            began_s = trio.current_time()
            yield
            self._took_s[whose] = trio.current_time() - began_s
        finally:
            self._asked_s[whose] = trio.current_time()
            self.running[whose] -= 1
            while waiting and self.running[whose] < self._allowed(whose):
                self.running[whose] += 1
                waiting.unpark()

    def _allowed(self, whose: Hashable) -> int:
        return self.beside if self._is_contended(whose) else self.at_once

    def _is_contended(self, whose: Hashable) -> bool:
        now_s = trio.current_time()
        return any(
            self.running[other] or now_s - asked_s < CONTENDED_S
            for other, asked_s in self._asked_s.items()
            if other != whose
        )
