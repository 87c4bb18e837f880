"""What an archive accepts, what it refuses, at which step, and at what cost."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from psp.capability import Scope, ceiling, check_prime_order, decode_chain_untrusted
from psp.capability._link import EMPTY_CHAIN, Chain, Link
from psp.errors import GrantRefused

from .actors import (
    AGGREGATOR,
    ANCHOR_KEY,
    ARCHIVE,
    CEILING,
    COLUMNS,
    COUNT_ONLY,
    HOUR,
    NOW,
    OPERATOR,
    SALES,
    STRANGER,
    TENANT,
    CountingVerifier,
    first_token,
    found_archive,
    next_token,
    present,
)

TWO_LINKS = next_token(first_token(), OPERATOR, AGGREGATOR)


def step_of(token: bytes, verifier: CountingVerifier | None = None, **how: object) -> str:
    with pytest.raises(GrantRefused) as refused:
        present(token, verifier=verifier, **how)  # type: ignore[arg-type]
    return refused.value.step


def with_leaf(token: bytes, **changes: object) -> bytes:
    """Change the last link without signing it again."""
    chain = decode_chain_untrusted(token)
    last = chain.signed[-1]
    link = replace(last.link, **changes)  # type: ignore[arg-type]
    return Chain((*chain.signed[:-1], replace(last, link=link, body=link.encode()))).encode()


def sign_freely(parent: bytes, by: object, **changes: object) -> bytes:
    """Sign a link that `narrow` would refuse: what a modified client does."""
    chain = decode_chain_untrusted(parent)
    link = replace(chain.leaf, issuer=chain.leaf.holder, nonce=b"x" * 16, **changes)  # type: ignore[arg-type]
    return chain.extend(link, by).encode()  # type: ignore[arg-type]


def test_two_links_are_granted_with_the_narrower_window() -> None:
    grant = present(TWO_LINKS)

    assert grant.scope == SALES.meet(CEILING)
    assert (grant.not_before_s, grant.not_after_s) == (NOW, NOW + HOUR)
    assert len(grant.ids) == 2
    assert grant.grant_id == grant.ids[-1]
    assert grant.leaf_holder == AGGREGATOR.public_bytes
    assert grant.leaf_presenter == AGGREGATOR.spki_hash
    assert grant.archive_id == ARCHIVE.archive_id


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_chain_of_any_length_costs_one_verification_per_link(count: int) -> None:
    people = [OPERATOR, AGGREGATOR, TENANT, STRANGER][:count]
    token = first_token(people[0])
    for number, (by, to) in enumerate(pairwise(people)):
        token = next_token(token, by, to, depth=2 - number)
    verifier = CountingVerifier()

    present(token, people[-1], verifier=verifier)

    assert verifier.count == count


def test_a_stolen_token_is_refused_without_verifying_a_signature() -> None:
    """Attack 1: another paired machine shows it, over its own key; nothing is verified."""
    verifier = CountingVerifier()

    assert step_of(TWO_LINKS, verifier, presenter=TENANT) == "presenter"
    assert verifier.count == 0


def test_a_stranger_who_anchors_a_chain_at_himself_costs_no_verification() -> None:
    token = first_token(STRANGER, anchor_key=STRANGER, depth=0)
    verifier = CountingVerifier()

    assert step_of(token, verifier, presenter=STRANGER) == "chain"
    assert verifier.count == 0


@pytest.mark.parametrize(
    ("token", "step"),
    [
        (b"", "decode"),
        (b"\xc0", "decode"),
        (b"\x90", "decode"),
        (b"\x91" * 4000, "decode"),
        (b"\xdd\xff\xff\xff\xff", "decode"),
        (bytes(4378), "size"),
        (TWO_LINKS + b"\xc0", "decode"),
        (TWO_LINKS[:-1], "decode"),
    ],
)
def test_bytes_that_are_not_a_token_cost_no_verification(token: bytes, step: str) -> None:
    """Attack 9: the size is looked at first, then the form."""
    verifier = CountingVerifier()

    assert step_of(token, verifier) == step
    assert verifier.count == 0


def test_a_grant_for_a_sibling_archive_of_the_same_owner_is_refused() -> None:
    """Attack 10: two archives of one owner, under one anchor key."""
    sibling = found_archive(b"s" * 16)
    verifier = CountingVerifier()

    assert step_of(TWO_LINKS, verifier, anchor=sibling) == "archive"
    assert verifier.count == 0


def test_every_link_must_name_the_archive_not_only_the_leaf() -> None:
    """Attack 10: a chain that changes its archive on the way."""
    other = first_token(anchor=found_archive(b"s" * 16))
    mixed = sign_freely(
        other, OPERATOR, archive_id=ARCHIVE.archive_id, depth=0, presenter=AGGREGATOR.spki_hash
    )

    assert step_of(mixed) == "archive"


@pytest.mark.parametrize(
    ("now_s", "granted"),
    [
        (NOW - 31, False),
        (NOW - 30, True),
        (NOW, True),
        (NOW + HOUR - 1, True),
        (NOW + HOUR, False),
        (NOW + HOUR + 1, False),
    ],
)
def test_the_start_has_thirty_seconds_of_leeway_and_the_end_none(now_s: int, granted: bool) -> None:
    """Attack 12: a second before each end of the window, at it, and after."""
    if granted:
        assert present(TWO_LINKS, now_s=now_s)
    else:
        assert step_of(TWO_LINKS, now_s=now_s) == "time"


def test_an_expired_parent_ends_a_child_that_would_live_on() -> None:
    parent = first_token(seconds=60)
    child = sign_freely(
        parent, OPERATOR, not_after_s=NOW + HOUR, depth=0, presenter=AGGREGATOR.spki_hash
    )

    assert step_of(child, now_s=NOW + 61) == "time"


def test_a_link_of_more_than_its_longest_window_is_refused() -> None:
    start = NOW - HOUR
    forever = dict(not_before_s=start, not_after_s=start + 24 * HOUR + 1, depth=0)
    parent = first_token(start=start, seconds=7 * 24 * HOUR)
    child = sign_freely(parent, OPERATOR, presenter=AGGREGATOR.spki_hash, **forever)

    assert step_of(child) == "time"


def test_a_grant_of_another_epoch_is_refused() -> None:
    verifier = CountingVerifier()

    assert step_of(first_token(AGGREGATOR, epoch=2), verifier) == "epoch"
    assert verifier.count == 0
    assert step_of(first_token(AGGREGATOR, epoch=4)) == "rollback"


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_unknown_critical_extension_is_refused(at: int) -> None:
    """Attack 20: a restriction that is not understood is never skipped, in whichever link it is."""
    known, chain = decode_chain_untrusted(first_token()).leaf, EMPTY_CHAIN
    for place, (by, to) in enumerate(pairwise((ANCHOR_KEY, OPERATOR, TENANT, AGGREGATOR))):
        link = replace(
            known,
            issuer=by.public_bytes,
            holder=to.public_bytes,
            presenter=to.spki_hash,
            depth=2 - place,
            critical=(7,) if place == at else (),
        )
        chain = chain.extend(link, by)
    verifier = CountingVerifier()

    assert step_of(chain.encode(), verifier) == "critical"
    assert verifier.count == 0


def test_nothing_follows_a_sealed_link() -> None:
    """Attack 3: a link appended after depth 0."""
    sealed = first_token(AGGREGATOR, depth=0)
    longer = sign_freely(sealed, AGGREGATOR, holder=TENANT.public_bytes)

    assert step_of(longer) == "chain"


def test_a_link_must_be_issued_by_the_holder_before_it() -> None:
    stolen = sign_freely(first_token(), STRANGER, depth=0, presenter=AGGREGATOR.spki_hash)
    renamed = with_leaf(stolen, issuer=STRANGER.public_bytes)

    assert step_of(stolen) == "signature"
    assert step_of(renamed) == "chain"


def test_a_bad_first_signature_stops_before_the_second() -> None:
    chain = decode_chain_untrusted(TWO_LINKS)
    first = replace(chain.signed[0], signature=bytes(64))
    verifier = CountingVerifier()

    assert step_of(Chain((first, chain.signed[1])).encode(), verifier) == "signature"
    assert verifier.count == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": COUNT_ONLY},
        {"not_after_s": NOW + HOUR + 1},
        {"not_before_s": NOW - 1},
        {"nonce": b"y" * 16},
        {"depth": 1},
    ],
    ids=lambda it: next(iter(it)),
)
def test_a_changed_field_breaks_the_signature(changes: dict[str, object]) -> None:
    assert step_of(with_leaf(TWO_LINKS, **changes)) == "signature"


def test_every_changed_byte_is_refused() -> None:
    for position in range(0, len(TWO_LINKS), 3):
        changed = bytearray(TWO_LINKS)
        changed[position] ^= 1
        step_of(bytes(changed))


def test_links_cannot_be_dropped_doubled_swapped_or_spliced() -> None:
    """Attack 3: what each link signs is its place in one chain."""
    three = next_token(next_token(first_token(), OPERATOR, TENANT, depth=1), TENANT, AGGREGATOR)
    one, two, leaf = decode_chain_untrusted(three).signed
    # The same operator, another first link: everything fits but the hash of what came before.
    other = decode_chain_untrusted(first_token(nonce=b"z" * 16)).signed[0]

    for broken in ([one, leaf], [two, leaf], [leaf], [one, two, two, leaf], [two, one, leaf]):
        assert step_of(Chain(tuple(broken)).encode()) == "chain"
    assert step_of(Chain((other, two, leaf)).encode()) == "signature"


def test_a_wider_child_opens_no_more_than_its_parent() -> None:
    """Attack 4: a modified client signs more than it has."""
    narrow = first_token(scope=COUNT_ONLY)
    wide = sign_freely(
        narrow,
        OPERATOR,
        scope=SALES,
        holder=AGGREGATOR.public_bytes,
        presenter=AGGREGATOR.spki_hash,
        depth=0,
    )

    assert present(wide).scope == COUNT_ONLY.meet(CEILING)


def test_the_pairing_is_a_ceiling() -> None:
    interface = ceiling("INTERFACE", {"sales": COLUMNS}, floor=20)

    assert present(TWO_LINKS, under=interface).scope.tables["sales"].floor == 20
    assert step_of(TWO_LINKS, under=Scope()) == "scope"
    assert step_of(TWO_LINKS, under=ceiling("ADMIN", {"rents": COLUMNS}, 1)) == "scope"


def test_a_holder_who_is_not_the_presenter_must_sign_every_call() -> None:
    interactive = present(next_token(first_token(), OPERATOR, TENANT, presenter=AGGREGATOR))

    assert interactive.is_interactive
    assert interactive.leaf_holder == TENANT.public_bytes
    assert not present(TWO_LINKS).is_interactive


def test_a_holder_key_with_a_small_part_is_refused_after_its_signature() -> None:
    verifier = CountingVerifier()
    mixed = sign_freely(
        first_token(), OPERATOR, holder=MIXED_ORDER, presenter=AGGREGATOR.spki_hash, depth=0
    )

    assert step_of(mixed, verifier) == "key"
    assert verifier.count == 2


# The sum of an honest key and the point of order two: (x, y) becomes (-x, -y).
MIXED_ORDER = (
    (2**255 - 19 - (int.from_bytes(TENANT.public_bytes, "little") & (2**255 - 1)))
    | ((1 - (TENANT.public_bytes[31] >> 7)) << 255)
).to_bytes(32, "little")


def test_a_second_signature_by_the_same_issuer_gives_the_same_grant_id() -> None:
    """Attack 7: the id is of what was said, so what revokes it revokes every signature of it."""
    chain = decode_chain_untrusted(TWO_LINKS)
    resigned = Chain((*chain.signed[:-1], replace(chain.signed[-1], signature=b"s" * 64)))

    assert resigned.ids() == chain.ids()


def test_no_signature_and_no_body_is_in_a_repr() -> None:
    chain = decode_chain_untrusted(TWO_LINKS)

    assert repr(chain.signed[0].signature) not in repr(chain)
    assert repr(chain.signed[0].body) not in repr(chain)


def test_a_first_link_may_be_presented_by_its_own_holder() -> None:
    check_prime_order(ANCHOR_KEY.public_bytes)

    assert present(first_token(AGGREGATOR, depth=0)).scope == SALES.meet(CEILING)


def test_a_link_is_a_value() -> None:
    link: Link = decode_chain_untrusted(TWO_LINKS).leaf

    assert Link.decode_untrusted(link.encode()) == link
