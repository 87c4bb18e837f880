"""PSP/1 over a socket of this machine, between two processes of one user. No TLS, no keys."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from psp.errors import Denied, EstateError
from psp.rpc import GrantRooms
from psp.transport import (
    LocalStream,
    Peer,
    check_same_user,
    dial_locally,
    listening_locally,
)

from ._address import Address
from ._connect import held
from ._connection import Connection
from ._dispatch import Log, report_fault
from ._exposed import Exposed
from ._limits import LOCAL_CONNECTIONS_MAX
from ._served import Served

_THIS_USER = Peer(spki_hash=b"", public_bytes=b"", name="the user of this machine")


async def serve_local(
    directory: Path,
    *,
    archive_id: bytes,
    bootstrap: Callable[[], Exposed],
    log: Log,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve one object to this user's own processes, until cancelled.

    Args:
        directory: Where the socket is made; nobody else may serve there.
        bootstrap: Makes what a caller can call.

    Raises:
        EstateError: No socket can be made there.
    """
    grants = GrantRooms()
    with listening_locally(directory, backlog=LOCAL_CONNECTIONS_MAX) as plain:
        sock = trio.socket.from_stdlib_socket(plain)
        room = trio.CapacityLimiter(LOCAL_CONNECTIONS_MAX)

        async def serve_one(accepted: socket.socket) -> None:
            stream = LocalStream(accepted)
            try:
                async with room:
                    check_same_user(accepted)
                    served = Served(
                        stream,
                        _THIS_USER,
                        archive_id=archive_id,
                        bootstrap=bootstrap(),
                        present=_no_grants,
                        grants=grants,
                        tap=None,
                        around=None,
                        log=log,
                    )
                    await served.run()
            except EstateError as exc:
                log(str(exc))
            except Exception as exc:
                report_fault("control connection", exc, log)
            finally:
                stream.close()

        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                accepted, _ = await sock.accept()
                nursery.start_soon(serve_one, socket.socket(fileno=accepted.detach()))


@asynccontextmanager
async def connect_local(directory: Path, *, archive_id: bytes) -> AsyncIterator[Connection | None]:
    """Connect to what is served in a directory; gives None if nobody listens there.

    Raises:
        EstateError: The socket is not this user's.
    """
    stream = dial_locally(directory)
    if stream is None:
        yield None
        return
    address = Address(archive_id, str(directory), 0, "", "the archive of this directory")
    async with held(Connection(address, stream)) as connection:
        yield connection


def _no_grants(_peer: Peer, _token: bytes) -> Exposed:
    raise Denied("no grant is needed here; call the object itself")
