from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser

import pytest

from psp.console import render_page

from . import views

VOID = {"meta", "link", "br"}


class Reader(HTMLParser):
    """Checks that tags nest, and collects what the claims below are about."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.update(name for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


@cache
def portfolio_page() -> str:
    return render_page(views.portfolio())


@cache
def hostile_page() -> str:
    return render_page(views.hostile())


@pytest.mark.parametrize("page", [portfolio_page, hostile_page])
def test_nothing_on_the_page_can_run_or_load(page: object) -> None:
    read = Reader(page())  # type: ignore[operator]
    for tag in ("script", "img", "iframe", "object", "link", "base", "form", "foreignobject"):
        assert not read.tags[tag]
    assert not {"style", "href", "xlink:href", "src", "srcset"} & set(read.attributes)
    assert not [name for name in read.attributes if name.startswith("on")]


def test_the_policy_names_the_one_style_block_by_its_hash() -> None:
    text = portfolio_page()
    styles = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    assert len(styles) == 1
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert f"'sha256-{digest}'".replace("'", "&#39;") in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]
    assert "url(" not in styles[0]
    assert "@import" not in styles[0]


def test_the_policy_comes_before_anything_it_governs() -> None:
    text = portfolio_page()
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_a_hostile_member_is_only_text() -> None:
    text = hostile_page()
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{7*7}}" in text  # A template in data is not a template.
    assert not [character for character in text if character < " " and character != "\n"]
    assert not set(text) & {"\u202e", "\u200b", "\x9b"}


def test_every_company_has_a_row_and_the_missing_too() -> None:
    text = portfolio_page()
    for number in (98001, 98199):
        assert text.count(f">{number} ") >= 2
    assert text.count('<tr class="absent">') == 2 * (1 + 2)
    assert "nobody answers at 10.20.0.39, port 4173" in text


def test_exceptions_stand_above_the_totals() -> None:
    text = portfolio_page()
    assert text.index('<section class="exceptions"') < text.index('<dl class="tiles">')


def test_a_reader_of_screens_is_told_what_a_chart_shows() -> None:
    text = portfolio_page()
    assert '<html lang="en">' in text
    charts = re.findall('<svg class="chart[^>]*>', text)
    assert len(charts) == 8
    assert all('role="img"' in chart and 'aria-label="' in chart for chart in charts)
    assert "May 2014 $956.8\u00a0m" in charts[0]
    headers = re.findall("<th[ >][^>]*>", text)
    assert headers
    assert all('scope="' in header for header in headers)


def test_charts_take_their_colours_from_the_sheet() -> None:
    """A fixed colour would be dark on dark at night."""
    charts = re.findall('<svg class="chart.*?</svg>', portfolio_page(), re.DOTALL)
    colours = {colour for chart in charts for colour in re.findall('fill="([^"]*)"', chart)}
    assert {colour for colour in colours if not colour.startswith("var(--")} <= {"none"}


def test_a_fleet_in_which_nobody_answered_has_a_page() -> None:
    text = render_page(views.empty())
    Reader(text)
    assert "98039 Medina" in text
    assert "No exceptions." in text


def test_the_same_view_gives_the_same_bytes() -> None:
    assert render_page(views.portfolio()) == portfolio_page()
