"""Keys that everybody knows: for archives that stand in the repository, and for nothing else."""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.transport import MachineKey


def key(name: str) -> MachineKey:
    """Give the key of a part, the same on every machine."""
    return MachineKey(Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest()))


ROOT, ANCHOR, BOX, LEDGER = map(
    key, ("golden root", "golden anchor", "golden box", "golden ledger")
)
USER, INTERFACE = key("golden user"), key("golden interface")
NONCE = bytes(16)
