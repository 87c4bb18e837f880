"""One answer, from the PRESENT or CALL to its FINISH, and the table of what may happen to it when.

What the shell is handed, `CallReady` or `PresentReceived`, *is* the subject's record of the
question: most calls are settled before the next frame is looked at, and need no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from psp.errors import CallFailed, Denied, Invalid, Overloaded, Processed
from psp.wire import FLAG_NO_PIPELINING, FLAG_NO_RESULT

from ._ids import AnswerId, Path

Opaque: TypeAlias = object
"""Something of the shell's that the core only carries: an exposed object, the tag of a grant."""

AnswerState: TypeAlias = Literal[
    "waiting", "waiting_unwanted", "running", "running_unwanted", "streaming", "kept", "free"
]
AnswerStep: TypeAlias = Literal["start", "open_stream", "settle", "receive_finish", "forget"]

WAITING: Final = "waiting"  # For the answers that its target and its arguments name.
WAITING_UNWANTED: Final = "waiting_unwanted"  # Finished, but other calls wait for it.
RUNNING: Final = "running"  # The shell has it.
RUNNING_UNWANTED: Final = "running_unwanted"  # Finished: nothing will be sent about it.
STREAMING: Final = "streaming"  # The RETURN has named a stream; its END has not been sent.
KEPT: Final = "kept"  # RETURN was sent; calls may name it until FINISH.
FREE: Final = "free"

# `settle` is any outcome, a stream's END included; `forget` is a settled answer that was asked with
# no_pipelining, or a waiting one that nobody wants and nobody waits for. An unwanted answer that
# others wait for goes on: FINISH gives up the answer, not the calls that were made on it.
ANSWER_TRANSITIONS: Final[Mapping[tuple[AnswerState, AnswerStep], AnswerState]] = {
    (WAITING, "start"): RUNNING,
    (WAITING, "settle"): KEPT,
    (WAITING, "receive_finish"): WAITING_UNWANTED,
    (WAITING_UNWANTED, "start"): RUNNING_UNWANTED,
    (WAITING_UNWANTED, "settle"): FREE,
    (WAITING_UNWANTED, "forget"): FREE,
    (RUNNING, "settle"): KEPT,
    (RUNNING, "open_stream"): STREAMING,
    (RUNNING, "receive_finish"): RUNNING_UNWANTED,
    (RUNNING_UNWANTED, "settle"): FREE,
    (RUNNING_UNWANTED, "open_stream"): RUNNING_UNWANTED,
    (STREAMING, "settle"): KEPT,
    (STREAMING, "receive_finish"): RUNNING_UNWANTED,
    (KEPT, "receive_finish"): FREE,
    (KEPT, "forget"): FREE,
}


class Exported:
    """An object with the tag of the grant it comes from; in a value, the end of a path.

    Attributes:
        line: Calls on it that wait for an argument, and those behind them: calls on one reference
            enter in the order in which they came. None or empty for most.
    """

    __slots__ = ("line", "object", "tag")

    def __init__(self, object: Opaque, tag: Opaque) -> None:
        self.object = object
        self.tag = tag
        self.line: dict[AnswerId, CallReady] | None = None


class Need(NamedTuple):
    """What one unsettled answer owes to a waiting call.

    Attributes:
        container: Where it goes: the call's arguments or a list or map in them; None for the
            target.
        key: The index or key there.
    """

    container: Any
    key: Any
    path: Path


class Answer:
    """What the subject holds for one question."""

    __slots__ = (
        "accept_bytes",
        "answer_id",
        "body_bytes",
        "flags",
        "grant_tag",
        "is_admitted",
        "is_cancelled",
        "is_in_grant",
        "kept_bytes",
        "outcome",
        "queue",
        "result_bytes",
        "state",
        "unsent",
    )

    answer_id: AnswerId
    accept_bytes: int
    flags: int
    grant_tag: Opaque
    state: AnswerState
    is_admitted: bool
    """It stands in the table; a call that is settled at once never does."""
    unsent: int
    """Of a stream: bytes that were offered and have not left."""
    result_bytes: int
    """Of a value: its encoded size."""

    # From here on unset until it is admitted.
    body_bytes: int
    """Of the frame that asked, and of the values that were put into its arguments since."""
    kept_bytes: int
    outcome: object
    """A value, an `Exported` or a `CallFailed`, once settled."""
    queue: dict[AnswerId, CallReady] | None
    """Calls that wait for it, by id: they keep call order, and leave without a search."""
    is_cancelled: bool
    is_in_grant: bool

    def admit(self, body_bytes: int) -> None:
        """Set what only an answer in the table has."""
        self.is_admitted = True
        self.body_bytes = body_bytes
        self.kept_bytes = 0
        self.outcome = self.queue = None
        self.is_cancelled = self.is_in_grant = False

    def advance(self, step: AnswerStep) -> None:
        """Move to the state that the table gives; a pair it does not have is a bug of ours."""
        self.state = ANSWER_TRANSITIONS[self.state, step]

    @property
    def wants_result(self) -> bool:
        return not self.flags & FLAG_NO_RESULT

    @property
    def is_retained(self) -> bool:
        return not self.flags & FLAG_NO_PIPELINING

    @property
    def is_unwanted(self) -> bool:
        return self.state == RUNNING_UNWANTED or self.state == WAITING_UNWANTED

    @property
    def is_settled(self) -> bool:
        return self.state == KEPT or self.state == FREE


