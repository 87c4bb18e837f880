"""What an archive knows about a chain beyond its bytes: epochs, revocations, and what others saw.

Pure: the archive gives what it remembers, the chain is compared with it. Twice, because a chain can
claim anything before its signatures are checked: what refuses it is looked at before, cheaply; what
accuses the archive itself only counts once it is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Final

from psp.errors import GrantRefused

from ._link import Link, Seen

OWN_LINKS: Final = 2
"""The links that the owner's own people sign: an anchor key the first, the operator the second.
Only these can stop an archive. Any holder may sign a further one, and could stop it with a lie."""


ROLLBACK: Final = "rollback"
"""The step at which a grant accuses the archive, and not the other way round."""


def _believe(_seen: Seen) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one archive holds against chains now.

    Attributes:
        epoch: Grants of an older one are over.
        revoked_ids: Of links. Whatever was narrowed from one is revoked with it.
        revoked_keys: Of holders and issuers.
        forgotten_s: A link that ends by then may have been revoked and forgotten since. It is over,
            unless somebody has set the clock back.
        anchor_keys: That may sign first links now; None where the anchor itself is at hand.
        contradicts: Says how this archive's ledger differs from what a signer saw; None if it
            extends that.
    """

    epoch: int
    revoked_ids: Container[bytes] = frozenset()
    revoked_keys: Container[bytes] = frozenset()
    forgotten_s: int = 0
    anchor_keys: Container[bytes] | None = None
    contradicts: Callable[[Seen], str | None] = _believe

    def check(self, links: Sequence[Link], ids: Sequence[bytes]) -> None:
        """Refuse a chain of an older epoch, or with anything revoked in it. No signature counts.

        Raises:
            GrantRefused: At the step "epoch" or "revoked".
        """
        if self.anchor_keys is not None and links[0].issuer not in self.anchor_keys:
            raise GrantRefused("revoked", "its first issuer is an anchor key no more.")
        for index, (link, grant_id) in enumerate(zip(links, ids, strict=True)):
            if link.epoch < self.epoch:
                raise GrantRefused(
                    "epoch", f"link {index} is of epoch {link.epoch}, and now is {self.epoch}."
                )
            if grant_id in self.revoked_ids:
                raise GrantRefused("revoked", f"link {index} was revoked.")
            if link.issuer in self.revoked_keys or link.holder in self.revoked_keys:
                raise GrantRefused("revoked", f"a key of link {index} was revoked.")
            if link.not_after_s <= self.forgotten_s:
                raise GrantRefused("revoked", f"link {index} may have been revoked and forgotten.")

    def check_witnessed(self, links: Sequence[Link]) -> None:
        """Compare this archive with what the signers knew of it. The chain is signed.

        Raises:
            GrantRefused: At the step "rollback", where the owner's people knew more than this
                archive does: it is not the newest copy of itself. At the step "seen", where a
                further holder says so, whose word is good for no more than its own grant.
        """
        for index, link in enumerate(links):
            step = ROLLBACK if index < OWN_LINKS else "seen"
            if link.epoch > self.epoch:
                raise GrantRefused(
                    step, f"link {index} is of epoch {link.epoch}, and here is {self.epoch}."
                )
            if (fault := self.contradicts(link.seen)) is not None:
                raise GrantRefused(step, f"the signer of link {index} {fault}.")
