"""Making grants: the first link by an archive's anchor key, every further one by a holder, offline.

A holder needs nobody's permission to narrow. What is refused here would be harmless at an archive
(the meet ignores it); it is refused because a signer who tries to widen has
misunderstood something.
"""

from __future__ import annotations

from psp.errors import CapabilityError, NarrowingError

from ._keys import SigningKey, check_prime_order, fingerprint, spki_hash_of
from ._limits import FIRST_LINK_SECONDS_MAX, HASH_BYTES, LINK_SECONDS_MAX, LINKS_MAX, NONCE_BYTES
from ._link import EMPTY_CHAIN, NEVER_SEEN, Chain, Link, Seen, decode_chain_untrusted, met_scope
from ._scope import Scope
from ._sentence import removed


def issue(
    anchor_key: SigningKey,
    *,
    archive_id: bytes,
    epoch: int,
    holder: bytes,
    presenter: bytes,
    scope: Scope,
    not_before_s: int,
    not_after_s: int,
    depth: int,
    nonce: bytes,
    seen: Seen = NEVER_SEEN,
) -> bytes:
    """Make a token of one link.

    Args:
        anchor_key: One of the archive's anchor keys.
        holder: The public key that may sign further links.
        presenter: SHA-256 of the SPKI of the machine that may present it.
        not_after_s: At most seven days after `not_before_s`.
        depth: How many links may follow: 0 to 3.
        nonce: 16 fresh random bytes.
        seen: The archive's audit ledger as the signer last saw it.

    Raises:
        CapabilityError: No archive would accept it. Nothing was signed.
    """
    link = Link(
        archive_id=archive_id,
        epoch=epoch,
        issuer=anchor_key.public_bytes,
        holder=holder,
        presenter=presenter,
        not_before_s=not_before_s,
        not_after_s=not_after_s,
        depth=depth,
        nonce=nonce,
        scope=scope,
        seen=seen,
    )
    _check_window(link, FIRST_LINK_SECONDS_MAX)
    return _sign(EMPTY_CHAIN, link, anchor_key)


def narrow(
    token: bytes,
    holder_key: SigningKey,
    *,
    holder: bytes,
    presenter: bytes,
    scope: Scope,
    not_before_s: int,
    not_after_s: int,
    depth: int,
    nonce: bytes,
    seen: Seen = NEVER_SEEN,
) -> bytes:
    """Make a narrower token from one that `holder_key` holds. Arguments as for `issue`.

    A link made here lasts at most 24 hours.

    Raises:
        NarrowingError: It would be wider than its parent, or the key is not the holder's.
        CapabilityError: No archive would accept it for another reason.
        GrantRefused: `token` cannot be read.
    """
    chain = decode_chain_untrusted(token)
    parent = chain.leaf
    if holder_key.public_bytes != parent.holder:
        raise NarrowingError(
            f"the key {fingerprint(spki_hash_of(holder_key.public_bytes))} does not hold this"
            f" grant; {fingerprint(spki_hash_of(parent.holder))} does. Sign with that one."
        )
    link = Link(
        archive_id=parent.archive_id,
        epoch=parent.epoch,
        issuer=parent.holder,
        holder=holder,
        presenter=presenter,
        not_before_s=not_before_s,
        not_after_s=not_after_s,
        depth=depth,
        nonce=nonce,
        scope=scope,
        seen=seen,
    )
    _check_narrower(link, chain)
    _check_window(link, LINK_SECONDS_MAX)
    return _sign(chain, link, holder_key)


def _check_narrower(link: Link, chain: Chain) -> None:
    if link.depth >= chain.leaf.depth:
        raise NarrowingError(
            f"depth={link.depth} after a link of depth {chain.leaf.depth}, which must fall."
            " Choose a smaller depth, or ask the issuer for a deeper grant."
        )
    allowed = met_scope(chain.links)
    if not allowed.contains(link.scope):
        added = "; ".join(removed(link.scope, link.scope.meet(allowed)))
        raise NarrowingError(
            f"a holder cannot add to its grant; the parent does not allow {added or 'this form'}."
            " Leave that out, or ask the issuer for a wider grant."
        )
    starts, ends = (
        max(it.not_before_s for it in chain.links),
        min(it.not_after_s for it in chain.links),
    )
    if link.not_before_s < starts or link.not_after_s > ends:
        raise NarrowingError(
            f"the window {link.not_before_s} to {link.not_after_s} leaves the parent's,"
            f" {starts} to {ends}. Choose one inside it, or have the parent renewed."
        )


def _check_window(link: Link, longest_s: int) -> None:
    length = link.not_after_s - link.not_before_s
    if not 0 < length <= longest_s:
        raise CapabilityError(
            f"the window is {length} s long; this link may last 1 to {longest_s} s. Choose an"
            " earlier end, and renew it when it is over."
        )


def _sign(chain: Chain, link: Link, key: SigningKey) -> bytes:
    if link.scope.is_empty:
        raise CapabilityError("the scope allows nothing, so no archive would accept the grant.")
    check_prime_order(link.holder)
    if len(link.nonce) != NONCE_BYTES or len(link.presenter) != HASH_BYTES:
        raise CapabilityError(
            f"a nonce has {NONCE_BYTES} bytes and a presenter {HASH_BYTES}; {len(link.nonce)} and"
            f" {len(link.presenter)} were given."
        )
    if not 0 <= link.depth <= LINKS_MAX - 1 - len(chain.signed):
        raise CapabilityError(
            f"depth={link.depth} for link {len(chain.signed)} of a chain of {LINKS_MAX} at most."
        )
    token = chain.extend(link, key).encode()
    # What this side could not read back, no archive could: found here, not on the wire.
    decode_chain_untrusted(token)
    return token
