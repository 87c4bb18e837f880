"""Work in a thread that can be given up: it asks now and then whether anybody still waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from psp.errors import PSPError

_ASKED_EVERY_S: Final = 0.02


class Stopped(PSPError):
    """The work was given up, because nobody waits for it any more. Nothing has come of it."""


class Stop:
    """Whether a piece of work has been given up; said in one thread, asked in another.

    Attributes:
        interrupted: What `interrupt` raises in the thread that works.
    """

    interrupted: Final = Stopped

    def __init__(self) -> None:
        self._is_set = threading.Event()

    def interrupt(self) -> None:
        self._is_set.set()

    def check(self) -> None:
        """Raise `Stopped` if it was given up."""
        if self._is_set.is_set():
            raise Stopped("the work was given up: nobody waits for its answer.")

    @contextmanager
    def holding(self, lock: threading.Lock) -> Iterator[None]:
        """Wait for a lock and hold it; to be given up counts while waiting, too."""
        while not lock.acquire(timeout=_ASKED_EVERY_S):
            self.check()
        try:
            yield
        finally:
            lock.release()


NEVER: Final = Stop()
"""For work that nobody gives up."""
