"""What an attack tried, what it got, and which rule stopped it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class Verdict(Enum):
    """What an attempt has shown."""

    HELD = "held"
    BREACH = "BREACH"
    UNCLEAR = "unclear"  # Neither: no answer, or another failure than a refusal.


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One thing that was tried.

    Attributes:
        attack: Its name.
        tried: What was done, for people.
        got: What came back.
        rule: The check that stopped it (capabilities.md, "Checks"); empty if none did.
        rule_seen_from: "owner": the archive's own checks, run here on the same bytes, name it.
            "outside": it follows from what was answered, which never names a check.
    """

    attack: str
    tried: str
    got: str
    verdict: Verdict
    rule: str = ""
    rule_seen_from: str = "outside"

    def to_dict(self) -> dict[str, str]:
        return {
            "attack": self.attack,
            "tried": self.tried,
            "got": self.got,
            "verdict": self.verdict.value,
            "rule": self.rule,
            "rule_seen_from": self.rule_seen_from,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackReport:
    """One member, attacked.

    Attributes:
        ledger_entries: How many entries the archive's ledger has got meanwhile; an attack makes
            none.
        reads_recorded: How many reads were recorded meanwhile, by whomever; an attack makes none
            unless it got through.
        not_inferred: Why nothing was inferred from allowed answers; empty where it was tried.
    """

    member: str
    attempts: Sequence[Attempt]
    ledger_entries: int = 0
    reads_recorded: int = 0
    not_inferred: str = ""

    @property
    def held(self) -> bool:
        """Whether every single attempt was refused."""
        return all(one.verdict is Verdict.HELD for one in self.attempts)

    def to_dict(self) -> dict[str, Any]:
        return {
            "member": self.member,
            "held": self.held,
            "attempts": [one.to_dict() for one in self.attempts],
            "left_behind": {
                "ledger_entries": self.ledger_entries,
                "reads_recorded": self.reads_recorded,
            },
            "not_tried": [*NOT_TRIED, *([self.not_inferred] if self.not_inferred else [])],
        }


NOT_TRIED: Final = (
    "whatever would use up room, time or budgets: floods, bombs, idle connections",
    "what needs the archive's own side: its clock, its disk, a restart, a restored copy",
    "revoked grants: making one would leave an entry",
    "keys that are really stolen: with an owner's key everything is allowed",
    "asking again after an ingest, and inference beyond the attacks in the list",
    "other machines that are paired, and faults of TLS or of the operating system",
)
"""What an attack that harms nothing cannot show. The tests of this project try most of it."""
