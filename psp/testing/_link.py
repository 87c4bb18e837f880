"""A connection without a network: bytes that come late, in other pieces, or not at all.

Nothing here waits and nothing is left to chance: time is a `VirtualClock`, every choice comes from
the `random.Random` that is passed in, so one seed gives one run.
"""

from __future__ import annotations

from collections import deque
from random import Random

from ._clock import VirtualClock


class Way:
    """One direction of a link. Order is kept and nothing is lost before the cut: it is TCP.

    Attributes:
        is_cut: Nothing comes out any more.
    """

    def __init__(self, chance: Random, clock: VirtualClock, delay_ms: tuple[int, int]) -> None:
        self.is_cut = False
        self._chance = chance
        self._clock = clock
        self._delay_ms = delay_ms
        # Pieces on their way, the next to arrive first; each with the time that it is due.
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._stalled_until_ms = 0
        self._last_due_ms = 0

    def send(self, data: bytes) -> None:
        """Put bytes on the way; they are due after a delay of their own, never before others."""
        if data and not self.is_cut:
            due = self._clock.now_ms + self._chance.randint(*self._delay_ms)
            self._last_due_ms = max(self._last_due_ms, due)
            self._pieces.append((self._last_due_ms, data))

    def stall(self, ms: int) -> None:
        """Deliver nothing for this long; what is sent meanwhile piles up."""
        self._stalled_until_ms = max(self._stalled_until_ms, self._clock.now_ms + ms)

    def cut(self) -> None:
        """Lose everything that is on the way, and all that follows."""
        self.is_cut = True
        self._pieces.clear()

    @property
    def bytes_on_the_way(self) -> int:
        """Bytes sent and not received yet, whenever they are due."""
        return sum(len(data) for _, data in self._pieces)

    @property
    def bytes_due(self) -> int:
        """Bytes that could be received now."""
        now = self._clock.now_ms
        if now < self._stalled_until_ms:
            return 0
        return sum(len(data) for due, data in self._pieces if due <= now)

    def choose_size(self) -> int:
        """Choose how many of the bytes that are due come next: all, or any number of them."""
        due = self.bytes_due
        # Half of the time everything: a busy receiver reads what there is.
        return due if self._chance.random() < 0.5 else self._chance.randint(min(due, 1), due)

    def receive(self) -> bytes:
        """Give what has arrived, cut anywhere: half of a frame, or several and a half."""
        return self.take(self.choose_size())

    def take(self, size: int) -> bytes:
        """Give exactly so many bytes (fewer if fewer are left), due or not: for a replay."""
        taken = bytearray()
        while self._pieces and len(taken) < size:
            due, data = self._pieces.popleft()
            wanted = size - len(taken)
            taken += data[:wanted]
            if len(data) > wanted:
                self._pieces.appendleft((due, data[wanted:]))
        return bytes(taken)

    def replace(self, start: int, end: int, data: bytes) -> None:
        """Change bytes on the way, as a liar in the middle or a broken peer would."""
        waiting = self.take(self.bytes_on_the_way)
        self._pieces.append((self._clock.now_ms, waiting[:start] + data + waiting[end:]))


class Link:
    """Both ways of one connection between a controller and a subject.

        link = Link(random.Random(7), VirtualClock(), delay_ms=(5, 80))
        link.to_subject.send(controller.data_to_send())
        link.clock.advance(80)
        events = list(subject.receive(link.to_subject.receive(), now_ms=link.clock.now_ms))

    Attributes:
        to_subject: What the controller writes.
        to_controller: What the subject writes.
    """

    def __init__(
        self, chance: Random, clock: VirtualClock, *, delay_ms: tuple[int, int] = (0, 0)
    ) -> None:
        self.clock = clock
        self.to_subject = Way(chance, clock, delay_ms)
        self.to_controller = Way(chance, clock, delay_ms)

    @property
    def is_cut(self) -> bool:
        return self.to_subject.is_cut

    def cut(self) -> None:
        """End the connection; tell both cores with `receive_eof`."""
        self.to_subject.cut()
        self.to_controller.cut()
