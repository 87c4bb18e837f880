"""Small peers to be tried: a subject and a controller on our cores, and ways to spoil them.

Plain TCP and no handlers worth the name: what is tried here is the runner.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import trio
import trio.testing

from psp.errors import CallCancelled, DeadlineExceeded, Denied, Invalid
from psp.rpc import BOOTSTRAP, Aborted, CallReady, Cancelled, Controller, PresentReceived, Subject
from psp.wire import HEADER_BYTES

ARCHIVE_ID = bytes(32)
ARCHIVE_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILE = bytes(range(64))


class TinySubject:
    """Answers `health`, `room`, `file` and `wait` on its bootstrap. A subclass spoils it."""

    def __init__(self) -> None:
        self.core = Subject(ARCHIVE_ID, bootstrap="bootstrap")
        self.core.hello(ARCHIVE_TIME)
        self.waiting: list[CallReady] = []

    def heard(self, data: bytes) -> bytes:
        """What the core is told of one frame that came."""
        return data

    def said(self, data: bytes) -> bytes:
        """What leaves in place of one frame that the core said."""
        return data

    async def serve(self, stream: trio.abc.Stream) -> None:
        unread = b""
        while data := await stream.receive_some():
            unread += bytes(data)
            frames, unread = cut(unread)
            for frame in frames:
                is_over = self.take(self.heard(frame))
                await self.flush(stream)
                if is_over:
                    return
            if len(unread) >= HEADER_BYTES and self.take(unread[:HEADER_BYTES], keeps=False):
                await self.flush(stream)
                return

    async def flush(self, stream: trio.abc.Stream) -> None:
        while data := self.core.data_to_send():
            frames, rest = cut(data)
            assert rest == b""
            if said := b"".join(map(self.said, frames)):
                await stream.send_all(said)

    def take(self, data: bytes, *, keeps: bool = True) -> bool:
        if not keeps:
            # A header alone: only whether it may be one.
            return int.from_bytes(data, "big") > 262_144 and self.take(data)
        return self.handle_all(self.core.receive(data, now_ms=int(trio.current_time() * 1000)))

    def handle_all(self, events: Iterable[object]) -> bool:
        is_over = False
        for event in list(events):
            is_over |= isinstance(event, Aborted)
            is_over |= self.handle_all(self.handle(event))
        return is_over

    def handle(self, event: object) -> Iterable[object]:
        match event:
            case PresentReceived():
                return self.core.fail(event, Denied())
            case CallReady():
                return self.answer(event)
            case Cancelled():
                return self.core.fail(event.call, CallCancelled())
        return ()

    def answer(self, call: CallReady) -> Iterable[object]:
        if call.method not in ("health", "room", "file", "wait") or call.object != "bootstrap":
            return self.core.fail(call, Invalid())
        if call.arguments:
            return self.core.fail(call, Invalid())
        if call.method == "health":
            return self.core.resolve_value(call, {"ok": True})
        if call.method == "room":
            return self.core.resolve_object(call, "room", None)
        if call.method == "file":
            ready = self.core.open_stream(call, {"size": len(FILE)})
            self.core.offer(call, FILE)
            return ready
        return self.wait(call)

    def wait(self, call: CallReady) -> Iterable[object]:
        """It has no clock: whatever is given so little time is late at once."""
        late = call.deadline_ms < trio.current_time() * 1000 + 10_000
        return self.core.fail(call, DeadlineExceeded()) if late else ()


def cut(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut bytes into whole frames and the rest."""
    frames = []
    while len(data) >= HEADER_BYTES:
        end = HEADER_BYTES + int.from_bytes(data[:HEADER_BYTES], "big")
        if end > HEADER_BYTES + 262_144 or end > len(data):
            break
        frames.append(data[:end])
        data = data[end:]
    return frames, data


@asynccontextmanager
async def served(
    make: Callable[[], TinySubject],
) -> AsyncIterator[Callable[[], Awaitable[trio.abc.Stream]]]:
    """Serve on a loopback socket; gives a way to dial it."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await make().serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # The runner leaves when it has seen enough.

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))

        async def dial() -> trio.abc.Stream:
            return await trio.testing.open_stream_to_socket_listener(listener)

        yield dial
        nursery.cancel_scope.cancel()


class TinyController:
    """Connects, asks for `health`, closes. Spoil it by a subclass."""

    def __init__(self) -> None:
        self.core = Controller()

    def said(self, data: bytes) -> bytes:
        return data

    def heard(self, data: bytes) -> bytes:
        return data

    async def visit(self, stream: trio.abc.Stream) -> None:
        self.core.call(BOOTSTRAP, "health", remaining_ms=30_000)
        await stream.send_all(self.said(self.core.data_to_send()))
        unread = b""
        while data := await stream.receive_some():
            unread += bytes(data)
            frames, unread = cut(unread)
            if (
                len(unread) >= HEADER_BYTES
                and int.from_bytes(unread[:HEADER_BYTES], "big") > 262_144
            ):
                frames, unread = [*frames, unread], b""
            for frame in frames:
                events = list(self.core.receive(self.heard(frame)))
                if said := self.said(self.core.data_to_send()):
                    await stream.send_all(said)
                if any(isinstance(event, Aborted) for event in events):
                    return
            if self.core.peer_hello is not None and self.core.open_questions == 0:
                return


async def visits(make: Callable[[], TinyController], host: str, port: int) -> None:
    """Visit again and again."""
    while True:
        try:
            async with await trio.open_tcp_stream(host, port) as stream:
                await make().visit(stream)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()
