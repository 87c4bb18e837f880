"""`psp attack`, typed, against what `psp up` serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Ran, served

pytestmark = pytest.mark.slow


def test_every_member_of_an_estate_holds(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", *files[:2]).status == 0
    with served(tmp_path):
        shown = psp("attack", "north")
        every = psp("attack", "--all", "--json")
        nobody = psp("attack", "east")

    assert (shown.status, every.status, nobody.status) == (0, 0, 1)
    assert "stolen token" in shown.out.replace("\n", " ")
    assert "not tried:" in shown.out
    reports = [json.loads(line) for line in every.out.splitlines()]
    assert [(one["member"], one["held"]) for one in reports] == [("north", True), ("south", True)]
    for report in reports:
        assert {one["verdict"] for one in report["attempts"]} == {"held"}
        assert report["left_behind"] == {"ledger_entries": 0, "reads_recorded": 0}
        assert report["not_tried"]
    assert "no member 'east'" in nobody.err


def test_what_is_not_served_did_not_hold(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", files[0]).status == 0

    silent = psp("attack", "--all", "--json")
    assert silent.status == 1
    assert json.loads(silent.out)["held"] is False
    assert "Say which member" in psp("attack").sentence
