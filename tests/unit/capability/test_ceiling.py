"""What each pairing opens at most."""

from __future__ import annotations

from itertools import pairwise

import pytest

from psp.capability import Operation, Pairing, ceiling

TABLES = {"sales": ("date", "price")}


def test_each_pairing_contains_the_one_before() -> None:
    for less, more in pairwise(Pairing):
        assert ceiling(more, TABLES, 10).contains(ceiling(less, TABLES, 10))
        assert not ceiling(less, TABLES, 10).contains(ceiling(more, TABLES, 10))


def test_an_interface_never_sees_one_record() -> None:
    rule = ceiling("INTERFACE", TABLES, 10).tables["sales"]

    assert rule.aggregates_only
    assert rule.floor == 10
    assert rule.allowed_operations.isdisjoint(
        {
            Operation.READ,
            Operation.EXISTS,
            Operation.MIN,
            Operation.MAX,
            Operation.APPEND,
            Operation.SKETCH,
            Operation.ASSET,
        }
    )


@pytest.mark.parametrize("pairing", list(Pairing))
def test_no_pairing_is_a_bulk_export(pairing: Pairing) -> None:
    assert ceiling(pairing, TABLES, 1).tables["sales"].rows_max == 1000


def test_an_unknown_pairing_is_refused() -> None:
    with pytest.raises(ValueError, match="ROOT"):
        ceiling("ROOT", TABLES, 1)


FIGURES = {
    Operation.META,
    Operation.COUNT,
    Operation.SUM,
    Operation.MEAN,
    Operation.VARIANCE,
    Operation.DISTINCT,
    Operation.HISTOGRAM,
}
RECORDS = {Operation.EXISTS, Operation.MIN, Operation.MAX, Operation.READ}


@pytest.mark.parametrize(
    ("pairing", "operations"),
    [
        (Pairing.INTERFACE, FIGURES),
        (Pairing.USER, FIGURES | RECORDS),
        (Pairing.INPUT, FIGURES | RECORDS | {Operation.APPEND}),
        (Pairing.ADMIN, set(Operation)),
    ],
)
def test_each_pairing_opens_exactly_what_the_page_says(
    pairing: Pairing, operations: set[Operation]
) -> None:
    """docs/pairing.md, the first table."""
    rule = ceiling(pairing, TABLES, 10).tables["sales"]
    assert rule.allowed_operations == operations
    assert rule.aggregates_only is (pairing is Pairing.INTERFACE)
    assert rule.floor == 10
