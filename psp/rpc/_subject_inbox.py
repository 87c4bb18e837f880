"""What a subject holds, and what the frames that reach it do to that.

The subject never stops reading because of calls: what is over a limit is answered at once. The
peer's mistake arrives as `Aborted`, the last event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from psp.errors import (
    LimitExceeded,
    LocalProtocolError,
    RemoteProtocolError,
)
from psp.wire import (
    ACCEPT_BYTES_DEFAULT,
    CALL,
    CONTROLLER_ABORT,
    CONTROLLER_HELLO,
    CREDIT,
    FINISH,
    FLAG_NO_PIPELINING,
    GOAWAY,
    HEADER_BYTES,
    INITIAL_LIMITS,
    PING,
    PONG,
    PRESENT,
    RELEASE,
    SUBJECT_ABORT,
    SUBJECT_HELLO,
    TEXT_CHARACTERS_MAX,
    VERSION,
    AbortCode,
    ControllerHello,
    FrameReader,
    FrameWriter,
    Limits,
    Places,
    Role,
    limits_from_hello_untrusted,
    raised_limits,
)

from ._answer_table import AnswerTable
from ._answers import (
    RUNNING,
    Answer,
    CallReady,
    Exported,
    Opaque,
    PresentReceived,
)
from ._events import Aborted, Cancelled, Paused, SubjectEvent
from ._ids import BOOTSTRAP, AnswerId, ExportId
from ._naming import Naming, find_promised
from ._room import GrantRooms
from ._streams import Streams

_FRAMES_A_TURN: Final = 256
"""Frames of one receive after which the shell is asked to pause. A buffer holds 30,000 pings, which
take 150 ms."""


class SubjectInbox:
    """The hearing half of `Subject`: bytes in, events out."""

    def __init__(
        self,
        archive_id: bytes,
        *,
        bootstrap: Opaque = BOOTSTRAP,
        limits: Limits = INITIAL_LIMITS,
        features: Sequence[str] = (),
        grants: GrantRooms | None = None,
    ) -> None:
        """`grants` is shared by all connections of one listener: limits of a grant count there."""
        self.peer_hello: ControllerHello | None = None
        self._archive_id = archive_id
        self._archive_time: datetime | None = None
        self._limits = limits
        self._features = list(features)
        self._reader = FrameReader(Role.SUBJECT)
        self._writer = FrameWriter()
        grants = grants or GrantRooms()
        self._grant_calls = grants.calls
        self._answers = AnswerTable(limits, self._writer, grants)
        self._exports: dict[ExportId, Exported] = {BOOTSTRAP: Exported(bootstrap, None)}
        self._naming = Naming(self._answers, self._exports)
        self._streams = Streams()
        self._last_question = 0
        # The highest question that is still served, once `go_away` was said.
        self._goes_away_after: int | None = None
        # Counted until a grant has verified; None from then on.
        self._ungranted_bytes: int | None = 0
        # Events of one frame that the shell has not been given yet.
        self._handed_out: deque[SubjectEvent] | None = None
        self._now_ms = 0
        self._has_ended = False
        self._receivers: Final[Mapping[int, Callable[..., Iterator[SubjectEvent]]]] = {
            PRESENT: self._receive_present,
            CALL: self._receive_call,
            FINISH: self._receive_finish,
            RELEASE: self._receive_release,
            CREDIT: self._receive_credit,
            PING: self._receive_ping,
        }

    def receive(self, data: bytes | memoryview, *, now_ms: int = 0) -> Iterator[SubjectEvent]:
        """Take bytes from the controller, cut anywhere, and say what they mean.

        Lazy: the next frame is looked at when the next event is asked for. A call that was settled
        by then never enters a table, which is why a plain one costs next to nothing. Always
        exhaust the iterator; `data` may be reused after the first event.

        Args:
            now_ms: The shell's clock, for `CallReady.deadline_ms`.
        """
        if self._archive_time is None:
            raise LocalProtocolError("say hello before the first receive")
        self._now_ms = now_ms
        return self._receive(data)

    def _receive(self, data: bytes | memoryview) -> Iterator[SubjectEvent]:
        if self._has_ended:
            return
        try:
            for quiet, places in enumerate(self._reader.receive_untrusted(data), start=1):
                kind = places[0]
                if not quiet % _FRAMES_A_TURN:
                    yield Paused()
                if self._ungranted_bytes is not None:
                    self._count_ungranted(HEADER_BYTES + self._reader.body_bytes)
                if kind == CALL:
                    # The hot path: a plain call, also as a step of a chain. All else is rarer.
                    call = self._plain_call(places)
                    if call is not None:
                        yield call
                        if call.state == RUNNING and not call.is_admitted:
                            self._admit_late(call)
                        continue
                if self._is_over():  # The shell has aborted over the plain call before.
                    return
                if kind == CONTROLLER_ABORT:
                    yield from [*self._end(), Aborted(places[1], places[2])]
                elif self.peer_hello is None:
                    self._receive_hello(places)
                elif kind in self._receivers:
                    yield from self._receivers[kind](*places[1:])
                else:
                    raise RemoteProtocolError("a second HELLO; a controller says it first, once")
                if self._is_over():  # By an ABORT, or by the shell between two events.
                    return
        except _Ending as exc:
            yield from self.abort(exc.code, str(exc))
        except RemoteProtocolError as exc:
            yield from self.abort(AbortCode.PROTOCOL, str(exc))

    def receive_eof(self) -> list[SubjectEvent]:
        """The connection is gone: every handler that still runs is cancelled."""
        return [] if self._has_ended else self._end()

    def abort(self, code: int, text: str) -> list[SubjectEvent]:
        """End the connection and tell the controller why; `data_to_send` has the frame."""
        if self._has_ended:
            return []
        self._writer.write((SUBJECT_ABORT, code, text[:TEXT_CHARACTERS_MAX]))
        return [*self._end(), Aborted(code, text, by_peer=False)]

    def _receive_call(
        self,
        number: int,
        target: int | list[int | list[str | int]],
        method: str,
        arguments: list[object],
        remaining_ms: int,
        accept_bytes: int,
        flags: int,
        invocation: bytes | None,
    ) -> Iterator[SubjectEvent]:
        if not self._is_served(number):
            return
        exported = self._naming.known_object(target)
        deadline_ms = self._now_ms + remaining_ms
        call = CallReady(
            AnswerId(number),
            exported and exported.object,
            method,
            arguments,
            deadline_ms,
            exported and exported.tag,
            invocation,
            accept_bytes,
            flags,
        )
        self._streams.quiet_chunks = 0
        room = self._answers.room
        body_bytes = self._reader.body_bytes
        refusal = room.refusal(call, body_bytes)
        promised = find_promised(arguments) if arguments else ()
        if refusal is None and exported is not None and not promised and not exported.line:
            # The usual way: nothing to wait for. If the shell settles it, no table ever holds it.
            yield call
            if call.state == RUNNING and not call.is_admitted and not self._has_ended:
                self._answers.admit_started(call, body_bytes)
            return
        failure = refusal or self._naming.resolve(call, body_bytes, target, promised)
        if failure is not None:
            self._answers.refuse(call, failure)
            return
        events: list[SubjectEvent] = []
        self._answers.admit(call, call.body_bytes)
        self._answers.wait_or_start(call, events)
        yield from self._hand_out(events)

    def _plain_call(self, places: Places) -> CallReady | None:
        """Make a call that has nothing to wait for and brings nothing; None if it is not so plain.

        It asks what `_receive_call` asks, all in one place: a method call in between costs as much
        as four of these comparisons.
        """
        _, number, target, method, arguments, remaining_ms, accept_bytes, flags, invocation = places
        if isinstance(target, list):
            exported = None if target[1] else self._answers.kept_object(target[0])
        else:
            exported = self._exports.get(target)
        if (
            exported is None
            or exported.line
            or not (flags & FLAG_NO_PIPELINING or self._answers.room.has_slot())
            or arguments
            or number <= self._last_question
            or self._goes_away_after is not None
            or self._answers.room.calls
            or (self._grant_calls and exported.tag in self._grant_calls)
            or self.peer_hello is None
            or self._has_ended
        ):
            return None
        self._last_question = number
        self._streams.quiet_chunks = 0
        return CallReady(
            number,
            exported.object,
            method,
            arguments,
            self._now_ms + remaining_ms,
            exported.tag,
            invocation,
            accept_bytes,
            flags,
        )

    def _admit_late(self, call: CallReady) -> None:
        """The shell has not settled a call at once: from here on it takes room."""
        if not self._has_ended:
            self._answers.admit_started(call, self._reader.body_bytes)

    def _receive_present(self, number: int, token: bytes) -> Iterator[SubjectEvent]:
        if not self._is_served(number):
            return
        present = PresentReceived(AnswerId(number), token, ACCEPT_BYTES_DEFAULT)
        refusal = self._answers.room.refusal(present, self._reader.body_bytes)
        if refusal is None and len(token) > self._limits.token_bytes:
            refusal = LimitExceeded(
                f"a token of {len(token)} bytes; the limit is {self._limits.token_bytes}"
            )
        if refusal is None:
            self._answers.admit(present, self._reader.body_bytes)
            yield present
        else:
            self._answers.refuse(present, refusal)

    def _receive_hello(self, places: Places) -> None:
        if places[0] != CONTROLLER_HELLO:
            raise RemoteProtocolError(f"frame kind {places[0]} before HELLO; say HELLO first")
        hello = ControllerHello._make(places)
        if VERSION not in hello.versions:
            raise _Ending(
                AbortCode.VERSION,
                f"the controller speaks versions {hello.versions}; this archive speaks {VERSION}",
            )
        limits_from_hello_untrusted(hello.limits)  # We send nothing that they would limit.
        self.peer_hello = hello
        self._writer.write(
            (
                SUBJECT_HELLO,
                VERSION,
                raised_limits(self._limits),
                self._features,
                self._archive_id,
                self._archive_time,
            )
        )
        if self._goes_away_after is not None:
            self._writer.write((GOAWAY, self._goes_away_after))

    def _receive_finish(self, questions: list[int]) -> Iterator[SubjectEvent]:
        events: list[SubjectEvent] = []
        # Before any of them: a call that one lets start must reach the shell.
        self._check_asked(max(questions), "FINISH")
        for question in questions:
            self._answers.finish(AnswerId(question), events)
        for event in events:
            if isinstance(event, Cancelled):
                self._close_stream(event.call)
        return self._hand_out(events) if events else iter(())

    def _hand_out(self, events: Iterable[SubjectEvent]) -> Iterator[SubjectEvent]:
        """Give events in the order in which they became ready: what the shell makes ready by
        settling one of them comes after the others."""
        waiting = self._handed_out = deque(events)
        while waiting:
            event = waiting.popleft()
            if not self._has_ended:
                yield event
            elif isinstance(event, CallReady):
                # The shell has aborted over the event before, and never hears of this one.
                self._answers.room.leave_grant(event)
        self._handed_out = None

    def _following(self, events: Sequence[SubjectEvent]) -> Sequence[SubjectEvent]:
        """Let what a settled answer has made ready wait behind what is being handed out."""
        if self._handed_out is None or not events:
            return events
        self._handed_out.extend(events)
        return ()

    def _receive_release(self, exports: list[int]) -> Iterator[SubjectEvent]:
        self._naming.release(exports)
        return iter(())

    def _receive_credit(self, question: int, size: int) -> Iterator[SubjectEvent]:
        self._check_asked(question, "CREDIT")
        self._streams.credit(AnswerId(question), size)
        return iter(())

    def _receive_ping(self, number: int) -> Iterator[SubjectEvent]:
        self._writer.write((PONG, number))
        return iter(())

    def _is_served(self, number: int) -> bool:
        """Take a new question's id; false if it came after `go_away`."""
        if number <= self._last_question:
            raise RemoteProtocolError(
                f"question {number} came after {self._last_question}; ids only increase"
            )
        self._last_question = number
        return self._goes_away_after is None

    def _check_asked(self, question: int, what: str) -> None:
        if question > self._last_question:
            raise RemoteProtocolError(
                f"{what} for question {question}; the last one is {self._last_question}"
            )

    def _count_ungranted(self, size: int) -> None:
        if self._ungranted_bytes is None:
            return
        self._ungranted_bytes += size
        if self._ungranted_bytes > self._limits.ungranted_bytes:
            raise _Ending(
                AbortCode.LIMIT,
                f"{self._ungranted_bytes} bytes came before any grant; the limit is"
                f" {self._limits.ungranted_bytes}. Present a grant, or connect again",
            )

    def _is_over(self) -> bool:
        # A call, because mypy takes an attribute that it saw unset to be so after a `yield`, too.
        return self._has_ended

    def _close_stream(self, call: Answer) -> None:
        if self._streams.close(call):
            self._answers.room.streams -= 1

    def _end(self) -> list[SubjectEvent]:
        self._has_ended = True
        self._exports.clear()
        self._streams.end()
        return self._answers.end()


class _Ending(RemoteProtocolError):
    """The connection ends for a reason that has an abort code of its own."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
