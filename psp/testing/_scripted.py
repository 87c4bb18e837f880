"""A peer that says exactly what is written, lawful or not, and keeps what it hears."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgpack
import trio

from psp.rpc import Controller, ControllerEvent, Subject, SubjectEvent
from psp.values import to_ext
from psp.wire import FRAMES, HEADER_BYTES, Frame, FrameReader, Role

_READ_BYTES: Final = 64 * 1024
_SHAPES: Final = {shape.kind: shape for shape in FRAMES}


class Hear(NamedTuple):
    """A line of a script: say nothing more until a frame of this kind has come.

    Attributes:
        kind: The first place of the frame, such as `psp.wire.RETURN`.
        times: How many of them, after what the `Hear` before it was fulfilled by.
    """

    kind: int
    times: int = 1


Line: TypeAlias = bytes | Sequence[object] | Hear
"""One line of a script: bytes as they are, the places of a frame, or `Hear`."""


def frame_bytes(fields: Sequence[object]) -> bytes:
    """Encode the places of a frame, its length before it. Nothing is checked: that is the point."""
    body: bytes = msgpack.packb(fields, default=to_ext)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class ScriptedPeer:
    """One side of a connection, played from a list of frames and bytes.

    It plays against a core (`play_to`) or against whoever is at the end of a stream (`play_on`).

    Attributes:
        heard: The frames that came, decoded, in order.
        has_heard_end: The other side has closed the stream.
    """

    def __init__(self, role: Role) -> None:
        self.heard: list[Frame] = []
        self.has_heard_end = False
        self._reader = FrameReader(role)
        # Where the next `Hear` starts to look: one read may bring the frames of several.
        self._looked_at = 0

    def play_to(
        self, core: Controller | Subject, script: Iterable[Line]
    ) -> list[ControllerEvent | SubjectEvent]:
        """Say every line to a core at once, and give the events it made of them.

        Raises:
            AssertionError: A `Hear` was not fulfilled: a core does not answer later.
        """
        events: list[ControllerEvent | SubjectEvent] = []
        for line in script:
            if isinstance(line, Hear):
                self.hear(core.data_to_send())
                assert self._find(line), f"{line}: came {self.heard[self._looked_at :]}"
            else:
                events += core.receive(_to_bytes(line))
        self.hear(core.data_to_send())
        return events

    async def play_on(self, stream: trio.abc.Stream, script: Iterable[Line]) -> None:
        """Say every line on a stream, waiting where the script says `Hear`.

        It returns after the last line, or when the other side has closed the stream.
        """
        for line in script:
            if isinstance(line, Hear):
                await self.hear_on(stream, line.kind, line.times)
            else:
                try:
                    await stream.send_all(_to_bytes(line))
                except trio.BrokenResourceError:
                    self.has_heard_end = True
            if self.has_heard_end:
                return

    async def hear_on(self, stream: trio.abc.Stream, kind: int, times: int = 1) -> None:
        """Read until so many frames of a kind have come, or the stream has ended."""
        while not self._find(Hear(kind, times)) and not self.has_heard_end:
            await self._read(stream)

    async def hear_to_the_end(self, stream: trio.abc.Stream) -> None:
        """Read until the other side closes."""
        while not self.has_heard_end:
            await self._read(stream)

    def hear(self, data: bytes) -> None:
        """Take bytes of the other side by hand."""
        for places in self._reader.receive_untrusted(data):
            self.heard.append(_SHAPES[places[0]].make(places))

    async def _read(self, stream: trio.abc.Stream) -> None:
        try:
            data = await stream.receive_some(_READ_BYTES)
        except trio.BrokenResourceError:
            data = b""
        if data:
            self.hear(bytes(data))
        else:
            self.has_heard_end = True

    def _find(self, line: Hear) -> bool:
        found = 0
        for index in range(self._looked_at, len(self.heard)):
            found += self.heard[index][0] == line.kind
            if found == line.times:
                self._looked_at = index + 1
                return True
        return False


def _to_bytes(line: bytes | Sequence[object]) -> bytes:
    return line if isinstance(line, bytes) else frame_bytes(line)
