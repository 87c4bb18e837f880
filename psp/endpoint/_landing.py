"""A streamed result that lands in mapped memory, whole."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from psp.buffers import Buffers, Columns, ResultBuffer, SealedFile, Share
from psp.errors import LimitExceeded, LocalRefused, RemoteProtocolError
from psp.transport import HandOver, take_untrusted
from psp.values import Value

from ._asking import Asking
from ._exposed import Stream
from ._limits import LANDING_WINDOW_BYTES, SENT_BYTES_TOGETHER
from ._promise import Promise, Result, expect_stream

NOT_LOCAL: Final[Mapping[str, str]] = {
    "scope": "the grant does not allow it (`local`)",
    "off": "the archive hands nothing over",
    "room": "the archive has sealed as much for others as it may",
}
"""Why a result is sent that its reader would rather have been handed: what the header says under
`local` in the place of a token, and in words. Closed, so that no archive writes into a report."""


class Landed(NamedTuple):
    """A result that has come whole.

    Attributes:
        header: What the subject said of it before its first byte.
        buffer: Its bytes, complete; lease it to read them, release it when they are read.
    """

    header: Value
    buffer: ResultBuffer

    def columns(self) -> Columns:
        """Give its columns, if it is an Arrow stream (`arrow_chunks` makes one). They share the
        buffer: releasing either releases the result.

        Raises:
            MalformedFrame: It is none, or has in it what is not taken.
            MissingExtra: pyarrow is not installed.
        """
        return Columns(self.buffer)


@dataclass(slots=True)
class Progress:
    """How far a result has come.

    Attributes:
        received_bytes: What has come.
        announced_bytes: What will have come in the end; None while that is not known.
    """

    received_bytes: int = 0
    announced_bytes: int | None = None


class _InBuffer:
    """Takes a buffer when the stream says how much will come."""

    def __init__(self, share: Share, bytes_max: int, progress: Progress, *, is_local: bool) -> None:
        self._share = share
        self._progress = progress
        self._is_local = is_local
        self.token: bytes | None = None
        self.why_sent = ""
        self._bytes_max = bytes_max
        self.announced: int | None = None
        self.buffer: ResultBuffer | None = None

    def open(self, header: Value) -> None:
        size = header.get("bytes") if isinstance(header, dict) else None
        self.announced = size if type(size) is int and size >= 0 else None
        self._progress.announced_bytes = self.announced
        if self.announced is not None and self.announced > self._bytes_max:
            raise LimitExceeded(
                f"a result of at most {self._bytes_max} bytes was asked, and {self.announced} are"
                " announced. Ask for less, or raise `bytes_max`"
            )
        local = header.get("local") if isinstance(header, dict) and self._is_local else None
        if type(local) is str:
            self.why_sent = NOT_LOCAL.get(local, "")
        if type(local) is bytes and self.announced:
            self.token = local  # What comes meanwhile lies in the window.
        else:
            self.take()

    def take(self) -> None:
        """Make room for what is announced."""
        self.buffer = self._share.take(
            max(self._bytes_max if self.announced is None else self.announced, 1)
        )

    def room(self) -> memoryview | None:
        if self.buffer is None or self.buffer.is_released:
            return None
        return self.buffer.room() or None

    def advance(self, size: int) -> None:
        assert self.buffer is not None
        self.buffer.advance(size)
        self._progress.received_bytes = self.buffer.filled_bytes

    def finish(self) -> ResultBuffer:
        """All has come.

        Raises:
            RemoteProtocolError: It is not what was announced.
        """
        assert self.buffer is not None
        came = self.buffer.filled_bytes
        if self.announced not in (None, came):
            raise RemoteProtocolError(
                f"a result of {self.announced} bytes was announced, and {came} came."
                " Ask again, and tell the archive's operator"
            )
        self.buffer.finish()
        return self.buffer


async def land(
    answer: Promise[Any] | Result[Any],
    buffers: Buffers,
    *,
    bytes_max: int,
    progress: Progress | None = None,
) -> Landed:
    """Wait for a streamed answer in mapped memory, into which TLS writes it: no copy of ours.

    Call this before anything else awaits the answer; what has come by then is copied. A header with
    `bytes` says how much room is taken; without it that is `bytes_max`, of which only what comes is
    ever touched.

    Args:
        buffers: Where the memory comes from, and on whose account.
        bytes_max: The largest result to take, in bytes.
        progress: Kept up to date while the result comes, to be looked at by another task.

    If the connection has a runtime directory (`connect(runtime=...)`), the archive runs on this
    machine and its grant allows it, the result is handed over there as a sealed file, and none of
    it is sent. Where that fails it comes over TLS, and `connection.inspect().local` says why.

    Raises:
        CallFailed: The call failed, or its stream was cut short.
        LimitExceeded: It is larger than `bytes_max`, or an account has not so much left.
        RemoteProtocolError: It is shorter than it said, or no stream.
    """
    result = answer if isinstance(answer, Result) else answer.answer
    share = result.asking.share(buffers)
    local = result.asking.local.runtime
    progress = Progress() if progress is None else progress
    target = _InBuffer(share, bytes_max, progress, is_local=local is not None)
    try:
        result.land(target)
        async with expect_stream(await answer) as stream:
            if local is not None and target.token is not None:
                handed = await _handed_over(result.asking, share, target, local)
                if handed is not None:
                    progress.received_bytes = handed.filled_bytes
                    return Landed(stream.header, handed)
                target.take()
                stream.widen(LANDING_WINDOW_BYTES)
                stream.fill(target)
            elif target.why_sent:
                result.asking.local.refused = (
                    f"a result could have been handed over on this machine, and was sent:"
                    f" {target.why_sent}"
                )
            await stream.filled()
            # Full, or over. Waiting for the end is what finds a stream that goes on.
            async for _ in stream:
                raise LimitExceeded(
                    f"a result of at most {bytes_max} bytes was asked, or fewer were announced, and"
                    " more came. Ask for less, or raise `bytes_max`"
                )
        return Landed(stream.header, target.finish())
    except BaseException:
        if target.buffer is not None:
            target.buffer.release()
        raise


async def _handed_over(
    asking: Asking, share: Share, target: _InBuffer, directory: Path
) -> ResultBuffer | None:
    """Take the result over on this machine, if nothing speaks against it."""
    assert target.token is not None
    assert target.announced is not None
    asking.local.refused = ""
    try:
        descriptor = await take_untrusted(directory, asking.address.archive_id, target.token)
        try:
            buffer = share.adopt_untrusted(descriptor, target.announced)
        finally:
            os.close(descriptor)
    except (LocalRefused, LimitExceeded) as exc:
        asking.local.refused = str(exc)
        return None
    asking.local.taken += 1
    return buffer


def handed_over(
    hand_over: HandOver | None, file: SealedFile, *, header: Mapping[str, Value] | None = None
) -> Stream:
    """Answer with a sealed file: handed over where that is possible, else sent.

    What was handed over cannot be recalled: ask the grant's scope first (`TableRule.local`). The
    file is closed when the stream ends.

    Args:
        hand_over: What listens on this machine; None if nothing does, or the scope forbids it.
        header: What the reader learns beside the size.
    """
    token = None if hand_over is None else hand_over.offer(file)
    local: dict[str, Value] = {"local": "room" if token is None else token} if hand_over else {}
    return Stream({**(header or {}), **local, "bytes": file.size}, _Sent(hand_over, file, token))


class _Sent:
    """The chunks of a sealed file. No generator: one that was never begun does not end either."""

    def __init__(self, hand_over: HandOver | None, file: SealedFile, token: bytes | None) -> None:
        self._hand_over = hand_over
        self._file = file
        self._token = token
        self._whole: memoryview | None = None
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[memoryview]:
        return self

    async def __anext__(self) -> memoryview:
        if self._sent >= self._file.size:
            raise StopAsyncIteration
        if self._whole is None:
            self._whole = self._file.map()
        start, self._sent = self._sent, self._sent + SENT_BYTES_TOGETHER
        return self._whole[start : self._sent]

    async def aclose(self) -> None:
        self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._hand_over is not None:
            self._hand_over.withdraw(self._token)
        self._file.close()
