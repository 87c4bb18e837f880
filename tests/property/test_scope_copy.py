"""What a scope hides might as well not be there: not a figure, not a refusal gives it away.

Each question is asked twice: of an index with everything in it, under the scope; and of an index
that was made from nothing but the rows and columns that the scope shows, under a scope that allows
all of that. Who is told the same by both has been told nothing else. The rows of the second are
chosen in Python, by `TableRule.admits`, not by the SQL that is under test.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import apsw
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from psp.capability import (
    ROUNDING_LADDER,
    UNLIMITED,
    Operation,
    RowDomain,
    TableRule,
    between,
    one_of,
    starts_with,
)
from psp.errors import CallFailed
from psp.plan import MEASURE_OPERATIONS, Bucket, Filter, GroupKey, Measure, Plan
from psp.totebox import Column, ColumnType, Table
from psp.totebox._described import describe_table
from psp.totebox._engine import Engine
from psp.totebox._sqlite_index import SQLiteIndex
from psp.totebox._storage import to_storage
from psp.values import Value

CODES = ("north", "south", "Süd")
TABLE = Table(
    name="t",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="who", type=ColumnType.TEXT, nullable=True),
        Column(name="code", type=ColumnType.TEXT, values=CODES, nullable=True),
        Column(name="size", type=ColumnType.INTEGER, nullable=True),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, nullable=True),
        Column(name="day", type=ColumnType.DATE, nullable=True),
        Column(name="score", type=ColumnType.FLOAT, nullable=True),
        Column(name="new", type=ColumnType.BOOLEAN, nullable=True),
        Column(name="größe, with", type=ColumnType.TEXT, nullable=True),
    ),
    key=("id",),
    subject="who",
)
NAMES = TABLE.column_names
NUMBER, PERSON = "row number", "person"
"""What the copy has in place of a hidden key and of hidden subjects: numbers without meaning."""

integers = st.sampled_from([-(2**62), -7, -1, 0, 1, 2, 9, 10**15, 2**53 + 1])
decimals = st.integers(-500, 500).map(lambda it: Decimal(it) / 100)
# Sums of quarters are exact in whatever order they are added; 0.1 is not what it is written as.
floats = st.integers(-6, 6).map(lambda it: it / 4)
days = st.integers(0, 400).map(lambda it: date(2014, 1, 1) + timedelta(days=it))
texts = st.sampled_from(["a", "A", "ab", "ä", "äb", "%", "_", "a'b", "\U0001f600", "日本", "é"])
VALUES: dict[str, st.SearchStrategy[Value]] = {
    "who": st.sampled_from(["p", "q", "r", "s"]),
    "code": st.sampled_from(CODES),
    "size": integers,
    "price": decimals,
    "day": days,
    "score": floats,
    "new": st.booleans(),
    "größe, with": texts,
}
rows = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}),
    max_size=14,
).map(lambda found: [{"id": at, **row} for at, row in enumerate(found)])


def domains_of(name: str) -> st.SearchStrategy[RowDomain]:
    """Domains that a column may meet, most of them of its own kind."""
    if name in ("who", "code", "größe, with"):
        words = VALUES[name] | texts
        return st.lists(words, max_size=4).map(one_of) | words.map(starts_with)  # type: ignore[arg-type]
    if name == "new":
        return st.lists(st.booleans(), max_size=2).map(one_of)
    if name == "day":
        return st.builds(between, days, st.none() | days)
    numbers = integers | st.integers(-3, 12) | decimals
    ends = st.builds(
        between, numbers, st.none() | numbers, low_open=st.booleans(), high_open=st.booleans()
    )
    return ends | st.lists(numbers, max_size=5).map(one_of)


def domains_by_column(*, most: int) -> st.SearchStrategy[dict[str, RowDomain]]:
    return st.lists(st.sampled_from(NAMES), max_size=most, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: domains_of(name) for name in names})
    )


# Mostly wide, so that most questions get an answer.
columns = st.frozensets(st.sampled_from(NAMES)) | st.just(frozenset(NAMES))
rules = st.builds(
    TableRule,
    operations=st.frozensets(st.sampled_from(Operation)) | st.just(frozenset(Operation)),
    output=columns,
    filters=columns,
    groups=columns,
    rows=domains_by_column(most=3),
    aggregates_only=st.booleans(),
    floor=st.sampled_from([1, 1, 2, 3]),
    rounding=st.sampled_from(ROUNDING_LADDER),
    rows_max=st.just(1),
    groups_max=st.sampled_from([1, 3, UNLIMITED]),
    bytes_max=st.sampled_from([80, 200, UNLIMITED]),
)


def group_key(name: str, bucket: Bucket | None) -> GroupKey:
    return GroupKey(name, bucket if name == "day" else None)


ALONE = (Operation.HISTOGRAM, Operation.EXISTS)
measures = st.just(Measure(Operation.COUNT)) | st.builds(
    Measure,
    st.sampled_from([it for it in MEASURE_OPERATIONS if it not in ALONE]),
    st.sampled_from([*NAMES, "gone"]),
)
histograms = st.builds(
    lambda name, edges: Measure(Operation.HISTOGRAM, name, tuple(sorted(edges))),
    st.sampled_from([*NAMES, "gone"]),
    st.lists(decimals, min_size=1, max_size=3, unique=True),
)
exists = st.just([Measure(Operation.EXISTS)])


def plan_of(filters: tuple[Filter, ...], group: list[GroupKey], asked: list[Measure]) -> Plan:
    grouped = () if asked[0].operation is Operation.EXISTS else tuple(group)
    return Plan(table="t", filters=filters, group=grouped, measures=tuple(asked))


plans = st.builds(
    plan_of,
    filters=domains_by_column(most=2).map(
        lambda found: tuple(Filter(name, domain) for name, domain in found.items())
    ),
    group=st.lists(
        st.builds(
            group_key, st.sampled_from([*NAMES, "gone"]), st.none() | st.sampled_from(Bucket)
        ),
        max_size=2,
        unique=True,
    ),
    asked=st.lists(measures, min_size=1, max_size=3, unique=True)
    | st.lists(histograms, min_size=1, max_size=1)
    | exists,
)


@dataclass(frozen=True)
class Shown:
    """A table and its rows, and the rule under which it is asked."""

    table: Table
    rows: Sequence[Mapping[str, Value]]
    rule: TableRule


def copy_of(rows: Sequence[Mapping[str, Value]], rule: TableRule) -> Shown:
    """Make what physically holds only what a rule shows, and a rule that takes nothing from it."""
    visible = rule.output | rule.filters | rule.groups
    key = ("id",) if "id" in visible else (NUMBER,)
    subject = "who" if "who" in visible else PERSON
    people = sorted({str(row["who"]) for row in rows if row["who"] is not None})
    numbers: dict[object, Value] = {name: at for at, name in enumerate(people)}
    kept = tuple(
        # A list of values is shown as far as rows can have them.
        replace(column, values=tuple(it for it in column.values if admits(rule, column.name, it)))
        for column in TABLE.columns
        if column.name in visible
    )
    extra = (
        Column(name=NUMBER, type=ColumnType.INTEGER),
        Column(name=PERSON, type=ColumnType.INTEGER, nullable=True),
    )
    table = Table(name="t", columns=(*kept, *extra), key=key, subject=subject)
    shown = [
        {
            **{column.name: row[column.name] for column in kept},
            NUMBER: at,
            PERSON: numbers.get(row["who"]),
        }
        for at, row in enumerate(row for row in rows if rule.admits(row))
    ]
    return Shown(table, shown, replace(rule, rows={}))


def admits(rule: TableRule, name: str, value: object) -> bool:
    return name not in rule.rows or rule.rows[name].contains(value)


@contextmanager
def opened(shown: Shown, *, entity_floor: int = 1) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        index = SQLiteIndex.open(path, [shown.table], bytes(32), read_only=False)
        stored = [
            (
                *(to_storage(column, row[column.name]) for column in shown.table.columns),
                line,
            )
            for line, row in enumerate(shown.rows)
        ]
        with index.writing():
            index.load(
                shown.table, 0, stored, refuse=lambda row, line: None, on_batch=lambda count: None
            )
        index.close()
        engine = Engine(path, shown.table, shown.rule, entity_floor=entity_floor)
        try:
            yield engine
        finally:
            engine.close()


def told(answer: object) -> object:
    """What whoever asks gets to know: the answer, or the words of the refusal."""
    assert callable(answer)
    try:
        return answer()
    except CallFailed as exc:
        return type(exc), str(exc)


@settings(deadline=None, max_examples=150)
@given(rows, rules, st.lists(plans, min_size=1, max_size=3))
def test_an_answer_tells_no_more_than_one_over_what_the_scope_shows(
    rows: list[dict[str, Value]], rule: TableRule, asked: list[Plan]
) -> None:
    copy = copy_of(rows, rule)
    with opened(Shown(TABLE, rows, rule)) as real, opened(copy) as apart:
        for plan in asked:
            answer = told(lambda plan=plan: real.query(plan))
            event("answered" if isinstance(answer, dict) else f"refused {answer[0].__name__}")  # type: ignore[index]

            assert answer == told(lambda plan=plan: apart.query(plan))
        assert real.table_is_empty() == apart.table_is_empty()


@settings(deadline=None, max_examples=60)
@given(rows, rules, st.integers(-1, 15))
def test_a_row_is_shown_as_the_copy_has_it_or_refused_in_the_same_words(
    rows: list[dict[str, Value]], rule: TableRule, key: int
) -> None:
    copy = copy_of(rows, rule)
    with opened(Shown(TABLE, rows, rule)) as real, opened(copy) as apart:
        for asked in ([key], [str(key)], [], [key, key]):
            values = told(lambda asked=asked: real.row(asked))
            event("shown" if isinstance(values, dict) else f"not shown: {values is None}")

            assert values == told(lambda asked=asked: apart.row(asked))
            if isinstance(values, dict):
                assert rule.admits(rows[key])
                assert values.keys() == rule.output


@given(rules)
def test_a_description_is_the_one_of_the_copy(rule: TableRule) -> None:
    copy = copy_of([], rule)
    assert without_lists(describe_table(TABLE, rule)) == without_lists(
        describe_table(copy.table, copy.rule)
    )


def without_lists(described: Mapping[str, Value]) -> Mapping[str, Value]:
    return {name: value for name, value in described.items() if name != "values"}


@settings(deadline=None, max_examples=50)
@given(rows, rules, rules)
def test_a_narrower_rule_shows_no_row_that_a_wider_one_hides(
    rows: list[dict[str, Value]], wide: TableRule, other: TableRule
) -> None:
    """Down to SQLite: what the lattice promises must also hold for what is stored."""
    met = wide.meet(other)
    every = {"operations": frozenset(Operation), "output": frozenset(NAMES)}
    seen = []
    for rule in (wide, met):
        free = TableRule(**every, filters=frozenset({"id"}), rows=rule.rows, rows_max=1)  # type: ignore[arg-type]
        with opened(Shown(TABLE, rows, free)) as engine:
            seen.append({row["id"] for row in rows if engine.row([row["id"]]) is not None})
        assert seen[-1] == {row["id"] for row in rows if free.admits(row)}
    assert seen[1] <= seen[0]


@pytest.mark.parametrize("value", [0.1, 0.3, 2.5, 1e15 + 0.3, 2.0**60, -0.1, 1 / 3])
@pytest.mark.parametrize("nudge", ["-1e-18", "0", "1e-18"])
@pytest.mark.parametrize("is_open", [True, False])
def test_floats_are_compared_by_sqlite_as_they_are_by_a_domain(
    value: float, nudge: str, is_open: bool
) -> None:
    """0.1 is not a tenth: an end that SQLite rounded would let a row in that the scope hides."""
    table = Table(
        name="t",
        columns=(
            Column(name="id", type=ColumnType.INTEGER),
            Column(name="x", type=ColumnType.FLOAT),
        ),
        key=("id",),
    )
    end = Decimal(repr(value)) + Decimal(nudge)
    try:
        found = [
            between(end, None, low_open=is_open),
            between(None, end, high_open=is_open),
            one_of([end, 7]),
        ]
    except ValueError:
        pytest.skip("the end has more digits than a domain holds")
    for domain in found:
        rule = TableRule(
            operations=frozenset({Operation.COUNT}), output=frozenset({"x"}), rows={"x": domain}
        )
        with opened(Shown(table, [{"id": 1, "x": value}], rule)) as engine:
            assert engine.table_is_empty() is not domain.contains(value)


def test_the_copy_holds_no_hidden_value() -> None:
    """The control: without it both sides of every comparison could be the whole archive."""
    rule = TableRule(
        operations=frozenset({Operation.COUNT}),
        output=frozenset({"size"}),
        rows={"code": one_of(["north"])},
    )
    row: dict[str, Value] = {**dict.fromkeys(NAMES), "id": 77, "who": "p", "size": 5}
    copy = copy_of([{**row, "code": "north"}, {**row, "code": "south"}], rule)

    assert copy.rows == [{"size": 5, NUMBER: 0, PERSON: 0}]
    assert copy.table.column_names == ("size", NUMBER, PERSON)
    with opened(copy) as engine, pytest.raises(apsw.SQLError):
        engine._connection.execute('SELECT code FROM main."t"')
