from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

import apsw
import duckdb
import pytest

import psp.totebox._engine as engine_module
from psp.capability import Operation, TableRule, between, one_of, starts_with
from psp.errors import Denied, Invalid, LimitExceeded, Suppressed
from psp.plan import Bucket, Filter, GroupKey, Measure, Plan
from psp.totebox._compile import compile_query
from psp.totebox._compiled import Compiled
from psp.totebox._duckdb import open_database
from psp.totebox._duckdb_engine import DuckEngine, StatementRefused
from psp.totebox._engine import Engine
from psp.totebox._manifest import Column, ColumnType, Table
from psp.totebox._storage import SQLValue
from psp.values import Value

SALES = Table(
    name="sales",
    columns=(
        Column(name="id", type=ColumnType.TEXT),
        Column(name="day", type=ColumnType.DATE, from_=date(2014, 5, 1), to=date(2014, 8, 31)),
        Column(name="zip", type=ColumnType.TEXT),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, currency="USD"),
        Column(name="area", type=ColumnType.INTEGER, nullable=True),
        Column(name="with", type=ColumnType.BOOLEAN),
        Column(name="score", type=ColumnType.FLOAT, nullable=True),
    ),
    key=("id", "day"),
    subject="id",
)
COUNT = Measure(Operation.COUNT)
ALL_OPERATIONS = frozenset(Operation)
ALL_COLUMNS = frozenset(SALES.column_names)
MONTHLY = (GroupKey("day", Bucket.MONTH),)


def rule(**changes: object) -> TableRule:
    fields: dict[str, object] = {
        "operations": ALL_OPERATIONS,
        "output": ALL_COLUMNS,
        "filters": ALL_COLUMNS,
        "groups": ALL_COLUMNS,
        "rows_max": 1,
        **changes,
    }
    return TableRule(**fields)  # type: ignore[arg-type]


_SQL: Final = {
    "sqlite": 'CREATE TABLE "sales" ("id" TEXT NOT NULL, "day" TEXT NOT NULL, "zip" TEXT,'
    ' "price" INTEGER, "area" INTEGER, "with" INTEGER, "score" REAL, "_entry" INTEGER',
    "duckdb": 'CREATE TABLE "sales" ("id" VARCHAR NOT NULL, "day" VARCHAR NOT NULL, "zip" VARCHAR,'
    ' "price" BIGINT, "area" BIGINT, "with" BIGINT, "score" DOUBLE, "_entry" BIGINT',
}

_INSERT_COLUMNS: Final = (
    "INSERT INTO sales SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[]),"
    " unnest(?::BIGINT[]), unnest(?::BIGINT[]), unnest(?::BIGINT[]), unnest(?::DOUBLE[]), 0"
)


def build_index(path: Path, rows: Sequence[Sequence[SQLValue]], constraint: str = "") -> Path:
    """Write an index as the archive does: one typed column each, and the ledger entry."""
    sql = _SQL[path.suffix[1:]] + constraint + ")"
    if path.suffix == ".duckdb":
        with open_database(path, read_only=False) as database:
            database.execute(sql)
            if rows:  # By columns: a statement for each row takes seconds for thousands of them.
                database.execute(_INSERT_COLUMNS, [*map(list, zip(*rows, strict=True))])
        return path
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    with connection:
        insert = "INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?, ?, 0)"
        connection.executemany(insert, [tuple(row) for row in rows])
    connection.close()
    return path


def engine_on(path: Path, table: Table, seen: TableRule, *, entity_floor: int = 1) -> Engine:
    """The engine under contract: a third one is to be added here and in `kind`."""
    if path.suffix == ".duckdb":
        connection = open_database(path, read_only=False)
        return DuckEngine(connection, table, seen, entity_floor=entity_floor)
    return Engine(path, table, seen, entity_floor=entity_floor)


