"""What every socket between two machines has, and waiting until one takes more."""

from __future__ import annotations

import socket
from typing import Final

import trio

from ._limits import NOTSENT_LOWAT_BYTES, UNREAD_S_MAX

_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A machine that lost its power says nothing. An idle connection to it ends after one minute."""


def prepare(sock: socket.socket) -> socket.socket:
    """Set what every socket of PSP has: no blocking, no delay, little in the kernel, an end."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S_MAX * 1000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


class Gate:
    """Lets several tasks wait until one socket is writable; trio itself allows a single one.

    Reading may have to wait until the socket is *writable* (a peer that asks for new keys must be
    answered) while the writer waits for the same. Only the reader ever waits to read.
    """

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()
        self._is_taken = False

    async def pass_through(self, sock: socket.socket) -> None:
        if self._is_taken:
            await self._lot.park()
            return
        self._is_taken = True
        try:
            await trio.lowlevel.wait_writable(sock)
        finally:
            self._is_taken = False
            self._lot.unpark_all()
