"""Where an archive is, and by which key its machine is known."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from psp.errors import EstateError
from psp.transport import PeerCertificate, check_certificate_untrusted, server_name

_ADDRESS: Final = re.compile(
    r"psp://(?P<fingerprint>SHA256:[A-Za-z0-9_-]{43})@"
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9._-]{1,253})):(?P<port>[0-9]{1,5})"
    r"/(?P<archive>[a-z2-7]{52})"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One archive as a machine that is paired with it knows it.

    Attributes:
        archive_id: 32 bytes.
        host: A name or an IP address.
        certificate_pem: The paired machine's certificate, from the pairing record.
        name: What people call the archive.
    """

    archive_id: bytes
    host: str
    port: int
    certificate_pem: str
    name: str

    @property
    def certificate(self) -> PeerCertificate:
        """The certificate, checked again.

        Raises:
            EstateError: The pairing record was damaged since.
        """
        return check_certificate_untrusted(self.certificate_pem)

    def to_text(self) -> str:
        """Write the address as `psp://SHA256:FINGERPRINT@host:port/ARCHIVE`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"psp://{self.certificate.fingerprint}@{host}:{self.port}/{server_name(self.archive_id)}"

    @classmethod
    def from_text_untrusted(cls, text: str, *, certificate_pem: str, name: str) -> Address:
        """Read an address that somebody wrote, for a machine whose certificate is pinned here.

        Raises:
            EstateError: Not an address, or of another machine. Nothing else is raised.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None or not 0 < int(found["port"]) < 65_536:
            # Quoted only if it looks like one: what was pasted by mistake may be a token or a key.
            given = (
                repr(text[:200]) if text.startswith("psp://") else f"a text of {len(text)} letters"
            )
            raise EstateError(
                f"{given} is not the address of an archive. It has the form"
                " psp://SHA256:FINGERPRINT@host:port/ARCHIVE; ask its operator to copy it again."
            )
        expected = check_certificate_untrusted(certificate_pem).fingerprint
        if found["fingerprint"] != expected:
            raise EstateError(
                f"the address names the machine {found['fingerprint']}; the one that is paired as"
                f" {name!r} is {expected}. Pair again if the archive moved to a new machine."
            )
        try:
            archive_id = base64.b32decode(found["archive"].upper() + "====")
        except binascii.Error:  # Excluded by the pattern; kept so that nothing else can be raised.
            raise EstateError(f"{found['archive']} is not an archive id. Copy it again.") from None
        return cls(
            archive_id, found["six"] or found["host"], int(found["port"]), certificate_pem, name
        )