@pytest.fixture(params=["sqlite", "duckdb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sale(number: int, day: str, *, zip: str = "98004", price: int = 100_00) -> list[SQLValue]:
    return [f"house-{number}", day, zip, price, 1_000 + number, number % 2, number / 4]


# May 4, June 3, July 12 houses; nobody sold in August.
ROWS = [
    *(sale(number, "2014-05-07") for number in range(4)),
    *(sale(number, "2014-06-30", price=250_50) for number in range(10, 13)),
    *(sale(number, f"2014-07-{number:02}") for number in range(20, 32)),
]


@pytest.fixture
def index(tmp_path: Path, kind: str) -> Path:
    return build_index(tmp_path / f"index.{kind}", ROWS)


@pytest.fixture
def sqlite_index(tmp_path: Path) -> Path:
    return build_index(tmp_path / "index.sqlite", ROWS)


@pytest.mark.parametrize(
    "constraint",
    [
        "",
        ", PRIMARY KEY (id, day)",
        ", UNIQUE (id, day), CHECK (id IS NOT NULL), CHECK (day <> '')",
    ],
)
@pytest.mark.parametrize("subject", ["id", None])
def test_the_lock_lets_its_own_view_through(
    tmp_path: Path, constraint: str, subject: str | None
) -> None:
    """SQLite reports reads of no column without the view's name; no plan may run into that."""
    path = build_index(tmp_path / "i.sqlite", ROWS, constraint)
    table = Table(name="sales", columns=SALES.columns, key=("id", "day"), subject=subject)
    for rows in ({}, {"id": starts_with("house")}, {"id": between(1, 2)}, {"gone": one_of([1])}):
        engine = Engine(path, table, rule(rows=rows))
        shown = 19 if "gone" not in rows and rows.get("id") != between(1, 2) else 0

        assert engine.query(ask())["cells"] == ([[[], [shown]]] if shown else [])
        assert engine.table_is_empty() is not bool(shown)
        assert (engine.row(["house-1", date(2014, 5, 7)]) is None) is not bool(shown)


@pytest.fixture
def engine(index: Path) -> Iterator[Engine]:
    engine = engine_on(index, SALES, rule())
    yield engine
    engine.close()


def ask(*measures: Measure, **fields: object) -> Plan:
    return Plan(table="sales", measures=measures or (COUNT,), **fields)  # type: ignore[arg-type]


def test_an_answer_has_its_figures_by_group(engine: Engine) -> None:
    plan = ask(COUNT, Measure(Operation.SUM, "price"), group=MONTHLY)

    assert engine.query(plan) == {
        "group": ["month(day)"],
        "cells": [
            [["2014-05"], [4, Decimal("400.00")]],
            [["2014-06"], [3, Decimal("751.50")]],
            [["2014-07"], [12, Decimal("1200.00")]],
        ],
        "other": None,
        "hidden": [],
        "hidden_count": 0,
        "floor": 1,
    }


def test_hidden_cells_are_folded_until_they_are_enough(index: Path) -> None:
    engine = engine_on(index, SALES, rule(floor=4))
    answer = engine.query(ask(group=MONTHLY))

    # June has 3 and August none; together they are too few, so May, the smallest shown, joins them.
    assert answer["cells"] == [[["2014-07"], [12]]]
    assert answer["other"] == [7]
    assert answer["hidden"] == [
        ["2014-05", "complement"],
        ["2014-06", "floor"],
        ["2014-08", "floor"],
    ]
    assert answer["hidden_count"] == 3
    assert answer["floor"] == 4


def test_a_filter_on_the_grouped_column_takes_its_buckets_out_of_the_hidden(index: Path) -> None:
    summer = Filter("day", between(date(2014, 6, 15), date(2014, 7, 31)))
    answer = engine_on(index, SALES, rule(floor=2)).query(ask(group=MONTHLY, filters=(summer,)))

    assert answer["cells"] == [[["2014-06"], [3]], [["2014-07"], [12]]]
    assert answer["hidden"] == []


def test_the_owners_floor_holds_under_a_laxer_grant(index: Path) -> None:
    engine = engine_on(index, SALES, rule(floor=2), entity_floor=20)
    with pytest.raises(Suppressed, match="fewer than 20 subjects"):
        engine.query(ask())


def test_nothing_found_is_hidden_like_too_little_found(index: Path) -> None:
    """Otherwise `empty` against `suppressed` would say whether one to three houses are there."""
    engine = engine_on(index, SALES, rule(floor=4, operations=frozenset({Operation.COUNT})))
    texts = set()
    for zips in ("00000", "98004"):
        plan = ask(
            filters=(Filter("zip", one_of([zips])), Filter("price", one_of([Decimal("250.5")])))
        )
        with pytest.raises(Suppressed) as caught:
            engine.query(plan)
        texts.add(str(caught.value))

    assert len(texts) == 1


def test_a_grant_with_exists_is_told_that_nothing_is_there(index: Path) -> None:
    answer = engine_on(index, SALES, rule(floor=4)).query(
        ask(filters=(Filter("zip", one_of(["0"])),))
    )

    assert (answer["cells"], answer["other"], answer["hidden_count"]) == ([], None, 0)


def test_an_empty_table_is_said_to_be_empty(tmp_path: Path, kind: str) -> None:
    counting = frozenset({Operation.COUNT})
    engine = engine_on(
        build_index(tmp_path / f"i.{kind}", []), SALES, rule(floor=4, operations=counting)
    )

    assert engine.table_is_empty()
    assert engine.query(ask(group=MONTHLY))["cells"] == []


def test_the_scopes_rows_are_all_there_is(index: Path) -> None:
    seen = rule(rows={"day": between(date(2014, 7, 25), None), "id": starts_with("house-3")})
    engine = engine_on(index, SALES, seen)

    assert engine.query(ask())["cells"] == [[[], [2]]]
    assert not engine.table_is_empty()


def test_a_scope_on_a_column_that_is_not_there_shows_nothing(index: Path) -> None:
    assert engine_on(index, SALES, rule(rows={"owner": one_of(["x"])})).table_is_empty()


def test_a_scope_of_another_kind_than_its_column_shows_nothing(index: Path) -> None:
    assert engine_on(index, SALES, rule(rows={"price": one_of(["x"])})).table_is_empty()


def test_scope_texts_are_literals_and_not_sql(index: Path) -> None:
    for text in ("' OR 1=1 --", "a''b", 'x"', "\0' OR '1"):
        assert engine_on(index, SALES, rule(rows={"zip": one_of([text])})).table_is_empty()


def test_sums_beyond_64_bits_are_exact(tmp_path: Path, kind: str) -> None:
    largest = 2**63 - 1
    rows = [sale(number, "2014-05-07", price=largest) for number in range(5)]
    rows += [sale(number, "2014-06-07", price=-largest - 1) for number in range(5)]
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), SALES, rule())

    assert engine.query(ask(Measure(Operation.SUM, "price"), group=MONTHLY))["cells"] == [
        [["2014-05"], [Decimal(5 * largest).scaleb(-2)]],
        [["2014-06"], [Decimal(-5 * 2**63).scaleb(-2)]],
    ]


