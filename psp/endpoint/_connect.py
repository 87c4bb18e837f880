"""How a connection is opened, and how it is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from psp.errors import Unreachable
from psp.transport import MachineKey, Tap, TlsStream, dial_peer

from ._address import Address
from ._connection import Connection
from ._middleware import Middleware


@asynccontextmanager
async def connect(
    address: Address,
    *,
    key: MachineKey,
    timeout_s: float = 10.0,
    tap: Tap | None = None,
    middleware: Sequence[Middleware] = (),
    runtime: Path | None = None,
) -> AsyncIterator[Connection]:
    """Open a connection to one archive.

    HELLO waits for the first calls and leaves with them, so whether the archive knows this machine
    is heard at the first `await`.

    Args:
        key: This machine's own key.
        timeout_s: For TCP and TLS together.
        tap: Sees every byte in the clear.
        middleware: Told of each call when it is sent and when it has ended.
        runtime: Our own directory, where results of an archive on this machine are handed over.

    Raises:
        Unreachable: Nobody listens there, or not in time.
        NotPaired: Another machine answers, or it does not know this one.
        EstateError: The certificate in the pairing record is damaged.
    """
    certificate = address.certificate
    stream: TlsStream | None = None
    with trio.move_on_after(timeout_s):
        stream = await dial_peer(
            address.host, address.port, key=key, expected=certificate, archive_id=address.archive_id
        )
    if stream is None:
        raise Unreachable(
            f"{address.host}:{address.port} did not answer within {timeout_s:g} seconds."
            " Check the address and the network, or allow more time."
        )
    async with held(
        Connection(address, stream, tap=tap, middleware=middleware, runtime=runtime)
    ) as connection:
        yield connection


@asynccontextmanager
async def held(connection: Connection) -> AsyncIterator[Connection]:
    """Carry a connection's bytes while the block runs; its failure comes out as it is."""
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        try:
            yield connection
        except trio.Cancelled:
            raise
        except BaseException as exc:
            # Carried around the nursery, which would wrap it in a group that no caller expects.
            raised = exc
        finally:
            await connection.aclose()
            nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
