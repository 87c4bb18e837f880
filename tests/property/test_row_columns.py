"""A condition looked at by comparing stored numbers lets through exactly what the domain contains.

And a question in its one form is about the very same rows, however it was written.
"""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from psp.capability import Operation, RowDomain, between, one_of, starts_with
from psp.plan import Filter, Measure, Plan
from psp.totebox import Column, ColumnType, Table
from psp.totebox._canonical import canonical
from psp.totebox._history_file import Asked
from psp.totebox._row_columns import Figures, Words, row_column
from psp.totebox._row_texts import LongTexts
from psp.totebox._storage import from_storage

HERE = Path(tempfile.gettempdir())
COLUMNS = {
    "whole": Column(name="whole", type=ColumnType.INTEGER, nullable=True),
    "money": Column(name="money", type=ColumnType.DECIMAL, scale=2, nullable=True),
    "day": Column(name="day", type=ColumnType.DATE, nullable=True),
    "word": Column(name="word", type=ColumnType.TEXT, nullable=True),
    "truth": Column(name="truth", type=ColumnType.BOOLEAN, nullable=True),
    "float": Column(name="float", type=ColumnType.FLOAT, nullable=True),
}
TABLE = Table(
    name="t",
    columns=(Column(name="id", type=ColumnType.INTEGER), *COLUMNS.values()),
    key=("id",),
)

wholes = st.integers(-6, 6) | st.sampled_from([-(2**63), 2**63 - 1, 2**53 + 1])
decimals = wholes | st.decimals(-6, 6, places=3, allow_nan=False)
days = st.dates(date(2014, 5, 1), date(2014, 5, 12)).map(lambda it: it)
words = st.text("aé𝄞b", max_size=3)
floats = st.floats(-4, 4, allow_nan=False).map(lambda it: it + 0.0) | st.sampled_from([0.1, 0.5])
STORED: dict[str, st.SearchStrategy[Any]] = {
    "whole": wholes,
    "money": st.integers(-700, 700) | st.sampled_from([-(2**63), 2**63 - 1]),
    "day": days.map(lambda it: it.isoformat()),
    "word": words,
    "truth": st.integers(0, 1),
    "float": floats,
}


@st.composite
def intervals(draw: st.DrawFn, ends: st.SearchStrategy[Any]) -> RowDomain:
    low, high = draw(st.none() | ends), draw(st.none() | ends)
    assume(low is not None or high is not None)
    return between(low, high, low_open=draw(st.booleans()), high_open=draw(st.booleans()))


domains = st.one_of(
    st.lists(decimals, max_size=4).map(one_of),
    st.lists(days, max_size=4).map(one_of),
    st.lists(words, max_size=4).map(one_of),
    st.lists(st.booleans(), max_size=2).map(one_of),
    intervals(decimals),
    intervals(days),
    words.filter(bool).map(starts_with),
)
names = st.sampled_from(sorted(COLUMNS))


@st.composite
def columns(draw: st.DrawFn) -> tuple[str, list[Any]]:
    name = draw(names)
    return name, draw(st.lists(st.none() | STORED[name], max_size=8))


def part_of(name: str, values: list[Any]) -> Figures | Words:
    if COLUMNS[name].type in (ColumnType.TEXT, ColumnType.DATE):
        return Words(values, np.arange(len(values)))
    kind = np.float64 if name == "float" else np.int64
    nulls = np.array([it is None for it in values], np.bool_)
    return Figures(np.array([0 if it is None else it for it in values], kind), nulls)


@given(columns(), st.lists(domains, min_size=1, max_size=4))
def test_a_condition_lets_through_what_the_domain_contains(
    case: tuple[str, list[Any]], asked: list[RowDomain]
) -> None:
    name, values = case
    column = row_column(COLUMNS[name], HERE)
    half = len(values) // 2
    for some in (values[:half], values[half:]):
        column.append(part_of(name, some))
    for domain in asked:
        expected = [domain.contains(from_storage(COLUMNS[name], it)) for it in values]
        assert column.test(domain)(0, len(values)).tolist() == expected
    assert column.present(0, len(values)).tolist() == [it is not None for it in values]
    found, codes = column.told_apart(0, len(values), np.ones(len(values), np.bool_))
    assert [found[code] for code in codes.tolist()] == values
    assert len(set(found)) == len(found)


@given(st.lists(st.none() | words, max_size=12), st.lists(domains, min_size=1, max_size=4))
def test_texts_that_are_kept_whole_pass_as_those_that_are_numbered(
    values: list[str | None], asked: list[RowDomain]
) -> None:
    texts = LongTexts(HERE)
    half = len(values) // 2
    for some in (values[:half], values[half:]):
        texts.append(some)
    for domain in asked:
        expected = [domain.contains(it) for it in values]
        assert texts.test(domain)(0, len(values)).tolist() == expected
    found, codes = texts.told_apart(0, len(values), np.ones(len(values), np.bool_))
    assert [found[code] for code in codes.tolist()] == values


def asked_of(rows: list[Filter], filters: list[Filter]) -> Asked:
    plan = Plan(table="t", measures=(Measure(Operation.COUNT),), filters=tuple(filters))
    return Asked(plan, tuple(rows))


def fits(name: str, domain: RowDomain) -> bool:
    """Whether a plan may ask this of a column: the engine refuses the rest."""
    try:
        canonical(asked_of([], [Filter(name, domain)]), TABLE)
    except Exception:
        return False
    return True


@given(columns(), st.lists(domains, max_size=2), st.lists(domains, max_size=3), st.randoms())
def test_the_one_form_of_a_question_is_about_the_very_same_rows(
    case: tuple[str, list[Any]], granted: list[RowDomain], asked: list[RowDomain], chance: Any
) -> None:
    name, values = case
    filters = [Filter(name, it) for it in asked if fits(name, it)]
    rows = [Filter(name, it) for it in granted]
    one = canonical(asked_of(rows, filters), TABLE)

    for value in values:
        own = from_storage(COLUMNS[name], value)
        expected = all(it.domain.contains(own) for it in (*rows, *filters))
        assert all(it.domain.contains(own) for it in one.rows) == expected
    chance.shuffle(filters)
    assert canonical(asked_of(rows, filters * 2), TABLE).encode() == one.encode()
    assert canonical(Asked.decode(one.encode()), TABLE) == one


def test_spellings_of_one_condition_have_one_form() -> None:
    def form(name: str, *domains: RowDomain) -> bytes:
        return canonical(asked_of([], [Filter(name, it) for it in domains]), TABLE).encode()

    first = date(2014, 5, 1)
    assert form("whole", between(6, None, low_open=True)) == form("whole", between(7, None))
    assert form("whole", one_of([9, 7, 8])) == form("whole", between(7, 9))
    assert form("whole", between(7, None), between(None, 9)) == form("whole", one_of([7, 8, 9]))
    assert form("money", between(Decimal("0.005"), 1)) == form("money", between(Decimal("0.01"), 1))
    assert form("day", one_of([first, first + timedelta(1)])) == form(
        "day", between(first, first + timedelta(1))
    )
    assert form("day", one_of(["2014-05-01"])) == form("day", one_of([first]))
    assert form("word", one_of(["ab", "b"]), starts_with("a")) == form("word", one_of(["ab"]))
    assert form("whole", one_of([7, 9])) != form("whole", between(7, 9))
