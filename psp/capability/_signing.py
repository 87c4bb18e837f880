"""What exactly is signed and hashed: one registry of domain tags, and one way to join parts.

A signature of one type must never be good for another. So every signed or hashed message begins
with a tag that belongs to one type, and every part carries its length, so that no two lists of
parts give the same bytes.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from struct import Struct
from typing import Final


class Tag(Enum):
    """Every type that is signed or hashed here. A new type gets a new line, never borrows one."""

    # Signed.
    GRANT_LINK = "PSP1.grant-link"
    ANCHOR = "PSP1.anchor"
    INVOCATION = "PSP1.invocation"
    KEY_ROTATION = "PSP1.key-rotation"
    REVOCATION = "PSP1.revocation"
    EPOCH = "PSP1.epoch"
    CLOCK = "PSP1.clock"
    REASSERTION = "PSP1.reassertion"
    TRANSITION = "PSP1.transition"
    PAIRING = "PSP1.pairing"
    # Only hashed.
    ARCHIVE_ID = "PSP1.archive-id"
    CHAIN = "PSP1.chain"
    COMMANDS = "PSP1.commands"
    GRANT_ID = "PSP1.grant-id"
    PAIRING_CODE = "PSP1.pairing-code"
    PAIRING_COMMIT = "PSP1.pairing-commit"
    PAIRING_LINE = "PSP1.pairing-line"
    TEXT_LINE = "PSP1.text-line"

    def __init__(self, text: str) -> None:
        self.encoded = text.encode()


_le64: Final = Struct("<Q").pack


def pae(*parts: bytes) -> bytes:
    """Join parts so that they can be told apart again: their number, then each with its length.

    Source: PASETO, "Pre-Authentication Encoding": 64-bit little-endian, the top bit clear. The
    first byte is the number of parts, here always below 0x20, so these bytes are neither a TLS 1.3
    CertificateVerify (64 times 0x20) nor a certificate (0x30): a machine key that signs both
    cannot be made to sign one as the other.
    """
    joined = [_le64(len(parts))]
    for part in parts:
        joined += _le64(len(part)), part
    return b"".join(joined)


def tagged(tag: Tag, *parts: bytes) -> bytes:
    """Give the message of one type: what a signer of that type signs."""
    return pae(tag.encoded, *parts)


def digest(tag: Tag, *parts: bytes) -> bytes:
    """Give the 32-byte hash of one type."""
    return hashlib.sha256(pae(tag.encoded, *parts)).digest()
