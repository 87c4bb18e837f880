"""A file passed from process to process on one machine, chosen by a token that came over TLS.

The controller connects to its own configured directory and nowhere else: no word of a subject says
where. What it takes is one descriptor, checked before it is used (`psp.buffers`).
"""

from __future__ import annotations

import array
import fcntl
import os
import secrets
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from psp.buffers import SealedFile
from psp.errors import LocalRefused

from ._limits import ACCEPT_AGAIN_S, HAND_OVER_S_MAX, HAND_OVERS_MAX

TOKEN_BYTES: Final = 32
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7)).
_DESCRIPTORS_MAX: Final = 4
"""Room for more than the one that is taken, so that more are noticed."""


def _refused(what: str) -> LocalRefused:
    return LocalRefused(
        f"a result was to be handed over on this machine: {what}."
        " It is read over the network; look at the runtime directory if this goes on"
    )


def runtime_directory() -> Path | None:
    """Give this user's own directory for results that are handed over: `psp` in the one that the
    system gives to every session (XDG Base Directory Specification), None where it gives none."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(given, "psp") if Path(given).is_absolute() else None


def socket_path(directory: Path, archive_id: bytes) -> Path:
    """Give where an archive hands over: short, because a socket's path has 107 characters."""
    return directory / f"{archive_id.hex()[:32]}.sock"


def check_directory(directory: Path, owner: int) -> None:
    """Be sure that nobody but its owner can put a socket there.

    Raises:
        LocalRefused: It is no such directory.
    """
    try:
        status = directory.lstat()
    except OSError as exc:
        raise _refused(f"the runtime directory cannot be looked at ({exc.strerror})") from exc
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner or status.st_mode & 0o022:
        raise _refused("the runtime directory belongs to another user, or others may write there")


