"""Tables with a headline, in a terminal and as a page: nothing of the data gets power."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from psp.console import render_sections, render_sections_page

EVIL = '\x1b[2J<script>alert(1)</script>[red]\u202e"'


def document(**changed: object) -> dict[str, Any]:
    return {
        "title": "Group",
        "as_of": "2026-11-21T20:00:00Z",
        "note": "Generated.",
        "headline": "All is well.",
        "tiles": [["Debits", "1.00"]],
        "exceptions": [{"severity": "high", "sentence": f"number {n}"} for n in range(10)],
        "sections": [
            {
                "name": "Balance",
                "sentence": "Sums.",
                "columns": ["Account", "Debit"],
                "figures": [False, True],
                "rows": [["1000", "1.00"]],
                "last": ["Total", "1.00"],
            }
        ],
        **changed,
    }


def printed(shown: dict[str, Any], width: int = 100) -> str:
    stream = io.StringIO()
    render_sections(shown, Console(file=stream, width=width, markup=False, highlight=False))
    return stream.getvalue()


def evil() -> dict[str, Any]:
    section = {**document()["sections"][0], "name": EVIL, "sentence": EVIL, "columns": [EVIL, EVIL]}
    return document(
        title=EVIL,
        note=EVIL,
        headline=EVIL,
        tiles=[[EVIL, EVIL]],
        exceptions=[{"severity": EVIL, "sentence": EVIL}],
        sections=[{**section, "rows": [[EVIL, EVIL]], "last": [EVIL, EVIL]}],
    )


def test_exceptions_stand_before_tables_and_totals_last() -> None:
    text = printed(document())
    places = [text.index(words) for words in ("All is well.", "number 0", "Balance", "Total")]
    assert places == sorted(places)
    assert "and 2 more; the page has all" in text
    assert "number 9" not in text
    assert "number 9" in render_sections_page(document())


def test_no_exceptions_are_said_to_be_none() -> None:
    assert "No exceptions." in printed(document(exceptions=[]))
    assert "No exceptions." in render_sections_page(document(exceptions=[]))


def test_text_of_members_has_no_power() -> None:
    assert "\x1b[2J" not in printed(evil())
    assert "\u202e" not in printed(evil())
    page = render_sections_page(evil())
    assert "<script" not in page
    assert "\u202e" not in page
    assert "default-src &#39;none&#39;; style-src &#39;sha256-" in page


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_any_terminal(width: int) -> None:
    assert max(map(len, printed(document(), width).splitlines())) <= width