def test_an_integer_sum_beyond_64_bits_travels_as_a_decimal(tmp_path: Path, kind: str) -> None:
    rows = [sale(number, "2014-05-07") for number in range(3)]
    for row in rows:
        row[4] = 2**62
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), SALES, rule())

    assert engine.query(ask(Measure(Operation.SUM, "area")))["cells"] == [
        [[], [Decimal(3 * 2**62)]]
    ]


def test_every_measure_of_every_type(engine: Engine) -> None:
    measures = (
        Measure(Operation.COUNT, "area"),
        Measure(Operation.MEAN, "area"),
        Measure(Operation.MEAN, "score"),
        Measure(Operation.SUM, "score"),
        Measure(Operation.MIN, "price"),
        Measure(Operation.MAX, "day"),
        Measure(Operation.MIN, "id"),
        Measure(Operation.MAX, "score"),
        Measure(Operation.MAX, "area"),
    )
    may = Filter("day", between(None, date(2014, 5, 31)))

    assert engine.query(ask(*measures, filters=(may,)))["cells"] == [
        [
            [],
            [
                4,
                [4006, 4],
                [1.5, 4],
                1.5,
                Decimal("100.00"),
                date(2014, 5, 7),
                "house-0",
                0.75,
                1003,
            ],
        ]
    ]


