"""Who waits for the disk: the loop itself while the disk is quick, and a thread otherwise.

A hop to a thread and back takes two wake-ups and two turns of the loop: 100 to 200 µs here, for a
sync that takes 250. Meanwhile nothing is gained by it: under `before-answer` the answer waits for
the disk anyway. What the hop is good for is everybody else, where the disk is slow. So the loop
waits itself where waiting was short lately, by the rule that it sleeps by (docs/performance.md,
"Looking before sleeping"), and bounds what a surprise can cost the others.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import trio

from ._limits import DISK_S_MAX, QUICK_WAITS_MIN, SURPRISE_SHARE


class DiskWait:
    """Carries out what ends in a sync, and remembers how long it took. One at a time.

    Attributes:
        is_quick: Whether the loop waits itself now.
    """

    def __init__(self, *, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._short_waits = 0
        self._in_thread_until_s = float("-inf")

    @property
    def is_quick(self) -> bool:
        return self._short_waits >= QUICK_WAITS_MIN and self._clock() >= self._in_thread_until_s

    async def run(self, work: Callable[[], None], *, is_long: bool = False) -> None:
        """Do it to its end, whoever waits; cancelling does not cut it short.

        Args:
            is_long: It takes more than one sync (tiles are written, once in a thousand times), and
                so says nothing about the disk.

        Raises:
            Exception: Whatever the work raises.
        """
        if is_long:
            await trio.to_thread.run_sync(work)
        elif self.is_quick:
            self.run_now(work)
        else:
            await trio.to_thread.run_sync(self.run_now, work)

    def run_now(self, work: Callable[[], None]) -> None:
        """Do it in the thread that asks: where that is the loop, if the disk `is_quick`."""
        began_s = self._clock()
        work()
        now_s = self._clock()
        if now_s - began_s <= DISK_S_MAX:
            self._short_waits += 1
        else:
            self._short_waits = 0
            self._in_thread_until_s = now_s + (now_s - began_s) / SURPRISE_SHARE
