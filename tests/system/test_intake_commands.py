"""`psp archive` as a user runs it: real processes and one archive of an estate."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from psp.totebox import Archive

from .conftest import Ran, psp_command, served

pytestmark = pytest.mark.slow

MORE = "lease,signed,rent,area\nnew-1,2026-01-15,900.00,40\nnew-2,2026-02-15,950.00,41\n"


@pytest.fixture
def box(tmp_path: Path, psp: Callable[..., Ran], files: list[Path]) -> Path:
    made = psp("estate", "new", "homes", "--yes", "--from", files[0])
    assert made.status == 0, made.err
    (lock,) = (tmp_path / "homes").rglob("lock")
    return lock.parent


def rows(box: Path) -> dict[str, int]:
    with Archive.open(box, read_only=True) as archive:
        return {table.name: archive.index.count(table) for table in archive.manifest.tables}


def test_files_go_in_rows_come_out_and_the_same_file_is_recognised(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    (tmp_path / "more.csv").write_text(MORE)

    done = psp("archive", "ingest", box, "more.csv")
    assert (done.status, done.err) == (0, "")
    assert "more.csv: 2 rows sealed in homes by entry" in done.out
    assert "sealed already, as more.csv on" in psp("archive", "ingest", box, "more.csv").out
    gone = psp("archive", "retract", box, "homes", "new-1", "--reason", "never signed")
    assert "1 rows of homes retracted" in gone.out
    again = psp("archive", "retract", box, "homes", "new-1", "--reason", "never signed")
    assert (again.status, "is not in 'homes'" in again.sentence) == (1, True)
    assert rows(box) == {"homes": 41}


def test_refused_rows_are_named_and_kept_beside_the_file(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    (tmp_path / "more.csv").write_text(MORE.replace("950.00", "dear"))

    refused = psp("archive", "ingest", box, "more.csv")
    assert refused.status == 1
    assert "line 3, column 'rent'" in refused.sentence
    assert "--accept-partial" in refused.sentence
    assert rows(box) == {"homes": 40}
    taken = psp("archive", "ingest", box, "more.csv", "--accept-partial", "--json")
    report = json.loads(taken.out)
    assert (report["rows"], report["refused"]) == (1, 1)
    assert Path(tmp_path, report["refused_rows"]).read_text().count("\n") == 2


def test_a_new_table_is_approved_by_a_person_or_by_a_policy(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    (tmp_path / "visits.jsonl").write_text('{"id":1,"paid":2.50}\n{"id":2,"paid":3}\n')
    command = ("archive", "ingest", box, "visits.jsonl", "--table", "visits")

    unsaid = psp(*command)
    assert (unsaid.status, "was not approved" in unsaid.sentence) == (1, True)
    assert rows(box) == {"homes": 40}
    said = psp(*command, stdin="y\n")
    assert said.status == 0, said.err
    assert "decimal(2)" in said.err
    assert rows(box) == {"homes": 40, "visits": 2}
    (tmp_path / "calls.jsonl").write_text('{"id":7}\n')
    assert psp("archive", "ingest", box, "calls.jsonl", "--table", "calls", "--yes").status == 0


def test_a_document_is_sealed_with_what_is_said_about_it(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    (tmp_path / "lease.pdf").write_bytes(b"%PDF\x00")

    unsaid = psp("archive", "seal", box, "lease.pdf")
    assert (unsaid.status, "was not approved" in unsaid.sentence) == (1, True)
    assert rows(box) == {"homes": 40}
    said = ("--kind", "lease", "--date", "2026-05-02", "--yes")
    done = psp("archive", "seal", box, "lease.pdf", *said)
    assert "lease.pdf: sealed by entry" in done.out
    again = json.loads(psp("archive", "seal", box, "lease.pdf", "--json").out)
    assert again["sealed_before"]
    assert rows(box) == {"homes": 40, "documents": 1}


def test_a_served_archive_takes_files_and_retractions(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    (tmp_path / "more.csv").write_text(MORE)
    with served(tmp_path):
        done = psp("archive", "ingest", box, "more.csv")
        assert (done.status, done.err) == (0, "")
        assert "2 rows sealed in homes" in done.out
        gone = psp("archive", "retract", box, "homes", "new-1", "--reason", "never signed")
        assert "1 rows of homes retracted" in gone.out
        again = psp("archive", "retract", box, "homes", "new-1", "--reason", "never signed")
        assert (again.status, "is not in 'homes'" in again.sentence) == (1, True)
    assert rows(box) == {"homes": 41}


def test_a_person_sees_rows_a_second_and_the_time_left(
    tmp_path: Path, box: Path, large: Path
) -> None:
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm-256color"}
    command = f"{sys.executable} -m psp archive ingest {box} {large}"
    terminal = pexpect.spawn(command, env=environment, encoding="utf-8", timeout=60)
    # Dashes until two measurements say how fast it goes; colours stand between the two.
    terminal.expect(r"[0-9,]+ rows/s[^\r\n]{0,30}?[-0-9]:[-0-9]{2}:[-0-9]{2}")
    terminal.expect("100,000 rows sealed")
    terminal.expect(pexpect.EOF)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.csv"
    lines = (f"big-{n},2026-01-15,{n}.00,40\n" for n in range(100_000))
    path.write_text("lease,signed,rent,area\n" + "".join(lines))
    return path


def test_ctrl_c_in_the_middle_leaves_the_state_before(box: Path, large: Path) -> None:
    """The draft of the original is there, so rows are being read, when the signal comes."""
    running = subprocess.Popen(
        psp_command("archive", "ingest", str(box), str(large)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while running.poll() is None and not list((box / "assets").glob(".draft-*")):
        pass
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)

    assert running.returncode in (0, 130), said  # 0: it had ended before the signal came.
    assert "Traceback" not in said
    assert rows(box)["homes"] == (40 if running.returncode else 100_040)
    assert not list((box / "assets").glob(".*"))
