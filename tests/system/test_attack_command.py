"""`psp attack`, typed, against what `psp up` serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.transport import MachineKey, Passphrase

from .conftest import Ran, served
from .test_key_commands import WORDS

pytestmark = pytest.mark.slow


def test_every_member_of_an_estate_holds(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    """Also with its keys that grant sealed: the one passphrase opens them, and no other."""
    assert psp("estate", "new", "homes", "--yes", "--from", *files[:2]).status == 0
    with served(tmp_path):
        shown = psp("attack", "north")
        nobody = psp("attack", "east")
        for name in ("anchor", "operator"):
            file = tmp_path / "homes/keys" / f"{name}.key"
            MachineKey.load(file).write_again(file, Passphrase(WORDS))
        sealed = ("attack", "--all", "--json", "--passphrase-fd", "0")
        every, locked = (psp(*sealed, stdin=f"{words}\n") for words in (WORDS, "wrong"))

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
    assert (locked.status, locked.out) == (1, "")
    assert "this is not the passphrase" in locked.sentence


def test_what_is_not_served_did_not_hold(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", files[0]).status == 0

    silent = psp("attack", "--all", "--json")
    assert silent.status == 1
    assert json.loads(silent.out)["held"] is False
    assert "Say which member" in psp("attack").sentence