class PresentReceived(Answer):
    """The controller shows a token. Answer with `resolve_object` or `fail`."""

    __slots__ = ("token",)

    def __init__(self, answer_id: AnswerId, token: bytes, accept_bytes: int) -> None:
        self.answer_id = answer_id
        self.token = token
        self.accept_bytes = accept_bytes
        self.flags = 0
        self.grant_tag = None
        self.state = RUNNING
        self.is_admitted = False
        self.unsent = self.result_bytes = 0


class CallReady(Answer):
    """A call can start. Answer once with `resolve_value`, `resolve_object`, `open_stream` or
    `fail`.

    Attributes:
        object: What the call is made on, as it was given to `resolve_object` (or the bootstrap).
        arguments: Decoded and within the limits; nothing else is checked about them. Where the
            caller named an answer stands its value, or its object itself.
        deadline_ms: The `now_ms` of the `receive` that brought the call, plus its remaining time.
            Time spent waiting behind another answer counts.
        grant_tag: The grant that the target came from; None for the bootstrap.
        invocation: The signature of an interactive holder, unchecked; None for most.
    """

    __slots__ = (
        "argument_tags",
        "arguments",
        "deadline_ms",
        "exported",
        "invocation",
        "method",
        "named_nodes",
        "needs",
        "object",
        "objects",
    )

    exported: Exported | None
    """The target, once known. Unset, like the next four, for a call that starts at once."""
    needs: dict[AnswerId, tuple[Answer, list[Need]]]
    """The unsettled answers that a waiting call needs, by id."""
    argument_tags: list[Opaque]
    named_nodes: int
    """Values and keys that named answers have put into the arguments."""
    objects: list[tuple[Need, Opaque]]
    """What is put into the arguments when the call starts. Until then its names stand there, so
    that the values among them can be checked like any."""

    def __init__(
        self,
        answer_id: AnswerId,
        object: Opaque,
        method: str,
        arguments: list[Any],
        deadline_ms: int,
        grant_tag: Opaque,
        invocation: bytes | None,
        accept_bytes: int,
        flags: int,
    ) -> None:
        self.answer_id = answer_id
        self.object = object
        self.method = method
        self.arguments = arguments
        self.deadline_ms = deadline_ms
        self.grant_tag = grant_tag
        self.invocation = invocation
        self.accept_bytes = accept_bytes
        self.flags = flags
        self.state = RUNNING
        self.is_admitted = False
        self.unsent = self.result_bytes = 0


_SEQUENCES: Final = frozenset({list, tuple})

_NOT_KEPT: Final = "the answer that this call was made on is not kept here; ask that question again"


def not_kept() -> Overloaded:
    """Why a call on an answer that was refused, finished, or too large to keep cannot start.

    `overloaded`, because a refusal for lack of room is the only case a careful controller meets,
    and a failed answer fails its dependents with its own code.
    """
    return Overloaded(_NOT_KEPT)


def not_callable() -> Invalid:
    return Invalid("the path leads to a plain value; a call needs an object, so await the value")


def stream_not_nameable() -> Invalid:
    return Invalid("the answer is a stream, which no call can name; read it")


def walk(outcome: object, path: Path) -> object:
    """Walk from an answer's outcome along a path: to a value, an `Exported`, or a `CallFailed`.

    Only keys of maps and indexes of lists are steps; never an attribute of anything.
    """
    if isinstance(outcome, CallFailed):
        # It never started, whatever its parent did. A new object: each is raised on its own.
        return type(outcome)(
            str(outcome), processed=Processed.NO, correlation_id=outcome.correlation_id
        )
    found: Any = outcome
    for step in path:
        if type(found) is dict and type(step) is str and step in found:
            found = found[step]
            continue
        if type(found) in _SEQUENCES and type(step) is int and step < len(found):
            found = found[step]
            continue
        return Denied()  # "Not there" and "not allowed" look the same.
    return found
