"""An answer on its way: each member's outcome as it comes, then all of them combined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from types import TracebackType

import trio

from psp.endpoint import Portal
from psp.errors import LocalProtocolError

from ._answer import Answer
from ._outcome import Outcome
from ._reply import Reply

Report = Callable[[Outcome[Reply]], None]


class Coming:
    """Iterate over it with `async for`; afterwards `answer` holds everything combined."""

    def __init__(self, arrived: trio.MemoryReceiveChannel[Outcome[Reply]]) -> None:
        self._arrived = arrived
        self._answer: Answer | None = None
        self._error: Exception | None = None

    def __aiter__(self) -> Coming:
        return self

    async def __anext__(self) -> Outcome[Reply]:
        if (outcome := await self.next()) is None:
            raise StopAsyncIteration
        return outcome

    async def next(self) -> Outcome[Reply] | None:
        """The next outcome; None after the last.

        Raises:
            QuestionError, TooFewAnswered: After the last outcome, as `TrioFleet.ask` raises them.
        """
        try:
            return await self._arrived.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            return None

    @property
    def answer(self) -> Answer:
        """Everything combined.

        Raises:
            LocalProtocolError: Outcomes are still to come.
        """
        if self._answer is None:
            raise LocalProtocolError(
                "the combined answer was asked for, and members are still out. Iterate to the end"
                " first."
            )
        return self._answer

    async def fill(
        self,
        ask: Callable[[Report], Awaitable[Answer]],
        send: trio.MemorySendChannel[Outcome[Reply]],
    ) -> None:
        """Run the question, and keep what it gives or raises for the one who iterates."""
        with send:
            try:
                self._answer = await ask(send.send_nowait)
            except Exception as exc:
                self._error = exc


@asynccontextmanager
async def coming(ask: Callable[[Report], Awaitable[Answer]], members: int) -> AsyncIterator[Coming]:
    """Run a question beside the block; leaving the block early gives it up.

    Args:
        members: The most outcomes that can come.
    """
    # Room for all: a member's outcome never waits for a slow reader.
    send, receive = trio.open_memory_channel[Outcome[Reply]](members)
    found = Coming(receive)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.fill, ask, send)
        try:
            yield found
        except Exception as exc:
            # Carried around the nursery, which would wrap it in a group that no caller expects.
            raised = exc
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


class BlockingComing:
    """The same for programs that wait: `with fleet.coming(sql) as outcomes: for … in outcomes`."""

    def __init__(self, portal: Portal, opening: AbstractAsyncContextManager[Coming]) -> None:
        self._portal = portal
        self._opening = opening
        self._stack = ExitStack()

    def __enter__(self) -> BlockingComing:
        self._coming = self._stack.enter_context(self._portal.enter(self._opening))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def __iter__(self) -> Iterator[Outcome[Reply]]:
        while (outcome := self._portal.run(self._coming.next)) is not None:
            yield outcome

    @property
    def answer(self) -> Answer:
        """Everything combined; as `Coming.answer`."""
        return self._coming.answer


class AsyncioComing:
    """The same for asyncio: `async with fleet.coming(sql) as outcomes: async for …`."""

    def __init__(self, portal: Portal, opening: AbstractAsyncContextManager[Coming]) -> None:
        self._portal = portal
        self._blocking = BlockingComing(portal, opening)

    async def __aenter__(self) -> AsyncioComing:
        # Opening starts a task and waits for nothing: too short to be worth a thread hop.
        self._blocking.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._blocking.__exit__(kind, error, traceback)

    async def __aiter__(self) -> AsyncIterator[Outcome[Reply]]:
        coming = self._blocking._coming
        while (outcome := await self._portal.arun(coming.next)) is not None:
            yield outcome

    @property
    def answer(self) -> Answer:
        """Everything combined; as `Coming.answer`."""
        return self._blocking.answer