def test_a_figure_over_nothing_but_nulls_is_null(tmp_path: Path, kind: str) -> None:
    rows = [sale(number, "2014-05-07") for number in range(3)]
    for row in rows:
        row[4] = None
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), SALES, rule(floor=2))
    measures = [Measure(it, "area") for it in (Operation.SUM, Operation.MEAN, Operation.COUNT)]

    assert engine.query(ask(*measures))["cells"] == [[[], [None, [None, 0], 0]]]


def test_too_few_values_hide_a_cell_however_many_rows_it_has(tmp_path: Path, kind: str) -> None:
    rows = [sale(number, "2014-05-07") for number in range(9)]
    for row in rows[2:]:
        row[4] = None
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), SALES, rule(floor=3))

    assert engine.query(ask())["cells"] == [[[], [9]]]
    with pytest.raises(Suppressed):
        engine.query(ask(Measure(Operation.SUM, "area")))


def test_too_few_nulls_hide_a_cell_when_both_counts_are_asked(tmp_path: Path, kind: str) -> None:
    rows = [sale(number, "2014-05-07") for number in range(9)]
    rows[0][4] = rows[1][4] = None
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), SALES, rule(floor=3))

    assert engine.query(ask(Measure(Operation.MEAN, "area")))["cells"] != []
    with pytest.raises(Suppressed):
        engine.query(ask(COUNT, Measure(Operation.MEAN, "area")))


def test_one_subject_in_many_rows_is_one_subject(tmp_path: Path, kind: str) -> None:
    rows = [sale(1, f"2014-05-{day:02}") for day in range(1, 29)]
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), SALES, rule(floor=2))
    with pytest.raises(Suppressed):
        engine.query(ask())


def test_one_subject_in_two_hidden_cells_is_counted_once(tmp_path: Path, kind: str) -> None:
    rows = [sale(1, "2014-05-01"), sale(1, "2014-06-01")]
    rows += [sale(number, "2014-07-01") for number in range(2, 9)]
    answer = engine_on(build_index(tmp_path / f"i.{kind}", rows), SALES, rule(floor=2)).query(
        ask(group=(*MONTHLY, GroupKey("zip")))
    )

    # May and June are one house: two hidden cells are not two subjects.
    assert answer["cells"] == []
    assert (answer["other"], answer["hidden_count"], answer["hidden"]) == ([9], 3, [])


@pytest.mark.parametrize("floor", [10, 32, 40])
def test_exactly_the_groups_of_enough_subjects_are_shown(
    tmp_path: Path, kind: str, floor: int
) -> None:
    """However quickly an engine tells who surely has enough: of 1 to 60 subjects, two rows each."""
    rows = [
        sale(100 * size + number, f"2014-05-{day:02}", zip=str(98000 + size))
        for size in range(1, 61)
        for number in range(size)
        for day in (1, 2)
    ]
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), SALES, rule(floor=floor))
    answer = engine.query(ask(group=(GroupKey("zip"),)))
    assert answer["cells"] == [[[str(98000 + it)], [2 * it]] for it in range(floor, 61)]
    assert answer["other"] == [sum(2 * it for it in range(floor))]


