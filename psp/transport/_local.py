"""A socket in a directory of this machine: for the user who runs both ends, and nobody else.

Three locks, of which each would do: the directory (0700), the socket (0600), and the kernel's word
on who is at the other end (SO_PEERCRED), asked by both sides. There is no TLS, because the bytes
never leave this machine's memory. Abstract socket names have no owner and no mode: anybody could
bind them first. So the socket has a name in the file system.

A path of a socket has 107 bytes, and a directory may lie deeper than that. So the directory is
opened, and the socket is named through the descriptor: `/proc/self/fd/N/socket`, at any depth.
Rejected: a short path in /run or /tmp that a file in the directory names. Others can write there,
it does not move with the directory, and after a crash somebody else may have taken it.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

import trio

from psp.errors import EstateError

from ._limits import RECEIVE_BYTES
from ._socket import Gate
from ._stream import TlsStream

SOCKET_NAME: Final = "socket"

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of unix(7): process, user, group.


class LocalStream(trio.abc.Stream):
    """One connection within this machine, with the manners of `TlsStream`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._writable = Gate()

    @property
    def unsent_bytes(self) -> int:
        """Nothing: what is accepted is with the kernel."""
        return 0

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        return self._sock.fileno()

    def send_nonblocking(self, data: bytes | memoryview, *, is_more: bool = False) -> int:
        """Offer bytes once, without a checkpoint; give how many were accepted.

        Args:
            is_more: More follows at once.

        Raises:
            trio.BrokenResourceError: The connection is gone.
        """
        try:
            return self._sock.send(data, socket.MSG_MORE if is_more else 0)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

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
        while True:
            try:
                await trio.lowlevel.wait_readable(self._sock)
                return self._sock.recv_into(buffer)
            except BlockingIOError:
                continue
            except (OSError, ValueError, trio.ClosedResourceError) as exc:
                raise trio.BrokenResourceError(str(exc)) from exc

    async def wait_received(self) -> None:
        """Wait until there may be something to read, or nothing more will be.

        Raises:
            trio.BrokenResourceError: The connection is gone; `__cause__` says how.
        """
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except (OSError, ValueError, trio.ClosedResourceError) as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    def receive_now(self, buffer: memoryview) -> int | None:
        """Fill a buffer with what is there, without waiting: 0 if the peer stopped, None if there
        is nothing yet.

        Raises:
            trio.BrokenResourceError: The connection is gone; `__cause__` says how.
        """
        try:
            return self._sock.recv_into(buffer)
        except BlockingIOError:
            return None
        except (OSError, ValueError) as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes and wait until the kernel has them."""
        await trio.lowlevel.checkpoint()
        rest = memoryview(bytes(data))
        while rest:
            accepted = self.send_nonblocking(rest)
            rest = rest[accepted:]
            if not accepted:
                await self.wait_writable()

    async def wait_send_all_might_not_block(self) -> None:
        await self.wait_writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        buffer = memoryview(bytearray(max_bytes or RECEIVE_BYTES))
        return bytes(buffer[: await self.receive_into(buffer)])

    def stop_sending(self) -> None:
        """Tell the peer that no more comes; what it still sends can be read."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # It has gone already.

    async def refuse(self, *, drain_s: float, drain_bytes: int) -> None:
        """End a connection so that the peer still reads what was said last.

        Nothing has to be drained: the kernel keeps what a local socket was sent after its close.
        """
        del drain_s, drain_bytes
        await self.aclose()

    def close(self) -> None:
        """Close at once. Tasks that wait here get an error; nothing more is sent."""
        if self._sock.fileno() != -1:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


PeerStream: TypeAlias = TlsStream | LocalStream
"""What a connection is carried by."""


@contextmanager
def listening_locally(directory: Path, *, backlog: int) -> Iterator[socket.socket]:
    """Listen in a directory that is made if it is missing, and removed in the end.

    A socket that a killed process left is replaced: the caller has made sure, by a lock of its
    own, that no living process listens there.

    Raises:
        EstateError: The directory is not this user's alone, or the file system takes no sockets.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = _open_private(directory)
    except OSError as exc:
        raise _no_socket(directory, exc) from exc
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        name = _name_in(descriptor)
        try:
            _remove(descriptor)
            sock.bind(name)
            Path(name).chmod(0o600)
            sock.listen(backlog)
        except OSError as exc:
            raise _no_socket(directory, exc) from exc
        sock.setblocking(False)
        yield sock
    finally:
        sock.close()
        _remove(descriptor)
        os.close(descriptor)
        with suppress(OSError):  # Somebody may have put a file there; it is not ours to remove.
            directory.rmdir()


def dial_locally(directory: Path) -> LocalStream | None:
    """Connect to whoever listens in a directory; None if nobody does.

    Raises:
        EstateError: The directory is not this user's alone, or another user listens there.
    """
    try:
        descriptor = _open_private(directory)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _no_socket(directory, exc) from exc
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(_name_in(descriptor))
        check_same_user(sock)
        return LocalStream(sock)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):
            raise _no_socket(directory, exc) from exc
        raise
    finally:
        os.close(descriptor)


def check_same_user(sock: socket.socket) -> None:
    """Ask the kernel who is at the other end: for a listener's side, who has called `listen`.

    Not even root is let through: files that it seals here would become root's.

    Raises:
        EstateError: It is another user.
    """
    size = _CREDENTIALS.size
    _, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if user != os.geteuid():
        raise EstateError(
            f"the control socket is for user {os.geteuid()}, and user {user} is at its other end."
            " Run the command as the user who serves the archive."
        )


def _open_private(directory: Path) -> int:
    """Open a directory that nobody else can enter; never through a link in its last step.

    Raises:
        OSError: It is not there, or no directory.
        EstateError: It belongs to another user, or is open to others.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        os.close(descriptor)
        raise EstateError(
            f"{directory} must be this user's alone (mode 0700); it belongs to user {found.st_uid}"
            f" and has mode {stat.S_IMODE(found.st_mode):04o}. Remove it, and serve again."
        )
    return descriptor


def _name_in(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"


def _remove(descriptor: int) -> None:
    try:
        os.unlink(SOCKET_NAME, dir_fd=descriptor)
    except FileNotFoundError:
        return


def _no_socket(directory: Path, exc: OSError) -> EstateError:
    return EstateError(
        f"no control socket can be used in {directory} ({exc.strerror or exc}). Check that it is on"
        " a disk of this machine that takes sockets, and that /proc is mounted."
    )
