"""How the peer under test is reached: pinned TLS, or plain TCP while it is being built."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from psp.endpoint import Address
from psp.errors import EstateError, Unreachable
from psp.transport import (
    MachineKey,
    PeerCertificate,
    Pin,
    Refused,
    accept_peer,
    dial_peer,
    listener_context,
)

from ._controller import Accept
from ._subject import Dial


def host_and_port(text: str) -> tuple[str, int]:
    """Read HOST:PORT.

    Raises:
        EstateError: It has another form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise EstateError(f"{text[:200]!r} is not HOST:PORT; write it like 127.0.0.1:7000")
    return host.strip("[]"), int(port)


def dials_plain(host: str, port: int) -> Dial:
    """Dial without TLS: for a peer that has none yet."""

    async def dial() -> trio.abc.Stream:
        try:
            return await trio.open_tcp_stream(host, port)
        except OSError as exc:
            raise Unreachable(
                f"nobody listens at {host}:{port} ({exc}). Start the subject, then try again."
            ) from exc

    return dial


def dials(address: Address, key: MachineKey) -> Dial:
    """Dial as a paired machine does."""

    async def dial() -> trio.abc.Stream:
        return await dial_peer(
            address.host,
            address.port,
            key=key,
            expected=address.certificate,
            archive_id=address.archive_id,
        )

    return dial


@asynccontextmanager
async def listens_plain(host: str, port: int) -> AsyncIterator[tuple[Accept, int]]:
    """Listen without TLS; gives the port that was bound."""
    with await _bound(host, port) as sock:

        async def accept() -> trio.abc.Stream:
            accepted, _ = await sock.accept()
            return trio.SocketStream(accepted)

        yield accept, sock.getsockname()[1]


@asynccontextmanager
async def listens(
    host: str, port: int, *, key: MachineKey, peer: PeerCertificate, archive_id: bytes
) -> AsyncIterator[tuple[Accept, int]]:
    """Listen as an archive that is paired with one machine; gives the port that was bound."""
    pin = Pin("the controller under test", peer)
    pins: Mapping[bytes, Pin] = {peer.spki_hash: pin}
    context = listener_context(key, [pin], archive_id=archive_id)
    with await _bound(host, port) as sock:

        async def accept() -> trio.abc.Stream:
            while True:
                accepted, _ = await sock.accept()
                try:
                    plain = socket.socket(fileno=accepted.detach())
                    stream, _ = await accept_peer(plain, context, pins)
                    return stream
                except Refused:
                    continue  # A stranger, or a port scanner: not the machine under test.

        yield accept, sock.getsockname()[1]


async def _bound(host: str, port: int) -> trio.socket.SocketType:
    try:
        (listener,) = await trio.open_tcp_listeners(port, host=host)
    except OSError as exc:
        raise EstateError(
            f"cannot listen on {host}:{port} ({exc.strerror or exc}). Choose a free port of this"
            " machine."
        ) from exc
    return listener.socket
