from __future__ import annotations

from decimal import Decimal

import pytest

from psp.console import _figures as figures


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("11672925008", "$11.67 bn"),
        ("999996000", "$1.00 bn"),
        ("429828885", "$429.8 m"),
        ("999940", "$999,940"),
        ("0.4", "$0"),
        ("-11672925008", "−$11.67 bn"),
    ],
)
def test_an_amount_is_written_as_one_says_it(amount: str, words: str) -> None:
    assert figures.short_money(Decimal(amount), "USD").replace("\u00a0", " ") == words


def test_an_exact_amount_keeps_every_digit() -> None:
    assert figures.money(Decimal("11672925008.05"), "USD") == "$11,672,925,008.05"
    assert figures.money(Decimal("-12345"), "CHF") == "−CHF 12,345"
    assert figures.money(Decimal("12345"), "") == "12,345"


def test_a_rate_has_two_places() -> None:
    assert figures.rate(Decimal("264.144"), "EUR") == "€264.14"


def test_no_figure_is_a_dash_and_not_a_zero() -> None:
    shown = {figures.count(None), figures.money(None, "USD"), figures.rate(None, "USD")}
    assert shown | {figures.short_money(None, "USD")} == {figures.DASH}


@pytest.mark.parametrize(
    "value", [None, True, "NaN", "Infinity", "<b>", [], "0x10", "1E+999999", "1E-999999"]
)
def test_what_is_not_a_number_of_a_sane_size_is_no_figure(value: object) -> None:
    assert figures.decimal_or_none(value) is None


def test_an_integer_that_python_refuses_to_print_is_no_figure() -> None:
    assert figures.decimal_or_none(10**5000) is None


def test_the_largest_figure_there_can_be_keeps_to_its_column() -> None:
    for text in ("9" * 76, "-" + "9" * 38 + "." + "9" * 38, "1E-76"):
        figure = figures.decimal_or_none(text)
        for words in (
            figures.count(figure),
            figures.money(figure, "USD"),
            figures.short_money(figure, "USD"),
            figures.rate(figure, "USD"),
        ):
            assert len(words) < 60


def test_a_month_is_named() -> None:
    assert figures.period_words("2014-05") == "May 2014"
    assert figures.period_words("2014-13") == "2014-13"
    assert figures.period_words("week 7") == "week 7"


def test_an_instant_is_told_in_one_zone() -> None:
    assert figures.instant("2015-05-28T11:41:07+02:00") == "28 May 2015, 09:41 UTC"
    assert figures.since("2015-05-28T09:38:52Z") == "09:38 UTC, 28 May"
    assert figures.instant("\x1b[2J") == "␛[2J"
    assert figures.since("0001-01-01T00:00:00+14:00") == "0001-01-01T00:00:00+14:00"


def test_a_share_is_whole_per_cent() -> None:
    assert figures.share(Decimal(1), Decimal(3)) == "33\u00a0%"


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ("548712.3456789012345678901234567890", "548,712.35"),
        ("0.4567890123456789012345678901234567", "0.4568"),
        ("-1010.2750", "−1,010.2750"),
        ("11672925008", "11,672,925,008"),
    ],
)
def test_a_quotient_is_rounded_for_eyes_and_money_is_not(figure: str, text: str) -> None:
    assert figures.readable(Decimal(figure)) == text
