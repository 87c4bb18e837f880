"""What two archives share of a value: one form, whatever type a column has."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.totebox import Column, ColumnType
from psp.totebox._reconciled import _writer_of, canonical
from psp.totebox._storage import SQLValue, from_storage
from psp.values import Value

COLUMNS = {
    ColumnType.TEXT: st.text(max_size=20),
    ColumnType.INTEGER: st.integers(-(2**63), 2**63 - 1),
    ColumnType.DECIMAL: st.integers(-(2**63), 2**63 - 1),
    ColumnType.DATE: st.dates().map(date.isoformat),
    ColumnType.BOOLEAN: st.integers(0, 1),
    ColumnType.FLOAT: st.floats(allow_nan=False),
}


@given(st.data(), st.sampled_from([*COLUMNS]), st.integers(0, 9))
def test_the_fast_way_writes_what_the_slow_one_does(
    data: st.DataObject, kind: ColumnType, scale: int
) -> None:
    column = Column(name="x", type=kind, scale=scale if kind is ColumnType.DECIMAL else 0)
    stored: SQLValue = data.draw(st.one_of(st.none(), COLUMNS[kind]))  # type: ignore[assignment]
    assert _writer_of(column)(stored) == canonical(from_storage(column, stored))


@pytest.mark.parametrize(
    ("one", "other"),
    [(7, Decimal("7.00")), (Decimal("-0.10"), Decimal("-0.1")), (0, Decimal("-0"))],
)
def test_one_number_has_one_form(one: Value, other: Value) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, "1"), (1, True), (None, ""), ("2014-05-02", date(2014, 5, 2)), (1, 1.0)],
)
def test_values_of_two_kinds_are_two_values(one: Value, other: Value) -> None:
    assert canonical(one) != canonical(other)


def test_values_do_not_run_together() -> None:
    assert canonical("a") + canonical("bc") != canonical("ab") + canonical("c")
