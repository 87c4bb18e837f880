"""Answers and views as files and as a report: exact figures, and no text that does anything."""

from __future__ import annotations

import csv
import io
import json
import sys
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from psp.console import export, render_report, render_why
from psp.errors import EstateError, MissingExtra

BIG = "12345678901234567890.12"


def view(**more: Any) -> dict[str, Any]:
    return {
        "title": "Houses",
        "kind": "rollup",
        "columns": ["n", "volume"],
        "groups_by": ["town"],
        "asked_at": "2026-01-02T03:04:05Z",
        "as_of": {"a": 1},
        "members_asked": 2,
        "states": {"answered": 1, "unreachable": 1},
        "absent": [
            {"member": "b", "state": "unreachable", "since": "2026-01-02T03:00:00Z", "cause": "no"}
        ],
        "partial": True,
        "total": {"n": 3, "volume": BIG},
        "over": {"members": 1, "of": 2},
        "groups": [
            {"key": ["=1+1"], "figures": {"n": 1, "volume": "-1.50"}, "members": 1, "of": 1},
            {"key": None, "figures": {"n": 2, "volume": None}, "members": 1, "of": 1},
        ],
        "members": [{"member": "a", "label": "a", "figures": {"n": 3, "volume": BIG}, "hidden": 2}],
        "exceptions": [{"member": "b", "severity": "high", "sentence": "b is unreachable: no"}],
        "withheld": [{"member": "a", "group": None, "cells": 2, "words": "hidden: few"}],
        **more,
    }


ANSWER = {
    "columns": ["town", "n"],
    "kinds": ["group", "measure"],
    "rows": [["@SUM(A1)", 2], [None, 3]],
    "other": ["other", 4],
}


def report(document: dict[str, Any], width: int = 100) -> str:
    out = io.StringIO()
    render_report(document, Console(file=out, width=width))
    return out.getvalue()


def test_no_cell_of_a_csv_is_a_formula_and_figures_stay_figures() -> None:
    rows = list(csv.reader(io.StringIO(export(view(), ".csv").decode())))
    assert rows == [
        ["town", "n", "volume", "members", "of members"],
        ["'=1+1", "1", "-1.50", "1", "1"],
        ["other", "2", "", "1", "1"],
    ]
    (_, row, *_) = csv.reader(io.StringIO(export(ANSWER, ".csv").decode()))
    assert row == ["'@SUM(A1)", "2"]


def test_no_cell_of_a_spreadsheet_is_a_formula_and_no_digit_is_lost() -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(io.BytesIO(export(view(), ".xlsx")))
    assert book.sheetnames == ["groups", "members", "total", "exceptions", "missing"]
    cell = book["groups"]["A2"]
    assert (cell.value, cell.data_type) == ("=1+1", "s")
    assert book["groups"]["C2"].value == -1.5
    assert book["members"]["C2"].value == BIG


def test_arrow_keeps_decimals_exact() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.ipc.open_file(io.BytesIO(export(view(), ".arrow"))).read_all()
    assert table.column("volume").to_pylist() == [Decimal("-1.50"), None]
    assert table.column("n").type == pa.int64()


def test_json_is_the_document() -> None:
    assert json.loads(export(view(), ".json")) == view()


def test_a_format_that_is_none_is_named_with_those_there_are() -> None:
    with pytest.raises(EstateError, match=r"\.pdf is no format to save in; there are \.json"):
        export(view(), ".pdf")


def test_exceptions_come_first_and_the_missing_last() -> None:
    text = report(view())
    places = [text.index(part) for part in ("!! b is", "total", "groups", "over 1 of 2")]
    assert places == sorted(places)
    assert "2 cells hidden: few" in text
    assert "b unreachable since 03:00 UTC, 2 Jan: no" in text


def test_a_summary_has_no_groups_and_an_earlier_total_stands_below() -> None:
    text = report(view(kind="summary", total_before={"n": 1, "volume": "2.00"}))
    assert "=1+1" not in text
    assert "before" in text


@pytest.mark.parametrize("evil", ["\x1b[2Jx", "a\u202eb", "x" * 5_000])
def test_no_text_of_a_member_moves_the_cursor(evil: str) -> None:
    hostile = view(
        absent=[{"member": evil, "state": evil, "since": evil, "cause": evil}],
        exceptions=[{"member": evil, "severity": evil, "sentence": evil}],
        groups=[{"key": [evil], "figures": {"n": 1, "volume": evil}, "members": 1, "of": 1}],
        withheld=[{"member": evil, "group": None, "cells": 1, "words": evil}],
    )
    for text in (report(hostile), export(hostile, ".csv").decode()):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "x" * 500 not in text


def test_why_names_each_part() -> None:
    out = io.StringIO()
    found = {
        "column": "volume",
        "group": ["2014-05"],
        "figure": "3.50",
        "made_of": ["sum(price)"],
        "parts": [{"member": "a\x1b[1m", "figure": "3.50", "as_of": 7}],
        "absent": view()["absent"],
        "hidden": [{"member": "c", "words": "hidden: few"}],
    }
    render_why(found, Console(file=out, width=80))
    text = out.getvalue()
    assert "volume of 2014-05 = 3.50" in text
    assert "\x1b" not in text
    assert "c: hidden: few" in text


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="columns"):
        export(view(), ".arrow")
