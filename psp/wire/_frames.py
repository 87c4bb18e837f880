"""The frames of PSP/1: one table, from which each role's decoder and the tables of docs/protocol.md
are made.

The diode is this table. A frame kind has one sender, a role's decoder is built from the other
role's kinds, and no kind sent by a subject can name an object of the controller or ask for a thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from psp.errors import CALL_FAILURES
from psp.values import Value

from ._limits import (
    ARCHIVE_ID_BYTES,
    CORRELATION_CHARACTERS_MAX,
    HELLO_ITEMS_MAX,
    ID_MAX,
    IDS_PER_FRAME_MAX,
    METHOD_CHARACTERS_MAX,
    REMAINING_MS_MAX,
    TEXT_CHARACTERS_MAX,
)
from ._value import check_value

VERSION: Final = 1

STATUS_VALUE: Final = 0
STATUS_REFERENCE: Final = 1
STATUS_ERROR: Final = 2

FLAG_NO_RESULT: Final = 1
"""The value is not sent, only that there is one: an intermediate step."""
FLAG_NO_PIPELINING: Final = 2
"""No call will name this answer: the subject forgets it once sent, and no FINISH follows."""


class Role(Enum):
    """Fixed for a connection's life: the controller dials and asks, the subject answers."""

    CONTROLLER = "controller"
    SUBJECT = "subject"


class AbortCode:
    """Why a side ends the connection. A number that is not here is still an abort."""

    PROTOCOL: Final = 1
    VERSION: Final = 2
    CLOSING: Final = 3


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
    arguments: list[Value]
    remaining_ms: int
    accept_bytes: int
    flags: int


class Finish(NamedTuple):
    kind: int
    questions: list[int]


class Release(NamedTuple):
    kind: int
    exports: list[int]


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


Frame: TypeAlias = (
    ControllerHello | Present | Call | Finish | Release | Abort | SubjectHello | Return | GoAway
)


class FieldType(NamedTuple):
    """What may stand in one place of a frame, in words and as a predicate."""

    words: str
    accepts: Callable[[object], bool]


def _is_id(found: object) -> bool:
    return type(found) is int and 0 < found <= ID_MAX


def _is_id_or_zero(found: object) -> bool:
    return type(found) is int and 0 <= found <= ID_MAX


def _is_id_list(found: object) -> bool:
    return type(found) is list and 0 < len(found) <= IDS_PER_FRAME_MAX and all(map(_is_id, found))


def _is_target(found: object) -> bool:
    if type(found) is int:
        return 0 <= found <= ID_MAX
    # Each step is text or an index. How many there may be is a limit, and answered as one.
    return (
        type(found) is list
        and len(found) == 2
        and _is_id(found[0])
        and type(found[1]) is list
        and all(type(step) is str or _is_id_or_zero(step) for step in found[1])
    )


def _is_method(found: object) -> bool:
    return type(found) is str and 0 < len(found) <= METHOD_CHARACTERS_MAX


def _is_value(found: object) -> bool:
    check_value(found)
    return True


def _is_arguments(found: object) -> bool:
    # Most calls of a hot loop have no arguments.
    return type(found) is list and (not found or _is_value(found))


def _is_remaining(found: object) -> bool:
    return type(found) is int and 0 <= found <= REMAINING_MS_MAX


def _is_flags(found: object) -> bool:
    return type(found) is int and 0 <= found <= FLAG_NO_RESULT | FLAG_NO_PIPELINING


def _is_status(found: object) -> bool:
    return type(found) is int and STATUS_VALUE <= found <= STATUS_ERROR


def _is_bytes(found: object) -> bool:
    return type(found) is bytes


def _is_text(found: object) -> bool:
    return type(found) is str and len(found) <= TEXT_CHARACTERS_MAX


def _is_versions(found: object) -> bool:
    return type(found) is list and 0 < len(found) <= HELLO_ITEMS_MAX and all(map(_is_id, found))


