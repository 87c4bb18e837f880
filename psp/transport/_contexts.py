"""TLS contexts: who may speak to whom, before a single byte is exchanged."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Sequence
from typing import Final

from ._certificate import PeerCertificate, Pin
from ._machine_key import MachineKey

ALPN: Final = "psp/1"
"""Without it any other service that uses these keys would be a cross-protocol target."""


def server_name(archive_id: bytes) -> str:
    """Write an archive id as the server name of TLS, which a plain SNI router can route by.

    52 characters, below the 63 that DNS allows for one label.
    """
    return base64.b32encode(archive_id).decode().rstrip("=").lower()


def listener_context(key: MachineKey, pins: Sequence[Pin], *, archive_id: bytes) -> ssl.SSLContext:
    """Make the context of one archive's listener: exactly the paired machines get in."""
    context = _bare_context(ssl.PROTOCOL_TLS_SERVER, key)
    # Python resumes mutual TLS by default: a ticket would outlive an unpairing.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    if pins:
        context.load_verify_locations(cadata=b"".join(pin.certificate.der for pin in pins))
    expected = server_name(archive_id)

    def refuse_other_names(
        _socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        return None if name == expected else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.sni_callback = refuse_other_names
    return context


def dialling_context(key: MachineKey, certificate: PeerCertificate) -> ssl.SSLContext:
    """Make the context for one member. Never share it with a second member.

    A context that trusts a pool of members lets each of them answer in another's place: tried.
    """
    context = _bare_context(ssl.PROTOCOL_TLS_CLIENT, key)
    context.load_verify_locations(cadata=certificate.der)
    return context


def _bare_context(protocol: int, key: MachineKey) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    # Names and dates mean nothing here; the pinned key is the identity (psp/transport/_handshake).
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([ALPN])
    _load_own_certificate(context, key)
    return context


def _load_own_certificate(context: ssl.SSLContext, key: MachineKey) -> None:
    # load_cert_chain takes nothing but a path. A memory file has one and never touches a disk,
    # where a deleted temporary copy of the key could be found later.
    fd = os.memfd_create("psp-machine-key", os.MFD_CLOEXEC)
    with os.fdopen(fd, "wb") as file:
        file.write(key.certificate_pem.encode() + key.private_pem())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{fd}")
