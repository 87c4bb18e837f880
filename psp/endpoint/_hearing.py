"""What a connection holds, and what the bytes that reach it do to that."""

from __future__ import annotations

import math
from collections import deque
from contextlib import AbstractContextManager
from typing import Any, cast
from weakref import WeakValueDictionary

import trio
from trio.lowlevel import reschedule

from psp.buffers import Buffers, Share
from psp.errors import (
    CallFailed,
    ConnectionLost,
    DeadlineExceeded,
    Processed,
    PSPError,
)
from psp.rpc import (
    BOOTSTRAP,
    ERROR,
    REFERENCE,
    STREAM,
    VALUE,
    Aborted,
    ChunkReceived,
    Controller,
    ControllerEvent,
    ExportId,
    HelloReceived,
    Ponged,
    QuestionId,
    Returned,
    StreamEnded,
)
from psp.transport import PeerStream, Sender, Tap, explain_refusal, receive_buffer
from psp.values import Value
from psp.wire import ACCEPT_BYTES_DEFAULT, AbortCode

from ._address import Address
from ._asking import Asking, Local
from ._failures import made_printable, other_archive, printable
from ._incoming import ByteStream, Landing
from ._limits import (
    FINISHED_WAITING_MAX,
    FLUSH_S,
    HELLO_S_MAX,
    LANDING_BYTES_TOGETHER,
    PING_S,
    PONG_S_MAX,
)
from ._middleware import left
from ._promise import Reference, Result


