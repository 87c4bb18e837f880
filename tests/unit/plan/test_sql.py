from __future__ import annotations

import sys
from datetime import date
from decimal import Decimal

import pytest

from psp.capability import Operation, RowDomain, between, one_of, starts_with
from psp.errors import MissingExtra, QuestionError
from psp.plan import (
    Arithmetic,
    Bucket,
    Filter,
    GroupKey,
    GroupValue,
    Measure,
    MeasureValue,
    MemberName,
    Order,
    Output,
    Plan,
    Question,
    SquareRoot,
    plan_from_sql,
)


def test_a_question_becomes_a_plan_and_outputs() -> None:
    question = plan_from_sql(
        "select zipcode, month(date) as m, count(*), sum(price) / sum(sqft_living) as ppsf,"
        " avg(price) from sales where price >= 1 group by 1, m order by 3 desc, zipcode limit 10"
    )

    assert question == Question(
        plan=Plan(
            table="sales",
            filters=(Filter("price", between(1, None)),),
            group=(GroupKey("zipcode"), GroupKey("date", Bucket.MONTH)),
            measures=(
                Measure(Operation.COUNT),
                Measure(Operation.SUM, "price"),
                Measure(Operation.SUM, "sqft_living"),
                Measure(Operation.MEAN, "price"),
            ),
        ),
        outputs=(
            Output("zipcode", "group", GroupValue(0)),
            Output("m", "group", GroupValue(1)),
            Output("count(*)", "measure", MeasureValue(0)),
            Output("ppsf", "derived", Arithmetic("/", MeasureValue(1), MeasureValue(2))),
            Output("avg(price)", "measure", MeasureValue(3)),
        ),
        order=(Order(2, descending=True), Order(0)),
        limit=10,
    )


def test_a_standard_deviation_is_the_root_of_a_variance_asked_once() -> None:
    question = plan_from_sql("select stddev(a), variance(a), count(distinct b) from s")

    assert question.plan.measures == (
        Measure(Operation.VARIANCE, "a"),
        Measure(Operation.DISTINCT, "b"),
    )
    assert [output.expression for output in question.outputs] == [
        SquareRoot(MeasureValue(0)),
        MeasureValue(0),
        MeasureValue(1),
    ]


def test_a_histogram_has_its_edges_and_exists_has_nothing() -> None:
    histogram = plan_from_sql("select histogram(a, -1, 0.5, 100) from s")
    exists = plan_from_sql("select exists(*) from s where id = 3")

    assert histogram.plan.measures == (
        Measure(Operation.HISTOGRAM, "a", (-1, Decimal("0.5"), 100)),
    )
    assert exists.plan.measures == (Measure(Operation.EXISTS),)


def test_member_is_the_askers_and_never_travels() -> None:
    question = plan_from_sql("select member, zip, count(*) from s group by zip, member")

    assert question.plan.group == (GroupKey("zip"),)
    assert question.by_member
    assert question.outputs[0] == Output("member", "group", MemberName())


@pytest.mark.parametrize(
    ("condition", "domain"),
    [
        ("x = 'a'", one_of(["a"])),
        ("x = 5", one_of([5])),
        ("x = -5.50", one_of([Decimal("-5.5")])),
        ("x = true", one_of([True])),
        ("x = date '2014-05-02'", one_of([date(2014, 5, 2)])),
        ("x = '2014-05-02'", one_of(["2014-05-02"])),
        ("x in (1, 2)", one_of([1, 2])),
        ("x in ('a')", one_of(["a"])),
        ("x between 1 and 2.5", between(1, Decimal("2.5"))),
        ("x between '2014-05-02' and '2014-06-01'", between(date(2014, 5, 2), date(2014, 6, 1))),
        ("x < '2014-05-02'", between(None, date(2014, 5, 1))),
        ("x > 5", between(5, None, low_open=True)),
        ("x <= 5", between(None, 5)),
        ("x >= 5", between(5, None)),
        ("5 > x", between(None, 5, high_open=True)),
        ("(x = 5)", one_of([5])),
        ("x like 'Bell%'", starts_with("Bell")),
        ("x like 'Bell'", one_of(["Bell"])),
        ('"x" = 5', one_of([5])),
        ("s.x = 5", one_of([5])),
    ],
)
def test_conditions_become_row_domains(condition: str, domain: RowDomain) -> None:
    question = plan_from_sql(f"select count(*) from s where {condition}")

    assert question.plan.filters == (Filter("x", domain),)


def test_conditions_are_joined_with_and() -> None:
    filters = plan_from_sql("select count(*) from s where a = 1 and (b = 2 and c > 3)").plan.filters

    assert [each.column for each in filters] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("year(d)", Bucket.YEAR),
        ("quarter(d)", Bucket.QUARTER),
        ("month(d)", Bucket.MONTH),
        ("week(d)", Bucket.WEEK),
        ("day(d)", Bucket.DAY),
        ("date_trunc('month', d)", Bucket.MONTH),
    ],
)
def test_dates_can_be_grouped_into_buckets(bucket: str, key: Bucket) -> None:
    question = plan_from_sql(f"select {bucket}, count(*) from s group by {bucket}")

    assert question.plan.group == (GroupKey("d", key),)


