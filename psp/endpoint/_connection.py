"""The controller's end of a connection: the core decides, this waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import trio
from trio.lowlevel import current_task

from psp.buffers import Buffers, Share
from psp.errors import CallCancelled
from psp.rpc import BOOTSTRAP, ExportId, HelloReceived, QuestionId, Target
from psp.transport import PeerStream, Tap, flusher
from psp.wire import ACCEPT_BYTES_DEFAULT, REMAINING_MS_MAX

from ._accounts import Inspection, Statistics
from ._address import Address
from ._asking import Local
from ._failures import fresh
from ._hearing import Hearing
from ._incoming import ByteStream, Landing
from ._limits import CALL_S_DEFAULT, FLUSH_S, QUESTIONS_TOGETHER_MAX
from ._lowering import lower
from ._middleware import CallSeen, Middleware, compose, left
from ._promise import Argument, Kept, Promise, Reference, Result

_ALMOST_TOGETHER = QUESTIONS_TOGETHER_MAX - 1
_CALL_MS_DEFAULT = int(CALL_S_DEFAULT * 1000)
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Connection(Hearing):
    """A live connection to one archive.

    Attributes:
        address: Which archive, and where.
        bootstrap: What the pairing alone allows: health, descriptions.
    """

    def __init__(
        self,
        address: Address,
        stream: PeerStream,
        *,
        tap: Tap | None = None,
        middleware: Sequence[Middleware] = (),
        runtime: Path | None = None,
    ) -> None:
        super().__init__(address, stream, tap, Local(runtime))
        self.bootstrap = Reference(self, BOOTSTRAP)
        self._around = compose(middleware)
        # When the calls of this turn of the loop expire that have no time of their own, and the
        # scopes of the callers that this holds for: none of them ends before.
        self._flusher = flusher()
        self._scopes: object = None
        self._turn = -1
        self._turn_expires_s = 0.0
        self._unsent_questions = 0

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
        timeout_s: float | None,
        is_last: bool,
        is_step: bool,
        accept_bytes: int,
        invocation: bytes | None,
    ) -> Result[Any]:
        """Ask; used by promises and references, which know what they are."""
        if self._ending is not None:
            raise fresh(self._ending)
        # Looking at the clock and for an enclosing deadline costs as much as all the rest of a call
        # from a loop. Calls of one turn of the loop and from within the same scopes share one look.
        # (trio has no public name for those. A deadline that is set later ends the wait by FINISH.)
        if (
            timeout_s is None
            and self._turn == self._flusher.turn
            and self._scopes is current_task()._cancel_status
        ):
            expires_s, remaining_ms = self._turn_expires_s, _CALL_MS_DEFAULT
        else:
            expires_s, remaining_ms = self._time_of_call(timeout_s)
        around = None if self._around is None else self._entered(method)
        try:
            question = self._core.call(
                target,
                method,
                lower(arguments) if arguments else (),
                remaining_ms=remaining_ms,
                accept_bytes=accept_bytes,
                no_result=is_step,
                no_pipelining=is_last,
                invocation=invocation,
            )
        except BaseException as exc:
            if around is not None:
                left(around, exc)
            raise
        answer: Result[Any] = (Result if is_last else Kept)(self, question, expires_s)
        if accept_bytes != ACCEPT_BYTES_DEFAULT:
            self._windows[question] = accept_bytes
        if around is not None:
            self._arounds[question] = around
        if 0 < self._unsent_questions < _ALMOST_TOGETHER and expires_s >= self._expiry_s:
            self._open[question] = answer  # One more of many: what `_opened` would do.
            self._unsent_questions += 1
        else:
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
            calls=self._core.next_question - 1,
            returns=self._returns,
            round_trips=self._round_trips,
        )

    def inspect(self) -> Inspection:
        """Say what this connection holds: what waits, what is kept, what is unread."""
        self._drain_notes()
        oldest = next(iter(self._open.values()), None)
        return Inspection(
            waiting=tuple(self._open),
            oldest_left_s=None if oldest is None else oldest.expires - trio.current_time(),
            kept_answers=self._core.kept_answers,
            held_references=self._core.held_references,
            streams={number: each.unread_bytes for number, each in self._streams.items()},
            unsent_bytes=self._sender.unsent_bytes,
            handed_over=self.local.taken,
            local=self.local.refused,
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

    async def aclose(self) -> None:
        """Send what waits, then end the connection."""
        if self._ending is None:
            self._sender.send_now()
            with trio.move_on_after(FLUSH_S, shield=True):
                await self._sender.wait_until_idle()
        self.close()

    # For promises, references and streams.

    def send_before_wait(self) -> None:
        """Somebody is going to wait: if nobody else does, there is nothing to join his call with.
        Unless several were just answered, who will ask again in this turn. What is not sent here
        leaves when the turn ends."""
        if self._core.open_questions == 1 and self._answered_together <= 1:
            self._sender.send_now()

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

    def land(self, question: QuestionId, target: Landing | None = None) -> None:
        """Read what a stream brings to where it is wanted, now or as soon as it opens."""
        if self._ending is None:
            self._core.land(question)
            if target is not None:
                self._targets[question] = target

    @property
    def is_local(self) -> bool:
        """Whether results could be handed over: the archive's address is of this machine, and
        there is a directory for it. To be told to those who would have to seal them first."""
        return self.local.runtime is not None and self.address.host in _LOOPBACK

    def share(self, buffers: Buffers) -> Share:
        """Give what this connection takes its buffers through: one account for all of them."""
        self._check_alive()
        if buffers not in self._shares:
            self._shares[buffers] = buffers.share(self.address.name)
        return self._shares[buffers]

    def give_up_stream(self, stream: ByteStream) -> None:
        self._end_stream(stream.question, CallCancelled("the stream was given up here"))
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
        if answer.expires < self._expiry_s:
            self._expiry_s = self._timer.deadline = answer.expires
        self._unsent_questions += 1
        if self._unsent_questions == 1:
            # Whoever never awaits is sent too: what this turn of the loop wrote leaves at its end.
            self._sender.wake()
        elif self._unsent_questions >= QUESTIONS_TOGETHER_MAX:
            self._sender.send_now()

    def _time_of_call(self, timeout_s: float | None) -> tuple[float, int]:
        """Give when the wait for a call that leaves now ends, and how long that is."""
        now_s, end_s = trio.current_time(), trio.current_effective_deadline()
        expires_s = now_s + (CALL_S_DEFAULT if timeout_s is None else timeout_s)
        if timeout_s is None and expires_s <= end_s:
            self._turn, self._turn_expires_s = self._flusher.turn, expires_s
            self._scopes = current_task()._cancel_status
            return expires_s, _CALL_MS_DEFAULT
        left_ms = (min(expires_s, end_s) - now_s) * 1000
        # Rounded up: an enclosing deadline must end the wait here before the subject says so.
        return expires_s, math.ceil(min(max(left_ms, 0), REMAINING_MS_MAX))

    def _take(self) -> bytes:
        self._unsent_questions = 0
        return super()._take()

    def _entered(self, method: str) -> AbstractContextManager[object]:
        """Tell the middleware of a call before it is written; what it raises is the caller's."""
        assert self._around is not None
        seen = CallSeen("controller", method, self._core.next_question, self.address.name)
        around = self._around(seen)
        around.__enter__()
        return around

    def _check_alive(self) -> None:
        if self._ending is not None:
            raise fresh(self._ending)
