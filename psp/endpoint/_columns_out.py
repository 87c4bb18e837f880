"""Columns on their way out: a batch is computed while the one before leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

import trio

from psp.buffers import Piece, arrow_pieces

_Result = TypeVar("_Result")


async def arrow_chunks(source: Any) -> AsyncIterator[list[Piece]]:
    """Give the chunks of a `Stream` that is an Arrow stream: for a handler to return.

    A batch is computed, in a thread, while the one before leaves, and no further ahead; no column
    of it is copied.

    Args:
        source: A `pyarrow.Table` or `RecordBatchReader`, or whatever has `__arrow_c_stream__`.

    Raises:
        MissingExtra: pyarrow is not installed.
        LocalProtocolError: A column is of a type that no reader takes.
    """
    batches = arrow_pieces(source)
    ahead = _Ahead(partial(next, batches, []))
    ahead.start()
    try:
        while pieces := await ahead.take():
            ahead.start()
            yield pieces
    finally:
        with trio.CancelScope(shield=True):
            await ahead.wait()  # What it reads from is its owner's again.
        batches.close()


class _Ahead(Generic[_Result]):
    """Work that a thread does while this task does something else. A generator can have no
    nursery around its own `yield`, so no task can wait for the thread here."""

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work = work
        self._token = trio.lowlevel.current_trio_token()
        self._has_ended = trio.Event()
        self._has_ended.set()
        self._outcome: Any  # Of `outcome`, which trio brings along.

    def start(self) -> None:
        self._has_ended = trio.Event()
        trio.lowlevel.start_thread_soon(self._work, self._deliver)

    async def wait(self) -> None:
        await self._has_ended.wait()

    async def take(self) -> _Result:
        await self.wait()
        found: _Result = self._outcome.unwrap()
        return found

    def _deliver(self, result: Any) -> None:
        self._outcome = result
        with suppress(trio.RunFinishedError):  # Then nobody waits.
            self._token.run_sync_soon(self._has_ended.set)
