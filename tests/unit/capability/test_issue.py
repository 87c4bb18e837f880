"""What a signer cannot do by mistake."""

from __future__ import annotations

import pytest

from psp.capability import Operation, Scope, TableRule, between
from psp.errors import CapabilityError, NarrowingError

from .actors import (
    AGGREGATOR,
    COUNT_ONLY,
    HOUR,
    NOW,
    OPERATOR,
    SALES,
    TENANT,
    first_token,
    next_token,
)


def test_only_the_holder_can_narrow() -> None:
    with pytest.raises(NarrowingError, match="does not hold this grant"):
        next_token(first_token(), TENANT, AGGREGATOR)


def test_an_added_operation_is_named() -> None:
    with pytest.raises(NarrowingError, match=r"does not allow table sales: sum, mean, output"):
        next_token(first_token(scope=COUNT_ONLY), OPERATOR, AGGREGATOR, scope=SALES)


def test_rows_left_out_of_a_child_would_widen_it() -> None:
    rule = TableRule(operations=frozenset({Operation.COUNT}), rows={"price": between(1, 9)})
    parent = first_token(scope=Scope({"sales": rule}))
    wider = Scope({"sales": TableRule(operations=frozenset({Operation.COUNT}))})

    with pytest.raises(NarrowingError, match=r"rows unless price >= 1 and <= 9"):
        next_token(parent, OPERATOR, AGGREGATOR, scope=wider)


def test_depth_must_fall() -> None:
    with pytest.raises(NarrowingError, match="depth=1 after a link of depth 1"):
        next_token(first_token(depth=1), OPERATOR, AGGREGATOR, depth=1)


@pytest.mark.parametrize(("start", "seconds"), [(NOW - 1, HOUR), (NOW + 23 * HOUR, HOUR + 1)])
def test_the_window_stays_inside_the_parents(start: int, seconds: int) -> None:
    with pytest.raises(NarrowingError, match="leaves the parent's"):
        next_token(first_token(), OPERATOR, AGGREGATOR, start=start, seconds=seconds)


@pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * HOUR + 1])
def test_a_first_link_lasts_seven_days_at_most(seconds: int) -> None:
    with pytest.raises(CapabilityError, match="Choose an earlier end"):
        first_token(seconds=seconds)


def test_a_further_link_lasts_a_day_at_most() -> None:
    parent = first_token(seconds=7 * 24 * HOUR)

    with pytest.raises(CapabilityError, match="may last 1 to 86400 s"):
        next_token(parent, OPERATOR, AGGREGATOR, seconds=24 * HOUR + 1)


def test_an_empty_scope_is_not_worth_a_signature() -> None:
    with pytest.raises(CapabilityError, match="allows nothing"):
        first_token(scope=Scope())


def test_a_scope_that_does_not_fit_says_by_how_much() -> None:
    names = frozenset(f"a_rather_long_column_name_{number}" for number in range(40))
    wide = TableRule(operations=frozenset({Operation.SUM}), output=names)

    with pytest.raises(CapabilityError, match=r"needs \d+ bytes and a link holds 1024"):
        first_token(scope=Scope({"sales": wide}))


@pytest.mark.parametrize("nonce", [b"", b"n" * 15, b"n" * 17])
def test_a_nonce_has_sixteen_bytes(nonce: bytes) -> None:
    with pytest.raises(CapabilityError, match="a nonce has 16 bytes"):
        first_token(nonce=nonce)


@pytest.mark.parametrize("depth", [-1, 4])
def test_a_chain_has_four_links_at_most(depth: int) -> None:
    with pytest.raises(CapabilityError, match=f"depth={depth}"):
        first_token(depth=depth)


def test_an_epoch_out_of_range_is_refused_before_it_leaves() -> None:
    with pytest.raises(CapabilityError, match="4294967296"):
        first_token(epoch=2**32)
