"""Whose work goes next: those who share a process share its time, however much each asks.

Somebody alone has `at_once` pieces of work under way. While others work, or have within the last
`CONTENDED_S`, each has `beside`: what a greedy one can take from its neighbour is then the
processor time of so few pieces of work beside the neighbour's own, and the neighbour never waits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from psp.errors import Overloaded

from ._limits import CONTENDED_S


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
    _waiting: defaultdict[Hashable, trio.lowlevel.ParkingLot] = field(
        default_factory=lambda: defaultdict(trio.lowlevel.ParkingLot)
    )

    @asynccontextmanager
    async def of(self, whose: Hashable) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for as long as the block lasts.

        Raises:
            Overloaded: Too much work of the same one waits already.
        """
        waiting = self._waiting[whose]
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
        try:
            yield
        finally:
            self._asked_s[whose] = trio.current_time()
            self.running[whose] -= 1
            while waiting and self.running[whose] < self._allowed(whose):
                self.running[whose] += 1
                waiting.unpark()

    def _allowed(self, whose: Hashable) -> int:
        now_s = trio.current_time()
        contended = any(
            self.running[other] or now_s - asked_s < CONTENDED_S
            for other, asked_s in self._asked_s.items()
            if other != whose
        )
        return self.beside if contended else self.at_once
