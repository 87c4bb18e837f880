"""Chains of any shape: what is granted is never more than any link, and no byte can be changed."""

from __future__ import annotations

from functools import reduce

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from psp.capability import (
    Grant,
    Link,
    Scope,
    archive_id_of,
    decode_chain_untrusted,
    narrow,
    sign_anchor,
    token_from_text_untrusted,
    token_to_text,
    verify_anchor_untrusted,
    verify_untrusted,
)
from psp.capability._limits import BODY_BYTES_MAX
from psp.capability._link import EMPTY_CHAIN
from psp.errors import CapabilityError, GrantRefused, NarrowingError
from psp.transport import MachineKey

from .scopes import scopes

NOW = 1_790_000_000
NONCE = bytes(16)
OWNER, ANCHOR_KEY, *HOLDERS = (
    MachineKey(Ed25519PrivateKey.from_private_bytes(bytes([it]) * 32)) for it in range(1, 7)
)
ARCHIVE = verify_anchor_untrusted(
    sign_anchor(
        OWNER,
        anchor_keys=[ANCHOR_KEY.public_bytes],
        ledger_key=ANCHOR_KEY.public_bytes,
        epoch=0,
        version=1,
        nonce=NONCE,
    ),
    archive_id=archive_id_of(OWNER.public_bytes, NONCE),
)


def link(position: int, scope: Scope, seconds: int) -> Link:
    return Link(
        archive_id=ARCHIVE.archive_id,
        epoch=0,
        issuer=(ANCHOR_KEY, *HOLDERS)[position].public_bytes,
        holder=HOLDERS[position].public_bytes,
        presenter=HOLDERS[position].spki_hash,
        not_before_s=NOW,
        not_after_s=NOW + seconds,
        depth=3 - position,
        nonce=NONCE,
        scope=scope,
    )


def signed(links: list[Link]) -> bytes:
    """Sign whatever is given: a client of one's own need not check what `narrow` checks."""
    assume(all(len(it.encode()) <= BODY_BYTES_MAX for it in links))
    chain = EMPTY_CHAIN
    for it, key in zip(links, (ANCHOR_KEY, *HOLDERS), strict=False):
        chain = chain.extend(it, key)
    return chain.encode()


def present(token: bytes, presenter: MachineKey, ceiling: Scope) -> Grant:
    return verify_untrusted(
        token, anchor=ARCHIVE, presenter=presenter.spki_hash, ceiling=ceiling, now_s=NOW
    )


seconds = st.integers(1, 86400)
chains = st.lists(st.tuples(scopes, seconds), min_size=1, max_size=4).map(
    lambda parts: [link(at, *part) for at, part in enumerate(parts)]
)


@settings(deadline=None)
@given(chains, scopes)
def test_a_grant_is_never_wider_than_any_link_or_the_pairing(
    links: list[Link], ceiling: Scope
) -> None:
    token = signed(links)
    expected = reduce(Scope.meet, (it.scope for it in links), ceiling)
    presenter = HOLDERS[len(links) - 1]
    if expected.is_empty:
        with pytest.raises(GrantRefused, match="'scope'"):
            present(token, presenter, ceiling)
        return
    grant = present(token, presenter, ceiling)

    assert grant.scope == expected
    for wider in (ceiling, *(it.scope for it in links)):
        assert wider.contains(grant.scope)
    assert grant.not_after_s == min(it.not_after_s for it in links)


@settings(deadline=None)
@given(scopes, scopes)
def test_narrow_refuses_exactly_what_would_widen(parent: Scope, child: Scope) -> None:
    token = signed([link(0, parent, 3600)])
    assume(not child.is_empty)
    assume(len(link(1, child, 60).encode()) <= BODY_BYTES_MAX)

    def narrowed() -> bytes:
        return narrow(
            token,
            HOLDERS[0],
            holder=HOLDERS[1].public_bytes,
            presenter=HOLDERS[1].spki_hash,
            scope=child,
            not_before_s=NOW,
            not_after_s=NOW + 60,
            depth=0,
            nonce=NONCE,
        )

    if parent.contains(child):
        assert present(narrowed(), HOLDERS[1], parent).scope == child
    else:
        with pytest.raises(NarrowingError):
            narrowed()


@settings(deadline=None)
@given(chains, st.data())
def test_a_token_with_one_bit_changed_is_refused(links: list[Link], data: st.DataObject) -> None:
    token = bytearray(signed(links))
    position = data.draw(st.integers(0, len(token) - 1))
    token[position] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(GrantRefused):
        present(bytes(token), HOLDERS[len(links) - 1], links[0].scope)


@settings(deadline=None)
@given(chains)
def test_a_chain_comes_back_from_its_token_and_from_its_text(links: list[Link]) -> None:
    token = signed(links)

    assert list(decode_chain_untrusted(token).links) == links
    assert decode_chain_untrusted(token).encode() == token
    assert token_from_text_untrusted(token_to_text(token)) == token


@given(st.binary(max_size=400))
def test_a_strangers_bytes_end_in_one_exception(data: bytes) -> None:
    with pytest.raises(GrantRefused):
        present(data, HOLDERS[0], Scope())
    with pytest.raises(CapabilityError):
        verify_anchor_untrusted(data, archive_id=ARCHIVE.archive_id)


@given(st.text(max_size=200))
def test_a_strangers_text_ends_in_one_exception(text: str) -> None:
    with pytest.raises(CapabilityError):
        token_from_text_untrusted(text)
