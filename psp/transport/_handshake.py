"""Both ends of the handshake, and the two ways in which it can be refused."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from typing import Final

import trio

from psp.errors import NotPaired, Unreachable

from ._certificate import Peer, PeerCertificate, Pin, peer_key_untrusted
from ._contexts import ALPN, dialling_context, server_name
from ._limits import REFUSAL_DRAIN_BYTES_MAX, REFUSAL_DRAIN_S
from ._machine_key import MachineKey
from ._socket import prepare
from ._stream import TlsStream

_WRONG_NAME: Final = "UNRECOGNIZED_NAME"


class Refused(Exception):
    """A handshake that a listener refused. The dialling side has been told as far as it can be."""


class NoCommonProtocol(ValueError):
    """The two sides share no protocol of ALPN."""


async def accept_peer(
    sock: socket.socket, context: ssl.SSLContext, pins: Mapping[bytes, Pin]
) -> tuple[TlsStream, Peer]:
    """Take a machine in, if it is paired.

    Args:
        sock: A fresh connection; it belongs to this function from now on.
        context: From `listener_context`, with the same pins.
        pins: By the SHA-256 of each pinned key.

    Raises:
        Refused: It is not paired, speaks something else, or went away. The socket is closed.
    """
    try:
        stream = TlsStream(prepare(sock), context, server_side=True)
    except (OSError, ValueError) as exc:
        sock.close()
        raise Refused(str(exc)) from exc
    try:
        await stream.do_handshake()
        return stream, _who_is_it(stream.tls, pins)
    except (OSError, ValueError) as exc:
        await stream.refuse(drain_s=REFUSAL_DRAIN_S, drain_bytes=REFUSAL_DRAIN_BYTES_MAX)
        raise Refused(str(exc)) from exc
    except BaseException:
        stream.close()
        raise


async def dial_peer(
    host: str, port: int, *, key: MachineKey, expected: PeerCertificate, archive_id: bytes
) -> TlsStream:
    """Connect to one archive and prove that its machine is the pinned one.

    The subject's verdict on *our* key is not known yet: in TLS 1.3 it comes with, or instead of,
    its first bytes. `explain_refusal` puts it in words.

    Raises:
        Unreachable: Nobody listens there, or the network is down.
        NotPaired: Somebody else answers there, or it refuses us.
    """
    where = f"{host}:{port}"
    try:
        plain = await trio.open_tcp_stream(host, port)
    except OSError as exc:
        raise Unreachable(
            f"no connection to {where} ({_innermost(exc)})."
            " Check that the archive is served there and that the network lets you through."
        ) from exc
    stream = TlsStream(
        prepare(socket.socket(fileno=plain.socket.detach())),
        dialling_context(key, expected),
        server_hostname=server_name(archive_id),
    )
    try:
        await stream.do_handshake()
        _check_pinned(stream.tls, expected)
    except (ssl.SSLEOFError, ConnectionError) as exc:
        # In TLS 1.3 our handshake ends before the subject has seen our certificate, so this is no
        # verdict on our key: a forwarder with nobody behind it, or a listener that is going down.
        stream.close()
        raise _gone(where) from exc
    except (OSError, ValueError) as exc:
        stream.close()
        raise explain_refusal(where, exc) from exc
    except BaseException:
        stream.close()
        raise
    return stream


def _gone(where: str) -> Unreachable:
    return Unreachable(
        f"{where} took the connection and closed it before any TLS: nobody serves behind it,"
        " or it is too busy. Check that the archive is served, then try again."
    )


def explain_refusal(where: str, cause: BaseException | None) -> NotPaired:
    """Say why a connection ended before its HELLO came, and what to do about it."""
    if isinstance(cause, NoCommonProtocol):
        return NotPaired(
            f"the machine at {where} is the paired one and does not speak {ALPN}."
            " Check the port; another service of that machine may listen there."
        )
    if isinstance(cause, ValueError):  # ssl.SSLCertVerificationError is one.
        return NotPaired(
            f"the machine at {where} is not the one that is paired under this name: it shows"
            " another key. Check the address; if the archive moved to a new machine, pair again."
        )
    if isinstance(cause, ssl.SSLError) and _WRONG_NAME in (cause.reason or ""):
        return NotPaired(
            f"the machine at {where} does not serve the archive that was asked for."
            " Check the address; the archive may have moved to another port."
        )
    return NotPaired(
        f"the machine at {where} ended the handshake without a word of PSP: it does not know this"
        " machine's key. Ask its owner to pair with this machine, then try again."
    )


def _who_is_it(tls: ssl.SSLObject, pins: Mapping[bytes, Pin]) -> Peer:
    spki_hash, public_bytes = _peer_key(tls)
    pin = pins.get(spki_hash)
    if pin is None:
        raise ValueError("the peer's key is not pinned")
    return Peer(spki_hash=spki_hash, public_bytes=public_bytes, name=pin.name)


def _check_pinned(tls: ssl.SSLObject, expected: PeerCertificate) -> None:
    if _peer_key(tls)[0] != expected.spki_hash:
        raise ValueError("the peer's key is not the pinned one")


def _peer_key(tls: ssl.SSLObject) -> tuple[bytes, bytes]:
    # OpenSSL goes on without ALPN if the two sides share no protocol: it is asked for here.
    if tls.selected_alpn_protocol() != ALPN:
        raise NoCommonProtocol(f"the peer does not speak {ALPN}")
    der = tls.getpeercert(binary_form=True)
    if der is None:
        raise ValueError("the peer showed no certificate")
    return peer_key_untrusted(der)


def _innermost(exc: OSError) -> str:
    """Find the system's own words under trio's summary of several addresses."""
    cause: BaseException = exc
    while isinstance(cause, BaseExceptionGroup) or isinstance(cause.__cause__, BaseException):
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__  # type: ignore[assignment]
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)  # trio's own words repeat the address as Python writes it.
    return (isinstance(cause, OSError) and cause.strerror) or str(cause)
