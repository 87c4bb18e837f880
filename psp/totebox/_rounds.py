"""Samples that go round: a small one each night has read every original after some nights.

Originals stand in an order that a random seed gives. A sample takes the next of them, and at the
end there is another seed. So a single sample is an even draw, and what was sealed in between has
its place like all others.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

ROUND_FILE: Final = "state/audit.json"


def _seed() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Round:
    """One round: its seed, and the place up to which it has come."""

    seed: str = field(default_factory=_seed)
    after: str = ""

    def encode(self) -> bytes:
        return json.dumps({"seed": self.seed, "after": self.after}).encode()

    def place(self, name: str) -> str:
        return sha256(f"{self.seed} {name}".encode()).hexdigest()


def read_round(archive: Path) -> Round:
    """Read where the last sample came to; a new round where nothing says so."""
    try:
        document = json.loads((archive / ROUND_FILE).read_bytes())
        return Round(str(document["seed"]), str(document["after"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Round()


def draw(names: Sequence[str], count: int, now: Round) -> tuple[list[str], Round]:
    """Give the next names of a round, at most `count`, and where that leaves it."""
    left = sorted((place, name) for name in names if (place := now.place(name)) > now.after)
    drawn = left[:count]
    then = Round(now.seed, drawn[-1][0]) if len(left) > count else Round()
    return [name for _, name in drawn], then
