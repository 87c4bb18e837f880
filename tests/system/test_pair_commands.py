"""`psp pair` as two people run it: two keyboards, and one archive that is being served."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from .conftest import Ran, served
from .test_grant_commands import pixels_of_blocks, pixels_of_png, scanned

pytestmark = pytest.mark.slow


@pytest.fixture
def box(tmp_path: Path, psp: Callable[..., Ran], files: list[Path]) -> Path:
    made = psp("estate", "new", "homes", "--yes", "--from", files[0])
    assert made.status == 0, made.err
    (lock,) = (tmp_path / "homes").rglob("lock")
    return lock.parent


def listed(psp: Callable[..., Ran], box: Path) -> dict[str, str]:
    done = psp("pair", "list", box, "--json")
    rows = map(json.loads, done.out.splitlines())
    return {one["name"]: one["as"] for one in rows}


def test_a_line_goes_there_and_one_comes_back(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    asked = psp("pair", "request", "--key", "desk.key", "--name", "desk")
    fingerprint = re.search(r"SHA256:\S{43}", asked.err)
    assert fingerprint is not None
    where = ("--as", "user", "--address", "127.0.0.1:7001")
    unsaid = psp("pair", "approve", box, asked.out.strip(), *where)
    assert (unsaid.status, "was not approved" in unsaid.sentence) == (1, True)
    assert fingerprint[0] in unsaid.err
    reply = psp("pair", "approve", box, asked.out.strip(), *where, "--yes")
    assert reply.status == 0, reply.err
    taken = psp("pair", "accept", reply.out.strip(), "--key", "desk.key")
    assert taken.status == 0, taken.err
    (pinned,) = tmp_path.glob("*.pairing.toml")
    assert "127.0.0.1:7001" in pinned.read_text()
    assert listed(psp, box)["desk"] == "user"


def test_two_people_compare_a_code_and_the_pairing_ends_again(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    environment = {**os.environ, "COLUMNS": "150", "TERM": "dumb"}

    def terminal(arguments: str) -> pexpect.spawn[str]:
        command = f"{sys.executable} -m psp pair {arguments}"
        return pexpect.spawn(
            command, env=environment, encoding="utf-8", timeout=60, cwd=str(tmp_path)
        )

    with served(tmp_path):
        there = terminal(
            f"listen {box} --as interface --address 127.0.0.1:7001 --host 127.0.0.1 --for 1m"
        )
        there.expect(r"listening on port (\d+)")
        assert there.match is not None
        here = terminal(f"with 127.0.0.1:{there.match[1]} --key laptop.key --name laptop")
        codes = []
        for screen in (here, there):
            screen.expect(r"(\d{4} \d{4} \d{4})")
            assert screen.match is not None
            codes.append(screen.match[1])
            screen.expect(r"\[y/N\]")
        assert codes[0] == codes[1]
        for screen in (here, there):
            screen.sendline("y")
        here.expect("is paired")
        there.expect("laptop is paired as interface")
        for screen in (here, there):
            screen.expect(pexpect.EOF)
            screen.close()
        assert listed(psp, box)["laptop"] == "interface"
        gone = psp("pair", "remove", box, "laptop")
        assert gone.status == 0, gone.err
        assert "laptop" not in listed(psp, box)


def test_a_line_is_carried_as_a_picture(tmp_path: Path, psp: Callable[..., Ran], box: Path) -> None:
    """Each way, and read by another hand than the one that drew it."""
    asking = ("pair", "request", "--key", "desk.key", "--name", "desk", "--qr")
    asked = psp(*asking, "--qr-file", "ask.png", COLUMNS="165")
    line, _, drawn = asked.out.partition("\n")
    for pixels in (pixels_of_png(tmp_path / "ask.png"), pixels_of_blocks(drawn)):
        assert scanned(pixels) == line
    answer = ("pair", "approve", box, line, "--as", "user", "--address", "127.0.0.1:7001", "--yes")
    reply = psp(*answer, "--qr-file", "reply.png")
    scanned_there = scanned(pixels_of_png(tmp_path / "reply.png"))
    taken = psp("pair", "accept", scanned_there, "--key", "desk.key")

    assert (asked.status, reply.status, taken.status) == (0, 0, 0)
    assert scanned_there == reply.out.strip()
    assert "and the terminal has 60" in psp(*asking, COLUMNS="60").sentence


def test_a_place_that_cannot_take_the_pairing_is_named_before_anybody_is_asked(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    # Nobody listens at this address, and none is asked for.
    unmet = psp("pair", "with", "127.0.0.1:9", "--key", "a.key", "--name", "a", "--to", "nowhere")
    assert "nowhere is no directory" in unmet.sentence
    asked = psp("pair", "request", "--key", "desk.key", "--name", "desk")
    answer = ("pair", "approve", box, asked.out.strip(), "--as", "user", "--yes", "--address")
    reply = psp(*answer, "127.0.0.1:7001").out.strip()
    accept = ("pair", "accept", reply, "--key", "desk.key")

    assert "nowhere is no directory" in psp(*accept, "--to", "nowhere").sentence
    assert [psp(*accept).status for _ in range(2)] == [0, 0]
    (pinned,) = tmp_path.glob("*.pairing.toml")
    pinned.write_text("of another archive", "utf-8")
    assert "Move what is there away" in psp(*accept).sentence
    assert pinned.read_text("utf-8") == "of another archive"
