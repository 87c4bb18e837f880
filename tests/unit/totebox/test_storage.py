from __future__ import annotations

from datetime import date
from decimal import Decimal

import apsw
import pytest

from psp.capability import NOTHING, RowDomain, between, one_of, starts_with
from psp.errors import Invalid
from psp.totebox._manifest import Column, ColumnType
from psp.totebox._storage import SQLValue, condition, from_storage, to_storage, to_typed_domain

INTEGER = Column(name="x", type=ColumnType.INTEGER)
MONEY = Column(name="x", type=ColumnType.DECIMAL, scale=2)
DATE = Column(name="x", type=ColumnType.DATE)
TEXT = Column(name="x", type=ColumnType.TEXT)
TRUTH = Column(name="x", type=ColumnType.BOOLEAN)
FLOAT = Column(name="x", type=ColumnType.FLOAT)

STORED: dict[ColumnType, list[SQLValue]] = {
    ColumnType.INTEGER: [-(2**63), -1, 0, 1, 2, 5, 2**63 - 1, None],
    ColumnType.DECIMAL: [-150, 0, 1, 149, 150, 151, 2**63 - 1, None],
    ColumnType.DATE: ["2014-05-01", "2014-05-02", "2014-12-31", None],
    ColumnType.TEXT: ["", "Bell", "Bellevue", "bell", "Bäll", "Bä", "5", "%", None],
    ColumnType.BOOLEAN: [0, 1, None],
    ColumnType.FLOAT: [-0.5, 0.0, 1.5, 2.0, None],
}
DOMAINS: list[RowDomain] = [
    NOTHING,
    one_of([1, 2, Decimal("1.5")]),
    one_of([Decimal("1.505")]),
    one_of([2**63 - 1]),
    between(1, 5),
    between(1, 5, low_open=True, high_open=True),
    between(Decimal("1.495"), Decimal("1.505")),
    between(None, Decimal("1.5"), high_open=True),
    between(-(2**63), None),
    between(Decimal("-1.5"), None, low_open=True),
    one_of([date(2014, 5, 2)]),
    between(date(2014, 5, 2), None),
    between(None, date(2014, 5, 2), high_open=True),
    one_of(["Bell", "5"]),
    starts_with("Bell"),
    starts_with("Bä"),
    starts_with("%"),
    one_of([True]),
]


@pytest.mark.parametrize("column", [INTEGER, MONEY, DATE, TEXT, TRUTH, FLOAT])
@pytest.mark.parametrize("literal", [False, True])
def test_a_condition_lets_through_exactly_what_the_domain_contains(
    column: Column, literal: bool
) -> None:
    """As a parameter and as a literal of a view, for every domain, of the right kind or not."""
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t (x)")
    connection.executemany("INSERT INTO t VALUES (?)", [(it,) for it in STORED[column.type]])
    for domain in DOMAINS:
        parameters: list[SQLValue] = []

        def write(value: SQLValue, into: list[SQLValue] = parameters) -> str:
            into.append(value)
            return "?"

        sql = condition(column, domain, apsw.format_sql_value if literal else write)
        rows = connection.execute(f"SELECT x FROM t WHERE {sql}", parameters).fetchall()

        assert [row[0] for row in rows] == [
            it for it in STORED[column.type] if domain.contains(from_storage(column, it))
        ]


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        (INTEGER, 5, 5),
        (INTEGER, Decimal(5), 5),
        (INTEGER, Decimal("5.5"), None),
        (INTEGER, True, None),
        (INTEGER, 2**63, None),
        (INTEGER, Decimal("1E+999999"), None),
        (INTEGER, "5", None),
        (MONEY, Decimal("1.50"), 150),
        (MONEY, 2, 200),
        (MONEY, Decimal("1.505"), None),
        (DATE, date(2014, 5, 1), "2014-05-01"),
        (DATE, "2014-05-01", "2014-05-01"),
        (TEXT, "x" * 300, "x" * 300),
        (TEXT, date(2014, 5, 1), None),
        (TRUTH, True, 1),
        (TRUTH, 1, None),
        (FLOAT, 1, 1.0),
        (FLOAT, b"1", None),
    ],
)
def test_a_key_is_stored_as_its_column_stores_it(
    column: Column, value: object, stored: SQLValue
) -> None:
    found = to_storage(column, value)  # type: ignore[arg-type]

    assert (found, type(found)) == (stored, type(stored))


def test_a_quoted_date_becomes_a_date_where_the_column_holds_dates() -> None:
    domain = one_of(["2014-05-01", "2014-05-02"])

    assert to_typed_domain(DATE, domain) == one_of([date(2014, 5, 1), date(2014, 5, 2)])
    assert to_typed_domain(TEXT, domain) == domain
    assert to_typed_domain(TEXT, NOTHING) == NOTHING


@pytest.mark.parametrize(
    ("column", "domain", "message"),
    [
        (TEXT, one_of([98004]), "holds text values; compare it with a text in quotes"),
        (MONEY, one_of(["5"]), "without quotes"),
        (DATE, one_of(["May"]), "a date such as '2014-05-02'"),
        (DATE, starts_with("2014"), "a date such as"),
        (TRUTH, one_of([1]), "true or false"),
    ],
)
def test_a_literal_of_another_kind_is_said_to_the_asker(
    column: Column, domain: RowDomain, message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        to_typed_domain(column, domain)
