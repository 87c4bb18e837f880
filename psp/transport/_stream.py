"""A TLS connection as a trio stream: OpenSSL between two buffers, on a non-blocking socket.

Not an `ssl.SSLSocket`: OpenSSL writes each record of 16 KiB by itself and reads each in two pieces,
so a gigabyte costs 65,536 sends and twice as many receives. Here six records pass at once. That is
a fifth less work at both ends of a large transfer, although ciphertext is copied twice more.

Not `trio.SSLStream` either, which passes each byte through Python's own memory on both sides of the
encryption. Here plain text is read where it lies and decrypted to where it is wanted; only
ciphertext passes the buffers. Four laws rule this file:

- Ciphertext leaves in the order in which it was made: what `_sealed` holds goes before all else.
- OpenSSL keeps the largest buffer that it ever needed: nothing larger than `SEALED_BYTES` is put in
  at once, or a connection would hold a megabyte after its first large result.
- A record may carry no data, and a wish for an answer. A peer may send any number of them, so a
  piece without data ends the reading, and no more is read until what it asked for has left.
- What OpenSSL says of a broken stream it says once, so it is remembered here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import trio

from ._limits import RECEIVE_BYTES, SEALED_BYTES, SEALED_RECORD_BYTES, TLS_RECORD_BYTES
from ._socket import Gate


class TlsStream(trio.abc.Stream):
    """One TLS connection. Reading and writing may happen in two tasks, each in one at a time."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        """Make one end of a connection, inside the trio run that uses it.

        Args:
            sock: From `prepare`; it belongs to this stream from now on.
            server_hostname: What the dialling side asks for (SNI).
        """
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
        )
        # Whatever the kernel gives passes here on its way to OpenSSL, and is not kept.
        self._scratch = _sealed_buffer()
        # What `recv_into` comes to in the end: there are 65,536 records in a gigabyte.
        self._read: Callable[[int, memoryview], int] = cast(Any, self._tls.read)
        # Encrypted and not with the kernel: it leaves before anything else does.
        self._sealed: memoryview | None = None
        self._writable = Gate()
        # OpenSSL holds more than the last buffer had room for.
        self._has_rest = False
        # The last read of the socket has emptied it: to ask it again would be in vain.
        self._is_emptied = False
        # What reading has come to: a next call says the same.
        self._fault: OSError | None = None
        # What the socket has said, which it says once, while records lay here that had come before.
        self._broken: OSError | None = None
        # What reading waits for: a peer that asks for new keys must be answered.
        self._wants_to_write = False

    @property
    def tls(self) -> ssl.SSLObject:
        """The TLS state, to ask what the handshake agreed on. Do not read or write through it."""
        return self._tls

    @property
    def unsent_bytes(self) -> int:
        """How much that was accepted has not left: encrypted, at most `SEALED_BYTES` and a bit."""
        return 0 if self._sealed is None else len(self._sealed)

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        return self._sock.fileno()

    async def do_handshake(self) -> None:
        """Carry out the handshake.

        Raises:
            OSError: The peer refused, is not pinned, or went away (`ssl.SSLError` is an OSError).
        """
        is_done = False
        while not is_done:
            try:
                self._tls.do_handshake()
                is_done = True
                self._has_rest = self._incoming.pending > 0
            except ssl.SSLWantReadError:
                pass
            except (OSError, ValueError):
                with suppress(OSError):
                    self._flush()  # The alert that says why.
                raise
            while not self._flush():
                await self._writable.pass_through(self._sock)
            if not is_done:
                await trio.lowlevel.wait_readable(self._sock)
                with suppress(BlockingIOError):
                    self._fill()

    def send_nonblocking(self, data: bytes | memoryview, *, is_more: bool = False) -> int:
        """Offer bytes once, without a checkpoint; give how many were accepted.

        Less than all of them means "full": wait until the socket is writable. What was accepted is
        encrypted, and may be changed. It has left when `unsent_bytes` is 0; until then the next
        call, even with nothing to offer, carries on with it.

        Args:
            is_more: More follows at once: a small piece may wait to leave with it.

        Raises:
            trio.BrokenResourceError: The connection is gone.
        """
        accepted, size = 0, len(data)
        try:
            if self._sealed is not None and not self._flush():
                return 0
            while accepted < size:
                part = data if size <= SEALED_BYTES else data[accepted : accepted + SEALED_BYTES]
                accepted += self._tls.write(part)
                if is_more and self._outgoing.pending < SEALED_BYTES:
                    break
                if not self._flush():
                    break
        except (OSError, ValueError) as exc:
            raise trio.BrokenResourceError(str(exc)) from exc
        return accepted

    def _flush(self) -> bool:
        """Give the kernel what is encrypted; whether it took everything."""
        sealed: memoryview | bytes | None = self._sealed or self._outgoing.read()
        while sealed:
            try:
                size = self._sock.send(sealed)
            except BlockingIOError:
                size = 0
            if size < len(sealed):
                self._sealed = memoryview(sealed)[size:]
                return False
            sealed = self._outgoing.read() if self._sealed else None
            self._sealed = None
        return True

    async def wait_writable(self) -> None:
        try:
            await self._writable.pass_through(self._sock)
        except (OSError, ValueError) as exc:
            raise trio.ClosedResourceError from exc

    async def receive_into(self, buffer: memoryview) -> int:
        """Fill a buffer with what is there now, at least one byte; 0 means that the peer stopped.

        Raises:
            trio.BrokenResourceError: The connection is gone; `__cause__` says how.
        """
        if self._has_rest:
            await trio.lowlevel.checkpoint()  # Whom the last record concerned has a turn first.
        else:
            await self.wait_received()
        while (size := self.receive_now(buffer)) is None:
            await self.wait_received()  # Half a record has come.
        return size

    async def wait_received(self) -> None:
        """Wait until there may be something to read, or nothing more will be.

        Raises:
            trio.BrokenResourceError: The connection is gone; `__cause__` says how.
        """
        try:
            if self._wants_to_write:
                await self._writable.pass_through(self._sock)
            else:
                await trio.lowlevel.wait_readable(self._sock)
        except (OSError, ValueError, trio.ClosedResourceError) as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    def receive_now(self, buffer: memoryview) -> int | None:
        """Fill a buffer with what is there, without waiting: 0 if the peer stopped, None if there
        is nothing yet. For memory that may be taken away while one waits.

        Raises:
            trio.BrokenResourceError: The connection is gone; `__cause__` says how.
        """
        try:
            if self._wants_to_write:
                if not self._flush():
                    return None
                self._wants_to_write = False
            try:
                return self._decrypt(buffer)
            finally:
                if self._outgoing.pending:  # Our answer to a wish for new keys, or an alert.
                    with suppress(OSError):
                        self._wants_to_write = not self._flush()
        except BlockingIOError:
            return None
        except ssl.SSLEOFError:
            return 0
        except (OSError, ValueError) as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    def _decrypt(self, buffer: memoryview) -> int:
        """Take the records that have come, as many as there is room for.

        Raises:
            BlockingIOError: Not one whole record has.
        """
        if self._fault is not None:
            raise self._fault
        size, most, before = 0, len(buffer), -1
        read, incoming = self._read, self._incoming
        pending = incoming.pending
        try:
            while True:
                if not self._has_rest:
                    self._fill()
                    before = size
                elif pending < SEALED_RECORD_BYTES and not self._is_emptied:
                    # Half a record, most likely. That OpenSSL says so by an exception costs as much
                    # as decrypting it.
                    self._fill_more()
                try:
                    last = read(TLS_RECORD_BYTES, buffer[size:] if size else buffer)
                except ssl.SSLWantReadError:
                    self._has_rest = False  # At most half a record, which OpenSSL keeps.
                    if size == before:
                        # Records without data, perhaps: of those a peer may send any number.
                        raise BlockingIOError from None
                    if size and self._is_emptied:
                        return size
                    continue
                size += last
                pending = incoming.pending
                if size == most:
                    self._has_rest = bool(pending or self._tls.pending())
                    return size
                self._has_rest = pending > 0 or not last
                # A short record ends what somebody said; what follows may belong elsewhere.
                if last < TLS_RECORD_BYTES or (self._is_emptied and not self._has_rest):
                    return size
        except BlockingIOError:
            if size:
                return size
            raise
        except OSError as exc:
            self._fault, self._has_rest = exc, True  # OpenSSL says it once.
            if size:
                return size
            raise

    def _fill_more(self) -> None:
        """Do as `_fill`, if the kernel holds anything. What has come whole is given first, and only
        then what is wrong."""
        try:
            self._fill()
        except BlockingIOError:
            self._is_emptied = True
        except OSError as exc:
            self._broken, self._is_emptied = exc, True

    def _fill(self) -> None:
        """Carry what the kernel holds to OpenSSL.

        Raises:
            BlockingIOError: It holds nothing.
        """
        if self._broken is not None:
            raise self._broken
        size = self._sock.recv_into(self._scratch)
        self._is_emptied = size < SEALED_BYTES
        if size:
            self._incoming.write(self._scratch[:size])
        else:
            self._incoming.write_eof()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes and wait until the kernel has them. Cancelling it ends the connection."""
        await trio.lowlevel.checkpoint()
        rest = memoryview(bytes(data))
        try:
            while rest or self.unsent_bytes:
                rest = rest[self.send_nonblocking(rest) :]
                if self.unsent_bytes:
                    await self.wait_writable()
        except trio.Cancelled:
            self.close()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self.wait_writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        buffer = memoryview(bytearray(max_bytes or TLS_RECORD_BYTES))
        return bytes(buffer[: await self.receive_into(buffer)])

    def stop_sending(self) -> None:
        """Tell the peer that no more comes; what it still sends can be read."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # It has gone already.

    async def refuse(self, *, drain_s: float, drain_bytes: int) -> None:
        """End a connection so that the peer still reads the alert which has just been sent."""
        self.stop_sending()
        try:
            with trio.move_on_after(drain_s):
                await self._drain(drain_bytes)
        finally:
            self.close()

    async def _drain(self, left: int) -> None:
        while left > 0:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                # The raw bytes: after a failed handshake there is nothing to decrypt.
                data = self._sock.recv(left)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not data:
                return
            left -= len(data)

    def close(self) -> None:
        """Close at once. Tasks that wait here get an error; nothing more is sent."""
        if self._sock.fileno() != -1:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._read = _read_closed
            self._sealed = None

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


def _read_closed(_size: int, _buffer: memoryview) -> int:
    raise ValueError("the connection is closed")


_sealed: Final = trio.lowlevel.RunVar[memoryview]("psp_sealed_buffer")


def _sealed_buffer() -> memoryview:
    """Give the buffer of this trio run that ciphertext passes between kernel and OpenSSL."""
    try:
        return _sealed.get()
    except LookupError:
        buffer = memoryview(bytearray(SEALED_BYTES))
        _sealed.set(buffer)
        return buffer


_buffer: Final = trio.lowlevel.RunVar[memoryview]("psp_receive_buffer")


def receive_buffer() -> memoryview:
    """Give the receive buffer of this trio run.

    One is enough: it is filled and read between two checkpoints. One for the whole process would
    not do, because a Portal runs a second trio in another thread.
    """
    try:
        return _buffer.get()
    except LookupError:
        buffer = memoryview(bytearray(RECEIVE_BYTES))
        _buffer.set(buffer)
        return buffer
