"""What was written in one turn of trio's loop leaves together, just before the loop waits.

A writer task that is woken for each call costs one more turn of the loop and one more `epoll_wait`:
a tenth of a null call in good phases of a machine, a third in bad ones. A timer would add delay.
trio tells an instrument when it is about to wait, and that is the moment: everything that the tasks
of this turn had to say has been said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio


class Flusher(trio.abc.Instrument):
    """Calls back, before the loop of this trio run waits, whoever has asked for it in this turn.

    A callback runs outside of any task: it must not raise (trio would take the instrument out), and
    must wake tasks through `soon` alone (the loop has already decided how long to wait).
    """

    def __init__(self) -> None:
        self._asked: list[Callable[[], None]] = []
        self._users = 0
        self.soon: Final = trio.lowlevel.current_trio_token().run_sync_soon

    def ask(self, callback: Callable[[], None]) -> None:
        """Have this called once, before the loop waits next."""
        self._asked.append(callback)

    def before_io_wait(self, timeout: float) -> None:
        """Called by trio."""
        if self._asked:
            asked, self._asked = self._asked, []
            for callback in asked:
                callback()

    def join(self) -> None:
        """Begin to use it: the first user installs it."""
        self._users += 1
        if self._users == 1:
            trio.lowlevel.add_instrument(self)

    def leave(self) -> None:
        """Use it no more: the last user takes it out."""
        self._users -= 1
        if self._users == 0:
            trio.lowlevel.remove_instrument(self)


_flusher: Final = trio.lowlevel.RunVar[Flusher]("psp_flusher")


def flusher() -> Flusher:
    """Give the flusher of this trio run."""
    try:
        return _flusher.get()
    except LookupError:
        made = Flusher()
        _flusher.set(made)
        return made
