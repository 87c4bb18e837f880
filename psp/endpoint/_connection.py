"""The controller's end of a connection: the core decides, this waits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakValueDictionary

import trio

from psp.errors import (
    CallCancelled,
    CallFailed,
    ConnectionLost,
    DeadlineExceeded,
    LocalProtocolError,
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
    Target,
)
from psp.transport import Sender, Tap, TlsStream, explain_refusal, receive_buffer
from psp.values import Value
from psp.wire import ACCEPT_BYTES_DEFAULT, REMAINING_MS_MAX, AbortCode

from ._address import Address
from ._failures import fresh, made_printable, other_archive, printable
from ._incoming import ByteStream
from ._limits import (
    CALL_S_DEFAULT,
    FINISHED_WAITING_MAX,
    FLUSH_S,
    HELLO_S_MAX,
    PING_S,
    PONG_S_MAX,
)
from ._lowering import lower
from ._middleware import CallSeen, Middleware, compose
from ._promise import Argument, Kept, Promise, Reference, Result


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one connection has cost so far.

    Attributes:
        sent_bytes: In the clear, frames and their lengths, without TLS.
        received_bytes: Likewise.
        sends: Pieces that the frames left in; HELLO, PRESENT and the first calls are one.
        calls: Questions asked, presentations included.
        returns: Answers that came.
        round_trips: How often something left while nothing was in flight: what a distant member
            costs, in units of its distance. Opening costs two more (TCP, then TLS).
    """

    sent_bytes: int
    received_bytes: int
    sends: int
    calls: int
    returns: int
    round_trips: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one connection holds now: where a leak would show.

    Attributes:
        waiting: Questions without an answer yet, oldest first.
        oldest_s: How long the oldest has been asked; 0 if there is none.
        kept_answers: Answers that the subject keeps for us.
        held_references: References that are not released.
        streams: For each stream that is read, the bytes that lie here unread.
        unsent_bytes: What the kernel has not taken from us.
    """

    waiting: Sequence[int]
    oldest_s: float
    kept_answers: int
    held_references: int
    streams: dict[int, int]
    unsent_bytes: int


class Connection:
    """A live connection to one archive.

    Attributes:
        bootstrap: What the pairing alone allows: health, descriptions.
    """

    def __init__(
        self,
        address: Address,
        stream: TlsStream,
        *,
        tap: Tap | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.address = address
        self.bootstrap = Reference(self, BOOTSTRAP)
        self._core = Controller()
        self._stream = stream
        self._tap = tap
        self._around = compose(middleware)
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
        # Why the connection is over; None while it lives.
        self._ending: PSPError | None = None
        self._ended = trio.Event()
        self._expiry_s = math.inf
        self._timer = trio.CancelScope()
        self._heard_s = trio.current_time()
        self._pings: dict[int, trio.Event] = {}
        self._in_flight = 0
        self._finished = 0
        self._received_bytes = 0
        self._calls = 0
        self._returns = 0
        self._round_trips = 0

    def present(self, token: bytes, timeout_s: float | None = None) -> Promise[Reference]:
        """Show a grant; what it allows can be called on at once.

        Args:
            timeout_s: How long to wait for the verdict; 30 seconds if not given.

        Raises:
            LimitExceeded: The token is too long.
            ConnectionLost: The connection is over.
        """
        self._check_alive()
        question = self._core.present(token)
        expires = trio.current_time() + (CALL_S_DEFAULT if timeout_s is None else timeout_s)
        kept: Kept[Reference] = Kept(self, question, expires)
        self._opened(kept)
        return Promise(kept)

    def call(
        self,
        target: Target,
        method: str,
        arguments: tuple[Argument, ...],
        *,
        timeout_s: float | None,
        is_last: bool,
        is_step: bool,
        accept_bytes: int,
        invocation: bytes | None,
    ) -> Result[Any]:
        """Ask; used by promises and references, which know what they are."""
        if self._ending is not None:
            raise fresh(self._ending)
        lowered = lower(arguments) if arguments else ()
        now_s = trio.current_time()
        expires_s = now_s + (CALL_S_DEFAULT if timeout_s is None else timeout_s)
        left_s = min(expires_s, trio.current_effective_deadline()) - now_s
        # Rounded up: an enclosing deadline must end the wait here before the subject says so.
        remaining_ms = math.ceil(min(max(left_s * 1000, 0), REMAINING_MS_MAX))
        around = None if self._around is None else self._entered(method)
        try:
            question = self._core.call(
                target,
                method,
                lowered,
                remaining_ms=remaining_ms,
                accept_bytes=accept_bytes,
                no_result=is_step,
                no_pipelining=is_last,
                invocation=invocation,
            )
        except PSPError as exc:
            if around is not None:
                _left(around, exc)
            raise
        answer: Result[Any] = (Result if is_last else Kept)(self, question, expires_s)
        if accept_bytes != ACCEPT_BYTES_DEFAULT:
            self._windows[question] = accept_bytes
        answer.around = around
        self._opened(answer)
        return answer

    async def ping(self) -> float:
        """Ask the subject for a sign of life; give how many seconds it took.

        Raises:
            ConnectionLost: The connection is over, or ends before the sign comes.
        """
        self._check_alive()
        began_s = trio.current_time()
        heard = trio.Event()
        number = self._core.ping()
        self._pings[number] = heard
        self._sender.wake()
        try:
            await heard.wait()
        finally:
            self._pings.pop(number, None)
        self._check_alive()
        return trio.current_time() - began_s

    def statistics(self) -> Statistics:
        """Give the counters of this connection."""
        return Statistics(
            sent_bytes=self._sender.sent_bytes,
            received_bytes=self._received_bytes,
            sends=self._sender.sends,
            calls=self._calls,
            returns=self._returns,
            round_trips=self._round_trips,
        )

    def inspect(self) -> Inspection:
        """Say what this connection holds: what waits, what is kept, what is unread."""
        self._drain_notes()
        asked = [each.expires - CALL_S_DEFAULT for each in self._open.values()]
        return Inspection(
            waiting=tuple(self._open),
            oldest_s=max(0.0, trio.current_time() - min(asked)) if asked else 0.0,
            kept_answers=self._core.kept_answers,
            held_references=self._core.held_references,
            streams={number: each.unread_bytes for number, each in self._streams.items()},
            unsent_bytes=self._sender.unsent_bytes,
        )

    @property
    def peer_hello(self) -> HelloReceived | None:
        """What the archive said of itself; None until its first answer."""
        return self._core.peer_hello

    @property
    def closed(self) -> bool:
        """Whether the connection is over, for whatever reason."""
        return self._ending is not None

    async def wait_closed(self) -> None:
        """Wait until the connection is over; it does not say why, the next call does."""
        await self._ended.wait()

    def close(self) -> None:
        """End the connection at once; what still waits fails with `ConnectionLost`."""
        self._end(ConnectionLost("the connection was closed here"))
        self._stream.close()

    async def aclose(self) -> None:
        """Send what waits, then end the connection."""
        if self._ending is None:
            self._sender.send_now()
            with trio.move_on_after(FLUSH_S, shield=True):
                await self._sender.wait_until_idle()
        self.close()

    async def run(self) -> None:
        """Carry bytes in both directions until the connection ends. It never raises."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sender.run)
                nursery.start_soon(self._watch_time)
                nursery.start_soon(self._watch_life)
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            # Cancelled from outside: a caller in a shielded scope must not wait for ever.
            self.close()

    # For promises, references and streams.

    async def wait_for(self, answer: Result[Any]) -> None:
        """Wait until an answer is there. Cancelling the last who waits gives the question up."""
        if self._core.open_questions == 1:
            self._sender.send_now()  # Nothing to join it with: no detour over the writer.
        else:
            self._sender.wake()
        task = trio.lowlevel.current_task()
        if answer.waiters is None:
            answer.waiters = [task]
        else:
            answer.waiters.append(task)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            assert answer.waiters is not None
            answer.waiters.remove(task)
            if not answer.waiters:
                self.give_up(answer)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def give_up(self, answer: Result[Any]) -> None:
        """Say FINISH: nobody here needs this answer any more."""
        self._finish(answer.question)
        if not answer.is_done:
            self._settle(answer, CallCancelled("the answer of this promise was given up"))
        self._sender.wake()

    def release(self, export: ExportId) -> None:
        """Say RELEASE. The bootstrap is never released."""
        if export != BOOTSTRAP:
            self._core.release(export)
            self._sender.wake()

    def give_credit(self, question: QuestionId, size: int) -> None:
        if self._ending is None:
            self._core.credit(question, size)
            self._sender.wake()

    def give_up_stream(self, stream: ByteStream) -> None:
        self._end_stream(stream.question, None)
        self._finish(stream.question)
        self._sender.wake()

    def drop_answer(self, question: QuestionId) -> None:
        self._dropped_answers.append(question)

    def drop_stream(self, question: QuestionId) -> None:
        self._dropped_answers.append(question)

    def drop_reference(self, export: ExportId) -> None:
        self._dropped_exports.append(export)

    # Our own.

    def _opened(self, answer: Result[Any]) -> None:
        self._open[answer.question] = answer
        self._calls += 1
        if answer.expires < self._expiry_s:
            self._expiry_s = self._timer.deadline = answer.expires
        # Whoever never awaits is sent too; whoever awaits now is sent before the writer runs.
        self._sender.wake()

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
        while self._dropped_answers:
            question = self._dropped_answers.popleft()
            self._end_stream(question, None)
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
            while self._ending is None and (size := await self._stream.receive_into(buffer)):
                self._received_bytes += size
                self._heard_s = trio.current_time()
                if self._tap is not None:
                    self._tap("in", bytes(buffer[:size]))
                for event in self._core.receive(buffer[:size]):
                    if type(event) is Returned:
                        self._returned(event)
                    else:
                        self._handle(event)
                if len(self._dropped_answers) + self._finished > FINISHED_WAITING_MAX:
                    self._sender.wake()
        except trio.BrokenResourceError as exc:
            cause = exc.__cause__
        if self._core.peer_hello is None:
            self._end(explain_refusal(f"{self.address.host}:{self.address.port}", cause))
        else:
            self._end(ConnectionLost())
        self._stream.close()

    def _handle(self, event: ControllerEvent) -> None:
        match event:
            case ChunkReceived(question, data):
                if (stream := self._streams.get(question)) is not None:
                    stream.put(data)
            case StreamEnded(question, failure):
                self._end_stream(question, failure and made_printable(failure))
            case HelloReceived() if event.archive_id != self.address.archive_id:
                self._core.abort(AbortCode.CLOSING, "another archive was expected here")
                self._end(other_archive(self.address))
            case Ponged(number) if number in self._pings:
                self._pings.pop(number).set()
            case Aborted():
                self._sender.send_now()  # If it is ours, it tells the subject why.
                self._end(ConnectionLost(f"the connection was ended: {printable(event.text)}"))

    def _returned(self, event: Returned) -> None:
        question, status, payload = event
        self._returns += 1
        answer = self._open.get(question)
        if answer is None:
            return
        if status == VALUE:
            self._settle(answer, payload)
        elif status == REFERENCE:
            assert isinstance(payload, int)
            self._settle(answer, Reference(self, ExportId(payload)))
        elif status == ERROR:
            assert isinstance(payload, CallFailed)
            self._settle(answer, made_printable(payload))
        elif status == STREAM:
            window = self._windows.get(question, ACCEPT_BYTES_DEFAULT)
            stream = self._streams[question] = ByteStream(
                self, question, cast("Value", payload), window=window, expires=answer.expires
            )
            self._settle(answer, stream)

    def _settle(self, answer: Result[Any], payload: object) -> None:
        self._open.pop(answer.question, None)
        if self._windows:
            self._windows.pop(answer.question, None)
        if self._in_flight:
            self._in_flight -= 1
        answer.payload = payload
        answer.is_done = True
        if answer.around is not None:
            answer.payload = _left(answer.around, payload)
            answer.around = None
        if answer.waiters is not None:
            for task in answer.waiters:
                trio.lowlevel.reschedule(task)
            answer.waiters = None

    def _end_stream(self, question: QuestionId, failure: PSPError | None) -> None:
        stream = self._streams.pop(question, None)
        if stream is not None:
            stream.end(failure)

    def _entered(self, method: str) -> AbstractContextManager[object]:
        """Tell the middleware of a call before it is written; what it raises is the caller's."""
        assert self._around is not None
        seen = CallSeen("controller", method, self._core.next_question, self.address.name)
        around = self._around(seen)
        around.__enter__()
        return around

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
            await trio.sleep_until(self._heard_s + PING_S)
            if trio.current_time() < self._heard_s + PING_S:
                continue  # Something was heard in the meantime.
            with trio.move_on_after(PONG_S_MAX) as scope:
                await self.ping()
            if scope.cancelled_caught:
                self._end(ConnectionLost(f"no sign of life within {PONG_S_MAX:g} seconds"))
                self._stream.close()

    def _end(self, why: PSPError) -> None:
        """Fail everything that waits, once. `why` is what later calls hear."""
        if self._ending is not None:
            return
        self._ending = why
        self._ended.set()
        for event in self._core.receive_eof():
            # Each question knows whether it may have been processed; before HELLO none was.
            if type(event) is Returned and isinstance(why, ConnectionLost):
                self._returned(event)
        for answer in list(self._open.values()):
            self._settle(answer, why)
        for question in list(self._streams):
            self._end_stream(question, why)
        for heard in self._pings.values():
            heard.set()

    def _check_alive(self) -> None:
        if self._ending is not None:
            raise fresh(self._ending)


def _left(around: AbstractContextManager[object], outcome: object) -> object:
    """Tell the middleware how a call went; give what its caller is told. A middleware watches, so
    it can only fail: then its caller hears of it, and the connection goes on."""
    try:
        if isinstance(outcome, PSPError):
            around.__exit__(type(outcome), outcome, outcome.__traceback__)
        else:
            around.__exit__(None, None, None)
    except Exception as exc:
        failure = LocalProtocolError(
            f"the call has ended, and a middleware of this program then raised a"
            f" {type(exc).__name__}. Mend the middleware; its error is this one's cause."
        )
        failure.__cause__ = exc
        return failure
    return outcome
