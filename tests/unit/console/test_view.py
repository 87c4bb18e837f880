from __future__ import annotations

from dataclasses import fields, is_dataclass

from psp.console import neutral
from psp.console._view import read_answer, read_view

from . import views


def strings(thing: object) -> list[str]:
    """Collect every string that a view holds, however deep."""
    if isinstance(thing, str):
        return [thing]
    if isinstance(thing, dict):
        return strings(list(thing.values()))
    if isinstance(thing, list | tuple):
        return [text for part in thing for text in strings(part)]
    if is_dataclass(thing):
        return [text for field in fields(thing) for text in strings(getattr(thing, field.name))]
    return []


def test_no_string_gets_in_as_it_came() -> None:
    texts = strings(read_view(views.hostile()))
    assert len(texts) > 20
    for text in texts:
        assert neutral(text, 1000) == text
        assert len(text) <= 300


def test_a_hostile_figure_is_no_figure() -> None:
    tenant = read_view(views.hostile()).tenants[0]
    assert tenant.total.sales is None
    assert tenant.total.volume is None
    assert tenant.total.ppsf is None
    assert tenant.members[0].trend == (1.0, None, None)


def test_members_stand_by_volume_and_those_without_one_last() -> None:
    view = views.portfolio()
    view["tenants"][0]["members"][0]["volume"] = None
    members = read_view(view).tenants[0].members
    assert members[0].label == "98004 Bellevue"
    assert members[-1].label == "98001 Auburn"


def test_high_exceptions_come_first() -> None:
    view = views.portfolio()
    view["tenants"][0]["exceptions"].reverse()
    found = read_view(view).tenants[0].exceptions
    assert [finding.severity for finding in found] == ["high", "medium", "medium"]


def test_what_is_hidden_is_said_in_words() -> None:
    owner, lender = read_view(views.portfolio()).tenants
    assert owner.hidden_sentence == "Nothing is hidden."
    assert lender.hidden_sentence.startswith("117 cells hidden: fewer than 10 properties; 24 cells")
    assert sum(len(hidden.periods) for hidden in lender.hidden) == 141


def test_a_member_without_a_label_is_called_by_its_name() -> None:
    view = views.portfolio()
    del view["tenants"][0]["absent"][0]["label"]
    absent = read_view(view).tenants[0].absent[0]
    assert absent.label == "zip-98039"
    assert absent.sentence.startswith("unreachable since 09:38 UTC, 28 May: nobody answers")


def test_a_month_that_a_tenth_is_missing_from_is_thin() -> None:
    owner, lender = read_view(views.portfolio()).tenants
    assert not owner.has_thin
    assert next(p.period for p in lender.trend if lender.is_thin(p)) == "2014-05"


def answer() -> dict[str, object]:
    return {
        "columns": ["member", "year", "volume"],
        "rows": [["98004", 2014, "1234567.50"], ["98005\x1b[31m", 2014, None]],
        "states": {"answered": 2, "denied": 1},
        "absent": [{"member": "98006", "state": "denied", "cause": "no grant", "since": ""}],
        "withheld": [{"member": "98005", "cells": 1, "rule": "floor", "words": "hidden: few"}],
        "partial": True,
        "members_asked": 3,
    }


def test_an_answer_says_who_is_missing_and_what_is_hidden() -> None:
    shown = read_answer(answer())
    assert shown.sentence == "2 of 3 answered: 1 refused. The figures are partial."
    assert shown.absent[0].sentence == "refused: no grant"
    assert shown.hidden == ("98005: 1 cell hidden: few",)
    assert shown.rows[1] == ("98005␛[31m", "2014", None)


def test_only_a_measure_gets_its_thousands_apart() -> None:
    """A year and a postal code are numbers too, and nobody writes 2,014."""
    plain = read_answer(answer())
    kinds = read_answer(answer() | {"kinds": ["group", "group", "measure"]})
    assert plain.rows[0] == ("98004", "2014", "1234567.50")
    assert kinds.rows[0] == ("98004", "2014", "1,234,567.50")
    assert kinds.is_number == (False, False, True)


def test_many_hidden_cells_are_counted_by_reason() -> None:
    withheld = [
        {"member": f"m{number % 3}", "cells": 2, "rule": "floor", "words": "hidden: few"}
        for number in range(6)
    ]
    assert read_answer(answer() | {"withheld": withheld}).hidden == (
        "3 members: 12 cells hidden: few",
    )
