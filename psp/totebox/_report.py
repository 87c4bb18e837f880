"""What an audit of an archive says: what it looked at, what it found, how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Final

from psp.ledger import Checkpoint

CAUGHT: Final = (1, 2, 5, 10, 100)
"""Numbers of damaged files for which a sample says how likely it finds one of them."""


class Severity(IntEnum):
    """How serious a finding is; the exit code of the command is the gravest one's."""

    NOTE = 0  # Worth knowing; nothing is wrong.
    WARNING = 3  # Nothing is lost, and something is not as it should be.
    DAMAGE = 4  # Something is lost, changed, or not what was signed.


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        part: `manifest`, `anchor`, `ledger`, `reads`, `assets`, `index`, `keys`, `pins` or
            `state`.
        since: The ledger state since which it can have happened; None if nothing says.
        next: What to type.
    """

    part: str
    severity: Severity
    what: str
    since: str | None
    next: str


@dataclass(slots=True)
class Report:
    """What an audit looked at, and what it found.

    Attributes:
        checkpoint: What the ledger commits to; None where it cannot be read.
        assets_read: Of the `assets_sealed`, how many were hashed.
        index_compared: Whether every row was held against the originals.
    """

    directory: Path
    checkpoint: Checkpoint | None = None
    reads_recorded: int = 0
    assets_sealed: int = 0
    assets_read: int = 0
    index_compared: bool = False
    findings: list[Finding] = field(default_factory=list)

    @property
    def worst(self) -> Severity:
        return max((finding.severity for finding in self.findings), default=Severity.NOTE)

    @property
    def catches(self) -> dict[int, float]:
        """For k damaged files: how likely this many reads found at least one of them."""
        sealed, read = self.assets_sealed, self.assets_read
        return {k: chance_of_catching(k, read, sealed) for k in CAUGHT if k <= sealed}

    def to_dict(self) -> dict[str, object]:
        """Give the report as plain values, for JSON."""
        now = self.checkpoint
        return {
            "archive": str(self.directory),
            "worst": self.worst.name.lower(),
            "tree_size": now.tree_size if now else None,
            "root": now.root_hash.hex() if now else None,
            "reads_recorded": self.reads_recorded,
            "assets_sealed": self.assets_sealed,
            "assets_read": self.assets_read,
            "catches": {str(k): chance for k, chance in self.catches.items()},
            "index_compared": self.index_compared,
            "findings": [
                {
                    "part": one.part,
                    "severity": one.severity.name.lower(),
                    "what": one.what,
                    "since": one.since,
                    "next": one.next,
                }
                for one in self.findings
            ],
        }


def chance_of_catching(damaged: int, read: int, sealed: int) -> float:
    """Say how likely it is that at least one of `damaged` files is among `read` of `sealed`.

    Exact: one minus the hypergeometric probability that none is. Every set of this many files
    is equally likely to be read, so this holds for any damage that does not know the draw.
    """
    # Whole numbers until the last division: a float would call one in 10^17 certain.
    return float(1 - Fraction(comb(sealed - damaged, read), comb(sealed, read)))
