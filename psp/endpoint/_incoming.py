"""A result that arrives in pieces, and how much of it may lie here unread."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

import trio

from psp.errors import PSPError
from psp.rpc import QuestionId
from psp.values import Value

from ._failures import fresh
from ._limits import JOINED_BYTES_MAX


class _Source(Protocol):
    """What a stream needs of its connection."""

    def give_credit(self, question: QuestionId, size: int) -> None: ...

    def land(self, question: QuestionId) -> None: ...

    def give_up_stream(self, stream: ByteStream) -> None: ...

    def drop_stream(self, question: QuestionId) -> None: ...


class Landing(Protocol):
    """Where the bytes of a stream go, straight from TLS."""

    def open(self, header: Value) -> None:
        """The stream is there, and this is its header.

        Raises:
            PSPError: There is no room for what it announces; the stream is given up.
        """

    def room(self) -> memoryview | None:
        """Give what can be written now; None if there is nothing."""

    def advance(self, size: int) -> None:
        """So much of it has been written."""


class _Given:
    """A caller's own memory as the place where bytes go."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory

    def open(self, header: Value) -> None:
        """Any stream will do."""

    def room(self) -> memoryview | None:
        return self.memory or None

    def advance(self, size: int) -> None:
        self.memory = self.memory[size:]


class ByteStream:
    """A result that is streamed: read it with `async for`, or leave it with `async with`.

    What has come and is not read yet lies in memory, `accept_bytes` of the call at most: the
    subject sends more only as this is read.

    Attributes:
        header: What the subject said of it before its first byte.
        expires: When its call's time is over, in trio's time.
    """

    __slots__ = (
        "__weakref__",
        "_chunks",
        "_failure",
        "_is_over",
        "_reader",
        "_source",
        "_taken",
        "_target",
        "_window",
        "expires",
        "header",
        "question",
    )

    def __init__(
        self,
        source: _Source,
        question: QuestionId,
        header: Value,
        *,
        window: int,
        expires: float,
    ) -> None:
        self._source = source
        self.question = question
        self.header = header
        self.expires = expires
        self._window = window
        self._taken = 0
        self._chunks: deque[bytes | bytearray] = deque()
        self._failure: PSPError | None = None
        self._is_over = False
        self._target: Landing | None = None
        self._reader: trio.lowlevel.Task | None = None

    @property
    def is_over(self) -> bool:
        """Whether no more will come: complete, failed, or given up."""
        return self._is_over

    @property
    def unread_bytes(self) -> int:
        """What has come and was not read."""
        return sum(map(len, self._chunks))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next bytes.

        Raises:
            CallFailed: The stream was cut short, for this reason; what came before is not all.
        """
        while not self._chunks:
            if self._failure is not None:
                raise fresh(self._failure)
            if self._is_over:
                raise StopAsyncIteration
            await self._wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        chunk = bytes(self._chunks.popleft())
        self._took(len(chunk))
        return chunk

    async def read_into(self, memory: memoryview) -> int:
        """Fill memory with what comes next; give how many bytes, fewer only if the stream is over.

        TLS writes what comes while this waits straight into it. What came while nobody waited lies
        in the window, and is copied from there.

        Raises:
            CallFailed: The stream was cut short, for this reason.
        """
        given = _Given(memory.cast("B"))
        size = len(given.memory)
        self._source.land(self.question)
        self.fill(given)
        try:
            await self.filled()
        finally:
            self._target = None
        return size - len(given.memory)

    async def filled(self) -> None:
        """Wait until what `fill` was given is full, or the stream is over.

        Raises:
            CallFailed: The stream was cut short, for this reason.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._is_over and self._target is not None and self._target.room() is not None:
            await self._wait()
        if self._failure is not None and not self._chunks:
            raise fresh(self._failure)

    def _took(self, size: int) -> None:
        self._taken += size
        # Half a window at a time: the subject never runs dry, and CREDIT frames are few.
        if not self._is_over and self._taken * 2 >= self._window:
            self._source.give_credit(self.question, self._taken)
            self._taken = 0

    def release(self) -> None:
        """Read no further: the subject stops sending."""
        self._chunks.clear()
        self._target = None
        if not self._is_over:
            self._source.give_up_stream(self)

    async def __aenter__(self) -> ByteStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        if not self._is_over:
            self._source.drop_stream(self.question)

    # For the connection.

    def fill(self, target: Landing) -> None:
        """Let what comes go there, from now on; first what lies here unread."""
        self._target = target
        unread, self._chunks = self._chunks, deque()
        for chunk in unread:
            self.put(bytes(chunk))

    def widen(self, window: int) -> None:
        """Let more be on its way than the call accepted at first."""
        if not self._is_over and window > self._window:
            self._source.give_credit(self.question, window - self._window)
            self._window = window

    def room(self, size: int) -> memoryview | None:
        """Give where the next bytes go, `size` at most; None if they are to be `put`."""
        if self._target is None or self._chunks:
            return None
        room = self._target.room()
        return None if room is None else room[:size]

    def landed(self, size: int) -> None:
        """So many bytes have been written to `room`."""
        assert self._target is not None
        self._target.advance(size)
        self._took(size)
        if self._target.room() is None:
            self._wake()

    def put(self, chunk: bytes) -> None:
        """More has come. Small pieces are joined: each would cost forty bytes for itself."""
        while chunk and (room := self.room(len(chunk))) is not None:
            size = len(room)
            room[:] = chunk[:size]
            room.release()
            chunk = chunk[size:]
            self.landed(size)
        if not chunk:
            return
        if len(chunk) < JOINED_BYTES_MAX and self._chunks:
            last = self._chunks[-1]
            if len(last) + len(chunk) <= JOINED_BYTES_MAX:
                if not isinstance(last, bytearray):
                    last = self._chunks[-1] = bytearray(last)
                last += chunk
                return
        self._chunks.append(chunk)
        self._wake()

    def end(self, failure: PSPError | None) -> None:
        """No more will come."""
        self._is_over = True
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    async def _wait(self) -> None:
        if self._reader is not None:
            raise trio.BusyResourceError("another task reads this stream")
        self._reader = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
