"""Captures of a connection, as `psp decode` and `psp trace` read them.

A capture is a file that somebody sent: nothing in it is believed, and every text of it is made
printable before a person sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from psp.endpoint import printable
from psp.errors import EstateError

Entry = dict[str, Any]
"""One line of a capture: one frame without its values."""

_LINE_CHARACTERS_MAX: Final = 256 * 1024
"""FINISH of 4,096 ids of nineteen digits makes 82,000 characters."""

_S_MAX: Final = 1e9
"""Thirty years of one connection."""

SENDERS: Final = {"controller": "→", "subject": "←"}


def read_capture_untrusted(file: Path) -> Iterator[Entry]:
    """Read what `psp.endpoint.Recorder` wrote, line by line.

    Raises:
        EstateError: The file cannot be read, or is not a capture. Nothing else is raised.
    """
    try:
        with file.open(encoding="utf-8") as lines:
            number = 0
            while line := lines.readline(_LINE_CHARACTERS_MAX):
                number += 1
                yield _entry_untrusted(line, file, number)
    except OSError as exc:
        raise EstateError(f"{file} cannot be read ({exc.strerror}). Check the path.") from exc
    except UnicodeDecodeError as exc:
        raise _no_capture(file, 1) from exc


def _entry_untrusted(line: str, file: Path, number: int) -> Entry:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise _no_capture(file, number) from exc
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("frame"), str)
        or entry.get("from") not in SENDERS
        or type(entry.get("s")) not in (int, float)
        or not 0 <= entry["s"] <= _S_MAX  # Which NaN is not, either.
    ):
        raise _no_capture(file, number)
    return entry


def _no_capture(file: Path, number: int) -> EstateError:
    return EstateError(
        f"line {number} of {file} is no line of a capture. Give a file that a recorder wrote, or"
        " say --from controller (or subject) if it holds the raw bytes of one direction."
    )


def shown(value: object) -> str:
    """Write any part of a capture as one short piece of text."""
    if isinstance(value, list):
        kept, more = value[:_ITEMS_MAX], len(value) - _ITEMS_MAX
        tail = f", and {more} more" if more > 0 else ""
        return "[" + ", ".join(map(shown, kept)) + tail + "]"
    text = value if isinstance(value, str) else json.dumps(value)
    return printable(text[:_TEXT_CHARACTERS_MAX])


_ITEMS_MAX: Final = 16
_TEXT_CHARACTERS_MAX: Final = 160