def test_rows_of_nobody_are_no_subject(tmp_path: Path, kind: str) -> None:
    """Where the subject may be empty, those rows do not help others over the floor."""
    table = Table(name="sales", columns=SALES.columns, key=("id", "day"), subject="area")
    rows = [sale(number, "2014-05-07", zip=str(98000 + number // 5)) for number in range(10)]
    rows[0][4] = rows[1][4] = rows[5][4] = None
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), table, rule(floor=4))
    answer = engine.query(ask(group=(GroupKey("zip"),)))
    # Five rows each: of three subjects and nobody, and of four.
    assert answer["cells"] == []
    assert (answer["other"], answer["hidden_count"]) == ([10], 2)


def test_a_table_without_a_subject_column_counts_its_keys(tmp_path: Path, kind: str) -> None:
    table = Table(name="sales", columns=SALES.columns, key=("id", "day"))
    rows = [sale(1, f"2014-05-{day:02}") for day in range(1, 6)]
    engine = engine_on(build_index(tmp_path / f"i.{kind}", rows), table, rule(floor=5))

    assert engine.query(ask())["cells"] == [[[], [5]]]


@pytest.mark.parametrize(
    ("bucket", "keys"),
    [
        (Bucket.YEAR, ["2014"]),
        (Bucket.QUARTER, ["2014-Q2", "2014-Q3"]),
        (Bucket.WEEK, ["2014-W19", "2014-W27", "2014-W29", "2014-W30", "2014-W31"]),
        (Bucket.DAY, ["2014-05-07", "2014-06-30"]),
        (None, [date(2014, 5, 7), date(2014, 6, 30)]),
    ],
)
def test_dates_fall_into_buckets(engine: Engine, bucket: Bucket | None, keys: list[object]) -> None:
    cells = engine.query(ask(group=(GroupKey("day", bucket),)))["cells"]
    assert isinstance(cells, list)

    assert [key for [key], _ in cells][: len(keys)] == keys


def test_rounding_comes_after_suppression(index: Path) -> None:
    engine = engine_on(index, SALES, rule(floor=4, rounding=10))
    answer = engine.query(ask(COUNT, Measure(Operation.SUM, "price"), group=MONTHLY))

    assert answer["cells"] == [[["2014-07"], [10, Decimal(1200)]]]
    assert answer["other"] == [10, Decimal(1150)]


def test_a_row_is_read_by_its_key(engine: Engine) -> None:
    assert engine.row(["house-1", date(2014, 5, 7)]) == {
        "id": "house-1",
        "day": date(2014, 5, 7),
        "zip": "98004",
        "price": Decimal("100.00"),
        "area": 1001,
        "with": True,
        "score": 0.25,
    }
    assert engine.row(["house-1", "2014-05-07"]) == engine.row(["house-1", date(2014, 5, 7)])
    assert engine.row(["house-1", date(2014, 5, 8)]) is None
    assert engine.row([1, True]) is None


def test_a_row_shows_its_output_columns_only(index: Path) -> None:
    engine = engine_on(index, SALES, rule(output=frozenset({"price"})))

    assert engine.row(["house-1", date(2014, 5, 7)]) == {"price": Decimal("100.00")}


def test_a_row_outside_the_scope_is_not_there(index: Path) -> None:
    engine = engine_on(index, SALES, rule(rows={"id": one_of(["house-2"])}))

    assert engine.row(["house-1", date(2014, 5, 7)]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"operations": frozenset({Operation.COUNT})},
        {"aggregates_only": True},
    ],
)
def test_a_row_needs_a_grant_that_reads(index: Path, changes: dict[str, object]) -> None:
    with pytest.raises(Denied, match="reading a row"):
        engine_on(index, SALES, rule(**changes)).row(["house-1", date(2014, 5, 7)])