def _peer_uid(sock: trio.socket.SocketType) -> int:
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return int(uid)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Take or clear a place while nobody else of this user does."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_heard_at(path: Path) -> bool:
    """Say whether a process listens at a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except BlockingIOError:
            return True  # It is behind with its work.
        except OSError:
            return False
    return True


class HandOver:
    """The subject's side: passes sealed files to whoever shows the token of one.

    Made and listening before its process confines itself, it needs no right to the directory
    afterwards: then what breaks into one archive cannot take the place of another there.

    Attributes:
        offered: How many wait to be taken.
    """

    def __init__(self, directory: Path, archive_id: bytes) -> None:
        self._owner = os.getuid()
        self._directory = directory
        self._path = socket_path(directory, archive_id)
        self._files: dict[bytes, SealedFile] = {}
        self._listener: socket.socket | None = None
        self._place: tuple[int, int] | None = None  # What is ours to clear.

    @property
    def offered(self) -> int:
        return len(self._files)

    def offer(self, file: SealedFile) -> bytes | None:
        """Let a file be taken once; give the token to tell, over TLS, or None if too many wait."""
        if len(self._files) >= HAND_OVERS_MAX:
            return None
        token = secrets.token_bytes(TOKEN_BYTES)
        self._files[token] = file
        return token

    def withdraw(self, token: bytes | None) -> None:
        """Nobody may take it any more."""
        if token is not None:
            self._files.pop(token, None)

    @staticmethod
    def prepare(directory: Path) -> None:
        """Make the runtime directory, if its parent is there.

        Raises:
            LocalRefused: It cannot be made, or is not safe.
        """
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise _refused(f"the runtime directory cannot be made ({exc.strerror})") from exc
        check_directory(directory, os.getuid())

    def listen(self) -> None:
        """Take the archive's place in the directory. Who connects from now on waits for `run`.

        Nobody loses a place to another: what asks for one may be a second process of the same
        archive, which learns later that it is in use, or have another's name in its files.

        Raises:
            LocalRefused: The runtime directory is not safe, or takes no socket; or somebody listens
                there.
        """
        check_directory(self._directory, self._owner)
        try:
            with _alone_in(self._directory):
                if _is_heard_at(self._path):
                    raise _refused("another process hands over in this archive's place")
                self._listener = self._bound()
        except OSError as exc:
            raise _refused(f"the runtime directory takes no socket ({exc})") from exc

    def _bound(self) -> socket.socket:
        with suppress(FileNotFoundError):
            self._path.unlink()  # Of an earlier process, which was killed or is confined.
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            listener.listen(HAND_OVERS_MAX)
            self._place = self._standing()
        except OSError:
            listener.close()
            raise
        return listener

    def _standing(self) -> tuple[int, int]:
        status = self._path.lstat()
        return status.st_ino, status.st_ctime_ns

    def close(self) -> None:
        """Listen no more. The place in the directory stays: another process may listen there."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def clear(self) -> None:
        """Take the place out of the directory, when nobody listens there any more; not another's
        who has taken it since."""
        # A confined process may not; whoever started it does, or the next.
        with suppress(OSError), _alone_in(self._directory):
            if self._standing() == self._place:
                self._path.unlink()

    def end(self) -> None:
        """Listen no more, and leave the place free. Harmless when repeated."""
        self.close()
        self.clear()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pass files until cancelled; listen first, if nobody has called that.

        Raises:
            LocalRefused: As `listen`.
        """
        if self._listener is None:
            self.listen()
            assert self._listener is not None
        with trio.socket.from_stdlib_socket(self._listener) as listener:
            try:
                task_status.started()
                while True:
                    try:
                        sock, _ = await listener.accept()
                    except OSError:  # No descriptors left, say; readers use the network meanwhile.
                        await trio.sleep(ACCEPT_AGAIN_S)
                        continue
                    with sock, trio.move_on_after(HAND_OVER_S_MAX), suppress(OSError):
                        await self._pass(sock)
            finally:
                self._listener = None
                self.clear()

    async def _pass(self, sock: trio.socket.SocketType) -> None:
        if _peer_uid(sock) != self._owner:
            return
        token = b""
        while len(token) < TOKEN_BYTES:
            data = await sock.recv(TOKEN_BYTES - len(token))
            if not data:
                return
            token += data
        file = self._files.pop(token, None)
        if file is not None and file.descriptor != -1:
            passed = array.array("i", [file.descriptor])
            await sock.sendmsg([b"\1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])


async def take_untrusted(directory: Path, archive_id: bytes, token: bytes) -> int:
    """Take a file over: give a descriptor, for the caller to check, map and close.

    Raises:
        LocalRefused: The directory, the socket or the peer is not ours, or it did not pass exactly
            one descriptor in time.
    """
    owner = os.getuid()
    check_directory(directory, owner)
    path = socket_path(directory, archive_id)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            with trio.fail_after(HAND_OVER_S_MAX):
                status = path.lstat()
                if not stat.S_ISSOCK(status.st_mode) or status.st_uid != owner:
                    raise _refused("what stands there is no socket of ours")
                await sock.connect(str(path))
                if _peer_uid(sock) != owner:
                    raise _refused("a process of another user answers there")
                await sock.send(token)
                _, passed, flags, _ = await sock.recvmsg(
                    1, socket.CMSG_SPACE(_DESCRIPTORS_MAX * 4), socket.MSG_CMSG_CLOEXEC
                )
        except (OSError, trio.TooSlowError) as exc:
            raise _refused(f"nobody passed it ({type(exc).__name__})") from exc
    return _only_one(passed, flags)


def _only_one(passed: list[tuple[int, int, bytes]], flags: int) -> int:
    descriptors = array.array("i")
    for level, kind, data in passed:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) // 4 * 4])
    if len(descriptors) == 1 and not flags & socket.MSG_CTRUNC:
        return descriptors[0]
    for each in descriptors:
        os.close(each)
    raise _refused(f"{len(descriptors)} descriptors came in place of one")
