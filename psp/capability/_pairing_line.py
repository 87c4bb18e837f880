"""A request to be paired, and its answer, each as one line of text that a person carries.

`psp-pair1-` and Base64 without padding: the fields, each with its length, and a check of four bytes
that finds a line which was copied wrongly. The check is no proof of anything: whoever carries the
line vouches for it. All of it is public; nobody gains by reading it, only by changing it on the
way, which is why the fingerprint in it is shown in full on both machines.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import Enum
from typing import Final

from psp.errors import CapabilityError

from ._ceremony import Introduction
from ._limits import HASH_BYTES, PAIRING_CERTIFICATE_BYTES_MAX, PAIRING_NAME_BYTES_MAX
from ._signing import Tag, digest

_PREFIX: Final = "psp-pair1-"
_CHECK_BYTES: Final = 4
_HOST_BYTES_MAX: Final = 253  # RFC 1035, section 2.3.4, as text.
# The kind, two hashes, a port, and three fields with lengths of two bytes.
_BODY_BYTES_MAX: Final = (
    1
    + 2 * HASH_BYTES
    + 2
    + 3 * 2
    + PAIRING_NAME_BYTES_MAX
    + _HOST_BYTES_MAX
    + PAIRING_CERTIFICATE_BYTES_MAX
)
_LINE_CHARACTERS_MAX: Final = len(_PREFIX) + 4 * (_BODY_BYTES_MAX + _CHECK_BYTES) // 3 + 4


class LineKind(Enum):
    """Which way a line goes."""

    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingLine:
    """What one line says.

    Attributes:
        for_key: In a reply: the SHA-256 of the key whose request it answers. Else zeros.
        host: In a reply: where the archive is served, with the introduction's port. Else empty.
    """

    kind: LineKind
    introduction: Introduction
    for_key: bytes = bytes(HASH_BYTES)
    host: str = ""

    def to_text(self) -> str:
        """Write the line: letters, digits, dashes and underscores, without spaces.

        Raises:
            CapabilityError: A field is empty, or longer than it may be.
        """
        own = self.introduction
        fields = own.name.encode(), self.host.encode(), own.certificate
        limits = PAIRING_NAME_BYTES_MAX, _HOST_BYTES_MAX, PAIRING_CERTIFICATE_BYTES_MAX
        if any(len(field) > most for field, most in zip(fields, limits, strict=True)):
            raise CapabilityError("a name, address or certificate is too long for a pairing line")
        body = b"".join(
            [
                bytes([self.kind.value]),
                self.for_key,
                own.archive_id,
                own.port.to_bytes(2, "big"),
                *(len(field).to_bytes(2, "big") + field for field in fields),
            ]
        )
        return _PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")


def pairing_line_untrusted(text: str, kind: LineKind) -> PairingLine:
    """Read a line that somebody has carried here.

    Raises:
        CapabilityError: It is not one, not whole, or goes the other way. Nothing else is raised.
    """
    line = text.strip()
    if not line.startswith(_PREFIX) or len(line) > _LINE_CHARACTERS_MAX:
        raise _refused("does not begin and end as one")
    encoded = line[len(_PREFIX) :]
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused("has characters that none has") from None
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if check != _check(body):
        raise _refused("was cut or changed on its way")
    try:
        found = _read(body)
        is_strict = found.to_text() == line
    except (ValueError, CapabilityError):  # UnicodeDecodeError is a ValueError.
        is_strict = False
    if not is_strict:
        raise _refused("is malformed")
    if found.kind is not kind:
        raise _refused(f"is a {found.kind.name.lower()}, and a {kind.name.lower()} is needed here")
    return found


def _read(body: bytes) -> PairingLine:
    kind, rest = LineKind(body[0] if body else 0), body[1:]
    for_key, archive_id = rest[:HASH_BYTES], rest[HASH_BYTES : 2 * HASH_BYTES]
    port, rest = int.from_bytes(rest[2 * HASH_BYTES :][:2], "big"), rest[2 * HASH_BYTES + 2 :]
    fields = []
    for _ in range(3):
        size = int.from_bytes(rest[:2], "big")
        fields.append(rest[2 : 2 + size])
        rest = rest[2 + size :]
    name, host, certificate = fields
    own = Introduction(
        name=name.decode("ascii"), certificate=certificate, archive_id=archive_id, port=port
    )
    return PairingLine(kind=kind, introduction=own, for_key=for_key, host=host.decode("ascii"))


def _check(body: bytes) -> bytes:
    return digest(Tag.PAIRING_LINE, body)[:_CHECK_BYTES]


def _refused(why: str) -> CapabilityError:
    return CapabilityError(f"this is no line for pairing: it {why}. Copy it again, whole.")