def test_a_key_of_the_wrong_length_is_named(engine: Engine) -> None:
    with pytest.raises(Invalid, match=r"a key of 1 values; 'sales' has the key \(id, day\)"):
        engine.row(["house-1"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups_max": 2}, "an answer of 3 groups; this grant allows 2"),
        ({"bytes_max": 80}, "bytes; this grant allows 80"),
    ],
)
def test_an_answer_larger_than_the_grant_allows_is_not_given(
    index: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(LimitExceeded, match=message):
        engine_on(index, SALES, rule(**changes)).query(ask(group=MONTHLY))


def test_more_groups_than_fit_in_memory_are_not_made(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CELLS_MAX", 2)
    with pytest.raises(LimitExceeded, match="more than 2 groups"):
        engine.query(ask(group=MONTHLY))


def test_an_engine_answers_at_its_own_state_alone(engine: Engine) -> None:
    with pytest.raises(Invalid):
        engine.query(ask(as_of=3))


def test_another_table_is_not_this_one(engine: Engine) -> None:
    with pytest.raises(Invalid, match="asks 'staff', and this is 'sales'"):
        engine.query(Plan(table="staff", measures=(COUNT,)))


# Measures that a grant gives beside the plain ones

HISTOGRAM = Measure(Operation.HISTOGRAM, "price", (100, Decimal("200.5")))
EXISTS = Measure(Operation.EXISTS)


def test_a_histogram_needs_a_grant_that_filters_on_its_column(index: Path) -> None:
    """Who may choose the edges may ask for any interval."""
    blind = engine_on(index, SALES, rule(filters=ALL_COLUMNS - {"price"}))

    with pytest.raises(Invalid, match="does not filter on 'price'"):
        blind.query(ask(HISTOGRAM))


@pytest.mark.parametrize("operation", [it.operation for it in (HISTOGRAM, EXISTS)])
def test_a_measure_needs_its_own_operation(index: Path, operation: Operation) -> None:
    measure = {it.operation: it for it in (HISTOGRAM, EXISTS)}[operation]
    without = engine_on(index, SALES, rule(operations=ALL_OPERATIONS - {operation}))

    with pytest.raises(Denied, match=f"does not allow {operation.value}"):
        without.query(ask(measure))


def test_a_histogram_needs_no_grant_to_count(index: Path) -> None:
    only = engine_on(index, SALES, rule(operations={Operation.HISTOGRAM}), entity_floor=4)
    answer = only.query(ask(HISTOGRAM, group=(GroupKey("zip"),)))

    assert answer["cells"] == []
    assert answer["other"] == [[None, None, None, 19]]


def test_the_bins_of_a_histogram_count_as_groups(index: Path) -> None:
    narrow = engine_on(index, SALES, rule(groups_max=1))

    with pytest.raises(LimitExceeded, match="an answer of 2 groups"):
        narrow.query(ask(HISTOGRAM))


def test_a_hidden_bin_is_null_and_its_values_are_counted_together(index: Path) -> None:
    engine = engine_on(index, SALES, rule(), entity_floor=4)
    answer = engine.query(ask(Measure(Operation.HISTOGRAM, "score", (1, Decimal("2.5"), 6))))

    assert answer["cells"] == [[[], [[None, None, 7, 8, 0]]]]
    assert answer["other"] == [[None, None, None, None, 4]]
    assert (answer["hidden"], answer["hidden_count"]) == ([], 2)


def test_exists_tells_of_one_record_whatever_the_floor(index: Path) -> None:
    engine = engine_on(index, SALES, rule(rows={"zip": one_of(["98004"])}), entity_floor=10)
    one, none = (Filter("id", one_of([name])) for name in ("house-10", "house-99"))

    assert engine.query(ask(EXISTS, filters=(one,)))["cells"] == [[[], [True]]]
    assert engine.query(ask(EXISTS, filters=(none,)))["cells"] == [[[], [False]]]
    with pytest.raises(Denied):
        engine_on(index, SALES, rule(aggregates_only=True)).query(ask(EXISTS))


def test_a_sum_of_squares_is_rounded_by_the_square_of_the_step(index: Path) -> None:
    engine = engine_on(index, SALES, rule(rounding=10))

    assert engine.query(ask(Measure(Operation.VARIANCE, "area")))["cells"] == [
        [[], [[20, 19_350, 19_698_300]]]
    ]


def test_distinct_values_of_what_is_hidden_are_not_told(index: Path) -> None:
    engine = engine_on(index, SALES, rule(), entity_floor=5)
    answer = engine.query(ask(COUNT, Measure(Operation.DISTINCT, "zip"), group=MONTHLY))

    assert answer["cells"] == [[["2014-07"], [12, 1]]]
    assert answer["other"] == [7, None]


# What the second lock stops, when the compiler is wrong

VIEW = "the_view"


PLANTED: Final = [
    'SELECT count(*), 9 FROM "sales"',
    'SELECT "price", 9 FROM "sales"',
    'SELECT "price", 9 FROM main."sales" AS "the_view"',
    'SELECT "price", 9 FROM (SELECT * FROM "sales") AS "the_view"',
    'SELECT count(*), (SELECT max("price") FROM "sales") FROM "the_view"',
    'SELECT count(*), 9 FROM "the_view" UNION ALL SELECT "price", 9 FROM "sales"',
    'WITH "the_view" AS (SELECT * FROM "sales") SELECT count(*), 9 FROM "the_view"',
    'SELECT count(*), 9 FROM "the_view" WHERE 1 IN (WITH x AS (SELECT 1) SELECT 1 FROM x)',
    "SELECT sql, 9 FROM sqlite_master",
    "SELECT sql, 9 FROM temp.sqlite_temp_master",
    "SELECT name, 9 FROM pragma_table_info('sales')",
    "PRAGMA table_info(sales)",
    "ATTACH ':memory:' AS aux",
    'CREATE TEMP TABLE t AS SELECT * FROM "the_view"',
    'DROP VIEW "the_view"',
    'DELETE FROM "sales"',
    "SELECT load_extension('x'), 9",
    'SELECT hex("price"), 9 FROM "the_view"',
    # In the forms of the measures: squares, distinct values, bins, exists.
    'SELECT sum(("price" >> 32) * ("price" >> 32)), 9 FROM "sales"',
    'SELECT count(DISTINCT "price"), 9 FROM "sales"',
    'SELECT (CAST("price" BETWEEN 1 AND 9 AS INTEGER)), count(*) FROM "sales" GROUP BY 1',
    'SELECT "psp_key0" FROM "the_view" WHERE EXISTS (SELECT 1 FROM "sales") LIMIT 1',
]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_compiler_bug_is_stopped_by_the_lock_alone(
    sqlite_index: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    """Even one that knows the view's name, which is random outside this test."""
    real = compile_query

    def buggy(*args: object, **kwargs: object) -> Compiled:
        compiled = real(*args, **kwargs)  # type: ignore[arg-type]
        object.__setattr__(compiled, "cells", planted)
        return compiled

    monkeypatch.setattr(engine_module, "compile_query", buggy)
    engine = Engine(sqlite_index, SALES, rule(rows={"zip": one_of(["98004"])}), view_name=VIEW)
    with pytest.raises(apsw.Error, match=r"not a(uthorized|llowed)|is prohibited"):
        engine.query(ask())


@pytest.mark.parametrize("planted", ['SELECT "price" FROM "sales" LIMIT 1', *PLANTED[-4:-1]])
def test_a_planted_bug_of_exists_is_stopped_by_the_lock_alone(
    index: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    monkeypatch.setattr(engine_module, "compile_exists", lambda *_, **__: (planted, ()))

    with pytest.raises((apsw.Error, StatementRefused), match=r"authorized|prohibited|not run"):
        engine_on(index, SALES, rule()).query(ask(EXISTS))


@pytest.mark.parametrize(
    "planted",
    [
        *PLANTED,
        'SELECT count(*), 9 FROM "sales"; SELECT count(*), 9 FROM "the_view"',
        'SELECT count(*), 9 FROM "the_view", "sales"',
        'SELECT count(*), 9 FROM main."the_view"',
        'SELECT 9, count(*) FILTER ((SELECT count(*) FROM "sales") > 0) FROM "the_view"',
        'SELECT 9, 9 FROM "the_view" ORDER BY (SELECT max("price") FROM "sales")',
        'SELECT 9, 9 FROM "the_view" WHERE EXISTS (FROM "sales")',
        'FROM "the_view" UNION ALL FROM "sales"',
        "VALUES (1, 9)",
        "SELECT sql, 9 FROM duckdb_tables()",
        "SELECT content, 9 FROM read_text('/etc/passwd')",
        "SELECT getenv('HOME'), 9 FROM \"the_view\"",
        "SET memory_limit = '99GB'",
        "COPY (SELECT 1) TO '/tmp/taken.csv'",
        "INSTALL httpfs",
    ],
)
def test_a_planted_compiler_bug_is_stopped_in_duckdb_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    real = compile_query

    def buggy(*args: object, **kwargs: object) -> Compiled:
        compiled = real(*args, **kwargs)  # type: ignore[arg-type]
        object.__setattr__(compiled, "cells", planted)
        return compiled

    connection = open_database(build_index(tmp_path / "i.duckdb", ROWS), read_only=False)
    engine = DuckEngine(connection, SALES, rule(), view_name=VIEW)
    monkeypatch.setattr(engine_module, "compile_query", buggy)
    with pytest.raises(StatementRefused):
        engine.query(ask())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "ATTACH '/tmp/other.duckdb'",
        "COPY (SELECT 1) TO '/tmp/taken.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '99GB'",
    ],
)
def test_the_database_itself_sees_no_other_file_and_cannot_be_told_to(
    tmp_path: Path, sql: str
) -> None:
    with (
        open_database(tmp_path / "i.duckdb", read_only=False) as database,
        pytest.raises((duckdb.PermissionException, duckdb.InvalidInputException)),
    ):
        database.execute(sql)


def test_duckdb_answers_in_a_transaction_that_cannot_write(tmp_path: Path) -> None:
    engine = engine_on(build_index(tmp_path / "i.duckdb", ROWS), SALES, rule())
    assert isinstance(engine, DuckEngine)

    with pytest.raises(duckdb.TransactionException, match="read-only"), engine._snapshot():
        engine._duck.execute('DELETE FROM "sales"')


def test_a_compiler_that_forgets_the_filter_still_answers_from_the_scope(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compile_query

    def buggy(*args: object, **kwargs: object) -> Compiled:
        compiled = real(*args, **kwargs)  # type: ignore[arg-type]
        object.__setattr__(compiled, "cells", compiled.cells.replace('WHERE "zip" IN (?)', ""))
        object.__setattr__(compiled, "parameters", ())
        return compiled

    monkeypatch.setattr(engine_module, "compile_query", buggy)
    engine = engine_on(index, SALES, rule(rows={"day": between(None, date(2014, 5, 31))}))
    answer = engine.query(ask(filters=(Filter("zip", one_of(["nowhere"])),)))

    assert answer["cells"] == [[[], [4]]]


def test_a_column_may_be_called_with(engine: Engine) -> None:
    cells = engine.query(ask(group=(GroupKey("with"),), filters=(Filter("with", one_of([True])),)))

    assert cells["cells"] == [[[True], [9]]]


def test_every_engine_has_a_view_of_its_own(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["a" * 32, "b" * 32])
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(names))
    narrow = engine_on(index, SALES, rule(rows={"id": one_of(["house-1"])}))
    wide = engine_on(index, SALES, rule())

    assert narrow.query(ask())["cells"] == [[[], [1]]]
    assert wide.query(ask())["cells"] == [[[], [19]]]


def test_an_interrupted_engine_answers_the_next_question(engine: Engine) -> None:
    engine.interrupt()

    assert engine.query(ask())["cells"] == [[[], [19]]]


def test_a_row_is_read_by_its_key_only_where_every_column_of_it_is_a_filter(index: Path) -> None:
    """Whether a key finds a row tells its columns' values, which may be hidden."""
    engine = engine_on(index, SALES, rule(filters=ALL_COLUMNS - {"day"}))

    keys: list[list[Value]] = [["house-1", date(2014, 5, 7)], ["house-2", "2014-05-08"], ["h"]]
    for key in keys:
        with pytest.raises(Denied, match="does not filter on the key of a row") as caught:
            engine.row(key)
        assert "day" not in str(caught.value)


def test_the_numbers_of_a_row_are_rounded_as_aggregates_are(index: Path) -> None:
    engine = engine_on(index, SALES, rule(rounding=1000, output=frozenset({"id", "price", "area"})))

    assert engine.row(["house-10", "2014-06-30"]) == {
        "id": "house-10",
        "price": Decimal(0),
        "area": 1000,
    }


def test_a_row_without_an_output_column_is_there_and_shows_nothing(index: Path) -> None:
    engine = engine_on(index, SALES, rule(output=frozenset()))

    assert engine.row(["house-1", date(2014, 5, 7)]) == {}
    assert engine.row(["house-1", date(2014, 5, 8)]) is None
