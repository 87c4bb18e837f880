"""What a core tells its shell. Tuples: a frozen dataclass for each costs a tenth of all calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from psp.errors import CallFailed
from psp.values import Value
from psp.wire import STATUS_ERROR, STATUS_REFERENCE, STATUS_VALUE

from ._ids import AnswerId, ExportId, QuestionId

Opaque: TypeAlias = object
"""Something of the shell's that the core only carries: an exposed object, the tag of a grant."""

VALUE: Final = STATUS_VALUE
REFERENCE: Final = STATUS_REFERENCE
ERROR: Final = STATUS_ERROR


class HelloReceived(NamedTuple):
    """The subject has introduced itself. Its archive id is a claim: the shell compares it with the
    pairing record."""

    version: int
    limits: Mapping[str, int]
    features: Sequence[str]
    archive_id: bytes
    archive_time: datetime


class Returned(NamedTuple):
    """A question has ended. It comes exactly once for each question that was not finished first.

    Attributes:
        question: The question; unless it was asked with `no_pipelining`, `finish` it in the end.
        status: VALUE, REFERENCE or ERROR.
        payload: For VALUE the value, for REFERENCE an `ExportId` to release in the end, for ERROR
            a `CallFailed` (new for each question, so that it can be raised).
    """

    question: QuestionId
    status: int
    payload: Value | ExportId | CallFailed


class GoingAway(NamedTuple):
    """The subject takes no new questions. Those above `last_question` have already ended with
    `processed: no`; the others may still be answered."""

    last_question: int


class Aborted(NamedTuple):
    """The connection is over because somebody broke the protocol or gave up; always the last event.

    Attributes:
        by_peer: The peer said so. Otherwise we do, and `data_to_send` has the frame that tells it.
    """

    code: int
    text: str
    by_peer: bool = True


class PresentReceived(NamedTuple):
    """The controller shows a token. Answer with `resolve_object` or `fail`."""

    answer_id: AnswerId
    token: bytes


class CallReady(NamedTuple):
    """A call can start. Answer once with `resolve_value`, `resolve_object` or `fail`.

    Attributes:
        object: What the call is made on, as it was given to `resolve_object` (or the bootstrap).
        arguments: Decoded and within the limits; nothing else is checked about them.
        deadline_ms: The `now_ms` of the `receive` that brought the call, plus its remaining time.
            Time spent waiting behind another answer counts.
        grant_tag: The grant that the target came from; None for the bootstrap.
    """

    answer_id: AnswerId
    object: Opaque
    method: str
    arguments: list[Value]
    deadline_ms: int
    grant_tag: Opaque


class Cancelled(NamedTuple):
    """Nobody waits for this answer any more: stop the handler. Its slot is free only when the
    answer is resolved or failed, as always; nothing will be sent."""

    answer_id: AnswerId


ControllerEvent: TypeAlias = HelloReceived | Returned | GoingAway | Aborted
SubjectEvent: TypeAlias = PresentReceived | CallReady | Cancelled | Aborted