class Hearing:
    """The hearing half of `Connection`: bytes in, promises kept."""

    def __init__(self, address: Address, stream: PeerStream, tap: Tap | None, local: Local) -> None:
        self.address = address
        self.local = local
        self._core = Controller()
        self._stream = stream
        self._tap = tap
        self._sender = Sender(stream, self._take, tap=tap)
        # Questions without an answer. Returned, gave up, expired, ended: each takes it out.
        self._open: dict[QuestionId, Result[Any]] = {}
        # Weak: a stream that nobody can read any more is given up.
        self._streams: WeakValueDictionary[QuestionId, ByteStream] = WeakValueDictionary()
        # How much each open question takes before it is read, where it is not the default.
        self._windows: dict[QuestionId, int] = {}
        # Notes left by `__del__`, from whatever thread; deque.append is atomic.
        self._dropped_answers: deque[QuestionId] = deque()
        self._dropped_exports: deque[ExportId] = deque()
        # Kept answers that nobody can name any more, and whose streams are still read.
        self._read_on: set[QuestionId] = set()
        # Why the connection is over; None while it lives.
        self._ending: PSPError | None = None
        self._ended = trio.Event()
        self._expiry_s = math.inf
        self._timer = trio.CancelScope()
        self._was_heard = False
        self._pings: dict[int, trio.Event] = {}
        self._in_flight = 0
        self._finished = 0
        # Questions that the bytes which came last have ended.
        self._answered_together = 0
        self._received_bytes = 0
        # Of streams that were landing, what came through the control buffer all the same.
        self.unlanded_bytes = 0
        # The middleware to leave when these questions have ended.
        self._arounds: dict[QuestionId, AbstractContextManager[object]] = {}
        # Where the answers of these questions go, if they are streams.
        self._targets: dict[QuestionId, Landing] = {}
        self._returns = self._round_trips = 0
        self._shares: dict[Buffers, Share] = {}

    async def run(self) -> None:
        """Carry bytes in both directions until the connection ends. It never raises."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                nursery.start_soon(self._watch_time)
                nursery.start_soon(self._watch_life)
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            # Cancelled from outside: a caller in a shielded scope must not wait for ever.
            self.close()

    async def _send(self) -> None:
        await self._sender.run()
        # The subject takes nothing more. What it still says may tell why; then it is over, or our
        # questions would pile up here.
        with trio.move_on_after(FLUSH_S):
            await self._ended.wait()
        self.close()

    def close(self) -> None:
        """End the connection at once; what still waits fails with `ConnectionLost`."""
        self._end(ConnectionLost("the connection was closed here"))
        self._stream.close()

    def _take(self) -> bytes:
        """Give what the core holds, and count the flights."""
        if self._dropped_answers or self._dropped_exports:
            self._drain_notes()
        data = self._core.data_to_send()
        self._finished = 0
        open_questions = len(self._open)
        if data and self._in_flight == 0 and open_questions:
            self._round_trips += 1
        self._in_flight = open_questions
        return data

    def _drain_notes(self) -> None:
        # Asked once: looking into a table of weak references costs as much as finishing an answer.
        has_streams = bool(self._streams)
        while self._dropped_answers:
            question = self._dropped_answers.popleft()
            if has_streams and question in self._streams:
                self._read_on.add(question)  # Its promise has gone; its stream is still read.
            else:
                self._read_on.discard(question)
                self._finish(question)
        while self._dropped_exports:
            export = self._dropped_exports.popleft()
            if export != BOOTSTRAP:
                self._core.release(export)

    def _finish(self, question: QuestionId) -> None:
        if self._ending is None:
            self._core.finish(question)
            self._finished += 1

    async def _read(self) -> None:
        buffer = receive_buffer()
        cause: BaseException | None = None
        try:
            landing = self._core.landing
            while self._ending is None:
                if landing or self._core.chunk_left is not None:
                    if not await self._hear_landing(buffer):
                        break
                    continue
                if not (size := await self._stream.receive_into(buffer)):
                    break
                self._hear(buffer[:size])
        except trio.BrokenResourceError as exc:
            cause = exc.__cause__
        if self._core.peer_hello is None:
            self._end(explain_refusal(f"{self.address.host}:{self.address.port}", cause))
        else:
            self._end(ConnectionLost())
        self._stream.close()

    async def _hear_landing(self, buffer: memoryview) -> bool:
        """Read while a stream is landing: heads of chunks to here, their data to where they are
        wanted. False when the peer has stopped.

        What is there is read without waiting in between, for a while: then others have a turn.
        """
        until = self._received_bytes + LANDING_BYTES_TOGETHER
        while self._ending is None and self._received_bytes < until:
            if (chunk := self._core.chunk_left) is not None:
                size = self._receive_chunk(*chunk, buffer)
            elif asked := self._core.asked_bytes:
                size = self._stream.receive_now(buffer[:asked])
                if size:
                    self._hear(buffer[:size])
            else:
                break  # It has ended.
            if size is None:
                await self._stream.wait_received()
                return True
            if not size:
                return False
        await trio.lowlevel.checkpoint()
        return True

    def _receive_chunk(self, question: int, left: int, buffer: memoryview) -> int | None:
        """Read data of a stream to where its reader wants them, as far as he does now."""
        stream = self._streams.get(QuestionId(question))
        room = None if stream is None else stream.room(left)
        size = self._stream.receive_now(buffer[:left] if room is None else room)
        if not size:
            return size
        self._received_bytes += size
        self._was_heard = True
        self._core.landed(size)
        if self._tap is not None:
            self._tap("in", bytes(buffer[:size] if room is None else room[:size]))
        if stream is not None and room is not None:
            stream.landed(size)
        elif stream is not None:
            self.unlanded_bytes += size
            stream.put(bytes(buffer[:size]))
        return size

    def _hear(self, data: memoryview) -> None:
        """Do everything that these bytes ask for."""
        self._received_bytes += len(data)
        self._was_heard = True
        if self._tap is not None:
            self._tap("in", bytes(data))
        answers = self._open
        returns = 0
        for event in self._core.receive(data):
            if type(event) is not Returned:
                self._handle(event)
                continue
            returns += 1
            question, status, payload = event
            answer = answers.pop(question, None)
            if answer is None:
                continue
            if status != VALUE or self._arounds or self._windows or self._targets:
                self._keep(answer, payload if status == VALUE else self._held(answer, event))
                continue
            # The hot path: what `_keep` does, without it.
            answer.payload, answer.is_done = payload, True
            for task in answer.waiters:
                reschedule(task)
            answer.waiters = ()
        self._returns += returns
        self._answered_together = returns
        self._in_flight -= min(returns, self._in_flight)
        waiting = self._finished + len(self._dropped_answers) + self._core.released_waiting
        if waiting > FINISHED_WAITING_MAX:
            self._sender.wake()

    def _handle(self, event: ControllerEvent) -> None:
        match event:
            case ChunkReceived(question, data):
                if (stream := self._streams.get(question)) is not None:
                    if question in self._core.landing:
                        self.unlanded_bytes += len(data)
                    stream.put(data)
            case StreamEnded(question, failure):
                self._end_stream(question, failure and made_printable(failure))
            case HelloReceived() if event.archive_id != self.address.archive_id:
                self._core.abort(AbortCode.CLOSING, "another archive was expected here")
                self._sender.send_now()
                self._end(other_archive(self.address))
            case Ponged(number) if number in self._pings:
                self._pings.pop(number).set()
            case Aborted():
                self._sender.send_now()  # If it is ours, it tells the subject why.
                self._end(ConnectionLost(f"the connection was ended: {printable(event.text)}"))

    def _held(self, answer: Result[Any], event: Returned) -> object:
        """Make what a caller gets of an answer that is no plain value."""
        question, status, payload = event
        if status == REFERENCE:
            assert isinstance(payload, int)
            return Reference(cast("Asking", self), ExportId(payload))
        if status == STREAM:
            stream = self._streams[question] = ByteStream(
                cast(Any, self),
                question,
                cast("Value", payload),
                window=self._windows.get(question, ACCEPT_BYTES_DEFAULT),
                expires=answer.expires,
            )
            return self._landing(stream, self._targets.pop(question, None))
        assert status == ERROR
        assert isinstance(payload, CallFailed)
        return made_printable(payload)

    def _landing(self, stream: ByteStream, target: Landing | None) -> object:
        """Let a stream that has just opened go where it is wanted, or give why it cannot."""
        if target is not None:
            try:
                target.open(stream.header)
            except PSPError as exc:
                stream.release()
                return exc
            stream.fill(target)
        return stream

    def _settle(self, answer: Result[Any], payload: object) -> None:
        """End a question."""
        self._open.pop(answer.question, None)
        self._in_flight -= min(1, self._in_flight)
        self._keep(answer, payload)

    def _keep(self, answer: Result[Any], payload: object) -> None:
        """Keep a promise: whoever waits for it goes on."""
        if self._windows:
            self._windows.pop(answer.question, None)
        if self._targets:
            self._targets.pop(answer.question, None)
        if self._arounds and (around := self._arounds.pop(answer.question, None)) is not None:
            payload = left(around, payload)
        answer.payload = payload
        answer.is_done = True
        for task in answer.waiters:
            reschedule(task)
        answer.waiters = ()

    def _end_stream(self, question: QuestionId, failure: PSPError | None) -> None:
        stream = self._streams.pop(question, None)
        if stream is not None:
            stream.end(failure)
        if question in self._read_on:
            self._read_on.remove(question)
            self._finish(question)

    def _end(self, why: PSPError) -> None:
        """Fail everything that waits, once. `why` is what later calls hear."""
        if self._ending is not None:
            return
        self._ending = why
        self._ended.set()
        for event in self._core.receive_eof():
            # Each question knows whether it may have been processed; before HELLO none was.
            if type(event) is Returned and isinstance(why, ConnectionLost):
                answer = self._open.get(event.question)
                if answer is not None:
                    self._settle(answer, event.payload)
        for answer in list(self._open.values()):
            self._settle(answer, why)
        for question in list(self._streams):
            self._end_stream(question, why)
        for heard in self._pings.values():
            heard.set()
        for share in self._shares.values():
            share.end()

    async def _watch_time(self) -> None:
        """End the questions whose own time is over. One timer: it looks at the next to expire."""
        while True:
            with trio.CancelScope(deadline=self._expiry_s) as self._timer:
                await trio.sleep_forever()
            now = trio.current_time()
            late = DeadlineExceeded(processed=Processed.MAYBE)
            for answer in [each for each in self._open.values() if each.expires <= now]:
                self._finish(answer.question)
                self._settle(answer, late)
            for stream in [each for each in self._streams.values() if each.expires <= now]:
                self._finish(stream.question)
                self._end_stream(stream.question, late)
            self._sender.wake()
            expiries = [each.expires for each in self._open.values()]
            expiries += [each.expires for each in self._streams.values()]
            self._expiry_s = min(expiries, default=math.inf)

    async def _watch_life(self) -> None:
        """Ask a silent subject for a sign of life, and give up on one that gives none."""
        await trio.sleep(HELLO_S_MAX / 2)
        self._sender.wake()  # HELLO waits for the first call, but the subject does not for ever.
        while True:
            self._was_heard = False
            await trio.sleep(PING_S)
            if not self._was_heard:
                self._core.ping()
                self._sender.wake()
                await trio.sleep(PONG_S_MAX)
                if not self._was_heard:
                    self._end(ConnectionLost(f"no sign of life within {PONG_S_MAX:g} seconds"))
                    self._stream.close()
