"""What an archive holds against a chain: each refusal by its step, and what is believed of whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from psp.capability import Chain, Grant, Seen, Standing, decode_chain_untrusted, verify_untrusted
from psp.errors import GrantRefused

from .actors import (
    AGGREGATOR,
    ARCHIVE,
    CEILING,
    NOW,
    OPERATOR,
    STRANGER,
    TENANT,
    CountingVerifier,
    first_token,
    next_token,
)

ONE = first_token()
TWO = next_token(ONE, OPERATOR, AGGREGATOR, depth=1)
THREE = next_token(TWO, AGGREGATOR, TENANT, seconds=600)
CHAIN = decode_chain_untrusted(THREE)


def shown(token: bytes, standing: Standing, verifier: CountingVerifier | None = None) -> Grant:
    return verify_untrusted(
        token,
        anchor=ARCHIVE,
        presenter=TENANT.spki_hash,
        ceiling=CEILING,
        now_s=NOW,
        standing=standing,
        verifier=verifier or CountingVerifier(),
    )


def step_of(token: bytes, standing: Standing, verifier: CountingVerifier | None = None) -> str:
    with pytest.raises(GrantRefused) as caught:
        shown(token, standing, verifier)
    return caught.value.step


@pytest.mark.parametrize("link", [0, 1, 2])
def test_a_revoked_link_refuses_whatever_was_narrowed_from_it(link: int) -> None:
    verifier = CountingVerifier()
    standing = Standing(epoch=3, revoked_ids={CHAIN.ids()[link]})

    assert step_of(THREE, standing, verifier) == "revoked"
    assert verifier.count == 0


@pytest.mark.parametrize("link", [0, 1, 2])
def test_a_revoked_key_refuses_as_issuer_and_as_holder(link: int) -> None:
    for key in (CHAIN.links[link].issuer, CHAIN.links[link].holder):
        assert step_of(THREE, Standing(epoch=3, revoked_keys={key})) == "revoked"


def test_what_was_revoked_beside_it_does_no_harm() -> None:
    standing = Standing(
        epoch=3, revoked_ids={bytes(32)}, revoked_keys={STRANGER.public_bytes}, forgotten_s=NOW
    )

    assert shown(THREE, standing).ids == CHAIN.ids()


def test_signing_the_same_body_again_does_not_escape_a_revocation() -> None:
    """Ed25519 signatures are not unique; ids come from content (attack 7 of the study)."""
    again = Chain((*CHAIN.signed[:2], replace(CHAIN.signed[2], signature=bytes(64)))).encode()

    assert step_of(again, Standing(epoch=3, revoked_ids={CHAIN.ids()[2]})) == "revoked"


def test_a_link_that_ends_among_the_forgotten_is_refused() -> None:
    ends = CHAIN.leaf.not_after_s

    assert step_of(THREE, Standing(epoch=3, forgotten_s=ends)) == "revoked"
    assert shown(THREE, Standing(epoch=3, forgotten_s=ends - 1))


def test_an_older_epoch_is_over_before_any_signature_is_looked_at() -> None:
    verifier = CountingVerifier()

    assert step_of(THREE, Standing(epoch=4), verifier) == "epoch"
    assert verifier.count == 0


def saw(token: bytes, signer: object, seen: Seen) -> bytes:
    chain = decode_chain_untrusted(token)
    link = replace(chain.leaf, seen=seen)
    return Chain(chain.signed[:-1]).extend(link, signer).encode()  # type: ignore[arg-type]


def contradicts(seen: Seen) -> str | None:
    return "saw more than there is" if seen.tree_size > 9 else None


def test_what_the_operator_saw_and_is_not_here_stops_the_archive() -> None:
    token = saw(TWO, OPERATOR, Seen(10, bytes(32)))
    tenants = next_token(token, AGGREGATOR, TENANT, seconds=600)
    standing = Standing(epoch=3, contradicts=contradicts)

    assert step_of(tenants, standing) == "rollback"
    assert shown(THREE, standing)


def test_a_further_holder_can_only_spoil_its_own_grant() -> None:
    """A captured aggregator signs a lie: were it believed, it could stop every archive."""
    token = saw(THREE, AGGREGATOR, Seen(10, bytes(32)))

    assert step_of(token, Standing(epoch=3, contradicts=contradicts)) == "seen"


def test_a_claim_that_nobody_signed_accuses_nobody() -> None:
    chain = decode_chain_untrusted(saw(TWO, AGGREGATOR, Seen(10, bytes(32))))
    token = Chain((*chain.signed, CHAIN.signed[2])).encode()

    assert step_of(token, Standing(epoch=3, contradicts=contradicts)) == "signature"


def test_a_grant_of_a_later_epoch_tells_of_a_rollback() -> None:
    assert step_of(THREE, Standing(epoch=2)) == "rollback"
