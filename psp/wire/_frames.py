"""The frames of PSP/1: one table, from which each role's decoder and the tables of docs/protocol.md
are made.

The diode is this table. A frame kind has one sender, a role's decoder is built from the other
role's kinds, and no kind sent by a subject can name an object of the controller or ask for a thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from psp.values import Value

from ._fields import (
    ARCHIVE_ID,
    ARGUMENTS,
    END_FAILURE,
    FAILURE,
    FEATURES,
    FLAG_NO_PIPELINING,
    FLAG_NO_RESULT,
    FLAGS,
    ID,
    ID_LIST,
    ID_OR_ZERO,
    INSTANT,
    INVOCATION,
    LIMITS,
    METHOD,
    RAW,
    REMAINING,
    STATUS,
    STATUS_ERROR,
    STATUS_REFERENCE,
    STATUS_VALUE,
    TARGET,
    TEXT,
    TOKEN,
    VALUE,
    VERSIONS,
    FieldType,
)
from ._limits import ID_MAX, METHOD_CHARACTERS_MAX, REMAINING_MS_MAX
from ._value import PLAIN, Promised, is_sendable_scalar

VERSION: Final = 1


class Role(Enum):
    """Fixed for a connection's life: the controller dials and asks, the subject answers."""

    CONTROLLER = "controller"
    SUBJECT = "subject"


class AbortCode:
    """Why a side ends the connection. A number that is not here is still an abort."""

    PROTOCOL: Final = 1
    VERSION: Final = 2
    CLOSING: Final = 3
    LIMIT: Final = 4


# Wire form of a target: an export id, or [question, [steps]].
WireTarget: TypeAlias = "int | list[int | list[str | int]]"


class ControllerHello(NamedTuple):
    kind: int
    versions: list[int]
    limits: dict[str, int]
    features: list[str]


class Present(NamedTuple):
    kind: int
    question: int
    token: bytes


class Call(NamedTuple):
    kind: int
    question: int
    target: WireTarget
    method: str
    arguments: list[Value | Promised]
    remaining_ms: int
    accept_bytes: int
    flags: int
    invocation: bytes | None = None


class Finish(NamedTuple):
    kind: int
    questions: list[int]


class Release(NamedTuple):
    kind: int
    exports: list[int]


class Credit(NamedTuple):
    kind: int
    question: int
    bytes: int


class Ping(NamedTuple):
    kind: int
    number: int


class Abort(NamedTuple):
    kind: int
    code: int
    text: str


class SubjectHello(NamedTuple):
    kind: int
    version: int
    limits: dict[str, int]
    features: list[str]
    archive_id: bytes
    archive_time: datetime


class Return(NamedTuple):
    kind: int
    question: int
    status: int
    payload: Value


class GoAway(NamedTuple):
    kind: int
    last_question: int


class End(NamedTuple):
    kind: int
    question: int
    failure: list[Value] | None


class Pong(NamedTuple):
    kind: int
    number: int


class Chunk(NamedTuple):
    kind: int
    question: int
    data: bytes


ControllerFrame: TypeAlias = (
    ControllerHello | Present | Call | Finish | Release | Credit | Ping | Abort
)
SubjectFrame: TypeAlias = SubjectHello | Return | GoAway | Abort | End | Pong | Chunk
Frame: TypeAlias = ControllerFrame | SubjectFrame

Places: TypeAlias = list[Any]
"""The places of one frame, the kind first, each checked against its row of the table. What the
reader gives to a core: building a named tuple of it would cost a tenth of a null call."""


_PAYLOADS: Final[Mapping[int, FieldType]] = {STATUS_REFERENCE: ID, STATUS_ERROR: FAILURE}


def _return_agrees(frame: Places) -> bool:
    """A RETURN's payload has the form that its status says; any value fits the other two."""
    _, _, status, payload = frame
    form = _PAYLOADS.get(status)
    return form is None or form.accepts(payload)


_FLAGS_MAX: Final = FLAG_NO_RESULT | FLAG_NO_PIPELINING

# The two frames of a hot loop have a shortcut: one function in place of one for each field. It says
# yes only to what the table allows (a property test compares them), and no costs nothing but time.


def _is_plain_call(frame: object) -> bool:
    if type(frame) is not list or len(frame) != 9:
        return False
    kind, question, target, method, arguments, remaining_ms, accept_bytes, flags, invocation = frame
    return (
        type(kind) is type(question) is type(remaining_ms) is type(accept_bytes) is int
        and kind == CALL
        and 0 < question <= ID_MAX
        and (0 <= target <= ID_MAX if type(target) is int else TARGET.accepts(target))
        and type(method) is str
        and 0 < len(method) <= METHOD_CHARACTERS_MAX
        and type(arguments) is list
        and 0 <= remaining_ms <= REMAINING_MS_MAX
        and 0 <= accept_bytes <= ID_MAX
        and type(flags) is int
        and 0 <= flags <= _FLAGS_MAX
        and invocation is None
        and (not arguments or all(map(is_sendable_scalar, arguments)))
    )


