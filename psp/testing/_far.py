"""Distance on one machine: a TCP proxy that holds every byte back for half a round trip."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

_CHUNKS_MAX: Final = 1024
"""Reads on their way in one direction. trio reads 64 KiB at most: 64 MiB, half a second of a
1 Gbit/s line."""


@dataclass
class Far:
    """A proxy as far away as you say, which also counts how often the way was gone.

    Counting is what tests should do: a count is the same on a busy machine, a duration is not.

        far = Far(0.08)
        async with far.to("127.0.0.1", port) as (host, port):
            ...  # whatever connects to host, port now is 80 ms away

    Attributes:
        round_trip_s: How long a byte and its answer take on the way.
        round_trips: How often anybody has waited for the other side since the start: one for each
            TCP handshake, then one each time that a client spoke after it had heard something.
    """

    round_trip_s: float
    round_trips: int = field(default=0, init=False)

    @asynccontextmanager
    async def to(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        """Stand between; give the address to connect to instead of `host` and `port`."""
        async with trio.open_nursery() as nursery:
            near = await nursery.start(self.serve, host, port)
            yield near
            nursery.cancel_scope.cancel()

    async def serve(
        self,
        host: str,
        port: int,
        *,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be the proxy until cancelled; for a process of its own, or `nursery.start`."""

        async def carry(near: trio.SocketStream) -> None:
            try:
                async with near, await trio.open_tcp_stream(host, port) as beyond:
                    await _Line(self, near, beyond).carry()
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # One end has gone, and with `async with` so has the other.

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, carry, 0, host="127.0.0.1"))
            address: tuple[str, int] = listeners[0].socket.getsockname()
            task_status.started(address)


class _Line:
    """One connection through the proxy."""

    def __init__(self, far: Far, near: trio.SocketStream, beyond: trio.SocketStream) -> None:
        self._far = far
        self._near = near
        self._beyond = beyond
        # Whether the client has heard something since it last spoke: then it must have waited.
        self._client_has_heard = True

    async def carry(self) -> None:
        self._far.round_trips += 1  # TCP's own handshake.
        half_s = self._far.round_trip_s / 2
        # A proxy in user space cannot delay connect(): the kernel has accepted before we know.
        # The first byte of the client waits for that round trip too.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                self._one_way, self._near, self._beyond, half_s, self._far.round_trip_s
            )
            nursery.start_soon(self._one_way, self._beyond, self._near, half_s, 0.0)

    async def _one_way(
        self, source: trio.SocketStream, sink: trio.SocketStream, delay_s: float, first_s: float
    ) -> None:
        not_before = trio.current_time() + first_s
        send, receive = trio.open_memory_channel[tuple[float, bytes]](_CHUNKS_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, receive, sink)
            async with send:
                async for data in source:
                    if source is self._near:
                        self._count_speech()
                    due = max(trio.current_time(), not_before) + delay_s
                    await send.send((due, bytes(data)))

    async def _deliver(
        self, receive: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: trio.SocketStream
    ) -> None:
        async for due, data in receive:
            await trio.sleep_until(due)
            if sink is self._near:
                self._client_has_heard = True
            await sink.send_all(data)
        await sink.send_eof()

    def _count_speech(self) -> None:
        if self._client_has_heard:
            self._client_has_heard = False
            self._far.round_trips += 1
