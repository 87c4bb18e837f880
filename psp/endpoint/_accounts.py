"""What one connection has cost, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one connection has cost so far.

    Attributes:
        sent_bytes: In the clear, frames and their lengths, without TLS.
        received_bytes: Likewise.
        sends: Pieces that the frames left in; HELLO, PRESENT and the first calls are one.
        calls: Questions asked, presentations included.
        returns: Answers that came.
        round_trips: How often something left while nothing was in flight: what a distant member
            costs, in units of its distance. Opening costs two more (TCP, then TLS).
    """

    sent_bytes: int
    received_bytes: int
    sends: int
    calls: int
    returns: int
    round_trips: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one connection holds now: where a leak would show.

    Attributes:
        waiting: Questions without an answer yet, oldest first.
        oldest_left_s: How many seconds the oldest of them may still take; None if there is none.
        kept_answers: Answers that the subject keeps for us.
        held_references: References that are not released.
        streams: For each stream that is read, the bytes that lie here unread.
        unsent_bytes: What the kernel has not taken from us.
        handed_over: How many results were handed over on this machine.
        local: Why the last result that could have been handed over on this machine was not; empty
            if it was, or none could.
    """

    waiting: Sequence[int]
    oldest_left_s: float | None
    kept_answers: int
    held_references: int
    streams: Mapping[int, int]
    unsent_bytes: int
    handed_over: int = 0
    local: str = ""
