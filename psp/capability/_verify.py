"""From a stranger's bytes to a grant: every reason to refuse, cheap before dear.

The order is the order of docs/capabilities.md, "Checks". Everything before `_check_signatures` is
comparisons of bytes, so neither a stranger nor a paired machine with somebody else's token can make
an archive verify one signature. The reason stays with the owner; the presenter hears `denied`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from psp.errors import CapabilityError, GrantRefused

from ._anchor import Anchor
from ._keys import Verifier, check_prime_order, spki_hash_of, verify_signature
from ._limits import FIRST_LINK_SECONDS_MAX, LINK_SECONDS_MAX, NOT_BEFORE_LEEWAY_S
from ._link import Chain, Link, decode_chain_untrusted, met_scope
from ._scope import Scope
from ._standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A chain that was verified for one archive and one presenter, and what it allows there.

    Attributes:
        scope: The effective scope: the meet of the pairing's ceiling and every link. Never empty.
        not_before_s: The latest start of any link.
        not_after_s: The earliest end of any link. The grant is over *at* this second.
        ids: The grant id of every link, root first.
        links: The links themselves, for what is looked at again while the grant is used.
        leaf_holder: The last holder's public key.
        leaf_presenter: SHA-256 of the SPKI of the TLS key that presented it.
        is_interactive: Every call needs an invocation: TLS has not proven the holder's key.
    """

    scope: Scope
    not_before_s: int
    not_after_s: int
    ids: tuple[bytes, ...]
    links: tuple[Link, ...]
    leaf_holder: bytes
    leaf_presenter: bytes
    archive_id: bytes
    is_interactive: bool

    @property
    def grant_id(self) -> bytes:
        """The 32 bytes that name this grant in ledgers and logs."""
        return self.ids[-1]


def verify_untrusted(
    token: bytes,
    *,
    anchor: Anchor,
    presenter: bytes,
    ceiling: Scope,
    now_s: int,
    standing: Standing | None = None,
    verifier: Verifier = verify_signature,
) -> Grant:
    """Check a token and return what it grants; whatever is wrong with it, raise.

    Args:
        anchor: Verified: the keys and the epoch of *this* archive.
        presenter: SHA-256 of the SPKI that the TLS handshake has just proven.
        ceiling: What the presenter's pairing allows at most.
        now_s: The archive's own clock, seconds since 1970.
        standing: What the archive remembers; without it, the anchor's epoch and nothing else.

    Raises:
        GrantRefused: Whatever the reason; `.step` names the check. Nothing else is raised.
    """
    chain = decode_chain_untrusted(token)
    _check_archive(chain, anchor)
    _check_shape(chain, anchor)
    if chain.leaf.presenter != presenter:
        raise GrantRefused("presenter", "it was made out to another machine.")
    _check_time(chain, now_s)
    standing = standing or Standing(epoch=anchor.epoch)
    ids = chain.ids()
    standing.check(chain.links, ids)
    _check_signatures(chain, verifier)
    standing.check_witnessed(chain.links)
    scope = met_scope(chain.links, ceiling)
    if scope.is_empty:
        raise GrantRefused("scope", "the links and the pairing have nothing in common.")
    return Grant(
        scope=scope,
        not_before_s=max(link.not_before_s for link in chain.links),
        not_after_s=min(link.not_after_s for link in chain.links),
        ids=ids,
        links=chain.links,
        leaf_holder=chain.leaf.holder,
        leaf_presenter=presenter,
        archive_id=anchor.archive_id,
        is_interactive=spki_hash_of(chain.leaf.holder) != presenter,
    )


def _check_archive(chain: Chain, anchor: Anchor) -> None:
    if any(link.archive_id != anchor.archive_id for link in chain.links):
        raise GrantRefused("archive", "it is for another archive.")


def _check_shape(chain: Chain, anchor: Anchor) -> None:
    links = chain.links
    if any(link.critical for link in links):
        raise GrantRefused("critical", "it has an extension that this version does not know.")
    if links[0].issuer not in anchor.anchor_keys:
        raise GrantRefused("chain", "its first issuer is not an anchor key of this archive.")
    for parent, child in pairwise(links):
        if child.issuer != parent.holder:
            raise GrantRefused("chain", "a link is not signed by the holder of the one before.")
        if child.depth >= parent.depth:
            raise GrantRefused("chain", "a link follows where the one before allowed none.")


def _check_time(chain: Chain, now_s: int) -> None:
    for index, link in enumerate(chain.links):
        longest = LINK_SECONDS_MAX if index else FIRST_LINK_SECONDS_MAX
        if not 0 < link.not_after_s - link.not_before_s <= longest:
            raise GrantRefused("time", f"the window of link {index} is not 1 to {longest} s.")
        if not link.not_before_s - NOT_BEFORE_LEEWAY_S <= now_s < link.not_after_s:
            raise GrantRefused(
                "time",
                f"link {index} holds from {link.not_before_s} to {link.not_after_s}; now {now_s}.",
            )


def _check_signatures(chain: Chain, verifier: Verifier) -> None:
    for index, (it, message) in enumerate(zip(chain.signed, chain.messages(), strict=True)):
        if not verifier(it.link.issuer, message, it.signature):
            raise GrantRefused("signature", f"link {index} is not signed by its issuer.")
        try:
            check_prime_order(it.link.holder)
        except CapabilityError as exc:
            raise GrantRefused("key", f"link {index}: {exc}.") from None
