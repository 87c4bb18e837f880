"""`psp fleet do`, as an administrator types it, against real processes; one member is not there."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from psp.totebox import Archive

from .conftest import Ran, psp_command

Psp = Callable[..., Ran]
ADMIN = ("--tenant", "admin")
ALL = (*ADMIN, "--members", "*", "--yes")
NORTH = (*ADMIN, "--label", "north", "--yes", "--json")


@contextmanager
def up(directory: Path, *members: str) -> Iterator[None]:
    process = subprocess.Popen(
        psp_command("up", *members, "--json"), cwd=directory, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["serving"] == len(members)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def commanded(box: Path) -> list[dict[str, str]]:
    with Archive.open(box, read_only=True) as archive:
        size = archive.ledger.checkpoint.tree_size
        entries = [json.loads(it) for it in archive.ledger.entries(0, size)]
    return [entry["asked"] for entry in entries if "asked" in entry]


def member(ran: Ran, name: str = "north") -> dict[str, Any]:
    members: list[dict[str, Any]] = json.loads(ran.out)["members"]
    return next(one for one in members if one["member"] == name)


@pytest.mark.slow
def test_a_fleet_is_told_previewed_and_told_again_under_its_key(
    tmp_path: Path, psp: Psp, files: list[Path]
) -> None:
    made = psp("estate", "new", "kings", "--from", *files[:2], "--administrator", "--yes", "--json")
    assert json.loads(made.out)["tenants"] == ["owner", "admin"]
    with up(tmp_path, "north"):
        # Without a yes nothing is done; who would do what, and by which right, is said before.
        refused = psp("fleet", "do", "suspend", *ADMIN, stdin="n\n", COLUMNS="200")
        assert (refused.status, refused.out) == (1, "")
        would, right = "become suspended; it is active", "suspend of the object archive"
        (told,) = [line for line in refused.err.splitlines() if line.startswith("north")]
        assert told.removeprefix("north").split("  ")[-1].strip() == right
        assert would in told
        assert "1 of 2 members would do it" in refused.err
        assert "not approved, so nothing was done" in refused.sentence
        everybody = psp("fleet", "do", "suspend", *ADMIN, "--yes")
        assert "--members '*' for all" in everybody.sentence
        stranger = psp("fleet", "do", "suspend", "--members", "north", "--yes", "--json")
        assert (stranger.status, member(stranger)["became"]) == (1, "refused")

        half = psp("fleet", "do", "suspend", *ALL, "--json")
        assert (half.status, member(half)["became"]) == (1, "done")
        assert member(half, "south")["became"] == "unreachable"
        again = psp("fleet", "do", "suspend", *ALL, "--key", json.loads(half.out)["key"])
        assert again.status == 1
        assert again.out.splitlines()[1].split()[:3] == ["north", "already", "done"]
        assert "1 of 2 done" in again.out

        audited = psp("fleet", "do", "audit", *NORTH)
        assert (audited.status, member(audited)["facts"]["worst"]) == (0, "well")
        assert psp("fleet", "do", "resume", *NORTH).status == 0
        more = tmp_path / "more.csv"
        more.write_text("lease,signed,rent,area\nnew-1,2026-05-01,1234.50,70\n")
        appended = psp("fleet", "do", "append", more, "--table", "kings", *NORTH)
        assert member(appended)["facts"]["rows"] == 1
        counted = psp("ask", "select count(*) as n from kings", "--members", "north", "--json")
        assert json.loads(counted.out)["rows"] == [[41]]

    asked = commanded(tmp_path / "kings" / "archives" / "north")
    assert [one["command"] for one in asked] == ["suspend", "audit", "resume", "append"]
    assert commanded(tmp_path / "kings" / "archives" / "south") == []
