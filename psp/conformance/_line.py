"""One connection to the peer under test: bytes out, frames in, within a time."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from psp.errors import MalformedFrame
from psp.wire import FrameReader, Places, Role

from ._limits import READ_BYTES
from ._outcome import Failed


class Line:
    """What a case speaks through.

    Attributes:
        role: The side that *we* play.
    """

    def __init__(self, stream: trio.abc.Stream, role: Role, *, within_s: float) -> None:
        self.role = role
        self._stream = stream
        self._within_s = within_s
        self._reader = FrameReader(role)
        self._frames: deque[Places] = deque()
        self._has_ended = False

    async def say(self, data: bytes, *, byte_by_byte: bool = False) -> None:
        """Send bytes. A peer that has left is not told so here: the next `hear` finds out."""
        pieces = [data[i : i + 1] for i in range(len(data))] if byte_by_byte else [data]
        with trio.move_on_after(self._within_s) as scope:
            try:
                for piece in pieces:
                    await self._stream.send_all(piece)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
        if scope.cancelled_caught:
            raise Failed(f"it did not read {len(data)} bytes within {self._within_s:g} s")

    async def hear(self) -> Places | None:
        """Give the next frame; None when the peer has ended the connection.

        Raises:
            Failed: It says nothing, or something that is no frame.
        """
        with trio.move_on_after(self._within_s) as scope:
            while not self._frames and not self._has_ended:
                await self._read()
        if scope.cancelled_caught:
            raise Failed(f"it said nothing within {self._within_s:g} s")
        return self._frames.popleft() if self._frames else None

    async def _read(self) -> None:
        try:
            data = bytes(await self._stream.receive_some(READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""  # A reset is an end too: a peer that closes on a breach often resets.
        self._has_ended = not data
        try:
            self._frames.extend(self._reader.receive_untrusted(data))
        except MalformedFrame as exc:
            raise Failed(f"what it sent is no frame of its side: {exc}") from exc


@asynccontextmanager
async def closing(stream: trio.abc.Stream) -> AsyncIterator[trio.abc.Stream]:
    """Close a stream without waiting for the peer."""
    try:
        yield stream
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
