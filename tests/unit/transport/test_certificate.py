from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from psp.errors import EstateError
from psp.transport import MachineKey, check_certificate_untrusted
from psp.transport._certificate import _signature_only

NEVER = datetime(9999, 12, 31, 23, 59, 59)
EPOCH = datetime(1970, 1, 1)
OWN = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()
CURVE = ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    *,
    ca: bool | None = False,
    usage: x509.KeyUsage | None = None,
    until: datetime = NEVER,
    since: datetime = EPOCH,
    issuer: str = "me",
    signer: Ed25519PrivateKey = OWN,
    more: x509.ExtensionType | None = None,
) -> str:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("me"))
        .issuer_name(name(issuer))
        .public_key(OWN.public_key())
        .serial_number(7)
        .not_valid_before(since)
        .not_valid_after(until)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if more is not None:
        builder = builder.add_extension(more, critical=False)
    return builder.sign(signer, None).public_bytes(Encoding.PEM).decode()


def signing_usage() -> x509.KeyUsage:
    values = {**vars(_signature_only())}
    return x509.KeyUsage(
        **{key.lstrip("_"): value for key, value in values.items()} | {"key_cert_sign": True}
    )


def curve_certificate() -> str:
    return (
        x509.CertificateBuilder(name("me"), name("me"), CURVE.public_key(), 7, EPOCH, NEVER)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .sign(CURVE, SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )


def anybodys_certificate() -> str:
    """Carry the neutral point as a key: this one signature is valid for every message."""
    der = x509.load_pem_x509_certificate(certificate().encode()).public_bytes(Encoding.DER)
    neutral = b"\x01" + bytes(31)
    own = OWN.public_key().public_bytes_raw()
    return ssl.DER_cert_to_PEM_cert(der.replace(own, neutral)[:-64] + neutral + bytes(32))


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "a certificate authority": (lambda: certificate(ca=True), "CA:FALSE"),
    "no basic constraints": (lambda: certificate(ca=None), "CA:FALSE"),
    "key usage without constraints": (
        lambda: certificate(ca=None, usage=signing_usage()),
        "CA:FALSE",
    ),
    "may sign certificates": (lambda: certificate(usage=signing_usage()), "may sign certificates"),
    "expires": (lambda: certificate(until=datetime(2999, 1, 1)), "expires on 2999-01-01"),
    "begins later": (lambda: certificate(since=datetime(2020, 1, 1)), "one certificate for ever"),
    "issued by another": (lambda: certificate(issuer="them", signer=OTHER), "somebody else"),
    "signed by another": (lambda: certificate(signer=OTHER), "cannot be read"),
    "another kind of key": (curve_certificate, "not Ed25519"),
    "a key under which anybody can sign": (anybodys_certificate, "anybody can sign"),
    "a foreign extension": (
        lambda: certificate(more=x509.SubjectAlternativeName([x509.DNSName("bank.example")])),
        "extensions that PSP does not use",
    ),
    "two certificates": (lambda: certificate() * 2, "cannot be read"),
    "nothing": (lambda: "", "cannot be read"),
    "too long": (lambda: certificate() + " " * 5000, "cannot be read"),
    "text that is no certificate": (lambda: "ключ \ud800", "cannot be read"),
    "no base64": (
        lambda: "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----",
        "cannot be read",
    ),
}


def test_a_plain_certificate_of_another_maker_can_be_paired() -> None:
    assert (
        check_certificate_untrusted(certificate()).public_bytes
        == OWN.public_key().public_bytes_raw()
    )
    assert check_certificate_untrusted(certificate(usage=_signature_only())).fingerprint


@pytest.mark.parametrize("kind", BAD)
def test_a_certificate_that_says_more_than_a_key_cannot_be_paired(kind: str) -> None:
    make, reason = BAD[kind]

    with pytest.raises(EstateError, match=reason):
        check_certificate_untrusted(make())


def test_a_key_makes_the_same_certificate_for_ever() -> None:
    assert MachineKey(OWN).certificate_pem == MachineKey(OWN).certificate_pem
    assert MachineKey(OWN).certificate_pem != MachineKey(OTHER).certificate_pem


def test_the_normal_form_does_not_depend_on_how_the_text_was_wrapped() -> None:
    pem = MachineKey(OWN).certificate_pem
    mailed = "Here it is:\n\n" + pem.replace("\n", "\r\n") + "\nRegards"

    assert check_certificate_untrusted(mailed) == check_certificate_untrusted(pem)
