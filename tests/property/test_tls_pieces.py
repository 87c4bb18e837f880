"""A TLS connection in whatever pieces it comes, and however it ends: every record that is whole has
been given before anybody waits, once and in order."""

from __future__ import annotations

import select
import socket
from typing import Final

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from psp.transport import TlsStream, listener_context, server_name
from psp.transport import _stream as stream_module
from psp.transport._contexts import dialling_context
from psp.transport._limits import SEALED_BYTES, TLS_RECORD_BYTES
from tests.unit.transport.conftest import ARCHIVE_ID, machine, pin

OURS, THEIRS = machine(), machine()
DIALLING = dialling_context(OURS, pin(THEIRS).certificate)
LISTENING = listener_context(THEIRS, [pin(OURS)], archive_id=ARCHIVE_ID)
FULL: Final = TLS_RECORD_BYTES
SIZES = st.integers(1, 40) | st.integers(1, 3 * FULL) | st.sampled_from([FULL - 1, FULL, 2 * FULL])
ENDS: Final = ("nothing", "end", "reset")


def readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


class Reader:
    """Reads a stream dry, into buffers of given sizes in turn."""

    def __init__(self, stream: TlsStream, sizes: list[int]) -> None:
        self.stream = stream
        self.sizes = sizes
        self.got = bytearray()
        self.ended: str | None = None

    def drain(self) -> None:
        """Read as `receive_into` does: without waiting for as long as that would not wait."""
        while self.ended is None:
            if not self.stream._has_rest and not readable(self.stream._sock):
                return
            buffer = memoryview(bytearray(self.sizes[len(self.got) % len(self.sizes)]))
            try:
                size = self.stream.receive_now(buffer)
            except trio.BrokenResourceError as exc:
                self.ended = (
                    "reset" if isinstance(exc.__cause__, ConnectionResetError) else str(exc)
                )
                return
            if size == 0:
                self.ended = "end"
            self.got += buffer[: size or 0]


async def met() -> tuple[TlsStream, TlsStream]:
    """Over sockets of the kernel's at which what was sent has come."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    ours = TlsStream(near, DIALLING, server_hostname=server_name(ARCHIVE_ID))
    theirs = TlsStream(far, LISTENING, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.do_handshake)
        await theirs.do_handshake()
    return ours, theirs


def carry(
    ours: TlsStream,
    theirs: TlsStream,
    records: list[int],
    cuts: list[int],
    sizes: list[int],
    end: str,
) -> None:
    data, sealed, whole = bytearray(), bytearray(), [(0, 0)]
    for number, size in enumerate(records):
        for begin in range(0, size, FULL):
            ours._tls.write(bytes([number % 256]) * min(FULL, size - begin))
            sealed += ours._outgoing.read()
            data += bytes([number % 256]) * min(FULL, size - begin)
            whole.append((len(sealed), len(data)))
    reader, at = Reader(theirs, sizes), 0
    for cut in sorted({min(it, len(sealed)) for it in cuts} | {len(sealed)}):
        while at < cut:
            at += ours._sock.send(sealed[at : min(cut, at + 2 * SEALED_BYTES)])
            if at < cut:
                reader.drain()
        if cut == len(sealed) and end != "nothing":
            if end == "reset":
                theirs._sock.send(b"unread")
            ours._sock.close()
        reader.drain()
        assert len(reader.got) == max(plain for cipher, plain in whole if cipher <= at)
    assert reader.got == data
    assert reader.ended == (None if end == "nothing" else end)


@given(
    st.lists(SIZES, min_size=1, max_size=8),
    st.lists(st.integers(0, 9 * FULL), max_size=6),
    st.lists(SIZES | st.just(256 * 1024), min_size=1, max_size=4),
    st.sampled_from([1000, FULL, FULL + 22, SEALED_BYTES]) | st.integers(500, 3 * FULL),
    st.sampled_from(ENDS),
)
@example([5, 6], [], [64], 27 + 28, "reset")
@example([5 * FULL, FULL - 132], [], [256 * 1024], SEALED_BYTES, "reset")
@example([5 * FULL, FULL - 132, 7], [], [256 * 1024], SEALED_BYTES, "end")
async def test_each_record_is_given_as_soon_as_it_is_whole(
    records: list[int], cuts: list[int], sizes: list[int], at_once: int, end: str
) -> None:
    """Whatever passes between the kernel and OpenSSL at once."""
    ours, theirs = await met()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "SEALED_BYTES", at_once)
        theirs._scratch = memoryview(bytearray(at_once))
        try:
            carry(ours, theirs, records, cuts, sizes, end)
        finally:
            ours.close()
            theirs.close()
