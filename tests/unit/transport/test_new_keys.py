"""A peer that asks for new keys in the middle (RFC 8446, section 4.6.3). Python's ssl cannot ask:
the command line of OpenSSL can."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import trio

from psp.transport import (
    MachineKey,
    TlsStream,
    accept_peer,
    listener_context,
    receive_buffer,
    server_name,
)

from .conftest import ARCHIVE_ID, pin

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to ask with")


async def listen_for(stream: trio.abc.ReceiveStream, word: bytes) -> None:
    heard = b""
    while word not in heard:
        piece = await stream.receive_some()
        assert piece, heard
        heard += piece


async def hear(stream: TlsStream) -> bytes:
    buffer = receive_buffer()
    return bytes(buffer[: await stream.receive_into(buffer)])


async def test_a_peer_that_asks_for_new_keys_is_answered_with_ours(
    aggregator: MachineKey, totebox: MachineKey, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(aggregator.private_pem())
    (tmp_path / "certificate").write_text(aggregator.certificate_pem)
    pins = {aggregator.spki_hash: pin(aggregator)}
    context = listener_context(totebox, list(pins.values()), archive_id=ARCHIVE_ID)
    with trio.fail_after(30), socket.create_server(("127.0.0.1", 0)) as listener:
        command = [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}"),
            *("-cert", str(tmp_path / "certificate"), "-key", str(tmp_path / "key")),
            *("-alpn", "psp/1", "-servername", server_name(ARCHIVE_ID)),
        ]
        peer = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert peer.stdin is not None
        assert peer.stdout is not None
        assert peer.stderr is not None
        await trio.lowlevel.wait_readable(listener)
        stream, _ = await accept_peer(listener.accept()[0], context, pins)
        try:
            await peer.stdin.send_all(b"before\n")
            assert await hear(stream) == b"before\n"
            for number in range(3):
                await peer.stdin.send_all(b"K\n")  # A command: ask for new keys.
                await listen_for(peer.stderr, b"KEYUPDATE")
                word = b"after %d\n" % number
                await peer.stdin.send_all(word)
                assert await hear(stream) == word
                assert stream._outgoing.pending == stream.unsent_bytes == 0, "our answer has left"
                await stream.send_all(b"heard %d" % number)
                await listen_for(peer.stdout, b"heard %d" % number)
        finally:
            stream.close()
            peer.kill()
            await peer.wait()
            await peer.stdin.aclose()
            await peer.stdout.aclose()
            await peer.stderr.aclose()
