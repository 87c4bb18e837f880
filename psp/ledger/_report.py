"""What the check of a ledger found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOST: Final = "Restore it from a copy."
ALL_LOST: Final = "Restore the whole ledger from a copy."
CHANGED: Final = "Keep it for whoever asks what happened, and restore it from a copy."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        file: Which file or directory, relative to the ledger's.
        what: What is wrong with it.
        remedy: What to do about it.
    """

    file: str
    what: str
    remedy: str

    @property
    def is_damage(self) -> bool:
        """Whether what was sealed is lost or changed, and not only out of place."""
        return self.remedy in (LOST, ALL_LOST, CHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReport:
    """What a whole ledger was found to be.

    Attributes:
        entries: How many were read and hashed, those in the journal included.
        tiles: How many were read.
        bundles: How many were read.
        findings: Everything that is wrong, in the order it was found.
    """

    entries: int
    tiles: int
    bundles: int
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings
