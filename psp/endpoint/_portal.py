"""Doors for callers that do not run trio: one background thread does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import TracebackType
from typing import Generic, TypeVar, TypeVarTuple

import trio

from psp.errors import LocalProtocolError

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Portal:
    """One trio run in a background thread, for blocking and for asyncio programs.

        with Portal() as portal, portal.enter(connect(address, key=key)) as connection:
            health = portal.run(ask_health, connection)

    Everything that belongs to a connection stays in that thread: hand functions in, not promises
    out. Leaving the `with` block cancels what still runs and joins the thread.
    """

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._main, name="psp-portal", daemon=True)
        self._is_open = threading.Event()
        # Set by the thread before `_is_open`; `_stop` ends the run.
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._crash: BaseException | None = None

    def __enter__(self) -> Portal:
        self._thread.start()
        self._is_open.wait()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with suppress(trio.RunFinishedError):
            self._in_thread(self._stop)
        self._thread.join()
        if self._crash is not None:
            raise self._crash

    def run(self, function: Callable[[*_Ts], Awaitable[_T]], *args: *_Ts) -> _T:
        """Run an async function in the portal's thread and wait for its result.

        Ctrl-C cancels the function and waits until it has ended, then goes on.

        Raises:
            LocalProtocolError: The portal is closed, or this *is* the portal's thread.
        """
        if threading.current_thread() is self._thread:
            raise LocalProtocolError(
                "Portal.run was called inside the portal, where it would wait for itself."
                " Use `await` there."
            )
        job = _Job(function, args)
        try:
            self._start(job)
            return job.future.result()
        except KeyboardInterrupt:
            self._cancel(job)
            with suppress(Exception, CancelledError):
                job.future.result()
            raise

    async def arun(self, function: Callable[[*_Ts], Awaitable[_T]], *args: *_Ts) -> _T:
        """Run an async function in the portal's thread and await its result under asyncio.

        Cancelling the asyncio task cancels the function.
        """
        job = _Job(function, args)
        self._start(job)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            self._cancel(job)
            raise

    def post(self, function: Callable[[], object]) -> None:
        """Have a plain function run in the portal's thread, after all posted before it; go on.

        It must not raise: nobody would hear it, and the portal would end.

        Raises:
            LocalProtocolError: The portal is closed.
        """
        try:
            self._in_thread(function)
        except trio.RunFinishedError:
            raise _closed() from None

    @contextmanager
    def enter(self, manager: AbstractAsyncContextManager[_T]) -> Iterator[_T]:
        """Enter an async context manager in the portal's thread, and leave it there at the end.

        One task does both, because the scopes of trio cannot be left by another task.
        """
        entered: Future[tuple[_T, trio.Event]] = Future()
        job = _Job(_hold_open, (manager, entered))
        job.future.add_done_callback(lambda done: _pass_failure(done, entered))
        try:
            self._start(job)
            value, leave = entered.result()
        except KeyboardInterrupt:
            self._cancel(job)
            raise
        try:
            yield value
        finally:
            with suppress(trio.RunFinishedError):
                self._in_thread(leave.set)
            job.future.result()

    def _start(self, job: _Job[*_Ts, _T]) -> None:
        def spawn() -> None:
            assert self._nursery is not None
            job.is_started = True
            try:
                self._nursery.start_soon(job.run)
            except RuntimeError:  # The portal was closed since.
                job.resolve(error=_closed())

        try:
            self._in_thread(spawn)
        except trio.RunFinishedError:
            raise _closed() from None

    def _cancel(self, job: _Job[*_Ts, _T]) -> None:
        def cancel() -> None:
            job.scope.cancel()
            if not job.is_started:
                # Ctrl-C came before the job did: nobody else will ever resolve it.
                job.resolve(error=CancelledError())

        with suppress(trio.RunFinishedError):
            self._in_thread(cancel)

    def _in_thread(self, function: Callable[[], object]) -> None:
        if self._token is None:
            raise _closed()
        self._token.run_sync_soon(function)

    def _stop(self) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    def _main(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as exc:
            self._crash = exc
        finally:
            self._is_open.set()

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._token = trio.lowlevel.current_trio_token()
            self._is_open.set()
            await trio.sleep_forever()


class _Job(Generic[*_Ts, _T]):
    """One function on its way through the portal."""

    def __init__(self, function: Callable[[*_Ts], Awaitable[_T]], args: tuple[*_Ts]) -> None:
        self.future: Future[_T] = Future()
        self.scope = trio.CancelScope()
        # Written and read in the portal's thread alone.
        self.is_started = False
        self._function = function
        self._args = args

    async def run(self) -> None:
        try:
            with self.scope:
                self.resolve(result=await self._function(*self._args))
            if self.scope.cancelled_caught:
                self.resolve(error=CancelledError())
        except trio.Cancelled:
            self.resolve(error=CancelledError())
            raise
        except BaseException as exc:
            self.resolve(error=exc)
            if not isinstance(exc, Exception):
                raise

    def resolve(self, *, result: _T | None = None, error: BaseException | None = None) -> None:
        # asyncio marks the future as cancelled when its task is; then nobody listens any more.
        if self.future.set_running_or_notify_cancel():
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)  # type: ignore[arg-type]


async def _hold_open(
    manager: AbstractAsyncContextManager[_T], entered: Future[tuple[_T, trio.Event]]
) -> None:
    async with manager as value:
        leave = trio.Event()
        entered.set_result((value, leave))
        await leave.wait()


def _pass_failure(done: Future[None], entered: Future[tuple[_T, trio.Event]]) -> None:
    """Let the one who waits for the entry hear that it failed."""
    if not entered.done():
        entered.set_exception(done.exception() or _closed())


def _closed() -> LocalProtocolError:
    return LocalProtocolError("the portal is not open. Use it inside its `with` block.")
