"""A network of archives within one process: real cores, no socket, no key, and time as you like it.

Under `trio.testing.MockClock` an hour of trouble takes no time at all; ten thousand members take no
file descriptor.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from psp.endpoint import Address, Connection, Exposed, Served, held
from psp.errors import Unreachable
from psp.rpc import GrantRooms
from psp.transport import LocalStream, MachineKey, Peer

_NOBODY: Final = Peer(spki_hash=b"", public_bytes=b"", name="the virtual network")


@dataclass(slots=True)
class VirtualHost:
    """One archive of a virtual network, and what is wrong with it; change it at any time.

    Attributes:
        bootstrap: Makes what a connection starts with.
        present: Verifies a token and makes what it grants.
        delay_s: How long bytes take, each way.
        is_down: Nobody listens: a connect fails at once.
        is_silent: A connect is swallowed until its time is over.
        connects: How often somebody tried to connect.
    """

    bootstrap: Callable[[], Exposed]
    present: Callable[[Peer, bytes], Exposed]
    delay_s: float = 0.0
    is_down: bool = False
    is_silent: bool = False
    connects: int = 0
    grants: GrantRooms = field(default_factory=GrantRooms)
    streams: set[VirtualStream] = field(default_factory=set)

    def cut(self) -> None:
        """End every open connection, as a cable does."""
        for stream in list(self.streams):
            stream.close()


class VirtualNetwork:
    """Hosts by archive id, and the way to them: give `dial` where `connect` would be used.

    Attributes:
        hosts: By archive id, 32 bytes.
        log: What the subjects have logged.
    """

    def __init__(self) -> None:
        self.hosts: dict[bytes, VirtualHost] = {}
        self.log: list[str] = []
        # The senders look at a descriptor before they sleep. This one never has anything to read.
        self._descriptor = os.eventfd(0)
        weakref.finalize(self, os.close, self._descriptor)

    @asynccontextmanager
    async def dial(
        self, address: Address, *, key: MachineKey, timeout_s: float = 10.0
    ) -> AsyncIterator[Connection]:
        """Connect as `psp.endpoint.connect` does; no key is looked at.

        Raises:
            Unreachable: The host is not there, is down, or is silent for `timeout_s`.
        """
        del key
        host = self.hosts.get(address.archive_id)
        if host is not None:
            host.connects += 1
            await trio.sleep(timeout_s if host.is_silent else 2 * host.delay_s)
        if host is None or host.is_down or host.is_silent:
            raise Unreachable(f"{address.name} is not on the virtual network now; bring it up.")
        near, far = _stream_pair(host, self._descriptor)
        served = Served(
            far,
            _NOBODY,
            archive_id=address.archive_id,
            bootstrap=host.bootstrap(),
            present=host.present,
            grants=host.grants,
            tap=None,
            around=None,
            log=self.log.append,
        )
        host.streams |= {near, far}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.run)
            raised: Exception | None = None
            try:
                async with held(Connection(address, near)) as connection:
                    yield connection
            except Exception as exc:
                # Carried around the nursery, which would wrap it in a group.
                raised = exc
            finally:
                host.streams -= {near, far}
                nursery.cancel_scope.cancel()
        if raised is not None:
            raise raised


class _Pipe:
    """Bytes one way, each piece with the time at which it is due."""

    def __init__(self, host: VirtualHost) -> None:
        self.host = host
        self.pieces: deque[tuple[float, bytes]] = deque()
        self.is_ended = False
        self.changed = trio.lowlevel.ParkingLot()
        self.soon = trio.lowlevel.current_trio_token().run_sync_soon

    def send(self, data: bytes) -> None:
        # Through the token: what waits is sent outside of any task, where none may be woken.
        self.soon(self.arrive, trio.current_time() + self.host.delay_s, data)

    def arrive(self, due_s: float, data: bytes) -> None:
        if not self.is_ended:
            self.pieces.append((due_s, data))
            self.changed.unpark_all()

    def end(self) -> None:
        # In the same order: what was sent before the end arrives before it.
        self.soon(self.finish)

    def finish(self) -> None:
        self.is_ended = True
        self.changed.unpark_all()

    async def receive(self, limit: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self.pieces:
            if self.is_ended:
                return b""
            await self.changed.park()
        due_s, data = self.pieces[0]
        await trio.sleep_until(due_s)
        self.pieces.popleft()  # Nobody else takes from here.
        if len(data) > limit:
            self.pieces.appendleft((due_s, data[limit:]))
        return data[:limit]


class VirtualStream(LocalStream):
    """One end of a connection, with the manners of `LocalStream` and two queues for a kernel."""

    def __init__(self, inbound: _Pipe, outbound: _Pipe, descriptor: int) -> None:
        # Not the base's: there is no socket to prepare, and nothing of the base that uses one
        # is left in force below.
        self._inbound, self._outbound = inbound, outbound
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The network's descriptor, the same for all its streams; -1 once this one is closed."""
        return self._descriptor

    def send_nonblocking(self, data: bytes | memoryview, *, is_more: bool = False) -> int:
        """Take all of it: there is room for everything."""
        del is_more
        if self._descriptor == -1 or self._outbound.is_ended:
            raise trio.BrokenResourceError("the virtual connection is gone")
        self._outbound.send(bytes(data))
        return len(data)

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_into(self, buffer: memoryview) -> int:
        """Fill a buffer with what has arrived; 0 means that the peer stopped."""
        if self._descriptor == -1:
            raise trio.BrokenResourceError("the virtual connection is gone")
        data = await self._inbound.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def stop_sending(self) -> None:
        self._outbound.end()

    def close(self) -> None:
        """Close at once, for both ends; what was sent before still arrives."""
        self._descriptor = -1
        for pipe in (self._inbound, self._outbound):
            pipe.end()


def _stream_pair(host: VirtualHost, descriptor: int) -> tuple[VirtualStream, VirtualStream]:
    there, back = _Pipe(host), _Pipe(host)
    return VirtualStream(back, there, descriptor), VirtualStream(there, back, descriptor)
