"""A quick disk is waited for in the loop, a slow one in a thread, and a surprise costs little."""

from __future__ import annotations

import threading

import pytest

from psp.totebox._disk_wait import DiskWait
from psp.totebox._limits import DISK_S_MAX, QUICK_WAITS_MIN, SURPRISE_SHARE


class Disk:
    """Work that takes as long as it is told, by its own clock; notes which thread did it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.in_loop: list[bool] = []
        self.wait = DiskWait(clock=lambda: self.now_s)

    async def work(self, takes_s: float = DISK_S_MAX / 2, times: int = 1) -> None:
        def do() -> None:
            self.in_loop.append(threading.current_thread() is threading.main_thread())
            self.now_s += takes_s

        for _ in range(times):
            await self.wait.run(do)


async def test_the_loop_waits_itself_once_the_disk_was_quick_a_few_times() -> None:
    disk = Disk()
    await disk.work(times=QUICK_WAITS_MIN + 2)
    assert disk.in_loop == [False] * QUICK_WAITS_MIN + [True, True]


async def test_a_slow_disk_is_waited_for_in_a_thread() -> None:
    disk = Disk()
    await disk.work(2 * DISK_S_MAX, times=2 * QUICK_WAITS_MIN)
    assert not any(disk.in_loop)


async def test_surprises_take_a_tenth_of_the_loops_time() -> None:
    disk = Disk()
    await disk.work(times=QUICK_WAITS_MIN)
    surprise_s = 0.05
    lost_s, began_s = 0.0, disk.now_s
    while disk.now_s < began_s + 100:
        before = len(disk.in_loop)
        await disk.work(surprise_s if disk.wait.is_quick else DISK_S_MAX / 2)
        lost_s += surprise_s * disk.in_loop[before]
        disk.now_s += 0.05  # Others' time.
    assert 0 < lost_s <= (disk.now_s - began_s) * SURPRISE_SHARE + surprise_s


async def test_what_the_work_raises_is_raised_whoever_waits() -> None:
    disk = Disk()

    def fail() -> None:
        raise OSError(5, "no")

    with pytest.raises(OSError, match="no"):
        await disk.wait.run(fail)
    await disk.work(times=QUICK_WAITS_MIN)
    with pytest.raises(OSError, match="no"):
        await disk.wait.run(fail)


async def test_what_is_known_to_be_long_is_no_surprise() -> None:
    disk = Disk()
    await disk.work(times=QUICK_WAITS_MIN)

    def write_tiles() -> None:
        disk.now_s += 1

    await disk.wait.run(write_tiles, is_long=True)
    await disk.work()
    assert disk.in_loop[-1]
