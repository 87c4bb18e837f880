"""A key file that needs a passphrase: JSON that names everything needed to open it.

    {"cipher":"chacha20-poly1305","format":"psp-key-1","kdf":"scrypt","n":131072,"nonce":…,"p":1,
     "public_key":…,"r":8,"salt":…,"sealed":…}

Scrypt (RFC 7914) makes every guess cost 128 MiB; its numbers stand in the file, so that they can
rise without a new format, and are bounded before they are used: a file must not be able to ask for
all memory. Everything but the sealed seed is authenticated with it, so no part can be exchanged.

scrypt and not argon2id: `cryptography` has that one only over OpenSSL 3.2, and Debian 12 has 3.0.
"""

from __future__ import annotations

import base64
import json
import secrets
import unicodedata
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from psp.errors import KeyFileError

from ._limits import (
    PASSPHRASE_BYTES_MAX,
    SCRYPT_BYTES_MAX,
    SCRYPT_N_DEFAULT,
    SCRYPT_N_MIN,
    SCRYPT_P_MAX,
    SCRYPT_R,
)

_FORMAT: Final = "psp-key-1"
_KDF: Final = "scrypt"
_CIPHER: Final = "chacha20-poly1305"
_SIZES: Final = {"salt": 16, "nonce": 12, "public_key": 32, "sealed": 32 + 16}
_NAMES: Final = {"format", "kdf", "cipher", "n", "r", "p", *_SIZES}


class Passphrase:
    """What a person typed. Its repr shows nothing, so that no traceback with locals can.

    Raises:
        KeyFileError: On making: empty, or longer than 1,024 bytes.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        # NFC, as keyboards differ in how they write an accent (RFC 8265, section 4).
        self._text = unicodedata.normalize("NFC", text)
        if not 1 <= len(self.encode()) <= PASSPHRASE_BYTES_MAX:
            raise KeyFileError(
                f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes; this one has"
                f" {len(self.encode())}. Choose another; five random words are good."
            )

    def encode(self) -> bytes:
        """Give the bytes that are derived from."""
        return self._text.encode("utf-8", "surrogatepass")

    def __repr__(self) -> str:
        return "Passphrase(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Passphrase) and secrets.compare_digest(
            self.encode(), other.encode()
        )


def is_sealed(data: bytes) -> bool:
    """Whether a key file's bytes are of this form; PEM begins with a dash."""
    return data.startswith(b"{")


def seal_key(private: Ed25519PrivateKey, passphrase: Passphrase) -> bytes:
    """Give the bytes of a key file that opens with the passphrase. About half a second."""
    header: dict[str, str | int] = {
        "format": _FORMAT,
        "kdf": _KDF,
        "cipher": _CIPHER,
        "n": SCRYPT_N_DEFAULT,
        "r": SCRYPT_R,
        "p": 1,
        "salt": _text(secrets.token_bytes(_SIZES["salt"])),
        "nonce": _text(secrets.token_bytes(_SIZES["nonce"])),
        "public_key": _text(private.public_key().public_bytes_raw()),
    }
    sealed = _cipher(header, passphrase).encrypt(
        _bytes(header, "nonce"), private.private_bytes_raw(), _canonical(header)
    )
    return _canonical({**header, "sealed": _text(sealed)}) + b"\n"


def open_key_untrusted(data: bytes, passphrase: Passphrase) -> Ed25519PrivateKey | None:
    """Open a sealed key; None if the passphrase is wrong.

    Raises:
        ValueError: The file is not of this form, or asks for too much. Nothing else is raised.
    """
    header = _read(data)
    sealed = _bytes(header, "sealed")
    del header["sealed"]
    public = _bytes(header, "public_key")
    # Nothing raises from where the seed or the derived key is a local: tracebacks can show locals.
    private = _open(header, passphrase, sealed)
    if private is not None and private.public_key().public_bytes_raw() != public:
        raise ValueError("the sealed key is not the private half of the public one")
    return private


def sealed_facts_untrusted(data: bytes) -> tuple[bytes, str]:
    """Give what a sealed key says without its passphrase: the public key, and how it is sealed.

    Raises:
        ValueError: The file is not of this form. Nothing else is raised.
    """
    header = _read(data)
    words = f"{_KDF} n={header['n']} r={header['r']} p={header['p']}, {_CIPHER}"
    return _bytes(header, "public_key"), words


def _open(
    header: dict[str, str | int], passphrase: Passphrase, sealed: bytes
) -> Ed25519PrivateKey | None:
    cipher = _cipher(header, passphrase)
    try:
        seed = cipher.decrypt(_bytes(header, "nonce"), sealed, _canonical(header))
    except InvalidTag:
        return None
    return Ed25519PrivateKey.from_private_bytes(seed)


def _cipher(header: dict[str, str | int], passphrase: Passphrase) -> ChaCha20Poly1305:
    n, r, p = (int(header[name]) for name in "nrp")
    kdf = Scrypt(salt=_bytes(header, "salt"), length=32, n=n, r=r, p=p)
    return ChaCha20Poly1305(kdf.derive(passphrase.encode()))


def _read(data: bytes) -> dict[str, str | int]:
    try:
        header = json.loads(data)
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc
    if not isinstance(header, dict) or header.keys() != _NAMES:
        raise ValueError(f"not the fields of {_FORMAT}")
    if (header["format"], header["kdf"], header["cipher"]) != (_FORMAT, _KDF, _CIPHER):
        raise ValueError(f"not {_FORMAT} with {_KDF} and {_CIPHER}")
    _check_cost(header["n"], header["r"], header["p"])
    for name, size in _SIZES.items():
        if not isinstance(header[name], str) or len(_bytes(header, name)) != size:
            raise ValueError(f"{name} has not {size} bytes")
    if _canonical(header) + b"\n" != data:
        raise ValueError("the file is not in its one form")
    return header


def _check_cost(n: object, r: object, p: object) -> None:
    if type(n) is not int or type(r) is not int or type(p) is not int:
        raise ValueError("the numbers of scrypt are integers")
    if r != SCRYPT_R or not 1 <= p <= SCRYPT_P_MAX or n < SCRYPT_N_MIN or n & (n - 1):
        raise ValueError(f"scrypt with n={n}, r={r}, p={p}")
    if 128 * n * r > SCRYPT_BYTES_MAX:
        raise ValueError(f"scrypt that asks for {128 * n * r} bytes of memory")


def _canonical(header: dict[str, str | int]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(header: dict[str, str | int], name: str) -> bytes:
    return base64.b64decode(str(header[name]), validate=True)
