"""What a subject's events say, in a form that compares: the handles themselves have no equality."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from psp.errors import CallFailed, Processed
from psp.rpc import (
    Answer,
    CallReady,
    Cancelled,
    ControllerEvent,
    Opaque,
    PresentReceived,
    Returned,
    Subject,
    SubjectEvent,
)
from psp.testing import Pair
from psp.testing._pair import ARCHIVE_ID
from psp.wire import INITIAL_LIMITS, FrameWriter, Limits


class Ready(NamedTuple):
    """A `CallReady`, by all that its handler is given."""

    answer_id: int
    object: Opaque
    method: str = "m"
    arguments: tuple[Opaque, ...] = ()
    deadline_ms: int = 9
    grant_tag: Opaque = None
    invocation: bytes | None = None


class Shown(NamedTuple):
    """A `PresentReceived`."""

    answer_id: int
    token: bytes


class GivenUp(NamedTuple):
    """A `Cancelled`."""

    answer_id: int


def _said(event: SubjectEvent) -> object:
    match event:
        case CallReady():
            return Ready(
                event.answer_id,
                event.object,
                event.method,
                tuple(event.arguments),
                event.deadline_ms,
                event.grant_tag,
                event.invocation,
            )
        case PresentReceived():
            return Shown(event.answer_id, event.token)
        case Cancelled(call):
            return GivenUp(call.answer_id)
        case aborted:
            return aborted


def seen(events: Iterable[SubjectEvent]) -> list[object]:
    """Say what each event says."""
    return [_said(event) for event in events]


def ids(events: Iterable[SubjectEvent]) -> list[int]:
    """Give the answer ids of calls that became ready; there is nothing else among the events."""
    found = []
    for event in events:
        assert isinstance(event, CallReady)
        found.append(int(event.answer_id))
    return found


def handles(events: Iterable[SubjectEvent]) -> list[Answer]:
    """Give the answers that a shell would now work on."""
    return [event for event in events if isinstance(event, Answer)]


def arriving(pair: Pair) -> list[Answer]:
    """Carry what was asked, settle nothing of it at once, and give the handles."""
    return handles(pair.carry_to_subject())


def greeted(limits: Limits = INITIAL_LIMITS) -> Pair:
    pair = Pair(subject=Subject(ARCHIVE_ID, bootstrap="bootstrap", limits=limits))
    pair.greet()
    return pair


def over(**limits: int) -> Pair:
    """A pair whose subject allows less than PSP/1 does."""
    return greeted(INITIAL_LIMITS._replace(**limits))


def failures(events: Iterable[ControllerEvent]) -> list[tuple[int, type, Processed]]:
    found = []
    for event in events:
        if isinstance(event, Returned) and isinstance(event.payload, CallFailed):
            found.append((int(event.question), type(event.payload), event.payload.processed))
    return found


def written(*frames: tuple[object, ...]) -> bytes:
    """Frames as a peer would send them that is not ours."""
    writer = FrameWriter()
    for frame in frames:
        writer.write(frame)
    return writer.take()
