"""Two machines, and real TLS between them over real loopback sockets."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.errors import Disconnected
from psp.transport import (
    MachineKey,
    Peer,
    Pin,
    Refused,
    TlsStream,
    accept_peer,
    check_certificate_untrusted,
    dial_peer,
    listener_context,
)

ARCHIVE_ID = bytes(range(32))


def machine() -> MachineKey:
    return MachineKey(Ed25519PrivateKey.generate())


def pin(key: MachineKey, name: str = "machine") -> Pin:
    return Pin(name, check_certificate_untrusted(key.certificate_pem))


@dataclass
class Meeting:
    """What became of one handshake, as each side saw it."""

    dialled: TlsStream | Disconnected
    accepted: tuple[TlsStream, Peer] | Refused

    @property
    def streams(self) -> tuple[TlsStream, TlsStream]:
        assert isinstance(self.dialled, TlsStream)
        assert isinstance(self.accepted, tuple)
        return self.dialled, self.accepted[0]

    def close(self) -> None:
        if isinstance(self.dialled, TlsStream):
            self.dialled.close()
        if isinstance(self.accepted, tuple):
            self.accepted[0].close()


async def meet(
    dialling: MachineKey,
    listening: MachineKey,
    *,
    pinned: list[MachineKey],
    expected: MachineKey | None = None,
    archive_id: bytes = ARCHIVE_ID,
    small_buffers: bool = False,
) -> Meeting:
    """Let one machine dial another that has paired with `pinned`."""
    pins = {key.spki_hash: pin(key, f"pin {index}") for index, key in enumerate(pinned)}
    listener = socket.create_server(("127.0.0.1", 0))
    if small_buffers:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    context = listener_context(listening, list(pins.values()), archive_id=ARCHIVE_ID)
    meeting = Meeting(Disconnected(), Refused())

    async def accept() -> None:
        await trio.lowlevel.wait_readable(listener)
        try:
            meeting.accepted = await accept_peer(listener.accept()[0], context, pins)
        except Refused as exc:
            meeting.accepted = exc

    with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            try:
                meeting.dialled = await dial_peer(
                    *listener.getsockname(),
                    key=dialling,
                    expected=pin(expected or listening).certificate,
                    archive_id=archive_id,
                )
            except Disconnected as exc:
                meeting.dialled = exc
    return meeting


@pytest.fixture
def aggregator() -> MachineKey:
    return machine()


@pytest.fixture
def totebox() -> MachineKey:
    return machine()
