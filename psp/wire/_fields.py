"""What may stand in one place of a frame: words for the document, a predicate for the code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from psp.errors import CALL_FAILURES

from ._limits import (
    ARCHIVE_ID_BYTES,
    CHUNK_BYTES_MAX,
    CORRELATION_CHARACTERS_MAX,
    HELLO_ITEMS_MAX,
    ID_MAX,
    IDS_PER_FRAME_MAX,
    INVOCATION_BYTES_MAX,
    METHOD_CHARACTERS_MAX,
    REMAINING_MS_MAX,
    TEXT_CHARACTERS_MAX,
)
from ._value import check_arguments, check_value

STATUS_VALUE: Final = 0
STATUS_REFERENCE: Final = 1
STATUS_ERROR: Final = 2
STATUS_STREAM: Final = 3

FLAG_NO_RESULT: Final = 1
"""The value is not sent, only that there is one: an intermediate step."""
FLAG_NO_PIPELINING: Final = 2
"""No call will name this answer: the subject forgets it once sent, and no FINISH follows."""


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
    if type(found) is not list or len(found) != 2:
        return False
    asked, path = found
    # Each step is text or an index. How many there may be is a limit, and answered as one.
    return (
        type(asked) is int
        and 0 < asked <= ID_MAX
        and type(path) is list
        and (not path or all(type(step) is str or _is_id_or_zero(step) for step in path))
    )


def _is_method(found: object) -> bool:
    return type(found) is str and 0 < len(found) <= METHOD_CHARACTERS_MAX


def _is_value(found: object) -> bool:
    check_value(found)
    return True


def _is_arguments(found: object) -> bool:
    if type(found) is not list:
        return False
    check_arguments(found)
    return True


def _is_remaining(found: object) -> bool:
    return type(found) is int and 0 <= found <= REMAINING_MS_MAX


def _is_flags(found: object) -> bool:
    return type(found) is int and 0 <= found <= FLAG_NO_RESULT | FLAG_NO_PIPELINING


def _is_status(found: object) -> bool:
    return type(found) is int and STATUS_VALUE <= found <= STATUS_STREAM


def _is_bytes(found: object) -> bool:
    return type(found) is bytes


def _is_text(found: object) -> bool:
    return type(found) is str and len(found) <= TEXT_CHARACTERS_MAX


def _is_invocation(found: object) -> bool:
    return found is None or (type(found) is bytes and len(found) <= INVOCATION_BYTES_MAX)


def _is_failure(found: object) -> bool:
    """The four places of an error."""
    if type(found) is not list or len(found) != 4:
        return False
    code, processed, correlation_id, text = found
    return (
        type(code) is int
        and code in CALL_FAILURES
        and type(processed) is int
        and 0 <= processed <= 2
        and type(correlation_id) is str
        and len(correlation_id) <= CORRELATION_CHARACTERS_MAX
        and _is_text(text)
    )


def _is_end(found: object) -> bool:
    return found is None or _is_failure(found)


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
ARGUMENTS: Final = FieldType("list of values and names of answers", _is_arguments)
REMAINING: Final = FieldType(f"integer, 0 to {REMAINING_MS_MAX}", _is_remaining)
FLAGS: Final = FieldType("1 no result wanted, 2 no pipelining, or their sum", _is_flags)
STATUS: Final = FieldType("0 value, 1 reference, 2 error, 3 stream", _is_status)
INVOCATION: Final = FieldType(f"nil, or at most {INVOCATION_BYTES_MAX} bytes", _is_invocation)
FAILURE: Final = FieldType("`[code, processed, correlation id, text]`", _is_failure)
END_FAILURE: Final = FieldType("nil, or `[code, processed, correlation id, text]`", _is_end)
RAW: Final = FieldType(f"1 to {CHUNK_BYTES_MAX} raw bytes", lambda found: type(found) is bytes)
TOKEN: Final = FieldType("bytes", _is_bytes)
TEXT: Final = FieldType(f"text, at most {TEXT_CHARACTERS_MAX} characters", _is_text)
VERSIONS: Final = FieldType(f"list of 1 to {HELLO_ITEMS_MAX} integers", _is_versions)
FEATURES: Final = FieldType(f"list of at most {HELLO_ITEMS_MAX} names", _is_features)
LIMITS: Final = FieldType(f"map of at most {HELLO_ITEMS_MAX} names to integers", _is_limits)
ARCHIVE_ID: Final = FieldType(f"{ARCHIVE_ID_BYTES} bytes", _is_archive_id)
INSTANT: Final = FieldType("instant", lambda found: type(found) is datetime)
