from __future__ import annotations

import contextlib
import socket
import ssl

import pytest
import trio
import trio.testing

from psp.errors import NotPaired, Unreachable
from psp.transport import (
    MachineKey,
    Peer,
    Refused,
    TlsStream,
    accept_peer,
    dial_peer,
    explain_refusal,
)
from psp.transport._contexts import dialling_context, listener_context, server_name

from .conftest import ARCHIVE_ID, machine, meet, pin

CERTIFICATE_REQUEST = 13
"""RFC 8446, section 4: the type of that handshake message."""


async def first_word(stream: TlsStream) -> NotPaired | bytes:
    """Read what a controller reads before HELLO."""
    try:
        data = await stream.receive_some()
    except trio.BrokenResourceError as exc:
        return explain_refusal("there", exc.__cause__)
    return data or explain_refusal("there", None)


async def test_two_paired_machines_know_each_other(
    aggregator: MachineKey, totebox: MachineKey
) -> None:
    meeting = await meet(aggregator, totebox, pinned=[machine(), aggregator])
    _, accepted = meeting.streams

    assert isinstance(meeting.accepted, tuple)
    assert meeting.accepted[1] == Peer(aggregator.spki_hash, aggregator.public_bytes, "pin 1")
    assert accepted.tls.version() == "TLSv1.3"
    meeting.close()


@pytest.mark.parametrize("flight", [b"", b"first flight" * 1000], ids=["silent", "in the air"])
@pytest.mark.parametrize("paired_with_others", [False, True])
async def test_a_stranger_is_refused_in_the_handshake_and_told_how_to_pair(
    aggregator: MachineKey, totebox: MachineKey, paired_with_others: bool, flight: bytes
) -> None:
    """In TLS 1.3 the stranger's own handshake succeeds; the alert is the first thing it reads.

    Closing with its first flight in the air would make the kernel reset the connection and lose
    the alert.
    """
    pins = {totebox.spki_hash: pin(totebox)} if paired_with_others else {}
    context = listener_context(totebox, list(pins.values()), archive_id=ARCHIVE_ID)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        context_there = dialling_context(aggregator, pin(totebox).certificate)
        stream = TlsStream(
            _nonblocking(plain), context_there, server_hostname=server_name(ARCHIVE_ID)
        )
        seen: list[NotPaired | bytes] = []

        async def dial() -> None:
            await stream.do_handshake()
            await stream.send_all(flight)
            seen.append(await first_word(stream))
            stream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            with pytest.raises(Refused):
                await accept_peer(accepted, context, pins)

    assert [type(word) for word in seen] == [NotPaired]
    assert "Ask its owner to pair with this machine" in str(seen[0])


def _nonblocking(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    return sock


async def test_one_paired_machine_cannot_answer_as_another(
    aggregator: MachineKey, totebox: MachineKey
) -> None:
    meeting = await meet(aggregator, totebox, pinned=[aggregator], expected=machine())

    assert isinstance(meeting.dialled, NotPaired)
    assert "shows another key" in str(meeting.dialled)
    assert isinstance(meeting.accepted, Refused)


async def test_the_wrong_archive_at_the_right_machine_is_named_as_such(
    aggregator: MachineKey, totebox: MachineKey
) -> None:
    meeting = await meet(aggregator, totebox, pinned=[aggregator], archive_id=bytes(32))

    assert isinstance(meeting.dialled, NotPaired)
    assert "does not serve the archive" in str(meeting.dialled)


async def test_nobody_listening_is_unreachable_and_not_a_question_of_pairing(
    aggregator: MachineKey,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    refused = r"\(Connection refused\)\. Check that the archive is served"
    with pytest.raises(Unreachable, match=refused):
        await dial_peer(
            "127.0.0.1", port, key=aggregator, expected=pin(aggregator).certificate, archive_id=b""
        )


async def _raw_handshake(
    context: ssl.SSLContext, totebox: MachineKey, aggregator: MachineKey
) -> tuple[TlsStream, object]:
    """Let a hand-made client meet a real listener."""
    server = listener_context(totebox, [pin(aggregator)], archive_id=ARCHIVE_ID)
    outcome: list[object] = []

    async def accept(sock: socket.socket) -> None:
        try:
            outcome.append(await accept_peer(sock, server, {aggregator.spki_hash: pin(aggregator)}))
        except Refused as exc:
            outcome.append(exc)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, accepted)
            client = TlsStream(
                _nonblocking(plain), context, server_hostname=server_name(ARCHIVE_ID)
            )
            try:
                await client.do_handshake()
                await trio.testing.wait_all_tasks_blocked()
            except OSError as exc:
                outcome.insert(0, exc)
                client.close()
            if outcome and isinstance(outcome[-1], tuple):
                return client, outcome[-1][0]
            client.close()
    return client, outcome[-1]


async def test_another_protocol_with_the_right_keys_is_refused(
    aggregator: MachineKey, totebox: MachineKey
) -> None:
    context = dialling_context(aggregator, pin(totebox).certificate)
    context.set_alpn_protocols(["http/1.1"])

    _, outcome = await _raw_handshake(context, totebox, aggregator)

    assert isinstance(outcome, Refused)
    assert "psp/1" in str(outcome)


async def test_an_older_tls_is_refused(aggregator: MachineKey, totebox: MachineKey) -> None:
    context = dialling_context(aggregator, pin(totebox).certificate)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2

    _, outcome = await _raw_handshake(context, totebox, aggregator)

    assert isinstance(outcome, Refused)


async def test_no_session_can_outlive_an_unpairing(
    aggregator: MachineKey, totebox: MachineKey
) -> None:
    """Attack 2: a ticket would let a machine in without showing its key again."""
    context = dialling_context(aggregator, pin(totebox).certificate)
    client, server = await _raw_handshake(context, totebox, aggregator)
    assert isinstance(server, TlsStream)
    await server.send_all(b"x")
    await client.receive_some()

    assert client.tls.session is None or not client.tls.session.has_ticket
    assert client.tls.session_reused is False
    assert server.tls.session_reused is False
    client.close()
    server.close()

    again = await meet(aggregator, totebox, pinned=[])
    assert isinstance(again.accepted, Refused)
    again.close()


async def test_a_stranger_does_not_learn_who_is_paired(
    aggregator: MachineKey, totebox: MachineKey
) -> None:
    """A CertificateRequest may list the names it accepts; ours must not."""
    context = listener_context(totebox, [pin(aggregator)], archive_id=ARCHIVE_ID)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    client_side.verify_mode = ssl.CERT_NONE
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    requests: list[bytes] = []

    def record(
        _socket: object, _way: str, _version: int, _type: int, kind: int, data: bytes
    ) -> None:
        if int(kind) == CERTIFICATE_REQUEST:
            requests.append(data)

    client_side._msg_callback = record  # type: ignore[attr-defined]
    client = client_side.wrap_bio(to_client, to_server, server_hostname=server_name(ARCHIVE_ID))
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()

    assert len(requests) == 1
    assert aggregator.fingerprint.encode() not in requests[0]
