"""Certificates as carriers of a machine key, and nothing else.

TLS wants a certificate; PSP wants a key. So a certificate here says the key and nothing more: it is
self-signed, never expires, may sign no other, and the same key always makes the same bytes. Who is
trusted is decided by the pairing record, never by a name or a date in the certificate.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from psp.capability import check_prime_order, fingerprint, spki_hash_of
from psp.errors import CapabilityError, EstateError

from ._limits import CERTIFICATE_BYTES_MAX

# RFC 5280, section 4.1.2.5: this date means "no well-defined expiration".
_NEVER: Final = datetime(9999, 12, 31, 23, 59, 59)
_ALWAYS: Final = datetime(1970, 1, 1)

_KNOWN_EXTENSIONS: Final = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.AuthorityKeyIdentifier.oid,
    }
)


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Another machine's certificate that has passed the checks of pairing.

    Attributes:
        pem: Normalised: made again from `der`.
        spki_hash: SHA-256 of the SubjectPublicKeyInfo, 32 bytes: what a pairing record pins.
        public_bytes: The Ed25519 key, 32 bytes.
    """

    pem: str
    der: bytes
    spki_hash: bytes
    public_bytes: bytes

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.spki_hash)


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a pairing record: this name is exactly this certificate."""

    name: str
    certificate: PeerCertificate


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the handshake has proven it."""

    spki_hash: bytes
    public_bytes: bytes
    name: str


def make_certificate(private: Ed25519PrivateKey) -> str:
    """Make the one certificate of a key, as PEM.

    Ed25519 signs without randomness and every field comes from the key, so a machine that lost its
    certificate makes the very same one again and no pairing has to be renewed.
    """
    public = private.public_key()
    public_bytes = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    spki_hash = spki_hash_of(public_bytes)
    # OpenSSL finds a pinned certificate by its subject, so each key needs its own or a listener
    # with 1,000 pins walks through all of them.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, fingerprint(spki_hash))])
    serial = int.from_bytes(spki_hash[:16], "big") >> 1 or 1
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=public)
        .serial_number(serial)
        .not_valid_before(_ALWAYS)
        .not_valid_after(_NEVER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signature_only(), critical=True)
        .sign(private, algorithm=None)
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def check_certificate_untrusted(pem: str) -> PeerCertificate:
    """Check a certificate that somebody offers for pairing.

    Looser rules were tried against OpenSSL: with a pinned certificate that may sign others its
    owner can mint machines that the listener accepts.

    Raises:
        EstateError: Whatever is wrong with it. Nothing else is raised.
    """
    try:
        certificate = _parse(pem)
        public = certificate.public_key()
        problem = _problem(certificate, public)
    except (ValueError, UnsupportedAlgorithm, InvalidSignature, TypeError) as exc:
        raise _refusal("it cannot be read as one X.509 certificate") from exc
    if problem is not None or not isinstance(public, Ed25519PublicKey):
        raise _refusal(problem or "its key is not Ed25519")
    der = certificate.public_bytes(Encoding.DER)
    public_bytes = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    try:
        # OpenSSL lets anybody sign under a key of small order: it would pin the whole world.
        check_prime_order(public_bytes)
    except CapabilityError as exc:
        raise _refusal(str(exc)) from exc
    return PeerCertificate(
        pem=ssl.DER_cert_to_PEM_cert(der),
        der=der,
        spki_hash=spki_hash_of(public_bytes),
        public_bytes=public_bytes,
    )


def peer_key_untrusted(der: bytes) -> tuple[bytes, bytes]:
    """Give the SPKI hash and the raw key of a leaf that has just come through a handshake.

    OpenSSL has already found this very certificate among the pinned ones; this is the second lock,
    which does not depend on how OpenSSL builds chains.

    Raises:
        ValueError: The leaf does not carry an Ed25519 key. Nothing else is raised.
    """
    try:
        public = x509.load_der_x509_certificate(der).public_key()
    except UnsupportedAlgorithm as exc:
        raise ValueError(str(exc)) from exc
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError("the peer's key is not Ed25519")
    public_bytes = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return spki_hash_of(public_bytes), public_bytes


def _parse(pem: str) -> x509.Certificate:
    if len(pem) > CERTIFICATE_BYTES_MAX:
        raise ValueError(f"{len(pem)} characters; the limit is {CERTIFICATE_BYTES_MAX}")
    (certificate,) = x509.load_pem_x509_certificates(pem.encode())
    return certificate


def _problem(certificate: x509.Certificate, public: object) -> str | None:
    """Say in words what forbids pairing with it, or None."""
    if not isinstance(public, Ed25519PublicKey):
        return "its key is not Ed25519"
    if certificate.signature_algorithm_oid != x509.SignatureAlgorithmOID.ED25519:
        return "it is not signed with Ed25519"
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    if unknown := extensions.keys() - _KNOWN_EXTENSIONS:
        return f"it has extensions that PSP does not use ({len(unknown)} of them)"
    constraints = extensions.get(x509.BasicConstraints.oid)
    if not isinstance(constraints, x509.BasicConstraints) or constraints.ca:
        return "it does not say CA:FALSE, so its owner could mint other machines"
    usage = extensions.get(x509.KeyUsage.oid)
    if isinstance(usage, x509.KeyUsage) and (usage.key_cert_sign or usage.crl_sign):
        return "its key may sign certificates, so its owner could mint other machines"
    if certificate.not_valid_after_utc.replace(tzinfo=None) != _NEVER:
        return f"it expires on {certificate.not_valid_after_utc:%Y-%m-%d}; a machine key never does"
    if certificate.not_valid_before_utc.replace(tzinfo=None) > _ALWAYS:
        return "it is not valid from the beginning; a key has one certificate for ever"
    if certificate.issuer != certificate.subject:
        return "it was issued by somebody else; a machine key signs its own"
    certificate.verify_directly_issued_by(certificate)
    return None


def _signature_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _refusal(found: str) -> EstateError:
    return EstateError(
        f"this certificate cannot be paired: {found}."
        " Ask the other machine's operator for the one that its machine key makes."
    )
