"""PSP for asyncio programs: the names of `psp`, awaited under asyncio.

    async with psp.aio.connect(address, key=key) as connection:
        grant = connection.present(token)
        print(await grant.call("table", "sales").call("describe"))

One background thread runs trio for all connections. Calls leave without waiting, here too. What a
call refuses on trio at once (a released reference, a closed connection) is raised by `await` here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import trio

from psp import endpoint
from psp.buffers import Buffers
from psp.endpoint import (
    Across,
    Address,
    Crossed,
    CrossedCallable,
    CrossedConnection,
    Inspection,
    Landed,
    Middleware,
    Portal,
    Progress,
    Stub,
    expect_stream,
    land_across,
    next_across,
    payload_of,
    remote,
    settled_across,
    shared_portal,
    wait_across,
)
from psp.transport import MachineKey, Tap

__all__ = [
    "ByteStream",
    "Connection",
    "Promise",
    "Reference",
    "Result",
    "Stub",
    "connect",
    "land",
    "remote",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class _Callable(CrossedCallable["Promise[Any]", "Result[Any]"]):
    __slots__ = ()

    @staticmethod
    def promise_of(crossed: Crossed[Any]) -> Promise[Any]:
        return Promise(crossed)

    @staticmethod
    def result_of(crossed: Crossed[Any]) -> Result[Any]:
        return Result(crossed)


class _Owned(Across):
    __slots__ = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()


class Promise(_Callable, _Owned, endpoint.Promise[_T_co]):
    """An answer that may not be there yet, for asyncio; as `psp.Promise`."""

    __slots__ = ("crossed",)

    def __init__(self, crossed: Crossed[Any]) -> None:
        self.crossed = crossed

    def __getitem__(self, step: str | int) -> Promise[Any]:
        return Promise(self.crossed.then(lambda inner: inner[step]))

    def __await__(self) -> Generator[Any, Any, _T_co]:
        return _wait(self.crossed).__await__()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _chunks(self.crossed)


class Result(_Owned, endpoint.Result[_T_co]):
    """A plain answer that may not be there yet, for asyncio; as `psp.Result`."""

    __slots__ = ("crossed",)

    def __init__(self, crossed: Crossed[Any]) -> None:
        self.crossed = crossed

    def __await__(self) -> Generator[Any, Any, _T_co]:
        return _wait(self.crossed).__await__()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _chunks(self.crossed)


class Reference(_Callable, _Owned, endpoint.Reference):
    """An object exposed by the subject, for asyncio; as `psp.Reference`."""

    __slots__ = ("crossed",)

    def __init__(self, portal: Portal, reference: endpoint.Reference) -> None:
        self.crossed = Crossed(portal, lambda: reference)

    def __del__(self) -> None:
        """Nothing: the reference behind this one says that it was dropped."""


class ByteStream(_Owned, endpoint.ByteStream):
    """A result that is streamed, for asyncio; as `psp.ByteStream`."""

    __slots__ = ("_next", "crossed")

    def __init__(self, portal: Portal, stream: endpoint.ByteStream) -> None:
        self.crossed = Crossed(portal, lambda: stream)
        self.header = stream.header
        self._next: asyncio.Future[bytes | None] | None = None

    async def __anext__(self) -> bytes:
        # Cancelling the wait (`asyncio.wait_for` does) must not lose a chunk that is on its way
        # between the two threads: the next call goes on waiting for it.
        if self._next is None:
            self._next = asyncio.ensure_future(self.crossed.portal.arun(next_across, self.crossed))
        try:
            chunk = await asyncio.shield(self._next)
        except asyncio.CancelledError:
            if self._next.cancelled():
                self._next = None
            raise
        except BaseException:
            self._next = None
            raise
        self._next = None
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def release(self) -> None:
        """Read no further: the subject stops sending."""
        super().release()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def __del__(self) -> None:
        """Nothing: the stream behind this one says that it was dropped."""


async def _wait(crossed: Crossed[Any]) -> Any:
    """Wait for an answer. Cancelling the last task that does gives the question up."""
    if (settled := settled_across(crossed)) is not None:
        answer = payload_of(settled)
    else:
        answer = await crossed.portal.arun(wait_across, crossed)
    if isinstance(answer, endpoint.Reference):
        return Reference(crossed.portal, answer)
    if isinstance(answer, endpoint.ByteStream):
        return ByteStream(crossed.portal, answer)
    return answer


async def _chunks(crossed: Crossed[Any]) -> AsyncIterator[bytes]:
    async with expect_stream(await _wait(crossed), ByteStream) as stream:
        async for chunk in stream:
            yield chunk


async def land(
    answer: Promise[Any] | Result[Any],
    buffers: Buffers,
    *,
    bytes_max: int,
    progress: Progress | None = None,
) -> Landed:
    """Wait for a streamed answer in mapped memory; as `psp.endpoint.land`.

    Call this right after the call: what has come by then is copied.
    """
    return await answer.crossed.portal.arun(
        land_across, answer.crossed, buffers, bytes_max, progress
    )


class Connection(CrossedConnection):
    """A live connection to one archive, for asyncio; as `psp.Connection`."""

    def __init__(self, portal: Portal, connection: endpoint.Connection) -> None:
        super().__init__(portal, connection)
        self.bootstrap: Final = Reference(portal, connection.bootstrap)

    def present(self, token: bytes, timeout_s: float | None = None) -> Promise[Any]:
        """Show a grant; what it allows can be called on at once."""
        return Promise(self.crossed.then(lambda inner: inner.present(token, timeout_s)))

    async def ping(self) -> float:
        """Ask the subject for a sign of life; give how many seconds it took."""
        return await self.crossed.portal.arun(self._connection.ping)

    async def inspect(self) -> Inspection:
        """Say what this connection holds: what waits, what is kept, what is unread."""
        return await self.crossed.portal.arun(self.inspect_there)

    async def wait_closed(self) -> None:
        """Wait until the connection is over; it does not say why, the next call does."""
        await self.crossed.portal.arun(self._connection.wait_closed)


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
    """Open a connection to one archive, from an asyncio program; as `psp.connect`.

    Args:
        tap: Called in the background thread, and so is each middleware.
        runtime: Our own directory, where results of an archive on this machine are handed over.
    """
    opening = endpoint.connect(
        address, key=key, timeout_s=timeout_s, tap=tap, middleware=middleware, runtime=runtime
    )
    with shared_portal() as portal:
        async with _entered(portal, opening) as connection:
            yield Connection(portal, connection)


@asynccontextmanager
async def _entered(portal: Portal, manager: AbstractAsyncContextManager[_T]) -> AsyncIterator[_T]:
    """Enter in the portal's thread, without holding up the event loop of this one."""
    opened: Future[tuple[_T, trio.Event]] = Future()

    async def hold_open() -> None:
        # One task enters and leaves, because the scopes of trio cannot be left by another.
        async with manager as value:
            leave = trio.Event()
            opened.set_result((value, leave))
            await leave.wait()

    holding = asyncio.ensure_future(portal.arun(hold_open))
    entering = asyncio.wrap_future(opened)
    try:
        both: set[asyncio.Future[Any]] = {holding, entering}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        holding.cancel()
        raise
    if not entering.done():
        await holding  # It failed, and says how.
    value, leave = await entering
    try:
        yield value
    finally:
        portal.post(leave.set)
        await holding
