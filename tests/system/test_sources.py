"""Two registers that really disagree: what is found is what a plain join finds."""

from __future__ import annotations

import csv

import pytest

from psp.demo import run_sources, sources_page
from psp.demo._sources import GAPMINDER, WORLD_BANK, SourcesFound
from psp.errors import EstateError

pytestmark = pytest.mark.slow

Key = tuple[str, str]


class Silent:
    """Nobody looks at the bars of a test."""

    def stage(self, words: str, total: int | None = None) -> None:
        pass

    def step(self) -> None:
        pass


@pytest.fixture(scope="module")
def found() -> SourcesFound:
    for register in (WORLD_BANK, GAPMINDER):
        try:
            register.source.locate()
        except EstateError as exc:
            pytest.skip(str(exc))
    return run_sources(reporter=Silent())


@pytest.fixture(scope="module")
def joined() -> tuple[dict[Key, str], dict[Key, str]]:
    """Both registers read without psp, cut to the years 1992 to 2007."""
    tables = []
    for register, country, people in (
        (WORLD_BANK, "country_name", "population"),
        (GAPMINDER, "country", "pop"),
    ):
        with register.source.locate().open(encoding="utf-8") as file:
            rows = csv.DictReader(file)
            tables.append({(row[country], row["year"]): row[people] for row in rows if row[people]})
    years = {year for _, year in tables[0]} & {year for _, year in tables[1]}
    assert sorted(years)[-4:] == ["1992", "1997", "2002", "2007"]
    left, right = (
        {key: value for key, value in table.items() if key[1] >= "1992" and key[1] in years}
        for table in tables
    )
    return left, right


def test_it_finds_what_a_join_finds(
    found: SourcesFound, joined: tuple[dict[Key, str], dict[Key, str]]
) -> None:
    left, right = joined
    it = found.reconciled.to_dict()
    assert found.years == (1992, 1997, 2002, 2007)
    assert it["rows"] == [len(left), len(right)] == [860, 568]
    both = left.keys() & right.keys()
    assert it["matched"] == sum(left[key] == right[key] for key in both) == 5
    assert {
        (row["key"][0], str(row["key"][1])): (str(row["left"][0]), str(row["right"][0]))
        for row in it["differ"]
    } == {key: (left[key], right[key]) for key in both if left[key] != right[key]}
    for side, one, other in (("only_left", left, right), ("only_right", right, left)):
        assert {(row["key"][0], str(row["key"][1])): str(row["amount"][0]) for row in it[side]} == {
            key: value for key, value in one.items() if key not in other
        }


def test_what_agrees_stays_where_it_is(
    found: SourcesFound, joined: tuple[dict[Key, str], dict[Key, str]]
) -> None:
    left, right = joined
    agree = {key for key in left if left[key] == right.get(key)}
    it = found.reconciled
    listed = {
        (str(row.key[0]), str(row.key[1]))
        for row in (*(row for pair in it.differ for row in pair), *it.only_left, *it.only_right)
    }
    assert len(agree) == 5
    assert not agree & listed


def test_its_page_says_whose_figures_they_are(found: SourcesFound) -> None:
    page = sources_page(found)
    assert "great_tables, whose stated licence is MIT" in page["note"]
    assert "causaldata, whose stated licence is MIT" in page["note"]
    assert page["headline"] == (
        "Of 512 figures that both registers have, for 1992 to 2007, 5 are the same."
    )
    assert page["tiles"][2:] == [["Over 5% apart", "159"], ["Over 20% apart", "32"]]
