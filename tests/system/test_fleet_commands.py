"""`psp fleet do`, as an administrator types it, against an estate of real processes."""

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
        process.communicate(timeout=30)


def commanded(box: Path) -> list[dict[str, str]]:
    with Archive.open(box, read_only=True) as archive:
        size = archive.ledger.checkpoint.tree_size
        entries = [json.loads(it) for it in archive.ledger.entries(0, size)]
    return [entry["asked"] for entry in entries if "asked" in entry]


def became(ran: Ran) -> dict[str, str]:
    members: list[Any] = json.loads(ran.out)["members"]
    return {one["member"]: one["became"] for one in members}


@pytest.mark.slow
def test_a_fleet_is_told_previewed_and_told_again_when_a_member_has_come_back(
    tmp_path: Path, psp: Psp, files: list[Path]
) -> None:
    made = psp("estate", "new", "kings", "--from", *files[:2], "--administrator", "--yes", "--json")
    assert json.loads(made.out)["tenants"] == ["owner", "admin"]
    with up(tmp_path, "north"):
        half = _before_the_other_is_up(psp)
        with up(tmp_path, "south"):
            _when_both_are_up(psp, tmp_path, half["key"])

    for name, count in (("north", 4), ("south", 3)):
        asked = commanded(tmp_path / "kings" / "archives" / name)
        assert len({one["key"] for one in asked}) == count
        words = ["suspend", "audit", "resume", "append"]
        assert [one["command"] for one in asked] == words[:count]


def _before_the_other_is_up(psp: Psp) -> dict[str, Any]:
    # A preview changes nothing, and says by which right.
    seen = psp("fleet", "do", "suspend", *ADMIN, "--preview")
    assert seen.status == 0, seen.err
    assert "become suspended; it is active" in seen.out
    assert "suspend of the object archive" in seen.out
    # Without a yes nothing is done, nor to everybody by mistake, nor by a tenant who may not.
    refused = psp("fleet", "do", "suspend", *ADMIN, stdin="n\n")
    assert (refused.status, refused.out) == (1, "")
    assert "not approved, so nothing was done" in refused.sentence
    everybody = psp("fleet", "do", "suspend", *ADMIN, "--yes")
    assert "--members '*' for all" in everybody.sentence
    stranger = psp("fleet", "do", "suspend", "--label", "north", "--yes", "--json")
    assert (stranger.status, became(stranger)) == (1, {"north": "refused"})

    half = psp("fleet", "do", "suspend", *ALL, "--json")
    assert (half.status, became(half)) == (1, {"north": "done", "south": "unreachable"})
    found: dict[str, Any] = json.loads(half.out)
    return found


def _when_both_are_up(psp: Psp, place: Path, key: str) -> None:
    again = psp("fleet", "do", "suspend", *ALL, "--key", key)
    assert again.status == 0, again.err
    assert [line.split()[:2] for line in again.out.splitlines()[1:3]] == [
        ["north", "already"],
        ["south", "done"],
    ]
    assert "2 of 2 done" in again.out

    audited = psp("fleet", "do", "audit", *ALL, "--json")
    assert [it["facts"]["worst"] for it in json.loads(audited.out)["members"]] == ["well"] * 2
    assert psp("fleet", "do", "resume", *ALL).status == 0

    more = place / "more.csv"
    more.write_text("lease,signed,rent,area\nnew-1,2026-05-01,1234.50,70\n")
    to_one = (*ADMIN, "--members", "north", "--yes", "--json")
    appended = psp("fleet", "do", "append", more, "--table", "kings", *to_one)
    counted = psp("ask", "select member, count(*) as n from kings group by member", "--json")
    assert json.loads(appended.out)["members"][0]["facts"]["rows"] == 1
    assert sorted(json.loads(counted.out)["rows"]) == [["north", 41], ["south", 40]]
