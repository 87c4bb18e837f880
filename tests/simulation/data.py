"""What flows through the simulated world: one value, one kind of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

ARCHIVE_TIME: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VALUE: Final[dict[str, Any]] = {"a": 1, "list": [2, "x"]}
_ROUND: Final = bytes(range(251))  # Prime: no chunk size hides a shift.


def pattern(start: int, size: int) -> bytes:
    """Give the bytes of a stream from `start` on: a lost or doubled one shows."""
    first = start % len(_ROUND)
    return (_ROUND * (size // len(_ROUND) + 2))[first : first + size]


def step_into(value: Any, path: Sequence[str | int]) -> Any:
    """Follow a path as the subject must: maps by key, lists by index."""
    for step in path:
        value = value[step]
    return value
