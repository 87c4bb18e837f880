"""Results that leave in pieces: whose turn it is, and how much its reader takes."""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from psp.errors import LocalProtocolError
from psp.wire import CHUNK_BYTES_MAX, CHUNK_BYTES_SHARED, chunk_head

from ._answers import Answer
from ._ids import AnswerId

Chunk: TypeAlias = tuple[bytes, memoryview]
"""One CHUNK on its way out: what stands before its data, and the data, where the handler has it."""

_QUIET_CHUNKS: Final = 32
"""Chunks after which a connection counts as quiet: no call has come for 2 MiB."""


class _Stream:
    __slots__ = ("answer", "credit", "data", "is_ready")

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.credit = answer.accept_bytes
        # One buffer at a time: what a handler may run ahead of its reader.
        self.data = memoryview(b"")
        self.is_ready = False


class Streams:
    """The streams of one connection; each in its turn sends one chunk."""

    def __init__(self) -> None:
        self._streams: dict[AnswerId, _Stream] = {}
        # Those with data and credit, in the order of their turns.
        self._ready: deque[_Stream] = deque()
        self._drained: list[Answer] = []
        # Chunks since the last call: they are small while one may wait behind them.
        self.quiet_chunks = 0

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, answer: Answer) -> None:
        self._streams[answer.answer_id] = _Stream(answer)

    def close(self, answer: Answer) -> bool:
        """Forget a stream; what it had not sent is dropped. False if it is none."""
        stream = self._streams.pop(answer.answer_id, None)
        if stream is None:
            return False
        stream.data = memoryview(b"")
        answer.unsent = 0
        # Whoever waits for room to send more must wake and see that it is over.
        self._drained.append(answer)
        return True

    def offer(self, answer: Answer, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of a stream. They are not copied before they leave."""
        stream = self._streams.get(answer.answer_id)
        if stream is None:
            return  # Its reader has given it up.
        if stream.data:
            raise LocalProtocolError("the stream has unsent bytes; offer more when they have left")
        stream.data = memoryview(data).cast("B")
        answer.unsent = len(stream.data)
        self._make_ready(stream)

    def credit(self, answer_id: AnswerId, size: int) -> None:
        """The reader takes more. A stream that has ended needs none."""
        stream = self._streams.get(answer_id)
        if stream is not None:
            stream.credit += size
            self._make_ready(stream)

    def withhold(self, answer: Answer) -> None:
        """Drop what a stream was offered and has not sent; more may be offered."""
        stream = self._streams.get(answer.answer_id)
        if stream is not None and stream.data:
            stream.data = memoryview(b"")
            answer.unsent = 0
            self._drained.append(answer)

    def next_to_send(self) -> Answer | None:
        """Give the stream whose turn it is to send a chunk."""
        while self._ready and not self._ready[0].data:
            self._ready.popleft().is_ready = False  # Closed or withheld since.
        return self._ready[0].answer if self._ready else None

    def chunk_to_send(self) -> Chunk | None:
        """Give one chunk of the stream whose turn it is, if one can send."""
        if self.next_to_send() is not None:
            stream = self._ready.popleft()
            stream.is_ready = False
            self.quiet_chunks += 1
            size_max = CHUNK_BYTES_MAX if self.quiet_chunks > _QUIET_CHUNKS else CHUNK_BYTES_SHARED
            size = min(len(stream.data), stream.credit, size_max)
            piece, stream.data = stream.data[:size], stream.data[size:]
            stream.credit -= size
            stream.answer.unsent -= size
            if not stream.data:
                self._drained.append(stream.answer)
            self._make_ready(stream)
            return chunk_head(stream.answer.answer_id, size), piece
        return None

    @property
    def is_ready(self) -> bool:
        return bool(self._ready)

    def drained(self) -> list[Answer]:
        """Give the streams that want more data or are over, since this was last asked."""
        drained, self._drained = self._drained, []
        return drained

    def end(self) -> None:
        for stream in list(self._streams.values()):
            self.close(stream.answer)
        self._ready.clear()

    def _make_ready(self, stream: _Stream) -> None:
        if stream.data and stream.credit > 0 and not stream.is_ready:
            stream.is_ready = True
            self._ready.append(stream)
