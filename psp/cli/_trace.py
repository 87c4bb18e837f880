"""`psp trace`: a waterfall of the calls in a capture."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ._capture import Entry, read_capture_untrusted, shown

BAR_CHARACTERS: Final = 48
_STATUS_STREAM: Final = 3
_OUTCOMES: Final = {"0": "value", "1": "reference", str(_STATUS_STREAM): "stream"}
_CALLS_MAX: Final = 100_000
"""Calls of one picture: 50 MB, and far more than anybody scrolls through."""


@dataclass
class Traced:
    """One question of a capture.

    Attributes:
        returned_s: None while its RETURN has not come.
        ended_s: When nothing more came of it: later than its RETURN for a stream.
    """

    question: int
    name: str
    left_s: float
    returned_s: float | None = None
    ended_s: float | None = None
    outcome: str = "no answer"


def trace(file: Path, /) -> None:
    """Draw the calls of a capture as bars over time.

    Parameters
    ----------
    file
        A capture that a recorder wrote.
    """
    for line in lines(traced(read_capture_untrusted(file))):
        sys.stdout.write(line + "\n")


def traced(entries: Iterable[Entry]) -> list[Traced]:
    """Put the two ends of each question together."""
    calls: dict[int, Traced] = {}
    for entry in entries:
        question, now_s = entry.get("question"), float(entry["s"])
        if type(question) is not int:
            continue
        call = calls.get(question)
        frame = entry["frame"]
        if frame in ("CALL", "PRESENT") and call is None and len(calls) < _CALLS_MAX:
            calls[question] = Traced(question, _name(entry), now_s)
        elif frame == "RETURN" and call is not None and call.returned_s is None:
            call.returned_s = now_s
            call.outcome = _outcome(entry)
            call.ended_s = None if entry.get("status") == _STATUS_STREAM else now_s
        elif frame == "END" and call is not None and call.ended_s is None:
            call.ended_s = now_s
            call.outcome = shown(entry["error"]) if "error" in entry else call.outcome
    return list(calls.values())


def lines(calls: list[Traced]) -> Iterator[str]:
    """The picture: a bar for the wait, a lighter one for the stream after it."""
    if not calls:
        yield "no call is in this capture"
        return
    start_s = min(call.left_s for call in calls)
    end_s = max(call.ended_s or call.returned_s or call.left_s for call in calls)
    scale = BAR_CHARACTERS / ((end_s - start_s) or 1.0)
    widest = max(len(call.name) for call in calls)
    yield f"{len(calls)} calls in {(end_s - start_s) * 1000:.1f} ms"
    for call in calls:
        returned_s = end_s if call.returned_s is None else call.returned_s
        ended_s = end_s if call.ended_s is None else call.ended_s
        before = round((call.left_s - start_s) * scale)
        waited = max(1, round((returned_s - start_s) * scale) - before)
        streamed = max(0, round((ended_s - start_s) * scale) - before - waited)
        wait = "█" if call.returned_s is not None else "·"
        bar = f"{' ' * before}{wait * waited}{'▒' * streamed}"
        took = "" if call.ended_s is None else f"{(call.ended_s - call.left_s) * 1000:.1f} ms"
        yield (
            f"{call.question:>6}  {call.name:<{widest}}  {bar:<{BAR_CHARACTERS + 1}}"
            f"  {took:>10}  {call.outcome}"
        )


def _name(entry: Entry) -> str:
    if entry["frame"] == "PRESENT":
        return "PRESENT"
    target = entry.get("target")
    # A target in words is the answer of an earlier question: the call left before it was there.
    on = f" on {shown(target)}" if isinstance(target, str) else ""
    return f"{shown(entry.get('method', ''))[:40]}{on}"


def _outcome(entry: Entry) -> str:
    if "error" in entry:
        return shown(entry["error"])
    return _OUTCOMES.get(str(entry.get("status")), "")
