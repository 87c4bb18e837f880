"""The pairing ceremony: two machines that know nothing of each other, and two people who compare.

    caller                       listener
    COMMIT  hash of its REVEAL ─▶
            ◀─ COMMIT  hash of its REVEAL
    REVEAL  nonce, key, name   ─▶  must be what was committed to; or it ends, and no code exists
            ◀─ REVEAL  nonce, key, name
    both show a code of 30 bits over everything that was said; people compare the two screens
    CONFIRM ─▶  ◀─ CONFIRM         yes or no, signed by the key that was revealed

Nobody has seen the other's nonce when he is bound to his own, so whoever stands between the two
cannot choose what makes both codes alike. Pure: bytes in, bytes out; the nonce is an argument.

Source: the shape of "numeric comparison" in Bluetooth Core 5.4, vol. 3, part H, 2.3.5.6.2, and of
ZRTP (RFC 6189, section 4.4.1.1); here both sides commit, so both screens are bound alike.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NoReturn

from psp.errors import CapabilityError

from ._keys import SigningKey, verify_signature
from ._limits import (
    HASH_BYTES,
    PAIRING_CERTIFICATE_BYTES_MAX,
    PAIRING_CODE_BITS,
    PAIRING_NAME_BYTES_MAX,
    SIGNATURE_BYTES,
)
from ._signing import Tag, digest, tagged

PAIRING_NONCE_BYTES: Final = 32

_MAGIC: Final = b"PSPP\x01"
_NAME_FIELD: Final = 1 + PAIRING_NAME_BYTES_MAX
_CERTIFICATE_FIELD: Final = 2 + PAIRING_CERTIFICATE_BYTES_MAX
_PORT_BYTES: Final = 2
_GROUP_BITS: Final = 10


class Role(Enum):
    """Who one is. It is in every frame and every hash, so nothing can be sent back to its sender
    as if it were the other's."""

    CALLER = 1
    LISTENER = 2

    @property
    def other(self) -> Role:
        return Role.LISTENER if self is Role.CALLER else Role.CALLER


class Kind(Enum):
    """The three frames. Each has one size."""

    COMMIT = 1
    REVEAL = 2
    CONFIRM = 3


