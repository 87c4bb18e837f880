"""Ed25519 keys: which of them may be trusted with anything, and checking a signature.

OpenSSL verifies signatures under keys that RFC 8032 forbids. Under the smallest of them one fixed
signature is valid for *every* message, so whoever gets such a key pinned or named as a holder has
signed everything. Two checks, by cost:

- `check_public_key`, microseconds, for every key in every link: the encoding is the one encoding of
  its point, and the point is none of the eight of small order.
- `check_prime_order`, a millisecond, once for a key that enters by pairing or in an anchor, and for
  a holder key after the signature that names it has verified: no small part is mixed in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from psp.errors import CapabilityError

from ._limits import KEY_BYTES, KEYS_REMEMBERED_MAX

Verifier: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> whether it is good. An argument, so that a test can count."""


class SigningKey(Protocol):
    """Whatever can sign: a file on this machine, a token in a drawer."""

    @property
    def public_bytes(self) -> bytes: ...

    def sign(self, data: bytes) -> bytes: ...


# RFC 8032, section 5.1: the field, the curve constant, and the order of the base point.
_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_L: Final = 2**252 + 27742317777372353535851937790883648493
_SIGN_BIT: Final = 1 << 255

# y of a point of order 8; the other three have -y, or the other sign of x.
_Y_OF_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8})
"""Whatever the sign of x: orders 4, 1, 2 and 8. Also covers the two encodings of "minus zero"."""

# Everything in a SubjectPublicKeyInfo of an Ed25519 key before its 32 bytes (RFC 8410, section 4).
_SPKI_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Check one signature; the default `Verifier`. The key has been through `check_public_key`."""
    try:
        _loaded(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=KEYS_REMEMBERED_MAX)  # An object of OpenSSL for each key, the same for ever.
def _loaded(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def spki_hash_of(public_key: bytes) -> bytes:
    """Give the 32 bytes that name a machine's key: SHA-256 of its SubjectPublicKeyInfo.

    Of the key and not of the certificate, so a certificate may be renewed under a living grant.
    """
    return hashlib.sha256(_SPKI_PREFIX + public_key).digest()


def fingerprint(hash_of_key: bytes) -> str:
    """Write a key's hash as people compare it, in full: `SHA256:` and 43 characters.

    The URL alphabet, because the same text stands in an address (psp://SHA256:…@host/…).
    """
    return "SHA256:" + base64.urlsafe_b64encode(hash_of_key).decode().rstrip("=")


def check_public_key(key: bytes) -> bytes:
    """Return the key if its encoding is canonical and its point not of small order.

    Raises:
        CapabilityError: It is not. Nothing else is raised.
    """
    if len(key) != KEY_BYTES:
        raise CapabilityError(f"an Ed25519 key has {KEY_BYTES} bytes; {len(key)} were given")
    y = _y_of(key)
    if y >= _P:
        raise CapabilityError("the key is a second encoding of its point; generate a new key")
    if y in _SMALL_ORDER_Y:
        raise CapabilityError("under this key anybody can sign anything; generate a new key")
    return key


@lru_cache(maxsize=KEYS_REMEMBERED_MAX)  # A fleet presents the same few keys again and again.
def check_prime_order(key: bytes) -> bytes:
    """Return the key if it is a point of the large prime order; no better can be shown of a key.

    About a millisecond; good keys are remembered.

    Raises:
        CapabilityError: It is not. Nothing else is raised.
    """
    check_public_key(key)
    point = _decompress(key)
    if point is None:
        raise CapabilityError("the key is not a point of the curve; generate a new key")
    x, y, z, _ = _multiply(_L, point)
    # The neutral point is (0, z, z). The point of order two has x = 0 as well, but y = -z.
    if x or y != z:
        raise CapabilityError("the key has a part of small order mixed in; generate a new key")
    return key


# Extended coordinates (X, Y, Z, T), RFC 8032, section 5.1.4, whose letters are kept.
_Point: TypeAlias = tuple[int, int, int, int]


def _y_of(key: bytes) -> int:
    return int.from_bytes(key, "little") & (_SIGN_BIT - 1)


def _decompress(key: bytes) -> _Point | None:
    """RFC 8032, section 5.1.3."""
    y = _y_of(key)
    u, v = y * y - 1, _D * y * y + 1
    x = u * v**3 * pow(u * v**7, (_P - 5) // 8, _P) % _P
    if (v * x * x + u) % _P == 0:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if (v * x * x - u) % _P:
        return None
    if x & 1 != key[31] >> 7:
        x = _P - x
    return x, y, 1, x * y % _P


def _add(left: _Point, right: _Point) -> _Point:
    a = (left[1] - left[0]) * (right[1] - right[0]) % _P
    b = (left[1] + left[0]) * (right[1] + right[0]) % _P
    c = 2 * left[3] * right[3] * _D % _P
    d = 2 * left[2] * right[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(scalar: int, point: _Point) -> _Point:
    # Not in constant time, and need not be: nothing here is secret.
    result: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result
