"""What became of each case, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from psp.endpoint import printable

Verdict = Literal["passed", "failed", "skipped"]

_WHY_CHARACTERS_MAX: Final = 400


class Failed(Exception):
    """The peer did something that the case forbids; says what."""


class Skipped(Exception):
    """The case cannot be tried with this peer; says what is needed."""


class Outcome(NamedTuple):
    """One case, tried.

    Attributes:
        name: Of the case, such as `frames_invalid 12`.
        why: What the peer did, or what is missing; empty for a case that passed.
    """

    name: str
    words: str
    verdict: Verdict
    why: str = ""

    def to_line(self) -> str:
        line = f"{self.verdict:<7}  {self.name:<18}  {self.words}"
        # What a peer said is in it, and a peer under test may be a hostile one.
        return f"{line}\n         {printable(self.why)[:_WHY_CHARACTERS_MAX]}" if self.why else line


def summary(outcomes: Sequence[Outcome]) -> str:
    counts = {verdict: 0 for verdict in ("passed", "failed", "skipped")}
    for outcome in outcomes:
        counts[outcome.verdict] += 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def to_json_text(outcomes: Sequence[Outcome]) -> str:
    """All outcomes as one object on one line, in ASCII."""
    return json.dumps({"outcomes": [outcome._asdict() for outcome in outcomes]})


def is_conformant(outcomes: Sequence[Outcome]) -> bool:
    return all(outcome.verdict != "failed" for outcome in outcomes)
