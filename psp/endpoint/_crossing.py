"""What stands on both sides of a thread: made where the connection lives, held where a program is.

A call from another thread is a note to the connection's thread, which makes the call there. Nobody
waits for that: a note may name what an earlier note will make, so chains leave at once here too.
Notes are read in the order in which they were written, so calls leave in the order of the calls.
"""

from __future__ import annotations

import contextvars
import math
import os
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar, Unpack, overload

import trio

from psp.buffers import Buffers
from psp.errors import DeadlineExceeded, LocalProtocolError, Processed, PSPError
from psp.rpc import HelloReceived

from ._accounts import Inspection, Statistics
from ._connection import Connection
from ._failures import fresh
from ._incoming import ByteStream
from ._landing import Landed, Progress, land
from ._portal import Portal
from ._promise import Result

_T = TypeVar("_T")
_U = TypeVar("_U")
_P = TypeVar("_P")
_R = TypeVar("_R")


class Crossed(Generic[_T]):
    """Something of a connection, for another thread to hold before it is there.

    Args:
        make: Makes it, in the portal's thread and in the context variables of this one. What it
            raises is raised where the thing is used.
    """

    __slots__ = ("_failure", "_inner", "portal")

    _inner: _T

    def __init__(self, portal: Portal, make: Callable[[], _T]) -> None:
        self.portal = portal
        self._failure: Exception | None = None
        # A span's parent is the caller's current span, not the connection's.
        run = contextvars.copy_context().run

        def fill() -> None:
            try:
                self._inner = run(make)
            except Exception as exc:
                self._failure = exc

        portal.post(fill)

    @property
    def inner(self) -> _T:
        """The thing itself. Only for functions that run in the portal's thread."""
        if isinstance(self._failure, PSPError):
            raise fresh(self._failure)
        if self._failure is not None:
            raise self._failure
        return self._inner

    def then(self, use: Callable[[_T], _U]) -> Crossed[_U]:
        """Make something of it, later and there."""
        return Crossed(self.portal, lambda: use(self.inner))

    def post(self, use: Callable[[_T], object]) -> None:
        """Do something with it, later and there, if it was made at all."""
        Crossed(self.portal, lambda: use(self.inner))


class Across:
    """Base of what a door hands out: it stands for a crossed thing."""

    __slots__ = ()

    crossed: Crossed[Any]

    def release(self) -> None:
        """Give the answer or the object back; the peer may then forget it."""
        self.crossed.post(lambda inner: inner.release())


class CallOptions(TypedDict, total=False):
    """What `Promise.call` takes beside the arguments."""

    timeout_s: float | None
    is_step: bool
    accept_bytes: int
    invocation: bytes | None


class CrossedCallable(Across, Generic[_P, _R]):
    """What a call can be made on: gives the door's own promise, or its own result."""

    __slots__ = ()

    @staticmethod
    @abstractmethod
    def promise_of(crossed: Crossed[Any]) -> Any:
        """Make the door's promise."""

    @staticmethod
    @abstractmethod
    def result_of(crossed: Crossed[Any]) -> Any:
        """Make the door's result."""

    @overload
    def call(
        self,
        method: str,
        *arguments: Any,
        is_last: Literal[False] = ...,
        **options: Unpack[CallOptions],
    ) -> _P: ...
    @overload
    def call(
        self, method: str, *arguments: Any, is_last: Literal[True], **options: Unpack[CallOptions]
    ) -> _R: ...
    @overload
    def call(
        self, method: str, *arguments: Any, is_last: bool, **options: Unpack[CallOptions]
    ) -> _P | _R: ...
    def call(
        self, method: str, *arguments: Any, is_last: bool = False, **options: Unpack[CallOptions]
    ) -> _P | _R:
        """Call a method on what this is or will be; as `psp.Promise.call`."""
        answer = self.crossed.then(
            lambda inner: inner.call(
                method, *[_carried(each) for each in arguments], is_last=is_last, **options
            )
        )
        made: _P | _R = self.result_of(answer) if is_last else self.promise_of(answer)
        return made