def _is_plain_return(frame: object) -> bool:
    if type(frame) is not list or len(frame) != 4:
        return False
    kind, question, status, payload = frame
    return (
        type(kind) is type(question) is type(status) is int
        and kind == RETURN
        and 0 < question <= ID_MAX
        and (
            (status == STATUS_VALUE and (type(payload) in PLAIN or is_sendable_scalar(payload)))
            or (status == STATUS_REFERENCE and type(payload) is int and 0 < payload <= ID_MAX)
        )
    )


class FrameShape(NamedTuple):
    """One row of the table.

    Attributes:
        make: Builds the frame from all its places, the kind first.
        fields: The places after the kind, in order.
        agrees: What holds between fields; None if nothing does.
        is_plain: A shortcut past all other checks, for the kind that a role receives most.
        says: One sentence, told by the sender.
    """

    kind: int
    name: str
    sender: Role
    make: Callable[[Iterable[Any]], Frame]
    fields: tuple[tuple[str, FieldType], ...]
    says: str
    agrees: Callable[[Places], bool] | None = None
    is_plain: Callable[[object], bool] | None = None


_C: Final = Role.CONTROLLER
_S: Final = Role.SUBJECT

FRAMES: Final[tuple[FrameShape, ...]] = (
    FrameShape(
        0,
        "HELLO",
        _C,
        ControllerHello._make,
        (("versions", VERSIONS), ("limits", LIMITS), ("features", FEATURES)),
        "These versions I speak; these limits I raise; these features I have.",
    ),
    FrameShape(
        1,
        "PRESENT",
        _C,
        Present._make,
        (("question", ID), ("token", TOKEN)),
        "Here is a grant; answer with a reference to what it allows.",
    ),
    FrameShape(
        2,
        "CALL",
        _C,
        Call._make,
        (
            ("question", ID),
            ("target", TARGET),
            ("method", METHOD),
            ("arguments", ARGUMENTS),
            ("remaining_ms", REMAINING),
            ("accept_bytes", ID_OR_ZERO),
            ("flags", FLAGS),
            ("invocation", INVOCATION),
        ),
        "Do this on that object, within this time, and return at most so much.",
        is_plain=_is_plain_call,
    ),
    FrameShape(
        3,
        "FINISH",
        _C,
        Finish._make,
        (("questions", ID_LIST),),
        "I need these answers no more; stop what nobody waits for.",
    ),
    FrameShape(
        4,
        "RELEASE",
        _C,
        Release._make,
        (("exports", ID_LIST),),
        "I give these references back.",
    ),
    FrameShape(
        5,
        "CREDIT",
        _C,
        Credit._make,
        (("question", ID), ("bytes", ID)),
        "Of this stream I can take so many bytes more.",
    ),
    FrameShape(
        6,
        "PING",
        _C,
        Ping._make,
        (("number", ID_OR_ZERO),),
        "Say this number back, so that I know you live.",
    ),
    FrameShape(
        7,
        "ABORT",
        _C,
        Abort._make,
        (("code", ID), ("text", TEXT)),
        "This connection is over, for this reason.",
    ),
    FrameShape(
        16,
        "HELLO",
        _S,
        SubjectHello._make,
        (
            ("version", ID),
            ("limits", LIMITS),
            ("features", FEATURES),
            ("archive_id", ARCHIVE_ID),
            ("archive_time", INSTANT),
        ),
        "This version we speak; I am this archive, and my clock says this.",
    ),
    FrameShape(
        17,
        "RETURN",
        _S,
        Return._make,
        (("question", ID), ("status", STATUS), ("payload", VALUE)),
        "The answer: a value, an export id, an error, or the header of a stream.",
        _return_agrees,
        _is_plain_return,
    ),
    FrameShape(
        18,
        "GOAWAY",
        _S,
        GoAway._make,
        (("last_question", ID_OR_ZERO),),
        "Questions after this one were not started and will not be.",
    ),
    FrameShape(
        19,
        "ABORT",
        _S,
        Abort._make,
        (("code", ID), ("text", TEXT)),
        "This connection is over, for this reason.",
    ),
    FrameShape(
        20,
        "END",
        _S,
        End._make,
        (("question", ID), ("failure", END_FAILURE)),
        "The stream is complete, or was cut short by this error.",
    ),
    FrameShape(
        21,
        "PONG",
        _S,
        Pong._make,
        (("number", ID_OR_ZERO),),
        "I live; you said this number.",
    ),
    FrameShape(
        0xC1,
        "CHUNK",
        _S,
        Chunk._make,
        (("question", ID), ("data", RAW)),
        "The next bytes of this stream. Not MessagePack: the byte 0xC1, the question in eight"
        " bytes, big-endian, then the data.",
    ),
)

CONTROLLER_HELLO, PRESENT, CALL, FINISH, RELEASE, CREDIT, PING, CONTROLLER_ABORT = range(8)
SUBJECT_HELLO, RETURN, GOAWAY, SUBJECT_ABORT, END, PONG = range(16, 22)
CHUNK: Final = 0xC1


def receivable_by(role: Role) -> Mapping[int, FrameShape]:
    """Give the kinds that a role may receive: those the other one sends."""
    return {shape.kind: shape for shape in FRAMES if shape.sender is not role}
