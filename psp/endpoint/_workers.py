"""Tasks for the calls that wait: as many as there are such calls, started in call order."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from psp.rpc import CallReady

from ._limits import IDLE_WORKERS_MAX, INLINE_CALLS_MAX, WAKING_WORKERS_MAX


class Workers:
    """The worker tasks of one connection.

    Attributes:
        ready: Calls that have not entered their handlers. Workers pop the *oldest when they run*:
            trio runs ready tasks in a random order, and this keeps the order of starts for nothing.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        run: Callable[[CallReady], Awaitable[None]],
        make_room: Callable[[], Awaitable[None]],
        is_full: Callable[[], bool],
    ) -> None:
        """`run` carries one call out; `make_room` lets others have a turn, and answers leave."""
        self.ready: deque[CallReady] = deque()
        self._nursery = nursery
        self._run = run
        self._make_room = make_room
        self._is_full = is_full
        self._idle: list[trio.lowlevel.Task] = []
        self._waking = 0

    def enqueue(self, call: CallReady) -> None:
        self.ready.append(call)
        self._wake_one()

    def _wake_one(self) -> None:
        """Have one more worker look at what is ready, unless many are about to."""
        if self._waking >= WAKING_WORKERS_MAX:
            return
        self._waking += 1
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop())
        else:
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            self._waking -= 1
            left = INLINE_CALLS_MAX
            while self.ready:
                left -= 1
                if left <= 0 or self._is_full():
                    left = INLINE_CALLS_MAX
                    await self._make_room()
                    continue
                call = self.ready.popleft()
                if self.ready:
                    self._wake_one()  # This one may be busy for long.
                await self._run(call)
            if len(self._idle) >= IDLE_WORKERS_MAX:
                return
            self._idle.append(task := trio.lowlevel.current_task())

            def abort(
                _raise_cancel: object, task: trio.lowlevel.Task = task
            ) -> trio.lowlevel.Abort:
                self._idle.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
