"""An archive's process with somebody else's code in it; run by test_confined.py.

It tries everything once while nothing holds it, which shows that each attempt is a real one, and
once more from within an answer, when the archive is served.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import trio

from psp.totebox import (
    Confinement,
    confine,
    listen_for_readers,
    numeric_host,
    serve_archive,
)
from psp.totebox._bootstrap import Bootstrap
from psp.totebox._service import Desk
from psp.transport import HandOver, Peer

Attempts: TypeAlias = dict[str, Callable[[], object]]

MSG_FASTOPEN = 0x20000000
IPPROTO_MPTCP = 262
CLONE3 = 435
CLONE_ARGUMENTS = struct.pack("=11Q", *(0,) * 4, signal.SIGCHLD, *(0,) * 6)
FORKS = (57,) if platform.machine() == "x86_64" else ()  # Its vfork would share our stack.
LIBC = ctypes.CDLL(None, use_errno=True)


def connect_tcp(port: int, protocol: int = 0) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as sock:
        sock.connect(("127.0.0.1", port))


def connect_by_first_bytes(port: int) -> None:
    with socket.socket() as sock:
        sock.sendto(b"hello", MSG_FASTOPEN, ("127.0.0.1", port))


def send_udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", ("127.0.0.1", port))


def connect_locally(path: Path) -> None:
    """To the socket at which a sibling takes its owner's commands."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))


def take_place(directory: Path) -> None:
    """Of a sibling's socket: away with it, and another one there. It is put back."""
    (directory / "socket").rename(directory / "gone")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(directory / "socket"))
    (directory / "gone").rename(directory / "socket")


def listen_beside(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(directory / f"{os.urandom(4).hex()}.sock"))


def listen_elsewhere(port: int) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))


def open_netlink() -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def begin_a_process() -> None:
    """As a daemon does: it would go on when its parent has ended, and be nobody's child."""
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def begin_a_process_by(call: int, *arguments: object) -> None:
    child = LIBC.syscall(call, *arguments)
    if child == 0:
        LIBC._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "no other process")
    os.waitpid(child, 0)


def link(file: Path, directory: Path) -> None:
    os.link(file, directory / f"planted-{os.urandom(4).hex()}")


def attempts(
    own: Path, sibling: Path, port: int, free_port: int
) -> dict[str, Callable[[], object]]:
    return {
        "read a sibling's rows": (sibling / "rows").read_bytes,
        "list a sibling": lambda: list(sibling.iterdir()),
        "write into a sibling": lambda: (sibling / "planted").write_bytes(b"x"),
        "link a sibling's rows here": lambda: link(sibling / "rows", own),
        "read the users of this machine": Path("/etc/passwd").read_bytes,
        "read its parent's environment": Path(f"/proc/{os.getppid()}/environ").read_bytes,
        "stop its parent": lambda: os.kill(os.getppid(), 0),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "begin another process": begin_a_process,
        "begin another process by clone3": lambda: begin_a_process_by(
            CLONE3, CLONE_ARGUMENTS, ctypes.c_size_t(len(CLONE_ARGUMENTS))
        ),
        **{
            f"begin another process by call {call}": partial(begin_a_process_by, call)
            for call in FORKS
        },
        "connect over TCP": lambda: connect_tcp(port),
        "connect over MPTCP": lambda: connect_tcp(port, IPPROTO_MPTCP),
        "connect by its first bytes": lambda: connect_by_first_bytes(port),
        "send over UDP": lambda: send_udp(port),
        "command a sibling": lambda: connect_locally(sibling / "socket"),
        "take the place of a sibling's socket": lambda: take_place(sibling),
        "take a place that is free": lambda: listen_beside(sibling),
        "listen on another port": lambda: listen_elsewhere(free_port),
        "ask the kernel for its links": open_netlink,
    }


def tried(every: Attempts) -> dict[str, str]:
    """Say what became of each attempt."""
    found = {}
    for name, attempt in every.items():
        try:
            attempt()
            found[name] = "done"
        except OSError as exc:
            found[name] = errno.errorcode[exc.errno or 0]
    return found


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    own, sibling = map(Path, sys.argv[1:3])
    every = attempts(own, sibling, *map(int, sys.argv[3:]))
    say(before=tried(every))
    bootstrap = Desk.bootstrap

    def planted(desk: Desk, peer: Peer) -> Bootstrap:
        say(after=tried(every), own=(own / "manifest.toml").exists())
        return bootstrap(desk, peer)

    Desk.bootstrap = planted  # type: ignore[method-assign,assignment]
    host = numeric_host("localhost", 0)
    # The directory of such sockets is one for all archives.
    hand_over = listen_for_readers(own, sibling, print)
    held = confine(own, 0)
    trio.run(partial(serve, own, host, hand_over, held))


async def serve(own: Path, host: str, hand_over: HandOver | None, held: Confinement) -> None:
    async with trio.open_nursery() as nursery:
        started = partial(
            serve_archive, own, host=host, port=0, hand_over=hand_over, confinement=held
        )
        host, port = await nursery.start(started)
        say(host=host, port=port)


if __name__ == "__main__":
    main()
