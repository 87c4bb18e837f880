"""A process that serves one archive shuts itself in: what breaks into it reaches nothing else.

Two locks of the kernel's. Landlock leaves it its own directory, the libraries, and one port to
listen on; seccomp takes away what Landlock does not see: every way to begin a connection, sockets
that are not TCP or local, io_uring, which would do either behind seccomp's back, and every way to
begin another process, which would outlive this one and whoever watches it. Neither can be taken off
again, by nobody. They hold for this thread and all that it starts, so this comes first.

Sources: landlock(7), landlock_create_ruleset(2), seccomp(2), clone(2), and the kernel's
Documentation/userspace-api/landlock.rst, whose "compatibility" example is followed for older ABIs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from psp.errors import EstateError

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ABI_QUESTION: Final = 1
_RULE_PATH, _RULE_PORT = 1, 2

# Rights, each with the ABI that knows it first.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FS_OF_ABI: Final = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_READ: Final = _READ_FILE | _READ_DIR
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_NET_ABI, _SCOPE_ABI = 4, 6
_SCOPES: Final = 0b11
"""Sockets with abstract names, and signals, stay among confined processes of one kind."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_MSG_FASTOPEN: Final = 0x20000000
_CLONE_THREAD: Final = 0x00010000
_UNIX, _INET, _INET6, _STREAM, _TCP = 1, 2, 10, 1, 6


@dataclass(frozen=True, slots=True)
class _Machine:
    """The numbers by which one architecture knows the calls that are looked at."""

    audit: int
    socket: int
    connect: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    clone: int
    forks: tuple[int, ...]
    io_uring_setup: int = 425
    clone3: int = 435


_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 41, 42, 44, 46, 307, 56, (57, 58)),
    "aarch64": _Machine(0xC00000B7, 198, 203, 206, 211, 269, 220, ()),
}


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds a process.

    Attributes:
        landlock: The kernel's version of it; 0 if it has none.
        seccomp: Whether calls are filtered.
    """

    landlock: int = 0
    seccomp: bool = False

    def __str__(self) -> str:
        """Say it as health does."""
        missing = [
            *(["files: this kernel has no Landlock"] if not self.landlock else []),
            *(["calls: not known for this processor"] if not self.seccomp else []),
        ]
        return f"not confined ({'; '.join(missing)})" if missing else "confined"


def confine(directory: Path, *ports: int) -> Confinement:
    """Shut this process in, for good: its archive, and the ports to listen on.

    Args:
        ports: 0 for any that the kernel chooses.

    Raises:
        EstateError: Another thread runs already, which would stay outside; or the kernel, which
            has these locks, does not close them.
    """
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise EstateError(
            "an archive confines itself before anything else, and other threads run already. Serve"
            " it by a process of its own."
        )
    # What SQLite sorts and cannot hold in memory goes into the archive's own directory.
    apsw.Connection(":memory:").pragma("temp_store_directory", str(directory / "index"))
    libc = ctypes.CDLL(None, use_errno=True)
    _done(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    abi = max(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ABI_QUESTION), 0)
    if abi:
        _lock_files(libc, abi, directory, ports)
    machine = _MACHINES.get(platform.machine())
    if machine is not None:
        _filter_calls(libc, machine)
    return Confinement(abi, machine is not None)


def numeric_host(host: str, port: int) -> str:
    """Give the address of a name, for one that will be confined: asking for it needs the network.

    Raises:
        EstateError: The name has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise EstateError(f"{host} has no address ({exc}). Name one of this machine's.") from exc
    return str(found[0][4][0])


