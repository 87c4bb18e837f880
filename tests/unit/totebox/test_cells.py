from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest

from psp.totebox._cells import CellRefused, converter
from psp.totebox._manifest import Column, ColumnType


def convert(kind: ColumnType, cell: object, *, scale: int = 0, nullable: bool = False) -> object:
    column = Column(name="x", type=kind, scale=scale, nullable=nullable)
    return converter(column, null="" if isinstance(cell, str) else None)(cell)


@pytest.mark.parametrize(
    ("kind", "cell", "stored"),
    [
        (ColumnType.INTEGER, "-12", -12),
        (ColumnType.INTEGER, " 7 ", 7),
        (ColumnType.INTEGER, "9223372036854775807", 2**63 - 1),
        (ColumnType.INTEGER, 5, 5),
        (ColumnType.INTEGER, 5.0, 5),
        (ColumnType.DECIMAL, "1234.5", 123450),
        (ColumnType.DECIMAL, "-0.05", -5),
        (ColumnType.DECIMAL, "1.500", 150),
        (ColumnType.DECIMAL, "7", 700),
        (ColumnType.DECIMAL, Decimal("7.1"), 710),
        (ColumnType.DECIMAL, 0.1, 10),
        (ColumnType.FLOAT, "1e-3", 0.001),
        (ColumnType.FLOAT, "5.", 5.0),
        (ColumnType.DATE, "2014-05-02", "2014-05-02"),
        (ColumnType.DATE, "2014-05-02T00:00:00.000Z", "2014-05-02"),
        (ColumnType.DATE, date(2014, 5, 2), "2014-05-02"),
        (ColumnType.DATE, datetime(2014, 5, 2), "2014-05-02"),
        (ColumnType.BOOLEAN, "YES", 1),
        (ColumnType.BOOLEAN, False, 0),
        (ColumnType.TEXT, "e\u0301", "\u00e9"),
        (ColumnType.TEXT, " kept as it is ", " kept as it is "),
    ],
)
def test_a_cell_becomes_its_stored_value(kind: ColumnType, cell: object, stored: object) -> None:
    scale = 2 if kind is ColumnType.DECIMAL else 0

    found = convert(kind, cell, scale=scale)

    assert (found, type(found)) == (stored, type(stored))


@pytest.mark.parametrize(
    ("kind", "cell", "reason"),
    [
        (ColumnType.INTEGER, "007", "leading zeros"),
        (ColumnType.INTEGER, "1_000", "not a whole number"),
        (ColumnType.INTEGER, "1,000", "not a whole number"),
        (ColumnType.INTEGER, "٣", "not a whole number"),
        (ColumnType.INTEGER, "1.0", "not a whole number"),
        (ColumnType.INTEGER, "9223372036854775808", "64 bits"),
        (ColumnType.DECIMAL, "1.005", "3 digits after the point; the column keeps 2"),
        (ColumnType.DECIMAL, "$5", "not a decimal"),
        (ColumnType.DECIMAL, "999999999999999999", "64 bits"),
        (ColumnType.FLOAT, "nan", "finite"),
        (ColumnType.FLOAT, "1e999", "finite"),
        (ColumnType.FLOAT, float("inf"), "finite"),
        (ColumnType.DATE, "2014-02-30", "not a date"),
        (ColumnType.DATE, "3/4/2015", "not a date"),
        (ColumnType.DATE, "20140502", "not a date"),
        (ColumnType.DATE, "2014-05-02T10:00", "not a date"),
        (ColumnType.BOOLEAN, "maybe", "neither true nor false"),
        (ColumnType.TEXT, "a\0b", "NUL"),
        (ColumnType.TEXT, "x" * 100_001, "100001 characters"),
        (ColumnType.TEXT, [1], "a list"),
        (ColumnType.INTEGER, "", "must have a value"),
        (ColumnType.INTEGER, None, "must have a value"),
    ],
)
def test_a_cell_that_does_not_fit_is_refused_with_a_reason(
    kind: ColumnType, cell: object, reason: str
) -> None:
    scale = 2 if kind is ColumnType.DECIMAL else 0
    with pytest.raises(CellRefused, match=reason):
        convert(kind, cell, scale=scale)


def test_only_the_null_text_is_null() -> None:
    column = Column(name="x", type=ColumnType.TEXT, nullable=True)

    assert converter(column, null="NA")("NA") is None
    assert converter(column, null="NA")("") == ""
    assert converter(column, null=None)("NA") == "NA"


def test_a_value_that_the_owner_did_not_list_is_refused() -> None:
    zips = converter(Column(name="x", type=ColumnType.INTEGER, values=(98004,)), null="")
    truths = converter(Column(name="x", type=ColumnType.BOOLEAN, values=(True,)), null="")
    days = converter(
        Column(name="x", type=ColumnType.DATE, from_=date(2014, 5, 1), to=date(2014, 5, 31)),
        null="",
    )

    assert (zips("98004"), truths("yes"), days("2014-05-31")) == (98004, 1, "2014-05-31")
    for convert_cell, cell in ((zips, "98005"), (truths, "no"), (days, "2014-06-01")):
        with pytest.raises(CellRefused, match=r"listed values|outside the column's"):
            convert_cell(cell)


def test_a_reason_cannot_carry_an_escape_sequence_or_a_long_cell() -> None:
    with pytest.raises(CellRefused) as caught:
        convert(ColumnType.INTEGER, "\x1b[2J" + "9" * 500)

    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 120


def test_remembering_cells_changes_nothing_and_ends() -> None:
    remembering = converter(Column(name="x", type=ColumnType.INTEGER), null="")

    for _ in range(2):
        assert [remembering(str(n)) for n in range(17_000)] == list(range(17_000))
    assert len(remembering.__self__) == 16_384  # type: ignore[attr-defined]
