"""The subject's end of one connection: the core decides, this waits and runs the handlers."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from time import perf_counter
from types import CoroutineType
from typing import Any, cast

import trio

from psp.errors import CallCancelled, CallFailed, DeadlineExceeded, Processed
from psp.rpc import (
    Aborted,
    Answer,
    CallReady,
    Cancelled,
    GrantRooms,
    Paused,
    PresentReceived,
    Subject,
    SubjectEvent,
)
from psp.transport import UNSENT_BYTES_MAX, Peer, PeerStream, Sender, Tap, receive_buffer
from psp.values import Value

from ._dispatch import (
    Complete,
    Log,
    Outcome,
    method_of,
    report_fault,
    run_inline,
    run_waiting,
    tagged,
)
from ._exposed import Exposed, Stream
from ._limits import (
    DRAIN_S,
    FAREWELL_BYTES_MAX,
    FLUSH_S,
    INLINE_CALLS_MAX,
    INLINE_S_MAX,
)
from ._middleware import Middleware
from ._outgoing import Outgoing
from ._vigil import Vigil
from ._watching import Watching
from ._workers import Workers

Present = Callable[[Peer, bytes], Exposed]


class Served:
    """One connection of one paired peer, from its HELLO to its end."""

    def __init__(
        self,
        stream: PeerStream,
        peer: Peer,
        *,
        archive_id: bytes,
        bootstrap: Exposed,
        present: Present,
        grants: GrantRooms,
        tap: Tap | None,
        around: Middleware | None,
        log: Log,
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._core = Subject(archive_id, bootstrap=bootstrap, grants=grants)
        self._present = present
        self._tap = tap
        # None where no middleware is around each call.
        self._watching = around and Watching(around, peer.name, log)
        self._log = log
        self._outgoing = Outgoing(self._core)
        self._sender = Sender(
            stream, self._core.frames_to_send, take_bulk=self._outgoing.take, tap=tap
        )
        self._running: dict[Answer, trio.CancelScope] = {}
        # Given up by the caller and not yet answered; `_run` takes each out.
        self._cancelled: set[Answer] = set()
        self._quiet = trio.lowlevel.ParkingLot()
        self._stopping = trio.Event()
        self._nursery: trio.Nursery
        self._workers: Workers

    def stop(self) -> None:
        """Take no new calls; end when those that have started are answered, or soon after."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until the peer leaves, breaks the protocol, or `stop` has drained."""
        self._core.hello(datetime.now(UTC))
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._workers = Workers(nursery, self._run, self._make_room, self._is_full)
                vigil = Vigil(self._core, self._end_because)
                nursery.start_soon(self._sender.run)
                nursery.start_soon(self._drain_when_stopped)
                nursery.start_soon(vigil.keep)
                await self._read(vigil)
                nursery.cancel_scope.cancel()
        finally:
            self._stream.close()
            self._release_ready()

    async def _read(self, vigil: Vigil) -> None:
        buffer = receive_buffer()
        sender = self._sender
        try:
            while size := await self._stream.receive_into(buffer):
                vigil.was_heard = True
                if self._tap is not None:
                    self._tap("in", bytes(buffer[:size]))
                if not await self._handle_all(self._core.receive(buffer[:size], now_ms=_now_ms())):
                    return
                # One attempt without waiting: this task must never wait in order to write.
                sender.send_now()
                if sender.is_broken:
                    return  # It takes nothing more: whatever it asks for would pile up here.
                if self._core.has_chunk:
                    sender.wake_bulk()
                if sender.is_full:
                    await sender.wait_for_room()
        except trio.BrokenResourceError:
            return
        finally:
            self._core.receive_eof()

    async def _handle_all(self, events: Iterator[SubjectEvent]) -> bool:
        """Start everything that can start; False when the connection is over."""
        now_ms = _now_ms()
        turn_ends, calls = perf_counter() + INLINE_S_MAX, INLINE_CALLS_MAX
        left = calls
        for event in events:
            if type(event) is CallReady:
                following = self._start(event, now_ms)
            elif type(event) is Aborted:
                await self._say_farewell()
                return False
            else:
                left = 0 if type(event) is Paused else left
                following = self._handle(event, now_ms)
            if following:
                self._follow(following, now_ms)
            left -= 1
            if (
                left <= 0
                or self._core.waiting_bytes > UNSENT_BYTES_MAX
                or perf_counter() >= turn_ends
            ):
                # A buffer holds thousands of calls: without this, every other connection waits.
                await self._make_room()
                now_ms = _now_ms()
                # A long run is answered in longer pieces: each one costs both sides 50 µs.
                calls *= 2
                turn_ends, left = perf_counter() + INLINE_S_MAX, calls
        return True

    def _is_full(self) -> bool:
        return self._core.waiting_bytes > UNSENT_BYTES_MAX

    async def _make_room(self) -> None:
        """Let others have a turn, and our answers leave. Where they do not, no more are made."""
        if self._is_full():
            self._sender.send_now()
            await self._sender.wait_for_room()
        else:
            self._sender.wake()
        await trio.lowlevel.checkpoint()

    def _follow(self, events: Sequence[SubjectEvent], now_ms: int) -> None:
        """Start what became possible, and then what becomes possible by that: calls on one object
        enter in the order in which they became ready."""
        following = deque(events)
        while following:
            following.extend(self._handle(following.popleft(), now_ms))

    async def _say_farewell(self) -> None:
        """Let the peer read why the connection ends: closing at once could reset it unread."""
        self._sender.send_now()
        with trio.move_on_after(FLUSH_S):
            await self._sender.wait_until_idle()
            await self._stream.refuse(drain_s=FLUSH_S, drain_bytes=FAREWELL_BYTES_MAX)

    async def _end_because(self, code: int, why: str) -> None:
        """End the connection of a peer that keeps us waiting. What it still sends is read and
        forgotten by the reader, for a second: closing at once could reset our words unread."""
        self._core.abort(code, why)
        self._sender.send_now()
        with trio.move_on_after(FLUSH_S):
            await self._sender.wait_until_idle()
            self._stream.stop_sending()
            await trio.sleep_forever()
        self._nursery.cancel_scope.cancel()

    def _handle(self, event: SubjectEvent, now_ms: int) -> Sequence[SubjectEvent]:
        """Do one thing; give what became possible by it."""
        if isinstance(event, CallReady):
            return self._start(event, now_ms)
        if isinstance(event, PresentReceived):
            return self._show(event)
        if isinstance(event, Cancelled) and not event.call.is_settled:
            self._cancelled.add(event.call)
            if (scope := self._running.get(event.call)) is not None:
                scope.cancel()
        return ()

    def _start(self, call: CallReady, now_ms: int) -> Sequence[SubjectEvent]:
        """Run a call that does not wait, unless others stand before it; queue any other."""
        method = method_of(call)
        if self._workers.ready or not (method is None or method.is_inline):
            self._workers.enqueue(call)
            return ()
        if self._watching is not None:
            return self._answer(call, self._watching.run_inline(call, method, now_ms))
        return self._answer(call, run_inline(call, method, now_ms, self._log))

    def _show(self, event: PresentReceived) -> Sequence[SubjectEvent]:
        try:
            exposed = self._present(self._peer, event.token)
        except CallFailed as exc:
            return self._core.fail(event, exc)
        except Exception as exc:
            return self._core.fail(event, report_fault("PRESENT", exc, self._log))
        # The same token shown twice is the same grant; two grants never meet in one call.
        tag = hashlib.sha256(event.token).digest()
        return self._core.resolve_object(event, exposed, tag)

    def _answer(self, call: CallReady, result: Outcome) -> Sequence[SubjectEvent]:
        if self._cancelled:
            self._cancelled.discard(call)
        if result is None:
            return self._core.resolve_value(call, None)
        if isinstance(result, CallFailed):
            return self._core.fail(call, result)
        if result is Complete.COMPLETE:
            return self._core.end_stream(call)
        if result is Complete.REFUSED:
            return ()  # The core has answered: there were too many streams.
        if isinstance(result, Exposed):
            return self._core.resolve_object(call, result, call.grant_tag)
        if isinstance(result, Stream):
            self._nursery.start_soon(self._answer_within, call, self._send(call, result), False)
            return ()
        if isinstance(result, CoroutineType):
            self._nursery.start_soon(self._answer_within, call, result, True)
            return ()
        if type(result) is dict:
            result = tagged(result, call.grant_tag)
        try:
            return self._core.resolve_value(call, cast(Value, result))
        except Exception as exc:  # What the handler returned is no value: its fault, so ours.
            return self._core.fail(call, report_fault(call.method, exc, self._log))

    async def _run(self, call: CallReady) -> None:
        """Run one call in this task, within its time, and answer it."""
        run = self._run_to_end
        work = run(call) if self._watching is None else self._watching.run_to_end(call, run)
        await self._answer_within(call, work, False)

    async def _answer_within(
        self, call: CallReady, work: Coroutine[Any, Any, Outcome], has_begun: bool
    ) -> None:
        """Do the work of a call within its time, and answer it. What has begun is cancelled where
        it waits first, and not left out."""
        result: Outcome = CallCancelled()
        has_ended = False
        try:
            if call in self._cancelled and not has_begun:
                work.close()
            else:
                scope = trio.CancelScope(deadline=call.deadline_ms / 1000)
                self._running[call] = scope
                if call in self._cancelled:
                    scope.cancel()
                try:
                    with scope:
                        result = await work
                except CallFailed as exc:
                    result = exc
                except Exception as exc:  # What a handler's own tasks raised on being cancelled.
                    result = report_fault(call.method, exc, self._log)
                if scope.cancelled_caught:
                    result = self._why_stopped(call)
            has_ended = True
        finally:
            self._running.pop(call, None)
            if not has_ended:
                # The connection is over. Its grant's slot is free now, and not before.
                self._cancelled.discard(call)
                self._core.fail(call, CallCancelled(processed=Processed.MAYBE))
        for event in self._answer(call, result):
            # Through the queue, not inline: the reader alone counts turns.
            if isinstance(event, CallReady):
                self._workers.enqueue(event)
        self._after_call()

    async def _run_to_end(self, call: CallReady) -> Outcome:
        result = await run_waiting(call, _now_ms(), self._log)
        return await self._send(call, result) if isinstance(result, Stream) else result

    async def _send(self, call: CallReady, stream: Stream) -> Outcome:
        """Send a stream to its end; give why it was cut short, or that it is complete."""
        try:
            for event in self._core.open_stream(call, stream.header):
                self._handle(event, _now_ms())  # This very call may be cancelled by now.
            if call.is_settled:
                return Complete.REFUSED
            await self._outgoing.carry(
                call, stream, self._sender.wake_bulk, self._sender.keep_unsent
            )
        except CallFailed as exc:
            return exc
        except Exception as exc:
            return report_fault(call.method, exc, self._log)
        return Complete.COMPLETE

    def _why_stopped(self, call: CallReady) -> CallFailed:
        if call in self._cancelled:
            return CallCancelled(processed=Processed.MAYBE)
        return DeadlineExceeded(processed=Processed.MAYBE)

    def _after_call(self) -> None:
        if self._running or self._workers.ready:
            self._sender.wake()  # The answers of this turn leave together.
        else:
            self._sender.send_now()
            self._quiet.unpark_all()

    def _release_ready(self) -> None:
        """The connection is over: calls that never started give their grant's slot back."""
        while self._workers.ready:
            self._core.fail(self._workers.ready.popleft(), CallCancelled())

    async def _drain_when_stopped(self) -> None:
        await self._stopping.wait()
        self._core.go_away()
        self._sender.wake()
        with trio.move_on_after(DRAIN_S):
            while self._running or self._workers.ready:
                await self._quiet.park()
        self._sender.send_now()
        with trio.move_on_after(FLUSH_S):
            await self._sender.wait_until_idle()
        self._nursery.cancel_scope.cancel()


def _now_ms() -> int:
    return int(trio.current_time() * 1000)
