from __future__ import annotations

from psp.console._pictures import axis_labels, columns, sparkline


def test_a_hidden_month_is_a_gap_and_a_zero_is_not() -> None:
    assert sparkline([8, None, 4, 0]) == "█·▄▁"
    assert sparkline([8, None, 4, 0], ascii_only=True) == "#-o."


def test_a_line_of_nothing_is_drawn() -> None:
    assert sparkline([]) == ""
    assert sparkline([None, 0, -3]) == "·▁▁"


def test_the_tallest_column_reaches_the_top_and_a_small_one_is_seen() -> None:
    top, bottom = columns([16, 8, 0.001, None], height=2, width=2)
    assert top == ["█ ", "  ", "  ", "  "]
    assert bottom == ["█ ", "█ ", "▁ ", "  "]


def test_a_year_is_named_where_it_begins() -> None:
    months, years = axis_labels(["2014-11", "2014-12", "2015-01"], width=5)
    assert months == ["Nov  ", "Dec  ", "Jan  "]
    assert years == ["2014 ", "     ", "2015 "]


def test_labels_are_as_wide_as_their_columns() -> None:
    for width in range(1, 7):
        for label in [
            part for line in axis_labels(["2014-11", "odd"], width=width) for part in line
        ]:
            assert len(label) == width
