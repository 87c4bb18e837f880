"""Keys and certificates, made for one run."""

from __future__ import annotations

import secrets
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.peers._child import Setting

CERTIFICATE, KEY, SEED = "certificate.pem", "key.pem", "seed"


def make_seed(directory: Path) -> None:
    """Write what all keys of ours follow from in one run."""
    (directory / SEED).write_bytes(secrets.token_bytes(32))


def make_certificate(directory: Path) -> None:
    """Write a self-signed P-256 certificate for localhost: gRPC's TLS refuses Ed25519."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / KEY).write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


def server_context(setting: Setting) -> ssl.SSLContext:
    context = _tls_1_3(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(setting.file(CERTIFICATE), setting.file(KEY))
    return context


def client_context(setting: Setting) -> ssl.SSLContext:
    context = _tls_1_3(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(setting.file(CERTIFICATE))
    return context


def tls_version(setting: Setting) -> str:
    """Ask a server which TLS it speaks with a client that would also take TLS 1.2."""
    context = client_context(setting)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", setting.port)) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as stream,
    ):
        return stream.version() or "none"


def _tls_1_3(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
