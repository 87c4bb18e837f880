"""Streams on their way out: a handler's next piece is asked for when its last one has left."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from psp.rpc import Answer, CallReady, Subject

from ._exposed import Exposed, Given, Stream


class Outgoing:
    """The streams that one connection serves."""

    def __init__(self, core: Subject) -> None:
        self._core = core
        self._waiting: dict[Answer, trio.Event] = {}
        # What its handler has given together and the core has not been offered yet.
        self._further: dict[Answer, deque[bytes | bytearray | memoryview]] = {}
        # What each stream is asked before a chunk of it leaves, and what was said against it.
        self._checks: dict[Answer, Callable[[], None]] = {}
        self._refused: dict[Answer, Exception] = {}

    def take(self) -> Sequence[bytes | memoryview]:
        """Give the next chunk, uncopied. Called when the one before has left: so now, and not
        earlier, its handler may change what it offered, and is woken to offer more."""
        self._wake_drained()
        while (answer := self._core.next_to_send()) is not None:
            if self._may_go_on(answer):
                return self._core.chunk_to_send() or ()
            self._further.pop(answer, None)
            self._core.withhold(answer)
            self._wake_drained()
        return ()

    def _wake_drained(self) -> None:
        for answer in self._core.drained():
            self._offer_further(answer)
            if not answer.unsent and (waiting := self._waiting.get(answer)) is not None:
                waiting.set()

    def _offer_further(self, answer: Answer) -> None:
        """Offer the next of what was given together: its handler sleeps until all of it has left,
        or every column of a batch would cost two turns of the loop."""
        further = self._further.get(answer)
        while further and not answer.unsent:
            self._core.offer(answer, further.popleft())

    def _may_go_on(self, answer: Answer) -> bool:
        """Ask before each chunk, and not only for each piece: a piece may have a gigabyte, and its
        reader may take an hour, in which his grant ends."""
        if (check := self._checks.get(answer)) is not None:
            try:
                check()
            except Exception as exc:  # Of whatever kind: it is raised where the stream is carried.
                self._refused[answer] = exc
                return False
        return True

    async def carry(
        self,
        call: CallReady,
        stream: Stream,
        wake: Callable[[], None],
        keep: Callable[[], None],
    ) -> None:
        """Send a stream that is open, to its last byte.

        Args:
            wake: Asks the writer to look for something to send.
            keep: Asks the writer to copy what it has begun to send.

        Raises:
            CallFailed: The object refuses in the middle: its grant may have ended.
        """
        exposed = call.object
        assert isinstance(exposed, Exposed)
        if exposed.psp_is_checked:
            self._checks[call] = partial(exposed.check, call)
        try:
            async with _closing(stream.chunks, keep) as chunks:
                async for given in chunks:
                    if isinstance(given, list):
                        self._further[call] = deque(given)
                        self._offer_further(call)
                    else:
                        self._core.offer(call, given)
                    if call.unsent:
                        wake()
                        await self._has_left(call)
                    else:
                        # It was empty, or the stream was given up: then everything is taken at
                        # once, and only a checkpoint ever stops a generator that does not wait.
                        await trio.lowlevel.checkpoint()
        finally:
            self._further.pop(call, None)
            self._checks.pop(call, None)
            self._refused.pop(call, None)

    async def _has_left(self, call: CallReady) -> None:
        try:
            while call.unsent:
                self._waiting[call] = trio.Event()
                await self._waiting[call].wait()
        finally:
            self._waiting.pop(call, None)
        if (refused := self._refused.get(call)) is not None:
            raise refused


@asynccontextmanager
async def _closing(
    chunks: AsyncIterator[Given], keep: Callable[[], None]
) -> AsyncIterator[AsyncIterator[Given]]:
    try:
        yield chunks
    except BaseException:
        # It is cut short, and its last piece may be half in the kernel: what its owner does with
        # that memory now must not reach the peer.
        keep()
        raise
    finally:
        # A generator that is left in the middle must end here and now, not when it is collected.
        if (aclose := getattr(chunks, "aclose", None)) is not None:
            with trio.CancelScope(shield=True):
                await aclose()
