"""PSP for programs that wait: the names of `psp`, with `.result()` in the place of `await`.

    with psp.blocking.connect(address, key=key) as connection:
        grant = connection.present(token)
        print(grant.call("table", "sales").call("describe").result())

One background thread runs trio for all connections. Calls leave without waiting, here too; only
`.result()` waits, and Ctrl-C ends that and gives the question up. What a call refuses on trio at
once (a released reference, a closed connection) is raised by `.result()` here.

A contract whose annotations are this module's `Result` and `Promise` lets mypy know `.result()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Promise(_Callable, _Owned, endpoint.Promise[_T_co]):
    """An answer that may not be there yet, for programs that wait; as `psp.Promise`."""

    __slots__ = ("crossed",)

    def __init__(self, crossed: Crossed[Any]) -> None:
        self.crossed = crossed

    def __getitem__(self, step: str | int) -> Promise[Any]:
        return Promise(self.crossed.then(lambda inner: inner[step]))

    def result(self, timeout_s: float | None = None) -> _T_co:
        """Wait for the value or `Reference`; as `Result.result`."""
        return cast(_T_co, _wait(self.crossed, timeout_s))

    def __iter__(self) -> Iterator[bytes]:
        """Read the answer as a stream."""
        return _chunks(self.crossed)


class Result(_Owned, endpoint.Result[_T_co]):
    """A plain answer that may not be there yet, for programs that wait; as `psp.Result`."""

    __slots__ = ("crossed",)

    def __init__(self, crossed: Crossed[Any]) -> None:
        self.crossed = crossed

    def result(self, timeout_s: float | None = None) -> _T_co:
        """Wait for the answer.

        Args:
            timeout_s: How long; as long as the call may take if not given.

        Raises:
            CallFailed: The call has failed.
            DeadlineExceeded: Not there in time. The question was given up.
        """
        return cast(_T_co, _wait(self.crossed, timeout_s))

    def __iter__(self) -> Iterator[bytes]:
        """Read the answer as a stream."""
        return _chunks(self.crossed)


class Reference(_Callable, _Owned, endpoint.Reference):
    """An object exposed by the subject, for programs that wait; as `psp.Reference`."""

    __slots__ = ("crossed",)

    def __init__(self, portal: Portal, reference: endpoint.Reference) -> None:
        self.crossed = Crossed(portal, lambda: reference)

    def __del__(self) -> None:
        """Nothing: the reference behind this one says that it was dropped."""


class ByteStream(_Owned, endpoint.ByteStream):
    """A result that is streamed, for programs that wait: read it with `for`."""

    __slots__ = ("crossed",)

    def __init__(self, portal: Portal, stream: endpoint.ByteStream) -> None:
        self.crossed = Crossed(portal, lambda: stream)
        self.header = stream.header

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if (chunk := self.crossed.portal.run(next_across, self.crossed)) is None:
            raise StopIteration
        return chunk

    def __del__(self) -> None:
        """Nothing: the stream behind this one says that it was dropped."""


def _wait(crossed: Crossed[Any], timeout_s: float | None) -> Any:
    if (settled := settled_across(crossed)) is not None:
        answer = payload_of(settled)
    else:
        answer = crossed.portal.run(wait_across, crossed, timeout_s)
    if isinstance(answer, endpoint.Reference):
        return Reference(crossed.portal, answer)
    if isinstance(answer, endpoint.ByteStream):
        return ByteStream(crossed.portal, answer)
    return answer


def _chunks(crossed: Crossed[Any]) -> Iterator[bytes]:
    with expect_stream(_wait(crossed, None), ByteStream) as stream:
        yield from stream


def land(
    answer: Promise[Any] | Result[Any],
    buffers: Buffers,
    *,
    bytes_max: int,
    progress: Progress | None = None,
    timeout_s: float | None = None,
) -> Landed:
    """Wait for a streamed answer in mapped memory; as `psp.endpoint.land`.

    Call this right after the call: what has come by then is copied.

    Args:
        timeout_s: How long it may take to come whole; as long as it lasts if not given.

    Raises:
        DeadlineExceeded: Not whole in time. The question was given up.
    """
    return answer.crossed.portal.run(
        land_across, answer.crossed, buffers, bytes_max, progress, timeout_s
    )


class Connection(CrossedConnection):
    """A live connection to one archive, for programs that wait; as `psp.Connection`."""

    def __init__(self, portal: Portal, connection: endpoint.Connection) -> None:
        super().__init__(portal, connection)
        self.bootstrap: Final = Reference(portal, connection.bootstrap)

    def present(self, token: bytes, timeout_s: float | None = None) -> Promise[Any]:
        """Show a grant; what it allows can be called on at once."""
        return Promise(self.crossed.then(lambda inner: inner.present(token, timeout_s)))

    def ping(self) -> float:
        """Ask the subject for a sign of life; give how many seconds it took."""
        return self.crossed.portal.run(self._connection.ping)

    def inspect(self) -> Inspection:
        """Say what this connection holds: what waits, what is kept, what is unread."""
        return self.crossed.portal.run(self.inspect_there)

    def wait_closed(self) -> None:
        """Wait until the connection is over; it does not say why, the next call does."""
        self.crossed.portal.run(self._connection.wait_closed)


@contextmanager
def connect(
    address: Address,
    *,
    key: MachineKey,
    timeout_s: float = 10.0,
    tap: Tap | None = None,
    middleware: Sequence[Middleware] = (),
    runtime: Path | None = None,
) -> Iterator[Connection]:
    """Open a connection to one archive, from a program that waits; as `psp.connect`.

    Args:
        tap: Called in the background thread, and so is each middleware.
        runtime: Our own directory, where results of an archive on this machine are handed over.
    """
    opening = endpoint.connect(
        address, key=key, timeout_s=timeout_s, tap=tap, middleware=middleware, runtime=runtime
    )
    with shared_portal() as portal, portal.enter(opening) as connection:
        yield Connection(portal, connection)
