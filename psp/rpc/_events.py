"""What a core tells its shell. Tuples: a frozen dataclass for each costs a tenth of all calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from psp.errors import CallFailed
from psp.values import Value
from psp.wire import STATUS_ERROR, STATUS_REFERENCE, STATUS_STREAM, STATUS_VALUE

from ._answers import Answer, CallReady, PresentReceived
from ._ids import ExportId, QuestionId

VALUE: Final = STATUS_VALUE
REFERENCE: Final = STATUS_REFERENCE
ERROR: Final = STATUS_ERROR
STREAM: Final = STATUS_STREAM


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
        status: VALUE, REFERENCE, ERROR or STREAM.
        payload: For VALUE the value, for REFERENCE an `ExportId` to release in the end, for ERROR
            a `CallFailed` (new for each question, so that it can be raised), for STREAM the header
            of what follows as `ChunkReceived` and `StreamEnded`.
    """

    question: QuestionId
    status: int
    payload: Value | ExportId | CallFailed


class ChunkReceived(NamedTuple):
    """The next bytes of a stream; between its `Returned` and its `StreamEnded`."""

    question: QuestionId
    data: bytes


class StreamEnded(NamedTuple):
    """A stream has ended, once. `failure` is None if it is complete."""

    question: QuestionId
    failure: CallFailed | None


class Ponged(NamedTuple):
    """The subject lives: it has said the number of a `ping` back."""

    number: int


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


class Cancelled(NamedTuple):
    """Nobody waits for this answer any more: stop the handler. Its slot is free only when the
    answer is resolved or failed, as always; nothing will be sent."""

    call: Answer


class Paused(NamedTuple):
    """Many frames have come that ask for nothing (pings, credits, refused calls): a shell lets its
    other connections have a turn before it goes on."""


ControllerEvent: TypeAlias = (
    HelloReceived | Returned | ChunkReceived | StreamEnded | Ponged | GoingAway | Aborted
)
SubjectEvent: TypeAlias = PresentReceived | CallReady | Cancelled | Paused | Aborted