def _lock_files(libc: ctypes.CDLL, abi: int, directory: Path, ports: Sequence[int]) -> None:
    every = sum(rights for since, rights in _FS_OF_ABI.items() if since <= abi)
    net = _BIND_TCP | _CONNECT_TCP if abi >= _NET_ABI else 0
    attributes = struct.pack("=QQQ", every, net, _SCOPES if abi >= _SCOPE_ABI else 0)
    size = ctypes.c_size_t(24 if abi >= _SCOPE_ABI else 16 if abi >= _NET_ABI else 8)
    ruleset = _done(libc.syscall(_CREATE_RULESET, attributes, size, 0))
    try:
        # Nothing may be executed, not even in the own directory.
        for path, rights in [(directory, every & ~_EXECUTE), *_readable()]:
            _allow(libc, ruleset, path, rights)
        for port in ports if net else ():
            rule = struct.pack("=QQ", _BIND_TCP, port)
            _done(libc.syscall(_ADD_RULE, ruleset, _RULE_PORT, rule, 0))
        _done(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _readable() -> Iterator[tuple[Path, int]]:
    """Give what the interpreter and its libraries read, some of it only when it is needed.

    Not `sys.path`: the directory that a person happens to stand in may hold every archive there is.
    """
    ours = Path(__file__).parents[1]
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    places |= {str(ours), "/usr/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/localtime"}
    # Itself, and how much memory there is: DuckDB crashes where it may not read these.
    places |= {"/proc/self", "/proc/meminfo", "/sys/fs/cgroup", "/dev/urandom"}
    for place in sorted(places):
        yield Path(place), _READ
    yield Path("/dev/null"), _READ_FILE | _WRITE_FILE


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # Not on every system.
    try:
        if not path.is_dir():
            rights &= _READ_FILE | _WRITE_FILE
        rule = struct.pack("=Qi", rights, fd)
        _done(libc.syscall(_ADD_RULE, ruleset, _RULE_PATH, rule, 0))
    finally:
        os.close(fd)


def _filter_calls(libc: ctypes.CDLL, machine: _Machine) -> None:
    program = b"".join(_program(machine))
    count = len(program) // 8
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a length and, aligned, a pointer.
    filters = struct.pack("@HP", count, ctypes.addressof(buffer))
    _done(libc.prctl(_PR_SET_SECCOMP, _FILTER, filters, 0, 0))


def _program(it: _Machine) -> Iterator[bytes]:
    """Write the filter for the kernel's small machine, which only ever jumps forward.

    A jump names how many lines it skips, if its test holds and if it does not.
    """
    yield from (_load(_ARCHITECTURE), _jump(_EQUAL, it.audit, 1, 0), _REFUSED)
    # The second table of calls that x86 has: none of ours are there.
    yield from (_load(_NUMBER), _jump(_AT_LEAST, 0x40000000, 0, 1), _REFUSED)
    for call in (it.connect, it.io_uring_setup, *it.forks):
        yield from (_jump(_EQUAL, call, 0, 1), _REFUSED)
    # Its flags lie in memory, where no filter looks. The C library then asks by the older call.
    yield from (_jump(_EQUAL, it.clone3, 0, 1), _UNKNOWN)
    yield from (_jump(_EQUAL, it.clone, 0, 4), _load_argument(0))
    yield from (_jump(_ANY_BIT, _CLONE_THREAD, 0, 1), _ALLOWED, _REFUSED)
    for call, flags in ((it.sendto, 3), (it.sendmsg, 2), (it.sendmmsg, 3)):
        # With this flag it would begin a connection by its first bytes, behind Landlock's back.
        yield from (_jump(_EQUAL, call, 0, 4), _load_argument(flags))
        yield from (_jump(_ANY_BIT, _MSG_FASTOPEN, 0, 1), _REFUSED, _ALLOWED)
    yield from (_jump(_EQUAL, it.socket, 1, 0), _ALLOWED)
    yield from (_load_argument(0), _jump(_EQUAL, _UNIX, 3, 0), _jump(_EQUAL, _INET, 2, 0))
    yield from (_jump(_EQUAL, _INET6, 1, 0), _REFUSED)
    without_flags = _line(0x54, 0, 0, 0xF)  # SOCK_NONBLOCK and SOCK_CLOEXEC.
    yield from (_load_argument(1), without_flags, _jump(_EQUAL, _STREAM, 1, 0), _REFUSED)
    yield from (_load_argument(2), _jump(_EQUAL, 0, 2, 0), _jump(_EQUAL, _TCP, 1, 0), _REFUSED)
    yield _ALLOWED


def _line(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


_NUMBER, _ARCHITECTURE = 0, 4
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45
_ALLOWED: Final = _line(0x06, 0, 0, 0x7FFF0000)
_REFUSED: Final = _line(0x06, 0, 0, 0x00050000 | errno.EPERM)
_UNKNOWN: Final = _line(0x06, 0, 0, 0x00050000 | errno.ENOSYS)


def _jump(test: int, value: int, if_true: int, if_false: int) -> bytes:
    return _line(test, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _line(0x20, 0, 0, offset)


def _load_argument(at: int) -> bytes:
    return _load(16 + 8 * at)  # Its low half, where the machine's ints stand: all of these are.


def _done(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise EstateError(
            f"this process could not be confined ({os.strerror(number)}), though the kernel knows"
            " how. Serve it outside of another sandbox."
        )
    return result
