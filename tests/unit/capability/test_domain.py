"""Row domains at their edges; the laws are in tests/property/test_scope_laws.py."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from psp.capability import NOTHING, RowDomain, between, one_of, starts_with

MAY = between(date(2014, 5, 1), date(2014, 6, 1), high_open=True)


def test_numbers_compare_by_value_and_nothing_else_mixes() -> None:
    one = one_of([1])

    assert one.contains(Decimal("1.00"))
    assert one.contains(1.0)
    assert not one.contains(True)
    assert not one.contains("1")
    assert not one_of([True]).contains(1)
    assert one_of([True]) != one


@pytest.mark.parametrize(
    "value", [None, float("nan"), Decimal("sNaN"), Decimal("Infinity"), b"1", [], {}, object()]
)
@pytest.mark.parametrize(
    "domain", [NOTHING, one_of([1]), between(1, None), between(None, date.max), starts_with("a")]
)
def test_a_value_of_no_kind_is_in_no_domain(domain: RowDomain, value: object) -> None:
    assert not domain.contains(value)


def test_an_instant_is_not_a_date() -> None:
    assert MAY.contains(date(2014, 5, 31))
    assert not MAY.contains(date(2014, 6, 1))
    assert not MAY.contains(datetime(2014, 5, 2, tzinfo=UTC))


def test_open_ends_are_outside() -> None:
    price = between(Decimal("0.1"), Decimal("0.3"), low_open=True, high_open=True)

    assert price.contains(Decimal("0.2"))
    assert not price.contains(Decimal("0.1"))
    assert not price.contains(Decimal("0.3"))
    assert not price.contains("0.2")


def test_equal_domains_are_equal_objects() -> None:
    assert between(5, Decimal("5.00")) == one_of([5])
    assert between(6, 5) == between(5, 5, low_open=True) == one_of([]) == NOTHING
    assert between(date(2014, 4, 30), date(2014, 5, 31), low_open=True) == MAY
    assert between(date.max, None, low_open=True) == NOTHING
    assert between(None, date.min, high_open=True) == NOTHING
    assert between(1, None, high_open=True) == between(1, None)
    assert one_of(["e\u0301"]) == one_of(["\u00e9"])


def test_prefixes_meet_in_the_longer_or_nowhere() -> None:
    assert starts_with("98").meet(starts_with("981")) == starts_with("981")
    assert starts_with("98").meet(starts_with("97")) == NOTHING
    assert starts_with("98").meet(one_of(["98", "97"])) == one_of(["98"])
    assert starts_with("98").meet(between(1, 2)) == NOTHING


def test_where_two_ends_are_equal_the_open_one_wins() -> None:
    half_open = between(1, 5, low_open=True)

    assert between(1, 5).meet(half_open) == half_open
    assert half_open.meet(between(None, 5, high_open=True)) == between(
        1, 5, low_open=True, high_open=True
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: one_of([1, "1"]),
        lambda: one_of(range(65)),
        lambda: one_of([0.5]),  # type: ignore[list-item]
        lambda: one_of([2**63]),
        lambda: one_of([Decimal("NaN")]),
        lambda: one_of([Decimal("1E+999999999")]),
        lambda: one_of([Decimal("1E-39")]),
        lambda: one_of([Decimal("0." + "1" * 200)]),
        lambda: one_of([Decimal("9223372036854775807.5")]),
        lambda: one_of(["a" * 257]),
        lambda: one_of(["\ud800"]),
        lambda: between(None, None),
        lambda: between(1, date(2014, 5, 1)),
        lambda: between(True, None),
        lambda: starts_with(""),
    ],
)
def test_what_cannot_be_written_exactly_is_not_a_domain(make: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "wire",
    [
        None,
        [],
        [0],
        [4, ""],
        [True, 1, [1]],
        [1, 0, [1]],
        [1, 1, []],
        [1, 5, [1]],
        [1, 1, [2, 1]],
        [1, 1, [1, 1]],
        [1, 1, [True]],
        [1, 1, [1.0]],
        [1, 4, [1]],
        [1, 1, [[1, 10]]],
        [1, 1, [[0, 1]]],
        [1, 1, [[39, 1]]],
        [1, 1, [[1]]],
        [1, 2, [2932897]],
        [1, 2, [-719163]],
        [1, 3, ["e\u0301"]],
        [1, 3, [b"a"]],
        [2, 1, [], [], 0],
        [2, 1, [1], [1], 0],
        [2, 1, [2], [1], 0],
        [2, 1, [1, 2], [], 0],
        [2, 1, [1], [], 2],
        [2, 1, [1], [], True],
        [2, 2, [1], [], 1],
        [2, 3, ["a"], [], 0],
        [3, ""],
        [3, "e\u0301"],
        [3, "a", 0],
    ],
)
def test_every_other_array_is_refused(wire: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        RowDomain.from_wire_untrusted(wire)
