from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from psp.console import render_answer, render_view

from . import views
from .test_view import answer


def drawn(view: dict[str, Any], width: int, *, terminal: bool = False) -> str:
    out = io.StringIO()
    render_view(view, Console(file=out, width=width, force_terminal=terminal))
    return out.getvalue()


def test_two_tenants_stand_side_by_side_where_there_is_room() -> None:
    wide, narrow = drawn(views.portfolio(), 140), drawn(views.portfolio(), 139)
    assert any("Owner's office" in line and "Lender" in line for line in wide.splitlines())
    assert not any("Owner's office" in line and "Lender" in line for line in narrow.splitlines())


@pytest.mark.parametrize("width", [20, 40, 80, 139, 140, 200])
@pytest.mark.parametrize("view", [views.portfolio, views.hostile, views.empty])
def test_no_line_is_wider_than_the_terminal(view: Any, width: int) -> None:
    assert max(len(line) for line in drawn(view(), width).splitlines()) <= width


def test_exceptions_come_before_totals_and_the_missing_are_rows() -> None:
    text = drawn(views.portfolio(), 100)
    places = [text.index(part) for part in ("69 of 70", "!! 98039 Medina", "$11,564,894,678")]
    assert places == sorted(places)
    assert [line for line in text.splitlines() if line.startswith("98039 Medina  ")]


def test_what_is_hidden_is_said() -> None:
    assert "117 cells hidden: fewer than 10 properties" in drawn(views.portfolio(), 120)


def test_a_file_gets_no_colour() -> None:
    assert "\x1b" not in drawn(views.portfolio(), 150)


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = drawn(views.portfolio(), 150, terminal=True)
    assert not [code for code in ("\x1b[31m", "\x1b[36m", "\x1b[1;31m") if code in text]


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in drawn(views.portfolio(), 150, terminal=True)


def test_a_hostile_member_reaches_the_terminal_as_plain_characters() -> None:
    text = drawn(views.hostile(), 150)
    assert not [character for character in text if character < " " and character != "\n"]
    assert not set(text) & {"\u202e", "\u200b", "\x9b"}


def test_markup_in_data_is_characters_and_not_a_colour() -> None:
    view = views.portfolio()
    tenant = view["tenants"][0]
    for target, key in (
        (view, "title"),
        (view, "data_note"),
        (tenant, "name"),
        (tenant, "sentence"),
        (tenant["exceptions"][0], "sentence"),
        (tenant["members"][3], "label"),
        (tenant["absent"][0], "label"),
        (tenant["absent"][0], "cause"),
    ):
        target[key] = f"[b]{key}[/b]:smile:"
    text = drawn(view, 100)
    assert text.count("[b]label[/b]:smile:") == 3
    assert text.count("[/b]:smile:") == 9


def test_an_answer_is_a_table_with_its_gaps_explained() -> None:
    out = io.StringIO()
    render_answer(answer(), Console(file=out, width=100))
    text = out.getvalue()
    assert "98005␛[31m" in text
    assert "2 of 3 answered: 1 refused. The figures are partial." in text
    assert "98006 refused: no grant" in text
    assert "98005: 1 cell hidden: few" in text


def test_what_is_hidden_one_by_one_is_shown_as_one_sum() -> None:
    def lines(document: dict[str, object]) -> list[list[str]]:
        out = io.StringIO()
        render_answer(document, Console(file=out, width=100))
        return [line.split() for line in out.getvalue().splitlines()]

    assert ["other", "–", "88.25"] in lines(answer() | {"other": ["other", None, "88.25"]})
    assert not any("88.25" in line for line in lines(answer()))
