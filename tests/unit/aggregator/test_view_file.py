"""A view file is read exactly, or refused in one sentence with its line."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from psp.aggregator import View
from psp.errors import EstateError, QuestionError

GOOD = """\
title = "Houses"
table = "sales"
where = "price >= 1"
group = ["month(date)"]
[measures]
n = "count(*)"
volume = "sum(price)"
area = "sum(area)"
[derived]
ppsf = "volume / area"
twice = "2 * ppsf - -0.5"
[[thresholds]]
when = "ppsf < 200"
severity = "high"
sentence = "cheap"
[[thresholds]]
when = "n >= -3.5"
"""


def load(tmp_path: Path, text: str) -> View:
    file = tmp_path / "view.toml"
    file.write_text(text)
    return View.load(file)


def test_derived_measures_are_ratios_of_combined_ones(tmp_path: Path) -> None:
    view = load(tmp_path, GOOD)
    names = [output.name for output in view.question.outputs]
    assert names == ["month(date)", "n", "volume", "area", "ppsf", "twice"]
    row = view.question.row(["2014-05"], [3, Decimal("10.00"), 4])
    assert row == ["2014-05", 3, Decimal("10.00"), 4, Decimal("2.5"), Decimal("5.5")]
    assert [threshold.limit for threshold in view.thresholds] == [200, Decimal("-3.5")]
    assert view.thresholds[0].is_crossed(Decimal("199.99"))
    assert not view.thresholds[0].is_crossed(None)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('title = "Houses"', "title = 3", 1, "title is missing or no text"),
        ('title = "Houses"', 'title = "Houses', 1, "this is not TOML"),
        ('table = "sales"', 'colour = "red"', 2, "a view has no 'colour'"),
        ("price >= 1", "price >> 1", 3, "a condition is one of"),
        ("price >= 1", "price > 1 or price < 0", 3, "`or`"),
        ("month(date)", "member", 4, "take `member` out of group"),
        ("count(*)", "count(distinct x, y)", 6, "distinct"),
        ("sum(price)", "sum(price", 7, "cannot read this as SQL"),
        ("sum(price)", "medium(price)", 7, "no function `medium`"),
        ("volume / area", "volume / aera", 10, "there is no figure 'aera'"),
        ("volume / area", "twice / area", 11, "made of itself (ppsf → twice → ppsf)"),
        ("volume / area", "volume ** 2", 10, "is not + - * / of figures"),
        ("volume / area", "__import__('os')", 10, "is not + - * / of figures"),
        ("volume / area", "1" + " + 1" * 200, 10, "over 500 characters"),
        ("volume / area", "(" * 220 + "1" + ")" * 220, 10, "is not + - * / of figures"),
        ("ppsf =", "n =", 10, "is a measure too"),
        ("ppsf < 200", "ppfs < 200", 13, "'ppfs' is none of this view's figures"),
        ("ppsf < 200", "ppsf is low", 13, "a threshold is as in"),
        ('"high"', '"grave"', 13, "the severity is one of"),
        ("n >= -3.5", "n >= x", 17, "a threshold is as in"),
    ],
)
def test_a_bad_view_gets_one_sentence_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    with pytest.raises(QuestionError, match=rf"view\.toml, line {line}: .*{re.escape(words)}"):
        load(tmp_path, GOOD.replace(old, new, 1))


def test_a_view_of_ten_megabytes_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match=r"goes on after 65,536 bytes"):
        load(tmp_path, GOOD + "# more\n" * 1_500_000)


def test_a_view_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EstateError, match="cannot be read"):
        View.load(tmp_path / "nothing.toml")


def test_terms_that_do_not_hold_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match="line 18: 'cost' was named as money"):
        load(tmp_path, GOOD + '[terms]\nmoney = ["cost"]\n')
    with pytest.raises(QuestionError, match="line 18: terms have no 'weight'"):
        load(tmp_path, GOOD + "[terms]\nweight = 3\n")
