"""Shares, currencies and fiscal periods: what is combined is what the union of all rows gives."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psp.aggregator import Answer, Member, MemberState, Outcome, Part, Rates, Reply, Terms
from psp.aggregator._terms import fiscal_period
from psp.errors import EstateError, QuestionError
from psp.plan import plan_from_sql
from psp.values import Value

from .virtual import member

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BY_MONTH = plan_from_sql(
    "select month(day) as month, count(*) as n, sum(price) as volume, avg(price) as mean,"
    " min(price) as least, max(price) as most, sum(area) as area, sum(price) / sum(area) as ratio"
    " from sales group by month"
)
MEMBERS = (
    member("a", share=Decimal("0.4"), currency="EUR", fiscal_start=1),
    member("b", share=Decimal("1"), currency="CHF", fiscal_start=4),
    member("c", share=Decimal("0.125"), currency="JPY", fiscal_start=10),
)
RATES = Rates(
    name="the bank",
    on=date(2026, 3, 31),
    to="EUR",
    rates={"CHF": Decimal("1.0561"), "JPY": Decimal("0.006137")},
)
RATE = {"EUR": Decimal(1), **RATES.rates}
Row = tuple[str, Decimal, int]

rows = st.lists(
    st.tuples(
        st.sampled_from(["2014-03", "2014-04", "2014-12", "2015-01"]),
        st.decimals(-(10**12), 10**12, places=2),
        st.integers(1, 10_000),
    ),
    max_size=10,
)


def figures(chosen: list[Row]) -> list[Value]:
    prices = [price for _, price, _ in chosen]
    by_name: dict[str, Value] = {
        "count(*)": len(chosen),
        "sum(price)": sum(prices, Decimal(0)),
        "mean(price)": [sum(prices, Decimal(0)), len(chosen)],
        "min(price)": min(prices),
        "max(price)": max(prices),
        "sum(area)": sum(area for _, _, area in chosen),
    }
    return [by_name[measure.name] for measure in BY_MONTH.plan.measures]


def outcome(name: str, sales: list[Row]) -> Outcome[Reply]:
    months = sorted({month for month, _, _ in sales})
    parts = tuple(
        Part(name, (month,), figures([row for row in sales if row[0] == month])) for month in months
    )
    return Outcome(
        member=name,
        state=MemberState.ANSWERED,
        reply=Reply(as_of=1, parts=parts, withheld=()),
    )


def answer(sales: list[list[Row]], terms: Terms, members: tuple[Member, ...] = MEMBERS) -> Answer:
    return Answer(
        question=BY_MONTH,
        outcomes=tuple(outcome(it.name, found) for it, found in zip(members, sales, strict=False)),
        asked_at=NOW,
        members={it.name: it for it in members},
        terms=terms,
    )


def is_close(value: Value, exact: Fraction) -> bool:
    assert isinstance(value, Decimal | int)
    return abs(Fraction(value) - exact) <= abs(exact) * Fraction(1, 10**30)


@settings(max_examples=40)
@given(st.lists(rows, min_size=1, max_size=3), st.booleans(), st.booleans())
def test_weighed_and_converted_figures_are_those_of_the_weighed_and_converted_rows(
    sales: list[list[Row]], shares: bool, convert: bool
) -> None:
    terms = Terms(shares=shares, rates=RATES if convert else None, money=frozenset({"price"}))
    only = MEMBERS if convert else tuple(member(it.name, share=it.share) for it in MEMBERS)
    total = answer(sales, terms, only).total()
    union = [
        (
            Fraction(it.share if shares else 1),
            Fraction(price * (RATE[it.currency] if convert else 1)),
            area,
        )
        for it, found in zip(MEMBERS, sales, strict=False)
        for _, price, area in found
    ]
    if not union:
        assert set(total.values()) == {None}
        return
    nothing = Fraction(0)
    count = sum((share for share, _, _ in union), nothing)
    volume = sum((share * price for share, price, _ in union), nothing)
    area = sum((share * size for share, _, size in union), nothing)
    assert Fraction(total["n"]) == count  # type: ignore[arg-type]
    assert Fraction(total["volume"]) == volume  # type: ignore[arg-type]
    assert Fraction(total["area"]) == area  # type: ignore[arg-type]
    assert is_close(total["mean"], volume / count)
    assert is_close(total["ratio"], volume / area)
    assert Fraction(total["least"]) == min(price for _, price, _ in union)  # type: ignore[arg-type]
    assert Fraction(total["most"]) == max(price for _, price, _ in union)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(st.lists(rows, min_size=3, max_size=3), st.sampled_from(["year", "quarter"]))
def test_each_month_is_in_its_members_own_fiscal_period(sales: list[list[Row]], unit: str) -> None:
    members = tuple(member(it.name, fiscal_start=it.fiscal_start) for it in MEMBERS)
    found = answer(sales, Terms(fiscal=unit), members)
    expected: dict[str, int] = {}
    for it, each in zip(members, sales, strict=True):
        for month, _, _ in each:
            period = fiscal_period(month, it.fiscal_start, unit)
            expected[period] = expected.get(period, 0) + 1
    assert {row[0]: row[1] for row in found.rows} == expected


@pytest.mark.parametrize(
    ("month", "start", "unit", "period"),
    [
        ("2014-01", 1, "year", "FY2014"),
        ("2014-12", 1, "quarter", "FY2014-Q4"),
        ("2014-03", 4, "year", "FY2014"),
        ("2014-04", 4, "year", "FY2015"),
        ("2014-04", 4, "quarter", "FY2015-Q1"),
        ("2014-03", 4, "quarter", "FY2014-Q4"),
        ("2014-12", 10, "quarter", "FY2015-Q1"),
    ],
)
def test_a_fiscal_year_is_named_for_the_year_in_which_it_ends(
    month: str, start: int, unit: str, period: str
) -> None:
    assert fiscal_period(month, start, unit) == period


def test_a_month_that_is_none_stays_a_group_of_its_own() -> None:
    odd = Outcome(
        member="a",
        state=MemberState.ANSWERED,
        reply=Reply(
            as_of=1,
            parts=(
                Part("a", ("2014-\u0661\u0661",), figures([("", Decimal(1), 1)])),
                Part("a", (None,), figures([("", Decimal(1), 1)])),
            ),
            withheld=(),
        ),
    )
    found = Answer(
        question=BY_MONTH,
        outcomes=(odd,),
        asked_at=NOW,
        members={it.name: it for it in MEMBERS},
        terms=Terms(fiscal="year"),
    )
    assert {row[0] for row in found.rows} == {"2014-\u0661\u0661", None}


def test_two_currencies_are_not_added() -> None:
    sales = [[("2014-03", Decimal("1.00"), 1)], [("2014-03", Decimal("1.00"), 1)]]
    with pytest.raises(QuestionError, match="'b' is in CHF, that of 'a' in EUR"):
        answer(sales, Terms()).total()


def test_two_currencies_stand_beside_each_other_where_nothing_is_added() -> None:
    sales = [[("2014-03", Decimal("1.00"), 1)], [("2014-04", Decimal("2.00"), 1)]]
    assert [row[2] for row in answer(sales, Terms()).rows] == [Decimal("1.00"), Decimal("2.00")]


def bins(terms: Terms, members: tuple[Member, ...] = MEMBERS[:2]) -> Answer:
    """A histogram of each member; its edges are whole numbers, and of what they are nobody says."""
    question = plan_from_sql("select histogram(price, 100000, 200000) as prices from sales")
    return Answer(
        question=question,
        outcomes=tuple(
            Outcome(
                member=it.name,
                state=MemberState.ANSWERED,
                reply=Reply(as_of=1, parts=(Part(it.name, (), [[1, 2, 3, 0]]),), withheld=()),
            )
            for it in members
        ),
        asked_at=NOW,
        members={it.name: it for it in members},
        terms=terms,
    )


def test_a_histogram_over_two_currencies_is_not_added_as_counts() -> None:
    """A bin from 100,000 to 200,000 is not the same bin in francs."""
    with pytest.raises(QuestionError, match="'b' is in CHF, that of 'a' in EUR"):
        bins(Terms()).total()
    with pytest.raises(QuestionError, match="cannot be weighed or converted"):
        bins(Terms(rates=RATES)).total()


def test_a_histogram_is_added_where_it_is_of_one_currency_or_of_no_money() -> None:
    assert bins(Terms(money=frozenset())).rows == [[[2, 4, 6, 0]]]
    assert bins(Terms(), (MEMBERS[0], member("d", currency="EUR"))).rows == [[[2, 4, 6, 0]]]
    assert bins(Terms(rates=RATES), (MEMBERS[0],)).rows == [[[1, 2, 3, 0]]]


def test_money_without_a_rate_is_not_converted() -> None:
    rates = Rates(name="the bank", on=date(2026, 3, 31), to="EUR", rates={})
    sales = [[], [("2014-03", Decimal("1.00"), 1)]]
    with pytest.raises(
        QuestionError, match="'the bank' of 2026-03-31 has no rate from that to EUR"
    ):
        answer(sales, Terms(rates=rates)).total()


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (Terms(money=frozenset({"cost"})), "'cost' was named as money"),
        (Terms(fiscal="week"), "'week' is no fiscal period"),
    ],
)
def test_terms_that_the_question_cannot_be_held_to_are_refused(terms: Terms, words: str) -> None:
    with pytest.raises(QuestionError, match=words):
        terms.check(BY_MONTH)


def test_a_fiscal_year_needs_months() -> None:
    with pytest.raises(QuestionError, match="is made of months"):
        Terms(fiscal="year").check(plan_from_sql("select count(*) from sales"))


def test_a_file_of_rates_is_read_exactly(tmp_path: Path) -> None:
    file = tmp_path / "rates.toml"
    file.write_text(
        'name = "the bank"\non = 2026-03-31\nto = "EUR"\n[rates]\nCHF = "1.0561"\nJPY = "0.006137"'
    )
    assert Rates.load(file) == RATES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('on = 2026-03-31\nto = "EUR"\n[rates]', "has no field 'name'"),
        ('name = "x"\non = 2026-03-31\nto = "EUR"\n[rates]\nCHF = 1.05', "rate 'CHF'"),
        ('name = "x"\non = 2026-03-31\nto = "EUR"\n[rates]\nchf = "1.05"', "rate 'chf'"),
        ('name = "x"\non = 2026-03-31\nto = "EUR"\n[rates]\nCHF = "0"', "rate 'CHF'"),
        ('name = "x"\non = "today"\nto = "EUR"\n[rates]', "wrong `on` or `to`"),
        ("name = ", "cannot be read as rates"),
        ('name = "x"\non = 2026-03-31\nto = "EUR"\nrates = 3', "cannot be read as rates"),
    ],
)
def test_a_wrong_file_of_rates_says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "rates.toml"
    file.write_text(text)
    with pytest.raises(EstateError, match=words):
        Rates.load(file)


def test_counts_of_different_values_stand_alone_and_are_unknown_over_all() -> None:
    question = plan_from_sql(
        "select member, count(distinct buyer) as buyers from sales group by member"
    )
    outcomes = tuple(
        Outcome(
            member=name,
            state=MemberState.ANSWERED,
            reply=Reply(as_of=1, parts=(Part(name, (), [count]),), withheld=()),
        )
        for name, count in (("a", 3), ("b", 4))
    )
    members = {it.name: it for it in MEMBERS[:2]}
    found = Answer(question=question, members=members, outcomes=outcomes, asked_at=NOW)

    assert found.rows == [["a", 3], ["b", 4]]
    assert found.total()["buyers"] is None
    assert found.to_dict()["rows"]