class CrossedConnection:
    """What is the same of a connection through whichever door."""

    def __init__(self, portal: Portal, connection: Connection) -> None:
        self.address: Final = connection.address
        self.crossed: Final = Crossed(portal, lambda: connection)
        self._connection = connection

    async def inspect_there(self) -> Inspection:
        """Look at the tables where they change: in the portal's thread."""
        return self._connection.inspect()

    # These three only read what that thread replaces as a whole.

    def statistics(self) -> Statistics:
        """Give the counters of this connection."""
        return self._connection.statistics()

    @property
    def peer_hello(self) -> HelloReceived | None:
        """What the archive said of itself; None until its first answer."""
        return self._connection.peer_hello

    @property
    def is_local(self) -> bool:
        """Whether results could be handed over: the archive's address is of this machine, and
        there is a directory for it."""
        return self._connection.is_local

    @property
    def closed(self) -> bool:
        """Whether the connection is over, for whatever reason."""
        return self._connection.closed

    def close(self) -> None:
        """End the connection; what still waits fails with `ConnectionLost`."""
        self.crossed.post(lambda inner: inner.close())


def settled_across(crossed: Crossed[Any]) -> Result[Any] | None:
    """Give the result behind a crossed one if it is there: then nobody need cross to wait for it.

    Of many calls that are awaited one by one, most have been answered while the first was.
    """
    # The portal's thread writes each of these once, `is_done` last; so reading it here is enough.
    inner = getattr(crossed, "_inner", None)
    return inner if isinstance(inner, Result) and inner.is_done else None


def payload_of(answer: Result[Any]) -> Any:
    """Give what a settled answer holds, or raise how it failed."""
    if isinstance(answer.payload, PSPError):
        raise fresh(answer.payload)
    return answer.payload


async def wait_across(crossed: Crossed[Awaitable[_T]], timeout_s: float | None = None) -> _T:
    """Await a crossed promise in the portal's thread; run by `Portal.run` and `Portal.arun`.

    Raises:
        DeadlineExceeded: Not there in time. The question was given up.
    """
    with trio.move_on_after(math.inf if timeout_s is None else timeout_s):
        return await crossed.inner
    raise _given_up(timeout_s)


async def land_across(
    answer: Crossed[Any],
    buffers: Buffers,
    bytes_max: int,
    progress: Progress | None,
    timeout_s: float | None = None,
) -> Landed:
    """Land a crossed answer in the portal's thread; run by `Portal.run` and `Portal.arun`.

    Raises:
        DeadlineExceeded: Not whole in time. The question was given up.
    """
    with trio.move_on_after(math.inf if timeout_s is None else timeout_s):
        return await land(answer.inner, buffers, bytes_max=bytes_max, progress=progress)
    raise _given_up(timeout_s)


def _given_up(timeout_s: float | None) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the answer was not there within {timeout_s:g} seconds; the call was given up",
        processed=Processed.MAYBE,
    )


async def next_across(stream: Crossed[ByteStream]) -> bytes | None:
    """Wait for the next chunk of a crossed stream; None after the last."""
    return await anext(stream.inner, None)


def expect_stream(answer: object, kind: type[_T]) -> _T:
    """Give an answer that is a stream.

    Raises:
        LocalProtocolError: It is another value.
    """
    if isinstance(answer, kind):
        return answer
    raise LocalProtocolError(
        f"the answer is a {type(answer).__name__} and no stream. Use it as it is."
    )


def _carried(argument: Any) -> Any:
    """Give an argument as the portal's thread knows it."""
    if isinstance(argument, Across):
        return argument.crossed.inner
    if isinstance(argument, list):
        return [_carried(each) for each in argument]
    if isinstance(argument, dict):
        return {key: _carried(each) for key, each in argument.items()}
    return argument


class _Shared:
    """One background thread for all connections of a process that have no portal of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Both guarded by the lock. The portal is None while nobody uses it.
        self._portal: Portal | None = None
        self._users = 0

    @contextmanager
    def use(self) -> Iterator[Portal]:
        with self._lock:
            if self._portal is None:
                self._portal = Portal().__enter__()
            portal = self._portal
            self._users += 1
        try:
            yield portal
        finally:
            with self._lock:
                self._users -= 1
                if is_last := self._users == 0:
                    self._portal = None
            if is_last:  # Outside of the lock: it waits until the thread has ended.
                portal.__exit__(None, None, None)

    def forget(self) -> None:
        """In the child of a fork: the thread did not come along."""
        self.__init__()  # type: ignore[misc]


_shared: Final = _Shared()
os.register_at_fork(after_in_child=_shared.forget)
shared_portal = _shared.use
