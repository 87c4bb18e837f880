"""The subject's end of one connection: the core decides, this waits and runs the handlers."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import trio

from psp.errors import CallCancelled, CallFailed, DeadlineExceeded, Processed
from psp.rpc import (
    Aborted,
    AnswerId,
    CallReady,
    Cancelled,
    Exported,
    Opaque,
    PresentReceived,
    Subject,
    SubjectEvent,
)
from psp.transport import Peer, Sender, Tap, TlsStream, receive_buffer
from psp.values import Value

from ._dispatch import Log, report_fault, run_inline, run_waiting
from ._exposed import Exposed, Result
from ._limits import (
    DRAIN_S,
    FAREWELL_BYTES_MAX,
    FLUSH_S,
    IDLE_WORKERS_MAX,
    INLINE_CALLS_MAX,
    INLINE_S_MAX,
)

Present = Callable[[Peer, bytes], Exposed]


class Served:
    """One connection of one paired peer, from its HELLO to its end."""

    def __init__(
        self,
        stream: TlsStream,
        peer: Peer,
        *,
        archive_id: bytes,
        bootstrap: Exposed,
        present: Present,
        tap: Tap | None,
        log: Log,
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._core = Subject(archive_id, bootstrap=bootstrap)
        self._present = present
        self._tap = tap
        self._log = log
        self._sender = Sender(stream, self._core.data_to_send, tap=tap)
        # Calls that have not entered their handlers. Workers pop the *oldest when they run*: trio
        # runs ready tasks in a random order, and this keeps the order of starts for nothing.
        self._ready: deque[CallReady] = deque()
        self._running: dict[AnswerId, trio.CancelScope] = {}
        # Given up by the caller and not yet answered; `_run` takes each out.
        self._cancelled: set[AnswerId] = set()
        self._idle: list[trio.lowlevel.Task] = []
        self._quiet = trio.lowlevel.ParkingLot()
        self._stopping = trio.Event()
        self._nursery: trio.Nursery | None = None

    def stop(self) -> None:
        """Take no new calls; end when those that have started are answered, or soon after."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until the peer leaves, breaks the protocol, or `stop` has drained."""
        self._core.hello(datetime.now(UTC))
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._sender.run)
                nursery.start_soon(self._drain_when_stopped)
                self._sender.send_now()
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self._stream.close()

    async def _read(self) -> None:
        buffer = receive_buffer()
        try:
            while size := await self._stream.receive_into(buffer):
                if self._tap is not None:
                    self._tap("in", bytes(buffer[:size]))
                events = self._core.receive(buffer[:size], now_ms=_now_ms())
                if not await self._handle_all(events):
                    return
                # One attempt without waiting: this task must never wait in order to write.
                self._sender.send_now()
                await self._sender.wait_for_room()
        except trio.BrokenResourceError:
            return
        finally:
            self._core.receive_eof()

    async def _handle_all(self, events: list[SubjectEvent]) -> bool:
        """Start everything that can start; False when the connection is over."""
        waiting = deque(events)
        turn_ends, left = trio.current_time() + INLINE_S_MAX, INLINE_CALLS_MAX
        while waiting:
            event = waiting.popleft()
            if isinstance(event, Aborted):
                await self._say_farewell()
                return False
            waiting.extendleft(reversed(self._handle(event)))
            left -= 1
            if left <= 0 or trio.current_time() >= turn_ends:
                # A buffer holds thousands of calls: without this, every other connection waits.
                self._sender.wake()
                await trio.lowlevel.checkpoint()
                turn_ends, left = trio.current_time() + INLINE_S_MAX, INLINE_CALLS_MAX
        return True

    async def _say_farewell(self) -> None:
        """Let the peer read why the connection ends: closing at once could reset it unread."""
        self._sender.send_now()
        with trio.move_on_after(FLUSH_S):
            await self._sender.wait_until_idle()
            await self._stream.refuse(drain_s=FLUSH_S, drain_bytes=FAREWELL_BYTES_MAX)

    def _handle(self, event: SubjectEvent) -> list[SubjectEvent]:
        """Do one thing; give what became possible by it."""
        if isinstance(event, CallReady):
            if self._ready or not _is_inline(event):
                self._enqueue(event)
                return []
            return self._answer(event, run_inline(event, _now_ms(), self._log))
        if isinstance(event, PresentReceived):
            return self._show(event)
        if isinstance(event, Cancelled):
            self._cancelled.add(event.answer_id)
            if (scope := self._running.get(event.answer_id)) is not None:
                scope.cancel()
        return []

    def _show(self, event: PresentReceived) -> list[SubjectEvent]:
        try:
            exposed = self._present(self._peer, event.token)
        except CallFailed as exc:
            return self._core.fail(event.answer_id, exc)
        except Exception as exc:
            return self._core.fail(event.answer_id, report_fault("PRESENT", exc, self._log))
        # The same token shown twice is the same grant; two grants never meet in one call.
        tag = hashlib.sha256(event.token).digest()
        return self._core.resolve_object(event.answer_id, exposed, tag)

    def _answer(self, call: CallReady, result: Result | CallFailed) -> list[SubjectEvent]:
        self._cancelled.discard(call.answer_id)
        if isinstance(result, CallFailed):
            return self._core.fail(call.answer_id, result)
        if isinstance(result, Exposed):
            return self._core.resolve_object(call.answer_id, result, call.grant_tag)
        try:
            return self._core.resolve_value(call.answer_id, _tagged(result, call.grant_tag))
        except Exception as exc:  # What the handler returned is no value: its fault, so ours.
            return self._core.fail(call.answer_id, report_fault(call.method, exc, self._log))

    def _enqueue(self, call: CallReady) -> None:
        self._ready.append(call)
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop())
        else:
            assert self._nursery is not None
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            while self._ready:
                await self._run(self._ready.popleft())
            if len(self._idle) >= IDLE_WORKERS_MAX:
                return
            self._idle.append(task := trio.lowlevel.current_task())

            def abort(
                _raise_cancel: object, task: trio.lowlevel.Task = task
            ) -> trio.lowlevel.Abort:
                self._idle.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)

    async def _run(self, call: CallReady) -> None:
        """Run one call in this task, within its time, and answer it."""
        result: Result | CallFailed = CallCancelled()
        if call.answer_id not in self._cancelled:
            with trio.CancelScope(deadline=call.deadline_ms / 1000) as scope:
                self._running[call.answer_id] = scope
                try:
                    result = await run_waiting(call, _now_ms(), self._log)
                finally:
                    del self._running[call.answer_id]
            if scope.cancelled_caught:
                result = self._why_stopped(call)
        for event in self._answer(call, result):
            # Through the queue, not inline: the reader alone counts turns.
            if isinstance(event, CallReady):
                self._enqueue(event)
        self._after_call()

    def _why_stopped(self, call: CallReady) -> CallFailed:
        if call.answer_id in self._cancelled:
            return CallCancelled(processed=Processed.MAYBE)
        return DeadlineExceeded(processed=Processed.MAYBE)

    def _after_call(self) -> None:
        if self._running or self._ready:
            self._sender.wake()  # The answers of this turn leave together.
        else:
            self._sender.send_now()
            self._quiet.unpark_all()

    async def _drain_when_stopped(self) -> None:
        await self._stopping.wait()
        self._core.go_away()
        self._sender.wake()
        with trio.move_on_after(DRAIN_S):
            while self._running or self._ready:
                await self._quiet.park()
        self._sender.send_now()
        with trio.move_on_after(FLUSH_S):
            await self._sender.wait_until_idle()
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()


def _tagged(result: Result, tag: Opaque) -> Value | Exported:
    """Give the objects in a map the grant that the map came from."""
    if type(result) is dict and any(isinstance(item, Exposed) for item in result.values()):
        tagged = {
            key: Exported(item, tag) if isinstance(item, Exposed) else item
            for key, item in result.items()
        }
        return cast(Value, tagged)  # The core knows `Exported` inside a value; the type does not.
    return cast(Value, result)


def _is_inline(call: CallReady) -> bool:
    assert isinstance(call.object, Exposed)
    method = call.object.psp_methods.get(call.method)
    return method is None or method.is_inline


def _now_ms() -> int:
    return int(trio.current_time() * 1000)
