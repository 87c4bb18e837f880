"""The cases of grants as JSON are the authority: the library and the second verifier agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from psp.capability import (
    Anchor,
    Roots,
    Scope,
    Seen,
    Standing,
    check_public_key,
    decode_chain_untrusted,
    verify_untrusted,
)
from psp.capability import _keys as keys
from psp.capability._wire import decode_untrusted, encode
from psp.errors import GrantRefused
from tests.vectors import __main__ as vectors
from tests.vectors._grants import MIXED, STRANGER
from verifier import psp_grant

from .actors import CountingVerifier

FILE = json.loads(vectors.GRANTS.read_text("ascii"))
ANCHOR = Anchor(
    archive_id=bytes.fromhex(FILE["archive"]),
    root_sets=(Roots(frozenset({bytes.fromhex(FILE["anchor_key"])})),),
    anchor_keys=frozenset({bytes.fromhex(FILE["anchor_key"])}),
    ledger_key=bytes.fromhex(FILE["anchor_key"]),
    epoch=FILE["epoch"],
    version=1,
    nonce=bytes(16),
)
NOT_THE_SECOND_ONES = {"revoked", "rollback", "seen", "scope"}
"""Checks that need what an archive remembers, or its pairings."""
WITHOUT_A_SIGNATURE = {
    *("size", "decode", "archive", "critical", "chain", "presenter", "time", "epoch", "revoked"),
}

Case = dict[str, Any]


def named(kind: str) -> list[object]:
    return [pytest.param(case, id=f"{case['number']}: {case['words']}") for case in FILE[kind]]


def scope_of(wire: str) -> Scope:
    return Scope.from_wire_untrusted(decode_untrusted(bytes.fromhex(wire)))


def ceiling_of(case: Case) -> Scope:
    """What the case names; else the token itself, so that nothing is taken away."""
    if "ceiling" in case:
        return scope_of(case["ceiling"])
    try:
        return decode_chain_untrusted(bytes.fromhex(case["token"])).links[0].scope
    except GrantRefused:
        return Scope()


def standing_of(case: Case) -> Standing:
    return Standing(
        epoch=FILE["epoch"],
        revoked_ids={bytes.fromhex(it) for it in case.get("revoked_grants", [])},
        revoked_keys={bytes.fromhex(it) for it in case.get("revoked_keys", [])},
        contradicts=lambda seen: None if seen == Seen(0, bytes(32)) else "saw more",
    )


def by_the_second(case: Case) -> tuple[bytes, int, int]:
    return psp_grant.check(
        bytes.fromhex(case["token"]),
        {bytes.fromhex(FILE["anchor_key"])},
        case["now"],
        archive=bytes.fromhex(FILE["archive"]),
        epoch=FILE["epoch"],
        presenter=bytes.fromhex(case["presenter"]),
    )


def verify(case: Case, counted: CountingVerifier) -> Any:
    return verify_untrusted(
        bytes.fromhex(case["token"]),
        anchor=ANCHOR,
        presenter=bytes.fromhex(case["presenter"]),
        ceiling=ceiling_of(case),
        now_s=case["now"],
        standing=standing_of(case),
        verifier=counted,
    )


@pytest.mark.parametrize("case", named("chains"))
def test_an_accepted_token_is_the_grant_that_is_written(case: Case) -> None:
    grant = verify(case, counted := CountingVerifier())

    expected = bytes.fromhex(case["grant"]), case["not_before"], case["not_after"]
    assert (grant.grant_id, grant.not_before_s, grant.not_after_s) == expected
    assert grant.is_interactive is case["signed_calls"]
    assert counted.count == len(grant.links)
    assert by_the_second(case) == expected


@pytest.mark.parametrize("case", named("meets"))
def test_a_meet_is_the_scope_that_is_written_whichever_comes_first(case: Case) -> None:
    left, right, met = (scope_of(case[name]) for name in ("left", "right", "met"))

    assert left.meet(right) == right.meet(left) == met
    assert encode(left.meet(right).to_wire()).hex() == case["met"]
    for rule in decode_untrusted(bytes.fromhex(case["met"]))[0]:  # type: ignore[index]
        psp_grant.name_of_rule(rule)


@pytest.mark.parametrize("case", named("refusals"))
def test_a_refused_token_is_refused_at_the_check_that_is_written(case: Case) -> None:
    counted = CountingVerifier()
    with pytest.raises(GrantRefused) as refused:
        verify(case, counted)

    assert refused.value.step == case["step"]
    if case["step"] in WITHOUT_A_SIGNATURE:
        assert counted.count == 0
    if case["step"] in NOT_THE_SECOND_ONES and "epoch" not in case["words"]:
        by_the_second(case)
    else:
        with pytest.raises((ValueError, InvalidSignature)):
            by_the_second(case)


def test_the_file_is_what_the_tables_say_and_has_a_case_for_every_check() -> None:
    assert vectors.GRANTS.read_text("ascii") == vectors.grants()
    cases = [case for kind in ("chains", "meets", "refusals") for case in FILE[kind]]
    assert len(cases) >= 60
    assert len({case["words"] for case in cases}) == len(cases)
    steps = WITHOUT_A_SIGNATURE | NOT_THE_SECOND_ONES | {"signature", "key"}
    assert {case["step"] for case in FILE["refusals"]} == steps


def test_the_mixed_key_of_the_cases_is_an_honest_one_with_a_small_part() -> None:
    honest = keys._decompress(STRANGER.key)
    small = keys._decompress(keys._Y_OF_ORDER_8.to_bytes(32, "little"))
    mixed = keys._decompress(check_public_key(MIXED))
    assert honest is not None
    assert small is not None
    assert mixed is not None
    x, y, z, _ = keys._add(honest, small)
    assert (mixed[0] * z % keys._P, mixed[1] * z % keys._P) == (x, y)


def test_the_cases_stand_where_the_page_says() -> None:
    assert Path(__file__).parents[2] / "vectors" / "grants.json" == vectors.GRANTS
