"""The moment before trio's loop waits: what was written leaves, and a short wait is not slept.

A writer task that is woken for each call costs one more turn of the loop and one more `epoll_wait`:
a tenth of a null call in good phases of a machine, a third in bad ones. A timer would add delay.
trio tells an instrument when it is about to wait, and that is the moment: everything that the tasks
of this turn had to say has been said.

Going to sleep and being woken can cost more than a null call itself: 5 to 10 µs on a quiet
machine, 100 µs on a busy virtual one. Where the last waits were all short the loop therefore looks
for a while before it sleeps (docs/performance.md, "Looking before sleeping"). That is the old rule
for locks, spin as long as sleeping would cost (Karlin et al., "Competitive Randomized Algorithms
for Nonuniform Problems", 1990).
"""

from __future__ import annotations

import select
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Final

import trio

from ._limits import LOOK_S_MAX, PAUSE_S, SHORT_WAIT_S, SHORT_WAITS_MAX, SHORT_WAITS_MIN


class Flusher(trio.abc.Instrument):
    """Calls back, before the loop of this trio run waits, whoever has asked for it in this turn.

    A callback runs outside of any task: it must not raise (trio would take the instrument out), and
    must wake tasks through `soon` alone (the loop has already decided how long to wait).

    Attributes:
        turn: Counts the turns of the loop, while anybody uses this.
    """

    def __init__(self, *, clock: Callable[[], float] = perf_counter) -> None:
        self.turn = 0
        self._asked: list[Callable[[], None]] = []
        self._clock = clock
        # How many use each socket: a network without sockets has one descriptor for all.
        self._watched: Counter[int] = Counter()
        self._epoll: select.epoll | None = None
        self._last_wait_s = 0.0
        self._short_waits = 0
        self._short_waits_needed = SHORT_WAITS_MIN
        self.soon: Final = trio.lowlevel.current_trio_token().run_sync_soon

    def ask(self, callback: Callable[[], None]) -> None:
        """Have this called once, before the loop waits next."""
        self._asked.append(callback)

    def before_io_wait(self, timeout: float) -> None:
        """Called by trio."""
        self.turn += 1
        if self._asked:
            asked, self._asked = self._asked, []
            for callback in asked:
                callback()
        if timeout > 0:  # Else a task is ready, and nothing is slept.
            now_s = self._clock()
            since_s = now_s - self._last_wait_s
            self._short_waits = self._short_waits + 1 if since_s < SHORT_WAIT_S else 0
            self._last_wait_s = now_s
            if since_s >= PAUSE_S:  # What comes after a pause need not be what came before it.
                self._short_waits_needed = SHORT_WAITS_MIN
            if self._short_waits >= self._short_waits_needed:
                self._look(now_s + min(timeout, LOOK_S_MAX))

    def join(self, fd: int) -> None:
        """Begin to use it, for one socket: the first user installs it."""
        if self._epoll is None:
            self._epoll = select.epoll()
            trio.lowlevel.add_instrument(self)
        self._watched[fd] += 1
        if self._watched[fd] == 1:
            self._epoll.register(fd, select.EPOLLIN)

    def leave(self, fd: int) -> None:
        """Use it no more: the last user takes it out."""
        assert self._epoll is not None
        self._watched[fd] -= 1
        if self._watched[fd]:
            return
        del self._watched[fd]
        with suppress(OSError):  # If it is closed it has left on its own.
            self._epoll.unregister(fd)
        if not self._watched:
            self._epoll.close()
            self._epoll = None
            trio.lowlevel.remove_instrument(self)

    def look_for_room(self, fd: int, is_wanted: bool) -> None:
        """Look also, or no longer, whether this socket takes more: who waits for that would
        otherwise wait out every look for something to read."""
        assert self._epoll is not None
        events = select.EPOLLIN | select.EPOLLOUT if is_wanted else select.EPOLLIN
        with suppress(OSError, ValueError):  # Closed meanwhile, which its users notice.
            self._epoll.modify(fd, events)

    def _look(self, until_s: float) -> None:
        """Look for something to do, without sleeping. In vain: do so half as often."""
        assert self._epoll is not None
        while not self._epoll.poll(0):
            if self._clock() >= until_s:
                self._short_waits = 0
                self._short_waits_needed = min(2 * self._short_waits_needed, SHORT_WAITS_MAX)
                return
        self._short_waits_needed = SHORT_WAITS_MIN


_flusher: Final = trio.lowlevel.RunVar[Flusher]("psp_flusher")


def flusher() -> Flusher:
    """Give the flusher of this trio run."""
    try:
        return _flusher.get()
    except LookupError:
        made = Flusher()
        _flusher.set(made)
        return made
