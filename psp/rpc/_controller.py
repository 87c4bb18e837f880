"""The asking side: questions out, answers in. No socket, no clock, no task.

Here is what a caller does; what comes back is heard in `ControllerInbox`. Your mistake raises at
once and sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from psp.errors import (
    ConnectionLost,
    LimitExceeded,
    LocalProtocolError,
)
from psp.values import Value
from psp.wire import (
    ACCEPT_BYTES_DEFAULT,
    CALL,
    CONTROLLER_HELLO,
    CREDIT,
    FINISH,
    FLAG_NO_PIPELINING,
    FLAG_NO_RESULT,
    ID_MAX,
    IDS_PER_FRAME_MAX,
    INITIAL_LIMITS,
    INVOCATION,
    METHOD_CHARACTERS_MAX,
    PING,
    PRESENT,
    RELEASE,
    REMAINING_MS_MAX,
    TARGET,
    VERSION,
    Limits,
    Promised,
    Template,
    WireTarget,
    compose,
    is_sendable_scalar,
    outgoing_arguments,
    raised_limits,
)

from ._controller_inbox import ControllerInbox
from ._ids import BOOTSTRAP, ExportId, QuestionId, Target
from ._naming import find_promised
from ._questions import (
    AWAITING,
    AWAITING_LAST,
    RETURNED,
    STREAMING_LAST,
)
from ._slips import not_sendable

_NO_ARGUMENTS: Final[list[Value]] = []
_NO_PATH: Final[list[str | int]] = []

_SHAPES_MAX: Final = 8
"""Calls without arguments whose bytes are remembered for one reference. Where each call has a time
of its own they never help, and this bounds what they take."""

Argument: TypeAlias = "Value | Promised"


class Controller(ControllerInbox):
    """One connection, seen by the side that dials and asks.

    Attributes:
        peer_hello: None until the subject's HELLO has come.
        peer_limits: What the subject allows; the constants of PSP/1 until its HELLO raises them.
        open_questions: How many still wait for their RETURN.
    """

    def __init__(self, *, limits: Limits = INITIAL_LIMITS, features: Sequence[str] = ()) -> None:
        super().__init__()
        # By reference, while it is held: the bytes of calls that were made on it before.
        self._templates: dict[int, dict[tuple[str, int, int], Template]] = {}
        self._writer.write(
            (CONTROLLER_HELLO, [VERSION], raised_limits(limits), list(features)),
        )

    def present(self, token: bytes) -> QuestionId:
        """Show a grant; the answer is a reference to what it allows.

        Raises:
            LimitExceeded: The token is longer than the subject takes.
            ConnectionLost: The connection has ended or takes no new questions; nothing was sent.
        """
        if type(token) is not bytes:
            raise LocalProtocolError(
                f"a token is bytes, not {type(token).__name__}; decode its text"
            )
        if len(token) > self.peer_limits.token_bytes:
            raise LimitExceeded(
                f"a token of {len(token)} bytes; the subject takes {self.peer_limits.token_bytes}."
                " Present a shorter chain"
            )
        self._check_open()
        question = self._next_question
        self._writer.write((PRESENT, question, token))
        self._next_question = next(self._ids)
        self._questions[question] = AWAITING
        self.open_questions += 1
        return question

    def call(
        self,
        target: Target,
        method: str,
        arguments: Sequence[Argument] = (),
        *,
        remaining_ms: int,
        accept_bytes: int = ACCEPT_BYTES_DEFAULT,
        no_result: bool = False,
        no_pipelining: bool = False,
        invocation: bytes | None = None,
    ) -> QuestionId:
        """Ask for one method on a reference, or on a path into an answer that may not be there yet.

        Args:
            arguments: Values; a `Promised` in them names an earlier answer, or a reference.
            remaining_ms: Time left for the whole call, from now.
            accept_bytes: The largest result wanted; of a stream, its first credit.
            no_result: An intermediate step: the answer says only that there is a value.
            no_pipelining: No call will name the answer: the subject keeps nothing, and the question
                is over with its `Returned`. Set it for every plain result.
            invocation: The signature that an interactive grant asks for.

        Raises:
            LocalProtocolError: The target, the method or an argument cannot be sent.
            LimitExceeded: The call is larger than a frame may be.
            ConnectionLost: The connection has ended or takes no new questions; nothing was sent.
        """
        if self._has_ended or self._going_away or self._finished or self._released:
            self._check_open()
        question = self._next_question
        flags = (FLAG_NO_RESULT if no_result else 0) | (FLAG_NO_PIPELINING if no_pipelining else 0)
        template = None
        if (
            isinstance(target, int)
            and not arguments
            and accept_bytes == ACCEPT_BYTES_DEFAULT
            and invocation is None
            and (templates := self._templates.get(target)) is not None
        ):
            # A hot loop asks the same again and again: only the question's id is new.
            try:
                template = templates.get((method, remaining_ms, flags))
            except TypeError:
                template = None  # Not hashable, so not sendable either: it is refused below.
        if template is not None and question < template.end:
            self._writer.write_like(template, question)
        else:
            # fmt: off
            self._write_call(
                question, target, method, arguments, remaining_ms, accept_bytes, flags, invocation
            )
            # fmt: on
        self._next_question = next(self._ids)
        self._questions[question] = AWAITING_LAST if no_pipelining else AWAITING
        self.open_questions += 1
        if accept_bytes != ACCEPT_BYTES_DEFAULT:
            self._accepts[question] = accept_bytes
        return question

    def _write_call(
        self,
        question: QuestionId,
        target: Target,
        method: str,
        arguments: Sequence[Argument],
        remaining_ms: int,
        accept_bytes: int,
        flags: int,
        invocation: bytes | None,
    ) -> None:
        """Check a call and write it, or raise."""
        if not (
            type(method) is str
            and type(remaining_ms) is type(accept_bytes) is int
            and 0 < len(method) <= METHOD_CHARACTERS_MAX
            and 0 <= remaining_ms <= REMAINING_MS_MAX
            and 0 <= accept_bytes <= ID_MAX
            and (invocation is None or INVOCATION.accepts(invocation))
        ):
            raise not_sendable(method, remaining_ms, accept_bytes, invocation)
        wire_target = self._wire_target(target)
        checked = self._checked_arguments(arguments) if arguments else _NO_ARGUMENTS
        # fmt: off
        frame = (
            CALL, question, wire_target, method, checked, remaining_ms, accept_bytes, flags,
            invocation,
        )
        # fmt: on
        if arguments or invocation is not None or not method.isascii():
            self._writer.write(frame)
        elif not isinstance(target, int):
            (self._writer.write if target[1] else self._writer.write_short)(frame)
        elif target != BOOTSTRAP and accept_bytes == ACCEPT_BYTES_DEFAULT:
            # The bootstrap is asked once or twice, and never released.
            templates = self._templates.setdefault(target, {})
            if len(templates) == _SHAPES_MAX:
                templates.clear()
            template = self._writer.write_template(frame)
            if template is not None:
                templates[method, remaining_ms, flags] = template
        else:
            self._writer.write_short(frame)

    def finish(self, question: QuestionId) -> None:
        """Give an answer up: it is no longer needed, or no longer wanted.

        After this nothing is heard of the question. A question that is already over may be finished
        again: cancellation and the answer cross, and the caller cannot know.

        Raises:
            LocalProtocolError: The question was never asked.
        """
        if not 0 < question < self._next_question:
            raise LocalProtocolError(
                f"question {question} was never asked; the next one is {self._next_question}"
            )
        state = self._forget(question)
        if state is None:
            return
        if state != RETURNED:
            self.open_questions -= 1
        self._finished.append(question)

    def credit(self, question: QuestionId, size: int) -> None:
        """Let a stream send so many bytes more. A stream that is over needs none.

        Raises:
            LocalProtocolError: Not a number of bytes, or the question was never asked.
        """
        if not 0 < size <= ID_MAX or not 0 < question < self._next_question:
            raise LocalProtocolError(f"credit of {size} bytes for question {question}; check both")
        left = self._credits.get(question)
        if left is not None and not self._has_ended:
            self._credits[question] = left + size
            self._writer.write((CREDIT, question, size))

    def ping(self) -> int:
        """Ask the subject for a sign of life; `Ponged` brings the number that this gives."""
        self._last_ping += 1
        if not self._has_ended:
            self._writer.write((PING, self._last_ping))
        return self._last_ping

    def release(self, export: ExportId) -> None:
        """Give a reference back; once.

        Raises:
            LocalProtocolError: It is not held: never received, or released before.
        """
        if self._has_ended:
            return  # All references ended with the connection; a late `with` block may still exit.
        if export == BOOTSTRAP or export not in self._imports:
            raise LocalProtocolError(f"reference {export} is not held; release each one once")
        self._imports.remove(export)
        self._templates.pop(export, None)
        self._released.append(export)

    def data_to_send(self) -> bytes:
        """Give everything that waits, joined: one send. Empty if nothing does."""
        # FINISH and RELEASE leave last: a call made before them may need what they give up.
        if self._finished or self._released:
            self._write_batches()
        self._last_sent = self._next_question - 1
        return self._writer.take()

    @property
    def next_question(self) -> QuestionId:
        """The id that the next question will have."""
        return self._next_question

    @property
    def waiting_bytes(self) -> int:
        """Bytes that `data_to_send` would give, FINISH and RELEASE not counted."""
        return self._writer.waiting_bytes

    @property
    def kept_answers(self) -> int:
        """Questions with an answer that wait to be finished; 0 at the end, or the caller leaks."""
        return len(self._questions) - self.open_questions

    @property
    def released_waiting(self) -> int:
        """References that were given up, and whose RELEASE has not been written."""
        return len(self._released)

    @property
    def held_references(self) -> int:
        """References not yet released; 0 at the end, or the caller leaks."""
        return len(self._imports - {BOOTSTRAP})

    def _wire_target(self, target: Target) -> WireTarget:
        if isinstance(target, int):
            if target not in self._imports:
                raise LocalProtocolError(
                    f"reference {target} is not held; call on one that came and was not released"
                )
            return target
        question, path = target
        state = self._questions.get(question)
        if state is None or state in (AWAITING_LAST, STREAMING_LAST):
            raise LocalProtocolError(
                f"the answer of question {question} is not kept; ask without no_pipelining, and"
                " finish it after the calls that name it"
            )
        if not path:
            return [question, _NO_PATH]
        if len(path) > self.peer_limits.path_length:
            raise LimitExceeded(
                f"a path of {len(path)} steps; the limit is {self.peer_limits.path_length}"
            )
        # Composed, as the keys are that it leads through.
        wire_target = [question, compose(list(path))]
        if not TARGET.accepts(wire_target):
            raise LocalProtocolError(
                f"{list(path)} is no path; its steps are keys, and indexes from 0 up"
            )
        return wire_target  # type: ignore[return-value]  # `accepts` has just shown it.

    def _checked_arguments(self, arguments: Sequence[Argument]) -> object:
        if all(map(is_sendable_scalar, arguments)):
            return arguments
        given: list[object] = list(arguments)
        for _, _, promised in find_promised(given):
            # Our own mistake is refused here: it would cost the connection there.
            self._wire_target(_to_target(promised.target))
        return outgoing_arguments(given)

    def _check_open(self) -> None:
        """Before a question is written: may it be, and does it need the room we have given up?"""
        if self._has_ended:
            raise ConnectionLost("the connection has ended; reconnect and ask again")
        if self._going_away:
            raise ConnectionLost("the subject is going away; reconnect and ask again")
        if self._finished or self._released:
            limits = self.peer_limits
            if (
                len(self._questions) + len(self._finished) >= limits.answers_retained
                or len(self._imports) + len(self._released) >= limits.exports
            ):
                # Usually they wait for the end of the flight, to share a frame. Here the subject
                # would refuse the call for what we no longer hold.
                self._write_batches()

    def _write_batches(self) -> None:
        if not self._has_ended:
            for kind, ids in ((FINISH, self._finished), (RELEASE, self._released)):
                for start in range(0, len(ids), IDS_PER_FRAME_MAX):
                    self._writer.write((kind, ids[start : start + IDS_PER_FRAME_MAX]))
        self._finished.clear()
        self._released.clear()


def _to_target(target: WireTarget) -> Target:
    if isinstance(target, int):
        return ExportId(target)
    question, path = target
    assert isinstance(question, int)
    assert isinstance(path, list)
    return QuestionId(question), tuple(path)
