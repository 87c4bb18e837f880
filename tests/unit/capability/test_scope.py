"""Rules and scopes: what they allow, what they refuse to be."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from psp.capability import (
    UNLIMITED,
    Operation,
    RowDomain,
    Scope,
    TableRule,
    between,
    domain_words,
    one_of,
    scope_sentence,
    starts_with,
)
from psp.capability._sentence import removed

COUNT = frozenset({Operation.COUNT})
READ_ONE = TableRule(
    operations=frozenset({Operation.READ, Operation.COUNT}),
    output=frozenset({"price"}),
    filters=frozenset({"id"}),
    rows={"id": one_of(["7129300520"])},
    rows_max=1,
)


def test_one_specific_row_is_a_row_domain_of_one_key() -> None:
    assert READ_ONE.admits({"id": "7129300520", "price": 1})
    assert not READ_ONE.admits({"id": "7129300521", "price": 1})
    assert not READ_ONE.admits({"price": 1}), "a row without the column is not there"


def test_filtering_needs_its_own_permission() -> None:
    assert READ_ONE.allows(Operation.READ, output=["price"], filters=["id"])
    assert not READ_ONE.allows(Operation.READ, filters=["price"])
    assert not READ_ONE.allows(Operation.READ, output=["id"])
    assert not READ_ONE.allows(Operation.READ, groups=["id"])
    assert not READ_ONE.allows(Operation.SUM, output=["price"])


def test_aggregates_only_takes_record_operations_away() -> None:
    rule = TableRule(operations=frozenset(Operation), rows_max=5, aggregates_only=True)

    assert rule.allowed_operations == frozenset(Operation) - {
        Operation.READ,
        Operation.EXISTS,
        Operation.ASSET,
    }


def test_reading_without_a_limit_of_records_is_not_a_rule() -> None:
    with pytest.raises(ValueError, match="must set rows_max"):
        TableRule(operations=frozenset({Operation.READ}))


@pytest.mark.parametrize(
    "word",
    [
        *("floor", "rows_max", "groups_max", "bytes_max"),
        *("uses_total", "rows_total", "bytes_total"),
    ],
)
@pytest.mark.parametrize("number", [0, -1, UNLIMITED + 1])
def test_limits_are_at_least_one(word: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"{word} is {number}"):
        TableRule(operations=COUNT, **{word: number})  # type: ignore[arg-type]


def test_rounding_stays_on_its_ladder() -> None:
    with pytest.raises(ValueError, match="rounding to 7"):
        TableRule(operations=COUNT, rounding=7)


@pytest.mark.parametrize(
    "name", ["", "a\u202eb", "a\u200bb", "a\nb", "e\u0301", "n" * 129, "\ud800"]
)
def test_names_that_cannot_be_read_are_not_names(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        TableRule(operations=COUNT, output=frozenset({name}))
    with pytest.raises(ValueError, match="name"):
        Scope({name: TableRule(operations=COUNT)})
    with pytest.raises(ValueError, match="name"):
        Scope({}, {"ledger": frozenset({name})})


def test_a_rule_cannot_be_widened_through_the_mapping_it_was_made_from() -> None:
    rows: dict[str, RowDomain] = {"id": one_of([1])}
    rule = TableRule(operations=COUNT, rows=rows)
    rows.clear()

    assert not rule.admits({"id": 2})


def test_what_allows_nothing_is_left_out_of_a_scope() -> None:
    nothing = TableRule(operations=COUNT, rows={"id": one_of([])})
    only_read = TableRule(operations=frozenset({Operation.EXISTS}), aggregates_only=True)

    assert Scope({"a": nothing, "b": only_read}, {"ledger": frozenset()}).is_empty
    assert Scope({"a": nothing}) == Scope()
    assert not nothing.allows(Operation.COUNT)


def test_objects_are_named_with_their_methods() -> None:
    scope = Scope({}, {"ledger": frozenset({"prove"})})

    assert scope.allows_method("ledger", "prove")
    assert not scope.allows_method("ledger", "rewrite")
    assert not scope.allows_method("service", "prove")


def test_equal_scopes_have_equal_hashes() -> None:
    left = Scope({"a": READ_ONE, "b": TableRule(operations=COUNT)})
    right = Scope({"b": TableRule(operations=COUNT), "a": READ_ONE})

    assert (left, hash(left)) == (right, hash(right))


def test_a_scope_reads_as_a_sentence() -> None:
    rule = TableRule(
        operations=frozenset({Operation.MEAN, Operation.COUNT}),
        output=frozenset({"price", "age"}),
        filters=frozenset({"date"}),
        groups=frozenset({"ward"}),
        rows={"date": between(date(2026, 1, 1), date(2026, 1, 31)), "ward": one_of([3, 7])},
        aggregates_only=True,
        floor=5,
        rounding=10,
        groups_max=20,
        uses_total=100,
        bytes_total=65_536,
        local=True,
    )

    assert str(Scope({"visits": rule}, {"ledger": frozenset({"prove"})})) == (
        "table visits: count, mean of (age, price), filtered by (date), grouped by (ward),"
        " where date >= 2026-01-01 and <= 2026-01-31, ward in {3, 7}; aggregates only;"
        " about 5 subjects or more; rounded to 10; at most 20 groups a call;"
        " at most 100 uses in all; at most 65536 bytes in all;"
        " hand-over on the same machine allowed. ledger: prove."
    )
    assert scope_sentence(Scope()) == "nothing."


def test_a_hostile_value_cannot_print_itself() -> None:
    assert domain_words(one_of(["\x1b[2J"])) == r"in {'\x1b[2J'}"
    assert domain_words(starts_with("\u202e")) == r"starts with '\u202e'"
    assert domain_words(between(Decimal("0.50"), None, low_open=True)) == "> 0.5"


def test_what_a_link_took_away_is_said() -> None:
    before = Scope(
        {"a": READ_ONE, "b": TableRule(operations=COUNT, local=True)},
        {"ledger": frozenset({"prove", "audit"})},
    )
    after = before.meet(
        Scope(
            {"b": TableRule(operations=COUNT, floor=5, rows={"id": between(1, None)})},
            {"ledger": frozenset({"prove"})},
        )
    )

    assert removed(before, after) == [
        "table a: all of it",
        "table b: rows unless id >= 1, now about 5 subjects or more, hand-over on the same machine",
        "ledger: audit",
    ]
    assert removed(before, before) == []