# The place is written with a mark before it.
@pytest.mark.parametrize(
    ("marked", "sentence"),
    [
        ("^selct count(*) from s", "begins with `select`"),
        ("^delete from s", "begins with `select`"),
        ("^select 1; select 2", "one statement"),
        ("^", "begins with `select`"),
        ("select sum^(", "cannot read this as SQL"),
        ("select count(*) from s where x = 'abc^", "ends inside a quote"),
        ("select ^cuont(*) from s", "did you mean count?"),
        ("select ^frobnicate(a) from s", "there are count, sum, avg"),
        ("select ^median(a) from s", "cannot say `MEDIAN(a)`"),
        ("select ^stddev_pop(a) from s", "variance of a sample"),
        ("select ^histogram(a) from s", "a column and its edges"),
        ("select histogram(a, ^'b') from s", "edges of a histogram are numbers"),
        ("select ^histogram(a, 2, 1) from s", "must rise"),
        ("select ^histogram(a, 1) + 1 from s", "cannot be calculated with"),
        ("select ^count(*), histogram(a, 1) from s", "asked for alone"),
        ("select ^zip, exists(*) from s group by zip", "has no groups"),
        ("select exists(select ^1) from s", "no subqueries"),
        ("select ^count(distinct a, b) from s", "takes one column"),
        ("select count(*) from s join ^t on s.a = t.a", "cannot join"),
        ("select count(*) from s, ^t", "cannot join"),
        ("select count(*) from (select ^1)", "no subqueries"),
        ("select count(*) from s having ^count(*) > 3", "no `having`"),
        ("select a, count(*) from s where a=1 ^or a=2 group by a", "no `or`"),
        ("select ^sum(a) over () from s", "no window functions"),
        ("select ^sum(a) filter (where b = 1) from s", "no `filter"),
        ("with ^t as (select 1) select count(*) from t", "no `with`"),
        ("select count(*) from s limit 3 offset ^2", "no `offset`"),
        ("select count(*) from s limit ^0", "whole number from 1"),
        ("select count(*) from ^s tablesample (10)", "no `sample`"),
        ("select count(*) from ^a.s", "without dots"),
        ("select count(*)^", "names no table"),
        ("select ^price from s", "a table's `row` reads one"),
        ("select ^* from s", "a table's `row` reads one"),
        ("select count(*), ^* from s", "no `*`"),
        ("select ^zip, count(*) from s", "add it to `group by`"),
        ("select ^zip from s group by zip", "at least one figure"),
        ("^select from s", "names what it wants"),
        ("select sum(a) + ^b from s group by b", "use sum(b)"),
        ("select sum(^a * 2) from s", "calculate outside"),
        ("select count(*) from s group by ^sum(a)", "cannot be grouped by"),
        ("select count(*) from s group by ^3", "3 is none of them"),
        ("select count(*) from s group by ^date_trunc('hour', d)", "no bucket `hour`"),
        ("select count(*) from s group by month(^3)", "takes one date column"),
        ("select count(*) from s order by ^a", "names an output"),
        ("select ^t.a, count(*) from s group by 1", "is not the table"),
        ("select count(*) from s where ^a is null", "cannot ask for null"),
        ("select count(*) from s where ^a <> 3", "no `<>`"),
        ("select count(*) from s where not ^a = 3", "no `not`"),
        ("select count(*) from s where a > ^'abc'", "neither a number nor a date"),
        ("select count(*) from s where ^a = b", "values written out"),
        ("select count(*) from s where ^a in (select 1)", "no subqueries"),
        ("select count(*) from s where ^a in (1, 'b')", "one kind"),
        ("select count(*) from s where a like ^'%b'", "one % at its end"),
        ("select count(*) from s where a like ^'%'", "empty prefix"),
        ("select count(*) from s where ^month(a) = 5", "a column on its left"),
        ("select count(*) from s where ^member = 'b'", "choose members by label"),
        ("select ^count(a, b) from s", "takes one column"),
        ("select count(^s.*) from s", "no `*`"),
        ("select count(*) from s group by rollup(^a)", "ROLLUP"),
        ("select ^count(*) from s group by a, a", "one group key twice"),
        ("^select distinct a, count(*) from s group by a", "no `distinct`"),
        ("select ^member, count(*) from s", "`member` stands outside"),
        ("select sum(^member) from s", "not a column of any archive"),
    ],
)
def test_what_a_plan_cannot_say_gets_one_sentence_and_a_caret(marked: str, sentence: str) -> None:
    text = marked.replace("^", "")
    with pytest.raises(QuestionError) as caught:
        plan_from_sql(text)
    said, line, caret = str(caught.value).split("\n")

    assert sentence in said
    assert said.endswith((".", "?"))
    assert line == f"  {text}"
    if " or " not in text and " = b" not in text:  # sqlglot marks no place for operators.
        assert caret.index("^") == marked.index("^") + 2


def test_the_caret_stands_in_the_right_line() -> None:
    with pytest.raises(QuestionError) as caught:
        plan_from_sql("select\n\tcuont(*)\nfrom s")

    assert str(caught.value).split("\n")[1:] == ["  \tcuont(*)", "  \t^"]


def test_a_text_too_long_to_be_a_question_is_not_parsed() -> None:
    with pytest.raises(QuestionError, match="psp reads 10000"):
        plan_from_sql("select " + "(" * 10_000)


def test_brackets_without_end_are_a_question_error() -> None:
    with pytest.raises(QuestionError):
        plan_from_sql("select " + "(" * 3_000 + "1" + ")" * 3_000)


def test_without_the_parser_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    with pytest.raises(MissingExtra, match=r"psp-protocol\[fleet\]"):
        plan_from_sql("select count(*) from s")


def test_a_figure_asked_twice_travels_once() -> None:
    question = plan_from_sql("select sum(a), sum(a) / count(1), count(*) from s")

    assert question.plan.measures == (Measure(Operation.SUM, "a"), Measure(Operation.COUNT))
