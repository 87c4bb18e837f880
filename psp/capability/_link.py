"""One signed step of a grant, the chain of them, and the bytes of both.

The bytes that were signed are the bytes that are verified; they are then proven canonical by
encoding what was read and comparing. So there is one encoding of every link, and no two readers of
one token can understand two things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from psp.errors import CapabilityError, GrantRefused

from ._keys import SigningKey, check_public_key
from ._limits import (
    BODY_BYTES_MAX,
    DECODED_LINKS_MAX,
    EPOCH_MAX,
    HASH_BYTES,
    KEY_BYTES,
    LINKS_MAX,
    MEETS_REMEMBERED_MAX,
    NONCE_BYTES,
    SIGNATURE_BYTES,
    TIME_S_MAX,
    TOKEN_BYTES_MAX,
)
from ._scope import Scope
from ._signing import Tag, digest, tagged
from ._wire import Wire, decode_untrusted, encode, take_bytes, take_int, take_list

VERSION: Final = 1
"""Selects format and signature suite together; there is no algorithm field to lie in."""

KIND_GRANT: Final = 1
ZERO_HASH: Final = bytes(HASH_BYTES)


class Seen(NamedTuple):
    """The archive's audit ledger as the signer last saw it.

    An archive whose ledger is shorter, or differs at that size, has been rolled back or forked.
    """

    tree_size: int
    root_hash: bytes


NEVER_SEEN: Final = Seen(0, ZERO_HASH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link, read but not verified: everything that its issuer signed.

    Attributes:
        holder: The key that may sign the next link.
        presenter: SHA-256 of the SPKI of the TLS key through which the grant must arrive.
        depth: How many links may follow; 0 seals the chain.
        critical: Extensions that a reader must understand or refuse. This version knows none.
    """

    archive_id: bytes
    epoch: int
    issuer: bytes
    holder: bytes
    presenter: bytes
    not_before_s: int
    not_after_s: int
    depth: int
    nonce: bytes
    scope: Scope
    seen: Seen = NEVER_SEEN
    critical: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Give the canonical body: the bytes that are signed."""
        wire: Wire = [
            *(VERSION, KIND_GRANT, self.archive_id, self.epoch),
            *(self.issuer, self.holder, self.presenter),
            *(self.not_before_s, self.not_after_s, self.depth, self.nonce),
            self.scope.to_wire(),
            list(self.seen),
            list(self.critical),
        ]
        return encode(wire)

    @staticmethod
    def decode_untrusted(body: bytes) -> Link:
        """Read one body. Exactly one sequence of bytes is accepted per link.

        Raises:
            ValueError: Whatever is wrong with it, weak keys included. Nothing else is raised.
        """
        parts = take_list(decode_untrusted(body), 14)
        take_int(parts[0], VERSION, VERSION)
        take_int(parts[1], KIND_GRANT, KIND_GRANT)
        tree_size, root_hash = take_list(parts[12], 2)
        link = Link(
            archive_id=take_bytes(parts[2], HASH_BYTES),
            epoch=take_int(parts[3], 0, EPOCH_MAX),
            issuer=_take_key(parts[4]),
            holder=_take_key(parts[5]),
            presenter=take_bytes(parts[6], HASH_BYTES),
            not_before_s=take_int(parts[7], 0, TIME_S_MAX),
            not_after_s=take_int(parts[8], 0, TIME_S_MAX),
            depth=take_int(parts[9], 0, LINKS_MAX - 1),
            nonce=take_bytes(parts[10], NONCE_BYTES),
            scope=Scope.from_wire_untrusted(parts[11]),
            seen=Seen(take_int(tree_size, 0, TIME_S_MAX), take_bytes(root_hash, HASH_BYTES)),
            critical=tuple(take_int(it, 0, EPOCH_MAX) for it in take_list(parts[13])),
        )
        if link.encode() != body:
            raise ValueError("the body is not in its canonical form")
        return link


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link with the exact bytes that were signed, and the signature, which nobody has checked."""

    link: Link
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """A token that could be read: one to four links, root first. Nothing is verified."""

    signed: tuple[SignedLink, ...]
    links: tuple[Link, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "links", tuple(it.link for it in self.signed))

    @property
    def leaf(self) -> Link:
        return self.signed[-1].link

    def ids(self) -> tuple[bytes, ...]:
        """Give the grant id of every link, root first: the last one names this grant.

        From content only. Whoever re-signs a body, or finds a second valid signature, does not get
        a second id, so revoking an id revokes the statement.
        """
        ids = [ZERO_HASH]
        for it in self.signed:
            ids.append(digest(Tag.GRANT_ID, ids[-1], it.body))
        return tuple(ids[1:])

    def messages(self) -> tuple[bytes, ...]:
        """Give what each link's issuer must have signed, root first.

        Every message names the link before it *with* its signature: a link cannot be lifted into
        another chain, not even into one with the same content.
        """
        messages = [_message(ZERO_HASH, it.body) for it in self.signed[:1]]
        previous = ZERO_HASH
        for parent, it in pairwise(self.signed):
            previous = digest(Tag.CHAIN, previous, parent.body, parent.signature)
            messages.append(_message(previous, it.body))
        return tuple(messages)

    def encode(self) -> bytes:
        """Give the token."""
        return encode([[it.body, it.signature] for it in self.signed])

    def extend(self, link: Link, key: SigningKey) -> Chain:
        """Sign one more link. The caller has checked that `key` may."""
        body = link.encode()
        if len(body) > BODY_BYTES_MAX:
            raise CapabilityError(
                f"the grant needs {len(body)} bytes and a link holds {BODY_BYTES_MAX}. Name fewer"
                " columns, or make two grants."
            )
        previous = ZERO_HASH
        for it in self.signed:
            previous = digest(Tag.CHAIN, previous, it.body, it.signature)
        signature = key.sign(_message(previous, body))
        return Chain((*self.signed, SignedLink(link, body, signature)))