def _is_features(found: object) -> bool:
    return type(found) is list and len(found) <= HELLO_ITEMS_MAX and all(map(_is_method, found))


def _is_limits(found: object) -> bool:
    return (
        type(found) is dict
        and len(found) <= HELLO_ITEMS_MAX
        and all(_is_method(name) and _is_id(limit) for name, limit in found.items())
    )


def _is_archive_id(found: object) -> bool:
    return type(found) is bytes and len(found) == ARCHIVE_ID_BYTES


ID: Final = FieldType("integer, 1 to 2⁶³-1", _is_id)
ID_OR_ZERO: Final = FieldType("integer, 0 to 2⁶³-1", _is_id_or_zero)
ID_LIST: Final = FieldType(f"list of 1 to {IDS_PER_FRAME_MAX} ids", _is_id_list)
TARGET: Final = FieldType("export id, or `[question, [text or index, …]]`", _is_target)
METHOD: Final = FieldType(f"text, 1 to {METHOD_CHARACTERS_MAX} characters", _is_method)
VALUE: Final = FieldType("any value", _is_value)
ARGUMENTS: Final = FieldType("list of values", _is_arguments)
REMAINING: Final = FieldType(f"integer, 0 to {REMAINING_MS_MAX}", _is_remaining)
FLAGS: Final = FieldType("1 no result wanted, 2 no pipelining, or their sum", _is_flags)
STATUS: Final = FieldType("0 value, 1 reference, 2 error", _is_status)
TOKEN: Final = FieldType("bytes", _is_bytes)
TEXT: Final = FieldType(f"text, at most {TEXT_CHARACTERS_MAX} characters", _is_text)
VERSIONS: Final = FieldType(f"list of 1 to {HELLO_ITEMS_MAX} integers", _is_versions)
FEATURES: Final = FieldType(f"list of at most {HELLO_ITEMS_MAX} names", _is_features)
LIMITS: Final = FieldType(f"map of at most {HELLO_ITEMS_MAX} names to integers", _is_limits)
ARCHIVE_ID: Final = FieldType(f"{ARCHIVE_ID_BYTES} bytes", _is_archive_id)
INSTANT: Final = FieldType("instant", lambda found: type(found) is datetime)


def _return_agrees(frame: list[object]) -> bool:
    """A RETURN's payload has the form that its status says."""
    _, _, status, payload = frame
    if status == STATUS_VALUE:
        return True
    if status == STATUS_REFERENCE:
        return _is_id(payload)
    if type(payload) is not list or len(payload) != 4:
        return False
    code, processed, correlation_id, text = payload
    return (
        type(code) is int
        and code in CALL_FAILURES
        and type(processed) is int
        and 0 <= processed <= 2
        and type(correlation_id) is str
        and len(correlation_id) <= CORRELATION_CHARACTERS_MAX
        and _is_text(text)
    )


class FrameShape(NamedTuple):
    """One row of the table.

    Attributes:
        make: Builds the frame from all its places, the kind first.
        fields: The places after the kind, in order.
        agrees: What holds between fields; None if nothing does.
        says: One sentence, told by the sender.
    """

    kind: int
    name: str
    sender: Role
    make: Callable[[Iterable[object]], Frame]
    fields: tuple[tuple[str, FieldType], ...]
    says: str
    agrees: Callable[[list[object]], bool] | None = None


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
        ),
        "Do this on that object, within this time, and return at most so much.",
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
        "The answer: a value, an export id, or `[code, processed, correlation id, text]`.",
        _return_agrees,
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
)

CONTROLLER_HELLO, PRESENT, CALL, FINISH, RELEASE, CONTROLLER_ABORT = 0, 1, 2, 3, 4, 7
SUBJECT_HELLO, RETURN, GOAWAY, SUBJECT_ABORT = 16, 17, 18, 19


def receivable_by(role: Role) -> Mapping[int, FrameShape]:
    """Give the kinds that a role may receive: those the other one sends."""
    return {shape.kind: shape for shape in FRAMES if shape.sender is not role}
