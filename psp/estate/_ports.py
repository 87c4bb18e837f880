"""Ports for a new estate: fixed from birth, so that its addresses can be handed out."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from typing import Final

from psp.errors import EstateError

PORT_FIRST: Final = 7411
"""Outside the well-known ports and, on Linux, below the range (32768 up) from which outgoing
connections take theirs: a port from that range may be in use at any moment."""
PORT_LAST: Final = 32_000


def free_ports(host: str, count: int) -> list[int]:
    """Find ports on which nobody listens now.

    Raises:
        EstateError: There are not that many; or the host is not an address of this machine.
    """
    ports: list[int] = []
    for port in _listenable(host):
        ports.append(port)
        if len(ports) == count:
            return ports
    raise EstateError(
        f"{count} free ports were asked for on {host} and {len(ports)} found from {PORT_FIRST} to"
        f" {PORT_LAST}. Stop what listens there, or use another host address"
    )


def _listenable(host: str) -> Iterator[int]:
    # From a place of its own: two estates made before either runs would get the same ports.
    start = PORT_FIRST + secrets.randbelow(PORT_LAST - PORT_FIRST)
    for port in (*range(start, PORT_LAST), *range(PORT_FIRST, start)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue  # Taken, or not ours: the caller hears it when too few are left.
            yield port