def decode_chain_untrusted(token: bytes) -> Chain:
    """Read a token without believing any of it.

    Raises:
        GrantRefused: At the step "size" or "decode". Nothing else is raised.
    """
    if len(token) > TOKEN_BYTES_MAX:
        raise GrantRefused("size", f"{len(token)} bytes; a token has at most {TOKEN_BYTES_MAX}.")
    try:
        envelope = take_list(decode_untrusted(token))
        if not 1 <= len(envelope) <= LINKS_MAX:
            raise ValueError(f"{len(envelope)} links; a chain has 1 to {LINKS_MAX}")
        chain = Chain(tuple(_read_signed(it) for it in envelope))
    except ValueError as exc:
        raise GrantRefused("decode", f"{exc}.") from None
    if chain.encode() != token:
        raise GrantRefused("decode", "the envelope is not in its canonical form.")
    return chain


def _message(previous: bytes, body: bytes) -> bytes:
    return tagged(Tag.GRANT_LINK, bytes([VERSION]), previous, body)


def _read_signed(wire: object) -> SignedLink:
    body, signature = take_list(wire, 2)
    if type(body) is not bytes or len(body) > BODY_BYTES_MAX:
        raise ValueError(f"a link's body is at most {BODY_BYTES_MAX} bytes")
    return SignedLink(_decode_untrusted(body), body, take_bytes(signature, SIGNATURE_BYTES))


# What bytes say depends on nothing but the bytes, and a link cannot be changed: reading is
# remembered, deciding never. Bytes that cannot be read are not remembered either.
@lru_cache(maxsize=DECODED_LINKS_MAX)
def _decode_untrusted(body: bytes) -> Link:
    return Link.decode_untrusted(body)


def _take_key(wire: object) -> bytes:
    try:
        return check_public_key(take_bytes(wire, KEY_BYTES))
    except CapabilityError as exc:
        raise ValueError(str(exc)) from None


EMPTY_CHAIN: Final = Chain(())
"""What a first link extends."""


def met_scope(links: Sequence[Link], ceiling: Scope | None = None) -> Scope:
    """Return what all links allow together, under the pairing's ceiling if there is one."""
    scope = links[0].scope if ceiling is None else _meet(ceiling, links[0].scope)
    for link in links[1:]:
        scope = _meet(scope, link.scope)
    return scope


# As with reading: what two scopes have in common depends on nothing else, and neither can change.
@lru_cache(maxsize=MEETS_REMEMBERED_MAX)
def _meet(left: Scope, right: Scope) -> Scope:
    return left.meet(right)
