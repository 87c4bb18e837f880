"""Measures of every engine against Python's own statistics, in exact numbers."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from psp.capability import Operation, TableRule
from psp.errors import Suppressed
from psp.plan import Figure, Measure, Plan, combine, plan_from_sql
from psp.totebox._duckdb import open_database
from psp.totebox._duckdb_engine import DuckEngine
from psp.totebox._engine import Engine
from psp.totebox._manifest import Column, ColumnType, Table

TABLE = Table(
    name="t",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="x", type=ColumnType.DECIMAL, scale=2, nullable=True),
    ),
    key=("id",),
)
NAMES = frozenset(TABLE.column_names)
RULE = TableRule(
    operations=frozenset(Operation), output=NAMES, filters=NAMES, groups=NAMES, rows_max=1
)
SQL = 'CREATE TABLE "t" ("id" BIGINT, "x" BIGINT, "_entry" BIGINT)'
THIRTY_FOUR = Context(prec=34)

cents = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300)
columns = st.lists(st.none() | cents, max_size=9)
edges = st.lists(st.integers(-4, 4), min_size=1, max_size=4, unique=True).map(sorted)


class Bench:
    """One table of each engine, filled anew for each example."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "index.sqlite"
        self.sqlite = apsw.Connection(str(self.path))
        self.sqlite.pragma("synchronous", 0)
        self.duckdb = open_database(directory / "index.duckdb", read_only=False)
        for database in (self.sqlite, self.duckdb):
            database.execute(SQL)

    def ask(self, values: Sequence[int | None], measure: Measure, floor: int = 1) -> list[object]:
        """Ask every engine; an answer that is hidden altogether is None."""
        for database in (self.sqlite, self.duckdb):
            database.execute("DELETE FROM t")
            for row in enumerate(values):
                database.execute("INSERT INTO t VALUES (?, ?, 0)", row)
        answers: list[object] = []
        engines: list[Engine] = [
            Engine(self.path, TABLE, RULE, entity_floor=floor),
            DuckEngine(self.duckdb.cursor(), TABLE, RULE, entity_floor=floor),
        ]
        for engine in engines:
            try:
                answers.append(engine.query(Plan(table="t", measures=(measure,))))
            except Suppressed:
                answers.append(None)
            finally:
                engine.close()
        return answers

    def figure(self, values: Sequence[int | None], measure: Measure) -> Figure:
        """The one figure of an answer over some rows, the same from every engine."""
        one, other = self.ask(values, measure)
        assert one == other
        assert isinstance(one, dict)
        [[_, [figure]]] = one["cells"]
        return figure  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("measures"))
    yield made
    made.sqlite.close()
    made.duckdb.close()


@given(columns.filter(bool), columns.filter(bool))
@example([-(2**63)] * 5, [2**63 - 1] * 5)
@settings(max_examples=15, deadline=None)
def test_a_variance_is_what_statistics_says_of_both_parts_together(
    bench: Bench, left: list[int | None], right: list[int | None]
) -> None:
    measure = Measure(Operation.VARIANCE, "x")
    both = combine(Operation.VARIANCE, bench.figure(left, measure), bench.figure(right, measure))

    known = [Fraction(it, 100) for it in [*left, *right] if it is not None]
    total = Decimal(sum(it or 0 for it in [*left, *right])).scaleb(-2, Context(prec=99))
    assert isinstance(both, list)
    assert both[0] == len(known)
    assert both[1] == (total if known else None)
    said = plan_from_sql("select variance(x), stddev(x) from t").row([], [both])
    if len(known) < 2:
        assert said == [None, None]
        return
    exact = statistics.variance(known)
    variance = THIRTY_FOUR.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    assert said == [variance, THIRTY_FOUR.sqrt(variance)]


@given(columns.filter(bool), columns.filter(bool), edges)
@settings(max_examples=15, deadline=None)
def test_histograms_of_two_parts_add_to_what_counting_by_hand_gives(
    bench: Bench, left: list[int | None], right: list[int | None], cuts: list[int]
) -> None:
    measure = Measure(Operation.HISTOGRAM, "x", tuple(cuts))
    expected = [0] * (len(cuts) + 2)
    for value in [*left, *right]:
        if value is not None:
            expected[bisect_right(cuts, Fraction(value, 100))] += 1

    parts = [bench.ask(part, measure) for part in (left, right)]
    assert all(one == other for one, other in parts)
    figures = [cell[1][0] for one, _ in parts for cell in one["cells"]]  # type: ignore[index]
    found: Figure = [0] * (len(cuts) + 2)
    for figure in figures:
        found = combine(Operation.HISTOGRAM, found, figure)
    assert found == expected


@given(columns, edges, st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_a_histogram_tells_no_bin_of_fewer_than_the_floor(
    bench: Bench, values: list[int | None], cuts: list[int], floor: int
) -> None:
    """Not by its count, not by its absence, and not by what is left over."""
    one, other = bench.ask(values, Measure(Operation.HISTOGRAM, "x", tuple(cuts)), floor)
    assert one == other
    if one is None:
        return
    assert isinstance(one, dict)
    known = [it for it in values if it is not None]
    shown = [count for _, [bins] in one["cells"] for count in bins[:-1]]
    hidden = 0 if one["other"] is None else one["other"][0][-1]
    assert all(count is None or count >= floor for count in shown)
    assert hidden == 0 or hidden >= floor
    assert (None in shown) <= (hidden > 0)
    assert sum(count or 0 for count in shown) + hidden == len(known)
    assert one["hidden"] == []


@given(columns.filter(bool))
@settings(max_examples=8, deadline=None)
def test_a_count_of_distinct_values_is_exact(bench: Bench, values: list[int | None]) -> None:
    found = bench.figure(values, Measure(Operation.DISTINCT, "x"))

    assert found == len({it for it in values if it is not None})
