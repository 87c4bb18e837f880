"""The page of measurements holds what was measured, and nothing that was typed by hand."""

from __future__ import annotations

import pytest

from benchmarks import plot

NAMES = (*plot.WITH_BARS, "profile")


def test_the_page_holds_the_tables_of_its_results() -> None:
    page = plot.PAGE.read_text("utf-8")

    assert plot.with_tables(page, {name: plot.read(name) for name in NAMES}) == page


def test_every_picture_is_on_the_page_and_was_drawn() -> None:
    page = plot.PAGE.read_text("utf-8")

    for name in plot.PICTURES:
        picture = plot.PAGE.with_name(f"performance-{name}.svg")
        assert f"]({picture.name})" in page
        assert picture.read_text("utf-8").startswith("<svg")


def test_a_result_that_is_not_there_is_named_with_its_command() -> None:
    with pytest.raises(SystemExit, match=r"python -m benchmarks nothing --json > .*nothing\.json"):
        plot.read("nothing")
