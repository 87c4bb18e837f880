"""What an archive's ledger tells of its owner's words: epochs, revocations, numbers.

For whoever has only the ledger: somebody who looks at an archive beside the process that serves it,
one that has lost its own memory, and the audit, which holds the memory against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from psp.capability import Revokes, Seen, Standing
from psp.errors import LedgerError
from psp.ledger import Ledger

from ._entries import ANCHORED, CLOCK, EPOCH, REASSERTED, REVOKED

OWNERS_KINDS: Final = frozenset({REVOKED, EPOCH, CLOCK, REASSERTED, ANCHORED})
_SCANNED_AT_A_TIME: Final = 1_024


@dataclass(slots=True)
class Said:
    """What the owner has said, as far as it is on record.

    Attributes:
        epoch: 0 where none was begun: then the anchor statement's counts.
        revoked: Until when each revocation counts, by kind and name. None is forgotten here.
        last: The place of the last of the owner's entries; -1 if there is none.
    """

    epoch: int = 0
    clock_number: int = 0
    reassertion_number: int = 0
    revoked: dict[Revokes, dict[bytes, int]] = field(
        default_factory=lambda: {kind: {} for kind in Revokes}
    )
    last: int = -1

    def hear(self, place: int, fact: Mapping[str, Any]) -> None:
        """Take one entry into account, whatever it is about."""
        if (kind := fact["kind"]) not in OWNERS_KINDS:
            return
        self.last = place
        if kind in (EPOCH, REASSERTED, ANCHORED):
            self.epoch = int(fact["epoch"])
        if kind == CLOCK:
            self.clock_number = int(fact["number"])
        if kind == REASSERTED:
            self.reassertion_number = int(fact["number"])
        for what in Revokes if kind == REVOKED else ():
            if (name := fact.get(what.name.lower())) is not None:
                known = self.revoked[what]
                target = bytes.fromhex(name)
                known[target] = max(int(fact["until"]), known.get(target, 0))

    def newest_revocations(self, most: int) -> list[tuple[Revokes, bytes, int]]:
        """Give each with its kind and its end, at most so many: those that last longest."""
        every = [(kind, *it) for kind, names in self.revoked.items() for it in names.items()]
        return sorted(every, key=lambda it: it[2], reverse=True)[:most]

    def standing(self, ledger: Ledger, epoch: int) -> Standing:
        """Give what this archive holds against chains, as far as the ledger tells.

        Args:
            epoch: Of the anchor statement.
        """
        return Standing(
            epoch=max(epoch, self.epoch),
            revoked_ids=self.revoked[Revokes.GRANT],
            revoked_keys=self.revoked[Revokes.KEY],
            contradicts=lambda seen: contradiction(ledger, seen),
        )


def said_in(ledger: Ledger, start: int = 0) -> Said:
    """Read what the owner has said from an entry on."""
    said = Said()
    for place, fact in facts_of(ledger, start):
        said.hear(place, fact)
    return said


def facts_of(ledger: Ledger, start: int = 0) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Give every entry from one on, with its place; the ledger vouches for what it says."""
    size = ledger.checkpoint.tree_size
    for first in range(start, size, _SCANNED_AT_A_TIME):
        entries = ledger.entries(first, min(first + _SCANNED_AT_A_TIME, size))
        for place, entry in enumerate(entries, first):
            yield place, json.loads(entry)


def contradiction(ledger: Ledger, seen: Seen) -> str | None:
    """Say how a ledger differs from what somebody saw of it; None if it extends that."""
    size = ledger.checkpoint.tree_size
    if seen.tree_size == 0:
        return None
    if seen.tree_size > size:
        return f"saw {seen.tree_size} entries in the ledger, and there are {size}"
    try:
        root = ledger.root_hash(seen.tree_size)
    except LedgerError as exc:
        return f"saw {seen.tree_size} entries, which cannot be read here: {exc}"
    return None if root == seen.root_hash else f"saw other first {seen.tree_size} entries"
