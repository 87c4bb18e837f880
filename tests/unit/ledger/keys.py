"""Keys for the ledger's tests."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Key:
    """An Ed25519 key from a seed of one repeated byte."""

    def __init__(self, seed: int = 7) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public_bytes = self._private.public_key().public_bytes_raw()

    def sign(self, data: bytes, /) -> bytes:
        return self._private.sign(data)
