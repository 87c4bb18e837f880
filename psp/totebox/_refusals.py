"""What the owner reads of refusals: a peer that is refused without end must not fill his disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import trio

from ._clocks import ReadClocks
from ._limits import REFUSALS_LOGGED_MAX, REFUSALS_LOGGED_S


@dataclass(slots=True)
class _Window:
    """Some time of one peer."""

    until_s: float
    written: int = 0
    kept_back: int = 0
    last: str = ""


class Refusals:
    """Writes the first refusals of a peer, and of the others their number when the time is over.

    A peer is one by its key, and every peer here is paired: so the windows are few.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._windows: dict[bytes, _Window] = {}

    def note(self, peer: bytes, line: str, now_s: float) -> None:
        """Write a refusal, or count it.

        Args:
            peer: The key that the handshake has proved, never a name.
            now_s: Of a clock that nobody can set.
        """
        window = self._windows.get(peer)
        if window is None or now_s >= window.until_s:
            self._end(peer)
            window = self._windows[peer] = _Window(now_s + REFUSALS_LOGGED_S)
        if window.written < REFUSALS_LOGGED_MAX:
            window.written += 1
            self._log(line)
        else:
            window.kept_back += 1
            window.last = line

    def end_those_over(self, now_s: float) -> None:
        """Write the numbers of what was only counted, where the time is over."""
        for peer in [each for each, window in self._windows.items() if now_s >= window.until_s]:
            self._end(peer)

    async def keep(self, clocks: ReadClocks) -> None:
        """Do that for ever, so that the number is told of a peer that came no more."""
        try:
            while True:
                await trio.sleep(REFUSALS_LOGGED_S)
                self.end_those_over(clocks().boot_s)
        finally:
            self.end_those_over(math.inf)

    def _end(self, peer: bytes) -> None:
        window = self._windows.pop(peer, None)
        if window is not None and window.kept_back:
            self._log(
                f"{window.kept_back} more refusals of the same peer within"
                f" {REFUSALS_LOGGED_S:g} seconds; the last: {window.last}"
            )
