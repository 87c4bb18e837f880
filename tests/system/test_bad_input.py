"""Bad input of every kind: one sentence with a remedy, an exit status, and nothing changed."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.estate import Estate

from .conftest import Ran, psp_command, served

pytestmark = pytest.mark.slow


def test_a_missing_file(psp: Callable[..., Ran], tmp_path: Path) -> None:
    refused = psp("estate", "new", "homes", "--yes", "--from", "nowhere.csv")
    assert refused.status == 1
    assert "nowhere.csv" in refused.sentence
    assert list(tmp_path.iterdir()) == []


def test_a_bad_number_in_line_20000(psp: Callable[..., Ran], tmp_path: Path) -> None:
    lines = ["id,price"] + [f"{n},{n}.50" for n in range(1, 30_000)]
    lines[19_999] = "19999,about five"
    (tmp_path / "sales.csv").write_text("\n".join(lines) + "\n", "utf-8")
    refused = psp("estate", "new", "x", "--yes", "--from", "sales.csv")
    assert refused.status == 1
    assert "20000" in refused.sentence.replace(",", "")
    assert "price" in refused.sentence
    assert "about five" not in refused.sentence, "a row's value is never in a message"
    assert not (tmp_path / "x").exists()
    assert psp("estate", "new", "x", "--yes", "--text", "price", "--from", "sales.csv").status == 0


def test_files_with_different_columns(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    files[1].write_text("lease,signed,rent,size\n1,2026-01-01,5,6\n", "utf-8")
    refused = psp("estate", "new", "homes", "--yes", "--from", *files)
    assert refused.status == 1
    assert "size" in refused.sentence
    assert not (tmp_path / "homes").exists()


def test_a_key_that_others_can_read(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    key = tmp_path / "homes" / "keys" / "operator.key"
    key.chmod(0o644)
    refused = psp("up")
    assert refused.status == 1
    assert "chmod 600" in refused.sentence


def test_an_estate_that_is_not_there(psp: Callable[..., Ran]) -> None:
    refused = psp("ask", "select count(*) from homes")
    assert refused.status == 1
    assert "psp estate new" in refused.sentence


def test_an_estate_file_that_is_damaged(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    (tmp_path / "homes" / "estate.toml").write_text("name = ", "utf-8")
    refused = psp("status")
    assert refused.status == 1
    assert "estate.toml" in refused.sentence


@pytest.mark.parametrize(
    "question",
    ["select * from homes", "drop table homes", "select rent from homes", "sum(rent)", ""],
)
def test_a_question_that_no_plan_can_say(
    psp: Callable[..., Ran], files: list[Path], question: str
) -> None:
    """It is refused on the asker's side: nothing need be running."""
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    refused = psp("ask", question)
    assert refused.status == 1
    assert refused.sentence


def test_a_used_port_is_named(psp: Callable[..., Ran], files: list[Path], tmp_path: Path) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    first = Estate.open(tmp_path / "homes").roster.members[0].address
    with socket.create_server((first.host, first.port)):
        refused = psp("up")
    assert refused.status == 1
    assert str(first.port) in refused.sentence


def test_an_expired_grant_says_when_it_ended_and_who_renews_it(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    estate = Estate.open(tmp_path / "homes")
    with served(tmp_path):
        monkeypatch.setattr("psp.estate._grants.TENANT_S", 1)
        estate.renew_grants()
        time.sleep(1.5)  # Real tokens and a real clock: nothing here can be made to jump.
        refused = psp("ask", "select count(*) from homes")
    assert refused.status == 1
    assert "expired at" in refused.sentence
    assert "psp up" in refused.sentence


def test_a_full_disk_leaves_nothing(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        rows = "".join(f"{number},{number}.50\n" for number in range(50_000))
        files[0].write_text("id,price\n" + rows, "utf-8")
        refused = psp("estate", "new", "disk/homes", "--yes", "--from", files[0])
        assert refused.status == 1
        assert "the disk is full" in refused.sentence
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_killed_intake_leaves_no_estate_and_can_be_repeated(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    new = ["estate", "new", "homes", "--yes", "--from", *map(str, files)]
    process = subprocess.Popen(psp_command(*new), cwd=tmp_path, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".homes.making/archives/*/ledger")):
        assert process.poll() is None, "it must be killed while it works"
        assert time.monotonic() < until
    process.kill()
    process.wait()
    assert not (tmp_path / "homes").exists()
    assert psp(*new).status == 0
    assert len(Estate.open(tmp_path / "homes").roster.members) == 3
    assert not (tmp_path / ".homes.making").exists()
