"""The engine against a person's loop over the rows, for random rows, scopes and filters."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st

from psp.capability import Operation, RowDomain, TableRule, between, one_of, starts_with
from psp.plan import Bucket, Filter, GroupKey, Measure, Plan
from psp.totebox._engine import Engine
from psp.totebox._listed import bucket_text
from psp.totebox._manifest import Column, ColumnType, Table

TABLE = Table(
    name="sales",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="day", type=ColumnType.DATE),
        Column(name="town", type=ColumnType.TEXT, nullable=True),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, nullable=True),
    ),
    key=("id",),
)
NAMES = frozenset(TABLE.column_names)


@dataclass(frozen=True)
class Sale:
    day: date
    town: str | None
    price: Decimal | None


days = st.dates(date(2014, 1, 1), date(2015, 12, 31))
cents = st.integers(-(2**63), 2**63 - 1) | st.integers(-500, 500)
prices = cents.map(lambda it: Decimal(it).scaleb(-2))
towns = st.sampled_from(["", "a", "ab", "abc", "B", "b"])
sales = st.lists(
    st.builds(Sale, day=days, town=st.none() | towns, price=st.none() | prices), max_size=15
)
date_domains: st.SearchStrategy[RowDomain] = st.builds(between, days, days) | st.lists(
    days, max_size=3
).map(one_of)
domains = st.fixed_dictionaries(
    {},
    optional={
        "day": date_domains,
        "town": st.lists(towns, max_size=3).map(one_of) | towns.filter(bool).map(starts_with),
        "price": st.builds(between, prices, prices, low_open=st.booleans())
        | st.lists(prices, max_size=3).map(one_of),
    },
)


def index_of(folder: str, rows: Sequence[Sale]) -> Path:
    path = Path(folder) / "index"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE sales (id INTEGER, day TEXT, town TEXT, price INTEGER)")
    with connection:
        connection.executemany(
            "INSERT INTO sales VALUES (?, ?, ?, ?)",
            [
                (at, it.day.isoformat(), it.town, None if it.price is None else int(it.price * 100))
                for at, it in enumerate(rows)
            ],
        )
    connection.close()
    return path


def passes(row: Sale, domains: dict[str, RowDomain]) -> bool:
    return all(domain.contains(getattr(row, name)) for name, domain in domains.items())


@given(sales, domains, domains, st.sampled_from(Bucket))
@settings(max_examples=80, deadline=None)
def test_an_answer_is_what_a_loop_over_the_visible_rows_gives(
    rows: list[Sale],
    scope: dict[str, RowDomain],
    asked: dict[str, RowDomain],
    bucket: Bucket,
) -> None:
    rule = TableRule(
        operations=frozenset(Operation) - {Operation.READ},
        output=NAMES,
        filters=NAMES,
        groups=NAMES,
        rows=scope,
    )
    plan = Plan(
        table="sales",
        filters=tuple(Filter(name, domain) for name, domain in asked.items()),
        group=(GroupKey("day", bucket),),
        measures=(
            Measure(Operation.COUNT),
            Measure(Operation.MEAN, "price"),
            Measure(Operation.MIN, "town"),
            Measure(Operation.MAX, "price"),
        ),
    )
    visible = [row for row in rows if passes(row, scope)]
    groups: dict[str, list[Sale]] = {}
    for row in visible:
        if passes(row, asked):
            groups.setdefault(bucket_text(row.day, bucket), []).append(row)
    expected = []
    for key in sorted(groups):
        found = [it.price for it in groups[key] if it.price is not None]
        named = [it.town for it in groups[key] if it.town is not None]
        mean = [sum(map(Decimal, found)) if found else None, len(found)]
        least = min(named, default=None)
        expected.append([[key], [len(groups[key]), mean, least, max(found, default=None)]])

    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(index_of(folder, rows), TABLE, rule)
        answer = engine.query(plan)

        assert answer["cells"] == expected
        assert engine.table_is_empty() == (not visible)
        engine.close()
