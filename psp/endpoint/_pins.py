"""The machines that may connect to a listener, while it listens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from psp.transport import Pin


class Pins:
    """A pairing record that can change.

    Attributes:
        by_key: Each pin, by the SHA-256 of its key: the same mapping at all times, so that a
            handshake which began before a removal still ends with what holds now.
    """

    def __init__(self, pins: Sequence[Pin]) -> None:
        self.by_key = {pin.certificate.spki_hash: pin for pin in pins}
        self._listeners: list[Callable[[Collection[bytes]], None]] = []

    def replace(self, pins: Sequence[Pin], *, ended: Collection[bytes] = ()) -> None:
        """Let exactly these machines in from now on. Connections of all others are closed.

        Call it in trio's thread: when it returns, nothing that a removed machine sent is heard.

        Args:
            ended: Keys whose connections are closed although they may connect again, because what
                they may do has changed.
        """
        now = {pin.certificate.spki_hash: pin for pin in pins}
        gone = {key for key, pin in self.by_key.items() if now.get(key) != pin}
        self.by_key.clear()
        self.by_key.update(now)
        for listener in self._listeners:
            listener(gone | {*ended})

    def on_change(self, listener: Callable[[Collection[bytes]], None]) -> None:
        """Have a listener told of the keys whose connections must be closed."""
        self._listeners.append(listener)
