"""Keys that must never be trusted, and the arithmetic that finds them."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from psp.capability import (
    _keys,
    check_prime_order,
    check_public_key,
    fingerprint,
    spki_hash_of,
    verify_signature,
)
from psp.errors import CapabilityError

from .actors import AGGREGATOR, OPERATOR, OWNER

P = 2**255 - 19
Y8 = _keys._Y_OF_ORDER_8
SMALL_ORDER = [
    (y | sign << 255).to_bytes(32, "little")
    for y in (0, 1, P - 1, Y8, P - Y8, P, P + 1)
    for sign in (0, 1)
]


def test_the_fourteen_encodings_of_small_order_are_refused() -> None:
    """Attack 6: all there are."""
    assert len(set(SMALL_ORDER)) == 14
    for weak in SMALL_ORDER:
        with pytest.raises(CapabilityError):
            check_public_key(weak)
        with pytest.raises(CapabilityError):
            check_prime_order(weak)


def test_the_listed_point_really_has_order_eight() -> None:
    point = _keys._decompress(Y8.to_bytes(32, "little"))
    assert point is not None
    fourth, eighth = _keys._multiply(4, point), _keys._multiply(8, point)

    assert (fourth[0], (fourth[1] + fourth[2]) % P) == (0, 0), "four times it is (0, -1)"
    assert (eighth[0], (eighth[1] - eighth[2]) % P) == (0, 0), "eight times it is neutral"


def test_under_a_key_of_small_order_one_signature_is_good_for_every_message() -> None:
    """Why the check exists: without it this would be a master key."""
    neutral, signature = (1).to_bytes(32, "little"), (1).to_bytes(32, "little") + bytes(32)

    assert all(verify_signature(neutral, bytes([it]), signature) for it in range(8))


@pytest.mark.parametrize("y", range(P, 2**255))
def test_a_second_encoding_of_a_point_is_refused(y: int) -> None:
    with pytest.raises(CapabilityError, match=r"encoding|sign anything"):
        check_public_key(y.to_bytes(32, "little"))


def test_honest_keys_pass_both_checks() -> None:
    for key in (OWNER, OPERATOR, AGGREGATOR):
        assert check_prime_order(check_public_key(key.public_bytes)) == key.public_bytes


def test_an_honest_key_with_a_small_part_added_is_found() -> None:
    """Attack 6: a key of mixed order."""
    honest = _keys._decompress(OWNER.public_bytes)
    small = _keys._decompress(Y8.to_bytes(32, "little"))
    assert honest is not None
    assert small is not None
    x, y, z, _ = _keys._add(honest, small)
    inverse = pow(z, -1, P)
    mixed = (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")
    check_public_key(mixed)

    with pytest.raises(CapabilityError, match="small order mixed in"):
        check_prime_order(mixed)


def test_a_key_off_the_curve_is_refused() -> None:
    off = next(
        key
        for key in ((y).to_bytes(32, "little") for y in range(2, 40))
        if _keys._decompress(key) is None
    )

    with pytest.raises(CapabilityError, match="not a point"):
        check_prime_order(off)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_thirty_two_bytes(size: int) -> None:
    with pytest.raises(CapabilityError, match=f"{size} were given"):
        check_public_key(bytes(size))


def test_the_name_of_a_key_is_the_hash_of_what_a_certificate_says_of_it() -> None:
    certificate = x509.load_pem_x509_certificate(OWNER.certificate_pem.encode())
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki_hash_of(OWNER.public_bytes) == hashlib.sha256(spki).digest()


def test_a_fingerprint_is_text_for_people_and_for_urls() -> None:
    assert fingerprint(b"\xfb" * 32) == "SHA256:" + "-_v7" * 10 + "-_s"


def test_a_signature_of_the_wrong_size_is_false_and_not_an_exception() -> None:
    assert not verify_signature(OWNER.public_bytes, b"", b"")
    assert not verify_signature(hashlib.sha256(b"").digest()[:5], b"", bytes(64))