_HEADER_BYTES: Final = len(_MAGIC) + 2
_REVEAL_BYTES: Final = (
    PAIRING_NONCE_BYTES + HASH_BYTES + _PORT_BYTES + _NAME_FIELD + _CERTIFICATE_FIELD
)
FRAME_BYTES: Final = {
    Kind.COMMIT: _HEADER_BYTES + HASH_BYTES,
    Kind.REVEAL: _HEADER_BYTES + _REVEAL_BYTES,
    Kind.CONFIRM: _HEADER_BYTES + 1 + SIGNATURE_BYTES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What a machine says of itself.

    Attributes:
        name: What it would like to be called; letters, digits, dots and dashes.
        certificate: DER. Not checked here: whoever pins it does.
        archive_id: 32 bytes; zeros for a machine that is no archive.
        port: Where the archive is served; 0 for a machine that is none.
    """

    name: str
    certificate: bytes
    archive_id: bytes = bytes(HASH_BYTES)
    port: int = 0


ReadKey = Callable[[bytes], bytes]
"""Takes a stranger's certificate (DER), checks it for pairing, gives its key. Raises
`CapabilityError` or `EstateError` when it cannot be paired."""


class Ceremony:
    """One side of one ceremony. After an error it is over, and so is the one try.

    Attributes:
        peer: Who the other side says it is; set together with `code`.
        code: What people compare, as `0417 0093 1002`; empty before both have revealed.
        agreed: Whether the other side's person has said yes; None before that is known.
    """

    def __init__(
        self,
        role: Role,
        own: Introduction,
        *,
        nonce: bytes,
        signer: SigningKey,
        read_key: ReadKey,
    ) -> None:
        """Begin.

        Args:
            nonce: 32 random bytes, never used before.
            signer: The key in the certificate of `own`.
        """
        assert len(nonce) == PAIRING_NONCE_BYTES
        self.peer: Introduction | None = None
        self.code = ""
        self.agreed: bool | None = None
        self._role = role
        self._signer = signer
        self._read_key = read_key
        self._own_reveal = nonce + _pack(own)
        self._own_commit = _commitment(role, self._own_reveal)
        # The other side's: set as they come, each once.
        self._their_commit = b""
        self._their_key = b""
        self._transcript = b""
        self._has_decided = False
        # What must come next, and nothing else; None when nothing more may come.
        self._expected: Kind | None = Kind.COMMIT

    @property
    def wanted_bytes(self) -> int:
        """The size of the one frame that may come now; 0 if none may."""
        return FRAME_BYTES[self._expected] if self._expected else 0

    def start(self) -> bytes:
        """Give what the caller sends first. The listener waits."""
        return self._frame(Kind.COMMIT, self._own_commit) if self._role is Role.CALLER else b""

    def receive_untrusted(self, frame: bytes) -> bytes:
        """Take one whole frame; give what is to be sent for it.

        Raises:
            CapabilityError: It is not the one frame that may come now. The ceremony is over.
                Nothing else is raised, unless `read_key` raises it.
        """
        expected, self._expected = self._expected, None  # Whatever goes wrong ends it.
        if expected is None:
            self._end("nothing more may come")
        body = self._open(expected, frame)
        match expected:
            case Kind.COMMIT:
                return self._on_commit(body)
            case Kind.REVEAL:
                return self._on_reveal(body)
            case Kind.CONFIRM:
                return self._on_confirm(body)

    def decide(self, *, agreed: bool) -> bytes:
        """Say what the person here has decided; give what is to be sent. Once, after the codes."""
        assert self.code, "there is no code to decide about yet"
        assert not self._has_decided, "a ceremony is decided once"
        self._has_decided = True
        verdict = bytes([agreed])
        return self._frame(
            Kind.CONFIRM, verdict + self._signer.sign(self._signed(self._role, verdict))
        )

    def _on_commit(self, body: bytes) -> bytes:
        self._their_commit = body
        self._expected = Kind.REVEAL
        if self._role is Role.CALLER:
            return self._frame(Kind.REVEAL, self._own_reveal)
        return self._frame(Kind.COMMIT, self._own_commit)

    def _on_reveal(self, body: bytes) -> bytes:
        theirs = _commitment(self._role.other, body)
        if not hmac.compare_digest(theirs, self._their_commit):
            self._end("what was revealed is not what was committed to")
        peer = _unpack_untrusted(body[PAIRING_NONCE_BYTES:])
        self._their_key = self._read_key(peer.certificate)
        if self._their_key == self._signer.public_bytes:
            self._end("the other side shows this machine's own key")
        mine, caller = self._own_reveal, self._role is Role.CALLER
        self._transcript = digest(Tag.PAIRING_CODE, *((mine, body) if caller else (body, mine)))
        self.peer, self.code = peer, _code(self._transcript)
        self._expected = Kind.CONFIRM
        return b"" if caller else self._frame(Kind.REVEAL, mine)

    def _on_confirm(self, body: bytes) -> bytes:
        verdict, signature = body[:1], body[1:]
        message = self._signed(self._role.other, verdict)
        if verdict not in (b"\0", b"\1") or not verify_signature(
            self._their_key, message, signature
        ):
            self._end("the confirmation is not signed by the key that was revealed")
        self.agreed = verdict == b"\1"
        return b""

    def _signed(self, role: Role, verdict: bytes) -> bytes:
        return tagged(Tag.PAIRING, bytes([role.value]), self._transcript, verdict)

    def _frame(self, kind: Kind, body: bytes) -> bytes:
        frame = _MAGIC + bytes([kind.value, self._role.value]) + body
        assert len(frame) == FRAME_BYTES[kind]
        return frame

    def _open(self, expected: Kind, frame: bytes) -> bytes:
        header = _MAGIC + bytes([expected.value, self._role.other.value])
        if len(frame) != FRAME_BYTES[expected] or not frame.startswith(header):
            self._end(f"the next frame is not a {expected.name} of the other side")
        return frame[_HEADER_BYTES:]

    def _end(self, why: str) -> NoReturn:
        self._expected = None
        raise CapabilityError(
            f"the pairing ceremony was ended: {why}. Begin again on both machines; if it happens"
            " again, somebody may stand between them."
        )


def _commitment(role: Role, reveal: bytes) -> bytes:
    return digest(Tag.PAIRING_COMMIT, bytes([role.value]), reveal)


def _code(transcript: bytes) -> str:
    number = int.from_bytes(transcript[:8], "big") >> (64 - PAIRING_CODE_BITS)
    groups = range(PAIRING_CODE_BITS - _GROUP_BITS, -1, -_GROUP_BITS)
    return " ".join(f"{number >> shift & (1 << _GROUP_BITS) - 1:04}" for shift in groups)


def _pack(own: Introduction) -> bytes:
    """Write an introduction in the one size that all have."""
    name = own.name.encode()
    if not 0 < len(name) <= PAIRING_NAME_BYTES_MAX:
        raise CapabilityError(f"a name of {len(name)} bytes; give 1 to {PAIRING_NAME_BYTES_MAX}")
    if not 0 < len(own.certificate) <= PAIRING_CERTIFICATE_BYTES_MAX:
        raise CapabilityError(f"a certificate of {len(own.certificate)} bytes cannot be paired")
    return b"".join(
        [
            own.archive_id,
            own.port.to_bytes(_PORT_BYTES, "big"),
            bytes([len(name)]) + name.ljust(PAIRING_NAME_BYTES_MAX, b"\0"),
            len(own.certificate).to_bytes(2, "big"),
            own.certificate.ljust(PAIRING_CERTIFICATE_BYTES_MAX, b"\0"),
        ]
    )


def _unpack_untrusted(packed: bytes) -> Introduction:
    """Read an introduction.

    Raises:
        CapabilityError: It is not the one way to write any. Nothing else is raised.
    """
    archive_id, rest = packed[:HASH_BYTES], packed[HASH_BYTES:]
    port = int.from_bytes(rest[:_PORT_BYTES], "big")
    name_field, field = rest[_PORT_BYTES:][:_NAME_FIELD], rest[_PORT_BYTES + _NAME_FIELD :]
    try:
        found = Introduction(
            name=name_field[1 : 1 + name_field[0]].decode("ascii"),
            certificate=field[2 : 2 + int.from_bytes(field[:2], "big")],
            archive_id=archive_id,
            port=port,
        )
        is_strict = found.name.isprintable() and _pack(found) == packed
    except (UnicodeDecodeError, CapabilityError):
        is_strict = False
    if not is_strict:
        raise CapabilityError("the other side's introduction is malformed. Begin again.")
    return found
