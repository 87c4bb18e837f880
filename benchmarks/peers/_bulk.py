"""Small calls, one each half millisecond, while a bulk result streams on the same connection."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter_ns

import trio

from benchmarks.peers._child import Call, Sample, summary
from psp.endpoint import Reference

EVERY_NS = 500_000
BULK_S_MAX = 600.0
_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC


async def p99_alone(call: Call, count: int) -> Sample:
    """Time calls at a steady pace; each is timed from when it is made to its answer."""
    times = []
    with ticker(EVERY_NS) as ticks:
        for _ in range(count):
            await trio.lowlevel.wait_readable(ticks)
            os.read(ticks, 8)
            start = perf_counter_ns()
            await call()
            times.append(perf_counter_ns() - start)
    return summary(times)


async def p99_under_bulk(call: Call, node: Reference, count: int) -> Sample:
    """The same while a stream without end fills the connection; and how much of it came."""
    received = [0]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(_read, node, received))
        before, start = received[0], perf_counter_ns()
        sample = await p99_alone(call, count)
        # Bytes in a nanosecond are gigabytes in a second.
        sample["bulk_gb_per_s"] = (received[0] - before) / (perf_counter_ns() - start)
        nursery.cancel_scope.cancel()
    return sample


async def _read(
    node: Reference,
    received: list[int],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    # A stream, too, lasts no longer than the time that its call was given.
    async for chunk in node.call("bulk", timeout_s=BULK_S_MAX):
        if not received[0]:
            task_status.started()
        received[0] += len(chunk)


@contextmanager
def ticker(every_ns: int) -> Iterator[int]:
    """Give a descriptor that becomes readable at a steady pace.

    Sleeping will not do: the resolution of epoll's timeout is a whole millisecond.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    try:
        # struct itimerspec: the interval, then the first time; seconds and nanoseconds of each.
        pace = (ctypes.c_long * 4)(0, every_ns, 0, every_ns)
        if libc.timerfd_settime(fd, 0, ctypes.byref(pace), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        yield fd
    finally:
        os.close(fd)
