"""One answer, from the CALL to its FINISH, and the table of what may happen to it when.

An answer that waits stands in the queue of the answer it is to be called on. Queues are dicts by
id: they keep call order, and a withdrawn call leaves without a search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from psp.errors import CallFailed, Denied, Invalid, Overloaded, Processed
from psp.values import Value

from ._events import Opaque
from ._ids import AnswerId, Path

AnswerState: TypeAlias = Literal[
    "waiting", "waiting_unwanted", "running", "running_unwanted", "kept", "free"
]
AnswerStep: TypeAlias = Literal["start", "settle", "receive_finish", "forget"]

WAITING: Final = "waiting"  # Queued behind another answer.
WAITING_UNWANTED: Final = "waiting_unwanted"  # Finished, but other calls wait for it.
RUNNING: Final = "running"  # The shell has it.
RUNNING_UNWANTED: Final = "running_unwanted"  # Finished: nothing will be sent about it.
KEPT: Final = "kept"  # RETURN was sent; calls may name it until FINISH.
FREE: Final = "free"

# `settle` is any outcome; `forget` is a settled answer that was asked with no_pipelining, or a
# waiting one that nobody wants and nobody waits for. An unwanted answer that others wait for goes
# on: FINISH gives up the answer, not the calls that were made on it.
ANSWER_TRANSITIONS: Final[Mapping[tuple[AnswerState, AnswerStep], AnswerState]] = {
    (WAITING, "start"): RUNNING,
    (WAITING, "settle"): KEPT,
    (WAITING, "receive_finish"): WAITING_UNWANTED,
    (WAITING_UNWANTED, "start"): RUNNING_UNWANTED,
    (WAITING_UNWANTED, "settle"): FREE,
    (WAITING_UNWANTED, "forget"): FREE,
    (RUNNING, "settle"): KEPT,
    (RUNNING, "receive_finish"): RUNNING_UNWANTED,
    (RUNNING_UNWANTED, "settle"): FREE,
    (KEPT, "receive_finish"): FREE,
    (KEPT, "forget"): FREE,
}


class Exported(NamedTuple):
    """An object with the tag of the grant it comes from. Inside a value it is a step's end."""

    object: Opaque
    tag: Opaque


class Answer:
    """What the subject holds for one question."""

    __slots__ = (
        "accept_bytes",
        "answer_id",
        "arguments",
        "body_bytes",
        "deadline_ms",
        "is_retained",
        "kept_bytes",
        "method",
        "outcome",
        "parent",
        "path",
        "queue",
        "result_bytes",
        "state",
        "tag",
        "wants_result",
    )

    # These five are of a waiting call: unset before it is queued, and let go when it starts.
    parent: Answer | None
    path: Path
    method: str
    arguments: list[Value]
    deadline_ms: int

    def __init__(
        self,
        answer_id: AnswerId,
        *,
        body_bytes: int,
        accept_bytes: int,
        wants_result: bool,
        is_retained: bool,
    ) -> None:
        self.answer_id = answer_id
        self.state: AnswerState = RUNNING
        self.body_bytes = body_bytes
        self.accept_bytes = accept_bytes
        self.wants_result = wants_result
        self.is_retained = is_retained
        # Encoded size of the value, and what of it is charged while it is kept.
        self.result_bytes = 0
        self.kept_bytes = 0
        self.tag: Opaque = None
        # A value, an `Exported` or a `CallFailed`, once settled.
        self.outcome: object = None
        # Made with the first call that waits; most answers never need it.
        self.queue: dict[AnswerId, Answer] | None = None

    def advance(self, step: AnswerStep) -> None:
        """Move to the state that the table gives; a pair it does not have is a bug of ours."""
        self.state = ANSWER_TRANSITIONS[self.state, step]

    @property
    def is_unwanted(self) -> bool:
        return self.state == RUNNING_UNWANTED or self.state == WAITING_UNWANTED

    @property
    def is_settled(self) -> bool:
        return self.state == KEPT or self.state == FREE


_NOT_KEPT: Final = "the answer that this call was made on is not kept here; ask that question again"


def not_kept() -> Overloaded:
    """Why a call on an answer that was refused, finished, or too large to keep cannot start.

    `overloaded`, because a refusal for lack of room is the only case a careful controller meets,
    and a failed answer fails its dependents with its own code.
    """
    return Overloaded(_NOT_KEPT)


def resolve_path(outcome: object, path: Path) -> Exported | CallFailed:
    """Walk from an answer's outcome to the object that a call is made on.

    Only keys of maps and indexes of lists are steps; never an attribute of anything.
    """
    if isinstance(outcome, CallFailed):
        # It never started, whatever its parent did. A new object: each is raised on its own.
        return type(outcome)(
            str(outcome), processed=Processed.NO, correlation_id=outcome.correlation_id
        )
    found = outcome
    for step in path:
        # `Exported` is a tuple, but not a list: no step leads into an object.
        if type(found) is dict and type(step) is str and step in found:
            found = found[step]
            continue
        if type(found) is list and type(step) is int and step < len(found):
            found = found[step]
            continue
        return Denied()  # "Not there" and "not allowed" look the same.
    if isinstance(found, Exported):
        return found
    return Invalid("the path leads to a plain value; a call needs an object, so await the value")
