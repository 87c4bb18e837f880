"""An archive on a real socket, and a controller that says whatever the test writes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.endpoint import Address, Exposed, method, serve
from psp.errors import Expired
from psp.rpc import CallReady
from psp.testing import Hear, ScriptedPeer
from psp.transport import (
    MachineKey,
    Peer,
    Pin,
    TlsStream,
    accept_peer,
    check_certificate_untrusted,
    dial_peer,
    listener_context,
)
from psp.values import Value
from psp.wire import SUBJECT_HELLO, Role

ARCHIVE_ID = bytes(range(32))
HELLO = [0, [1], {}, []]


def machine() -> MachineKey:
    return MachineKey(Ed25519PrivateKey.generate())


AGGREGATOR, TOTEBOX = machine(), machine()


def pin(key: MachineKey) -> Pin:
    return Pin("machine", check_certificate_untrusted(key.certificate_pem))


@dataclass
class Archive:
    """What happens in the archive, for a test to steer and to look at."""

    gate: trio.Event = field(default_factory=trio.Event)
    events: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    is_expired: bool = False
    _address: Address | None = None

    @property
    def address(self) -> Address:
        assert self._address is not None
        return self._address


class Room(Exposed):
    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def check(self, call: CallReady) -> None:
        if self.archive.is_expired:
            raise Expired

    @method
    def add(self, left: int, right: int) -> int:
        self.archive.events.append("add")
        return left + right

    @method
    def echo(self, value: Value) -> Value:
        return value

    @method
    def take(self, value: Value) -> None:
        self.archive.events.append("take")

    @method
    async def room(self) -> Room:
        await self.archive.gate.wait()
        return Room(self.archive)

    @method
    async def wait(self) -> str:
        self.archive.events.append("waiting")
        await self.archive.gate.wait()
        return "done"

    @method
    async def persist(self) -> None:
        """Ignore that nobody waits any more, as a thread or a bad loop does."""
        self.archive.events.append("persisting")
        with trio.CancelScope(shield=True):
            await self.archive.gate.wait()

    @method
    async def stream(self, size: int) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * size
        finally:
            self.archive.events.append("stream left")


@asynccontextmanager
async def archive(present: Callable[[Archive], Exposed] = Room) -> AsyncIterator[Archive]:
    """Serve a room; any token opens another one."""
    house = Archive()

    def show(_peer: Peer, _token: bytes) -> Exposed:
        return present(house)

    async def run(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        await serve(
            key=TOTEBOX,
            archive_id=ARCHIVE_ID,
            pins=[pin(AGGREGATOR)],
            bootstrap=lambda _peer: Room(house),
            present=show,
            host="127.0.0.1",
            port=0,
            log=house.log.append,
            task_status=task_status,
        )

    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(run)
        house._address = Address(ARCHIVE_ID, host, port, TOTEBOX.certificate_pem, "98004")
        yield house
        house.gate.set()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def intruder(house: Archive, *, greets: bool = True) -> AsyncIterator[Intruder]:
    """Connect as the paired machine; what is said is up to the test."""
    stream = await dial_peer(
        house.address.host,
        house.address.port,
        key=AGGREGATOR,
        expected=pin(TOTEBOX).certificate,
        archive_id=ARCHIVE_ID,
    )
    one = Intruder(stream, ScriptedPeer(Role.CONTROLLER))
    try:
        if greets:
            await one.peer.play_on(stream, [HELLO, Hear(SUBJECT_HELLO)])
        yield one
    finally:
        stream.close()


@dataclass
class Intruder:
    """A paired machine that does not keep to what ours would say."""

    stream: TlsStream
    peer: ScriptedPeer


async def until(happens: Callable[[], bool]) -> None:
    """Let others run until something has happened; a test that waits in vain fails."""
    with trio.fail_after(10):
        while not happens():  # noqa: ASYNC110
            await trio.sleep(0.001)


@asynccontextmanager
async def liar(
    script: Callable[[TlsStream, ScriptedPeer], Awaitable[None]],
) -> AsyncIterator[Address]:
    """Listen as the paired archive does, and answer every connection by a script."""
    pins = {AGGREGATOR.spki_hash: pin(AGGREGATOR)}
    context = listener_context(TOTEBOX, list(pins.values()), archive_id=ARCHIVE_ID)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def answer() -> None:
            await trio.lowlevel.wait_readable(listener)
            stream, _ = await accept_peer(listener.accept()[0], context, pins)
            try:
                await script(stream, ScriptedPeer(Role.SUBJECT))
            finally:
                stream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            host, port = listener.getsockname()
            yield Address(ARCHIVE_ID, host, port, TOTEBOX.certificate_pem, "98004")
            nursery.cancel_scope.cancel()
