"""The controller's end of a connection: the core decides, this waits."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import trio

from psp.errors import (
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
    Aborted,
    Controller,
    ControllerEvent,
    ExportId,
    HelloReceived,
    QuestionId,
    Returned,
    Target,
)
from psp.transport import (
    Sender,
    Tap,
    TlsStream,
    explain_refusal,
    receive_buffer,
)
from psp.values import Value
from psp.wire import REMAINING_MS_MAX, AbortCode

from ._address import Address
from ._failures import fresh, made_printable, other_archive, printable
from ._limits import CALL_S_DEFAULT, FINISHED_WAITING_MAX, FLUSH_S
from ._promise import Answer, Hold, Promise, Reference


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


class Connection:
    """A live connection to one archive.

    Attributes:
        bootstrap: What the pairing alone allows: health, descriptions.
    """

    def __init__(self, address: Address, stream: TlsStream, *, tap: Tap | None = None) -> None:
        self.address = address
        self.bootstrap = Reference(self, BOOTSTRAP)
        self._core = Controller()
        self._stream = stream
        self._tap = tap
        self._sender = Sender(stream, self._take, tap=tap)
        # Questions without an answer. Returned, gave up, expired, ended: each takes it out.
        self._open: dict[QuestionId, Answer] = {}
        # Notes left by `__del__`, from whatever thread; deque.append is atomic.
        self._dropped_answers: deque[Answer] = deque()
        self._dropped_exports: deque[ExportId] = deque()
        # Why the connection is over; None while it lives.
        self._ending: PSPError | None = None
        self._ended = trio.Event()
        self._expiry_s = math.inf
        self._timer = trio.CancelScope()
        self._in_flight = 0
        self._finished = 0
        self._received_bytes = 0
        self._calls = 0
        self._returns = 0
        self._round_trips = 0

    def present(self, token: bytes, timeout_s: float | None = None) -> Promise:
        """Show a grant; what it allows can be called on at once.

        Args:
            timeout_s: How long to wait for the verdict; 30 seconds if not given.

        Raises:
            LimitExceeded: The token is too long.
            ConnectionLost: The connection is over.
        """
        self._check_alive()
        question = self._core.present(token)
        return self._opened(question, CALL_S_DEFAULT if timeout_s is None else timeout_s, None)

    def call(
        self,
        target: Target,
        method: str,
        arguments: tuple[Value, ...],
        *,
        timeout_s: float | None,
        is_last: bool,
        is_step: bool,
        parent: Hold | None,
    ) -> Promise:
        """Ask; used by promises and references, which know what they are."""
        self._check_alive()
        own_s = CALL_S_DEFAULT if timeout_s is None else timeout_s
        left_s = min(own_s, trio.current_effective_deadline() - trio.current_time())
        # Rounded up: an enclosing deadline must end the wait here before the subject says so.
        remaining_ms = min(max(math.ceil(left_s * 1000), 0), REMAINING_MS_MAX)
        question = self._core.call(
            target,
            method,
            arguments,
            remaining_ms=remaining_ms,
            no_result=is_step,
            no_pipelining=is_last,
        )
        return self._opened(question, own_s, parent)

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
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            # Cancelled from outside: a caller in a shielded scope must not wait for ever.
            self.close()

    async def wait_for(self, answer: Answer) -> None:
        """Wait until an answer is there. Cancelling the last who waits gives the question up."""
        if self._core.open_questions == 1:
            self._sender.send_now()  # Nothing to join it with: no detour over the writer.
        else:
            self._sender.wake()
        answer.waiters.append(task := trio.lowlevel.current_task())

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            answer.waiters.remove(task)
            if not answer.waiters:
                self.give_up(answer)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def give_up(self, answer: Answer) -> None:
        """Say FINISH: nobody here needs this answer any more."""
        self._finish(answer)
        if not answer.is_done:
            self._settle(answer, LocalProtocolError("the answer of this promise was given up."))
        self._sender.wake()

    def release(self, export: ExportId) -> None:
        """Say RELEASE. The bootstrap is never released."""
        if export != BOOTSTRAP:
            self._core.release(export)
            self._sender.wake()

    def drop_answer(self, answer: Answer) -> None:
        self._dropped_answers.append(answer)

    def drop_reference(self, export: ExportId) -> None:
        self._dropped_exports.append(export)

    def _opened(self, question: QuestionId, own_s: float, parent: Hold | None) -> Promise:
        expires = trio.current_time() + own_s
        answer = Answer(question, expires, parent)
        self._open[question] = answer
        self._calls += 1
        if expires < self._expiry_s:
            self._expiry_s = self._timer.deadline = expires
        # Whoever never awaits is sent too; whoever awaits now is sent before the writer runs.
        self._sender.wake()
        return Promise(Hold(self, answer))

    def _take(self) -> bytes:
        """Give the sender what the core holds, and count the flights."""
        self._drain_notes()
        data = self._core.data_to_send()
        self._finished = 0
        if data and self._in_flight == 0 and self._open:
            self._round_trips += 1
        self._in_flight = len(self._open)
        return data

    def _drain_notes(self) -> None:
        while self._dropped_answers:
            answer = self._dropped_answers.popleft()
            if answer.is_done:
                self._finish(answer)
            else:
                answer.is_dropped = True
        while self._dropped_exports:
            self._release_dropped(self._dropped_exports.popleft())

    def _release_dropped(self, export: ExportId) -> None:
        if export != BOOTSTRAP:
            self._core.release(export)

    def _finish(self, answer: Answer) -> None:
        if self._ending is None:
            self._core.finish(answer.question)
            self._finished += 1

    async def _read(self) -> None:
        buffer = receive_buffer()
        cause: BaseException | None = None
        try:
            while self._ending is None and (size := await self._stream.receive_into(buffer)):
                self._received_bytes += size
                if self._tap is not None:
                    self._tap("in", bytes(buffer[:size]))
                for event in self._core.receive(buffer[:size]):
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
        if type(event) is Returned:
            self._returns += 1
            self._returned(event)
        elif type(event) is HelloReceived:
            if event.archive_id != self.address.archive_id:
                self._core.abort(AbortCode.CLOSING, "another archive was expected here")
                self._end(other_archive(self.address))
        elif type(event) is Aborted:
            self._sender.send_now()  # If it is ours, it tells the subject why.
            self._end(ConnectionLost(f"the connection was ended: {printable(event.text)}"))

    def _returned(self, event: Returned) -> None:
        question, status, payload = event
        answer = self._open.get(question)
        if answer is None:
            return
        if status == REFERENCE:
            assert isinstance(payload, int)
            self._settle(answer, Reference(self, ExportId(payload)))
        elif status == ERROR:
            assert isinstance(payload, CallFailed)
            self._settle(answer, made_printable(payload))
        else:
            assert not isinstance(payload, CallFailed)
            self._settle(answer, payload)
        if answer.is_dropped:
            self._finish(answer)

    def _settle(self, answer: Answer, payload: Value | Reference | PSPError) -> None:
        self._open.pop(answer.question, None)
        if self._in_flight:
            self._in_flight -= 1
        answer.payload = payload
        answer.is_done = True
        answer.parent = None
        for task in answer.waiters:
            trio.lowlevel.reschedule(task)
        answer.waiters.clear()

    async def _watch_time(self) -> None:
        """End the questions whose own time is over. One timer: it looks at the next to expire."""
        while True:
            with trio.CancelScope(deadline=self._expiry_s) as self._timer:
                await trio.sleep_forever()
            now = trio.current_time()
            for answer in [each for each in self._open.values() if each.expires <= now]:
                self._finish(answer)
                self._settle(answer, DeadlineExceeded(processed=Processed.MAYBE))
            self._sender.wake()
            self._expiry_s = min((each.expires for each in self._open.values()), default=math.inf)

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

    def _check_alive(self) -> None:
        if self._ending is not None:
            raise fresh(self._ending)
