from __future__ import annotations

from datetime import date
from decimal import Context, Decimal
from math import inf

import pytest

from psp.errors import QuestionError
from psp.plan import plan_from_sql
from psp.plan._question import calculate
from psp.values import Value


def test_a_ratio_is_a_ratio_of_combined_sums() -> None:
    question = plan_from_sql("select zip, sum(price) / sum(area) as ppsf from sales group by zip")

    assert question.row(["98004"], [Decimal("300.00"), 400]) == ["98004", Decimal("0.75")]


def test_a_mean_becomes_one_number_at_the_end() -> None:
    question = plan_from_sql("select avg(price), avg(price) * 2, member from s group by member")

    assert question.row([], [[7, 2]], member="98039") == [Decimal("3.5"), Decimal(7), "98039"]
    assert question.row([], [[None, 0]]) == [None, None, None]
    assert question.row([], [None]) == [None, None, None]


def test_a_variance_is_a_samples_and_of_one_value_there_is_none() -> None:
    question = plan_from_sql("select variance(a), stddev(a) from s")

    assert question.row([], [[2, 4, 16]]) == [Decimal(8), Decimal(8).sqrt(Context(prec=34))]
    assert question.row([], [[3, 1.5, 0.75]]) == [0.0, 0.0]
    assert question.row([], [[2, 1e308, inf]]) == [None, None]
    assert question.row([], [[1, 4, 16]]) == [None, None]
    assert question.row([], [[0, None, None]]) == [None, None]


def test_arithmetic_follows_the_brackets() -> None:
    question = plan_from_sql("select -(sum(a) - 3) * (2 + count(*)) as x from s")

    assert question.row([], [5, 1]) == [-6]


@pytest.mark.parametrize(
    ("operator", "left", "right", "result"),
    [
        ("/", 1, 0, None),
        ("/", None, 2, None),
        ("/", 1, 4, Decimal("0.25")),
        ("/", 1.0, Decimal(4), 0.25),
        ("+", 0.5, Decimal("0.5"), 1.0),
        ("*", 2**62, 2**62, 2**124),
        ("-", Decimal("0.3"), Decimal("0.1"), Decimal("0.2")),
    ],
)
def test_calculation_is_exact_where_numbers_are(
    operator: str, left: object, right: object, result: object
) -> None:
    assert calculate(operator, left, right) == result  # type: ignore[arg-type]


def test_a_quotient_keeps_34_digits() -> None:
    assert str(calculate("/", 2, 3)) == "0." + "6" * 33 + "7"


def test_a_member_that_sends_text_for_a_number_is_found_out() -> None:
    with pytest.raises(QuestionError, match="one side is a str"):
        calculate("+", 1, "2")
    with pytest.raises(QuestionError, match="the member that sent it"):
        plan_from_sql("select variance(a) from s").row([], [[3, 1]])
    with pytest.raises(QuestionError, match="one below zero"):
        plan_from_sql("select stddev(a) from s").row([], [[2, 4, 3]])
    with pytest.raises(QuestionError, match="the member that sent it"):
        plan_from_sql("select avg(a) from s").row([], [3])


def test_rows_are_sorted_by_several_outputs_and_cut() -> None:
    question = plan_from_sql(
        "select zip, count(*) as n, sum(a) from s group by 1 order by n desc, zip limit 3"
    )
    rows: list[list[Value]] = [["c", 1, 0], ["b", None, 0], ["a", 1, 0], ["d", 9, 0]]

    assert question.arrange(rows) == [["d", 9, 0], ["a", 1, 0], ["c", 1, 0]]


def test_nulls_come_last_either_way() -> None:
    for direction in ("asc", "desc"):
        question = plan_from_sql(f"select count(*) as n from s order by n {direction}")
        assert question.arrange([[None], [2], [1]])[-1] == [None]


def test_values_of_several_kinds_have_an_order_all_the_same() -> None:
    question = plan_from_sql("select a, count(*) from t group by a order by a desc")
    rows: list[list[Value]] = [[3, 1], ["x", 1], [date(2014, 5, 2), 1], ["y", 1]]
    assert question.arrange(rows) == [["y", 1], ["x", 1], [date(2014, 5, 2), 1], [3, 1]]


def test_a_result_of_too_many_digits_is_refused() -> None:
    """Three sums of 76 digits, the widest that travel, have a product of 228."""
    wide = Decimal("1" + "0" * 74 + "1")
    with pytest.raises(QuestionError, match="more than 160 digits"):
        calculate("*", calculate("*", wide, wide), wide)
    with pytest.raises(QuestionError):
        calculate("*", 10**400, 1.5)
