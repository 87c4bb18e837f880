"""Finding a secret in bytes, however it was written there."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from psp.transport import MachineKey


def seed_of(key: MachineKey) -> bytes:
    """The 32 secret bytes of a key: whoever has them is that machine."""
    return key.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def forms_of(secret: bytes) -> set[bytes]:
    """What a secret looks like where it was written: raw, in hex, in Base64, in Base32.

    MessagePack and PEM are among them: the one holds raw bytes, the other is Base64. Inside a
    longer text the letters depend on where the secret begins, so every beginning is looked for,
    without the letters that its neighbours have a part in.
    """
    forms = {
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        repr(secret)[2:-1].encode(),
    }
    for encode, group in (
        (base64.b64encode, 3),
        (base64.urlsafe_b64encode, 3),
        (base64.b32encode, 5),
    ):
        for before in range(group):
            whole = encode(bytes(before) + secret)
            letters = group + 1 if group == 3 else 8
            # The first group holds what stood before, and the last one what will stand behind.
            begin = letters if before else 0
            end = len(whole) - (letters if (before + len(secret)) % group else 0)
            forms.add(whole[begin:end])
            forms.add(whole[begin:end].lower() if group == 5 else whole[begin:end])
    return forms


@dataclass(frozen=True)
class Canaries:
    """Secrets by their names, and the search for them."""

    secrets: Mapping[str, bytes]

    def found_in(self, data: bytes) -> set[str]:
        """The names of all that stand in `data`, in any form, broken over lines or not."""
        joined = b"".join(data.split()) if b"\n" in data else data
        return {
            name
            for name, secret in self.secrets.items()
            if any(form in data or form in joined for form in forms_of(secret))
        }
