"""Telling systemd how far a service is: sd_notify(3), a line to the socket that it names."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"


class Readiness:
    """Tells whoever started this process. Made before a confinement, which lets nobody connect.

    Without systemd, or something else that has asked to be told, this says nothing.
    """

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        if not (name := os.environ.get(NOTIFY_SOCKET)):
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            # An at sign stands for the zero byte with which an abstract name begins.
            sock.connect("\0" + name[1:] if name.startswith("@") else name)
        except OSError:
            sock.close()  # Whoever asked has gone.
            return
        self._sock = sock

    def ready(self) -> None:
        """Say that the service answers from now on."""
        self._say("READY=1")

    def stopping(self) -> None:
        """Say that it ends what is in flight, and then itself."""
        self._say("STOPPING=1")

    def close(self) -> None:
        """Let go of the socket; nothing is told from then on."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _say(self, state: str) -> None:
        if self._sock is not None:
            with suppress(OSError):  # Whoever asked has gone; the service goes on.
                self._sock.send(state.encode())
