"""A killed ingest leaves the state before or the state after; a full disk leaves the state before.

A child process is killed with SIGKILL at its calls that can touch a file, in turn: at each before
which the disk is as it never was before.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from psp.errors import ArchiveError, IntakeRefused, PSPError
from psp.totebox import DOCUMENTS, Archive, add_table, retract, seal_document
from tests.unit.totebox.conftest import CSV, NOW, OWNER, ingest, stored, write

from .seen import Seen

# What Python calls when it writes, syncs, renames or asks SQLite to.
STEPS = {
    "open", "write", "flush", "close", "fsync", "fdatasync", "fchmod", "rename", "unlink",
    "pwrite", "pwritev", "execute", "executemany", "cache_flush", "replace", "link", "ftruncate",
}  # fmt: skip

LIVE = 100_000
"""A step that no change has: whoever is to be killed there lives."""

SECOND = CSV.replace("0016,", "0019,").replace("221900.50", "1.00")


def founded(tmp_path: Path) -> Path:
    """An archive with one sealed file, closed."""
    with OWNER.found(tmp_path / "box") as archive:
        ingest(archive, write(tmp_path / "first.csv"))
    write(tmp_path / "second.csv", SECOND)
    return tmp_path / "box"


def ingest_and_die_at(directory: Path, file: Path, step: int) -> bool:
    """Ingest in a child that is killed at one step; say whether it lived to the end."""
    return die_at(directory, lambda archive: ingest(archive, file), step)


def die_at(
    directory: Path,
    change: Callable[[Archive], object],
    step: int,
    steps: Collection[str] = STEPS,
) -> bool:
    """Change an archive in a child that is killed at one step; say whether it lived to the end."""
    pid = os.fork()
    if not pid:
        left = step

        def count(_frame: object, event: str, argument: object) -> None:
            nonlocal left
            if event == "c_call" and getattr(argument, "__name__", "") in steps:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            archive = Archive.open(directory)
            threading.setprofile(count)  # A served archive is changed in threads.
            sys.setprofile(count)
            change(archive)
            sys.setprofile(None)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


def kills(directory: Path, change: Callable[[Archive], object]) -> list[int]:
    """Find the steps to kill at: each before which the disk is as it was before no earlier step.

    A child that lives to the end says them. Most steps (a file opened, a row read) leave the disk
    as it was, and a child that is killed at one of those leaves what the last kill left.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        step, seen = 0, Seen("lock")

        def count(_frame: object, event: str, argument: object) -> None:
            nonlocal step
            if event == "c_call" and getattr(argument, "__name__", "") in STEPS:
                if seen.is_new(directory):
                    os.write(writing, b"%d\n" % step)
                step += 1

        try:
            archive = Archive.open(directory)
            sys.setprofile(count)
            change(archive)
            sys.setprofile(None)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        steps = [int(line) for line in pipe]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return [*steps, LIVE]


@pytest.mark.slow
def test_killed_at_any_step_an_ingest_has_happened_or_has_not(quick: Path) -> None:
    original = founded(quick)
    with Archive.open(original, read_only=True) as archive:
        before = stored(archive)
    after = sorted([*before, ("0019", "2014-05-02", 100, 3)])
    seen: list[list[tuple[object, ...]]] = []
    left = Seen("lock")
    trial = shutil.copytree(original, quick / "trial")

    for step in kills(trial, lambda archive: ingest(archive, quick / "second.csv")):
        box = quick / f"box-{step}"
        shutil.copytree(original, box)
        lived = ingest_and_die_at(box, quick / "second.csv", step)
        if left.is_new(box, lived):
            with Archive.open(box) as archive:
                found, size = stored(archive), archive.ledger.checkpoint.tree_size
            assert (found, size) in ((before, 2), (after, 3)), f"killed at step {step}"
            seen.append(found)
            # What a killed ingest left in the way must not be in the way of the next one.
            with Archive.open(box) as archive:
                ingest(archive, quick / "second.csv")
                assert stored(archive) == after
                assert not list((box / "assets").glob(".*"))
        shutil.rmtree(box)

    assert lived
    assert before in seen
    assert after in seen[:-1], "no kill fell between the ledger's yes and the end"


def retract_one(archive: Archive) -> None:
    retract(archive, "sales", [["0016"]], operator="jane", now=NOW, reason="sold twice")


def seal_a_letter(archive: Archive) -> None:
    letter = archive.directory.parent / "letter.pdf"
    seal_document(archive, letter, operator="jane", now=NOW)


def add_documents(archive: Archive) -> None:
    add_table(archive, DOCUMENTS, operator="jane", now=NOW)


def all_rows(archive: Archive) -> dict[str, int]:
    return {table.name: archive.index.count(table) for table in archive.manifest.tables}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "states"),
    [
        (retract_one, [{"sales": 3}, {"sales": 2}]),
        (add_documents, [{"sales": 3}, {"sales": 3, "documents": 0}]),
        # A document brings its table, and that is a change of its own.
        (
            seal_a_letter,
            [{"sales": 3}, {"sales": 3, "documents": 0}, {"sales": 3, "documents": 1}],
        ),
    ],
)
def test_killed_at_any_step_a_change_has_happened_or_has_not(
    quick: Path, change: Callable[[Archive], None], states: list[dict[str, int]]
) -> None:
    original = founded(quick)
    (quick / "letter.pdf").write_bytes(b"a letter")
    seen: list[dict[str, int]] = []
    left = Seen("lock")
    trial = shutil.copytree(original, quick / "trial")

    for step in kills(trial, change):
        box = quick / f"box-{step}"
        shutil.copytree(original, box)
        lived = die_at(box, change, step)
        if left.is_new(box, lived):
            with Archive.open(box) as archive:
                found, size = all_rows(archive), archive.ledger.checkpoint.tree_size
            assert found in states, f"killed at step {step}"
            assert size == 2 + states.index(found)
            seen.append(found)
            if found != states[-1]:
                with Archive.open(box) as archive:
                    change(archive)
                    assert all_rows(archive) == states[-1]
        shutil.rmtree(box)

    assert lived
    assert [state for state in states if state in seen[:-1]] == states


def test_a_kill_between_the_yes_of_the_ledger_and_the_index_is_repaired(tmp_path: Path) -> None:
    """The index of before with the ledger of after: the state that such a kill leaves."""
    box = founded(tmp_path)
    index = (box / "index" / "index.sqlite").read_bytes()
    with Archive.open(box) as archive:
        ingest(archive, tmp_path / "second.csv")
        after = stored(archive)
    (box / "index" / "index.sqlite").write_bytes(index)

    with Archive.open(box) as archive:
        assert stored(archive) == after


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    point = tmp_path / "small"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(point)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def large(tmp_path: Path, rows: int) -> Path:
    lines = [f"{n:08},2014-05-02,{n}.50,3" for n in range(rows)]
    return write(tmp_path / "large.csv", "id,date,price,rooms\n" + "\n".join(lines) + "\n")


# The first two fill the disk while rows are written, the last while the original is copied.
@pytest.mark.parametrize("rows", [30_000, 40_000, 150_000])
def test_on_a_full_disk_nothing_is_sealed_and_the_remedy_is_said(
    tmp_path: Path, small_disk: Path, rows: int
) -> None:
    archive = OWNER.found(small_disk / "box")
    ingest(archive, write(tmp_path / "first.csv"))
    before, size = stored(archive), archive.ledger.checkpoint.tree_size
    assets = sorted((archive.directory / "assets").iterdir())
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    filler.write_bytes(bytes(max(0, free - (2 << 20))))

    with pytest.raises(IntakeRefused, match=r"large\.csv was not sealed: .*Free space"):
        ingest(archive, large(tmp_path, rows))

    assert (stored(archive), archive.ledger.checkpoint.tree_size) == (before, size)
    assert sorted((archive.directory / "assets").iterdir()) == assets
    filler.unlink()
    ingest(archive, write(tmp_path / "second.csv", SECOND))
    archive.close()
    with Archive.open(small_disk / "box") as again:
        assert len(stored(again)) == 4


def test_no_archive_is_half_made_on_a_full_disk(small_disk: Path) -> None:
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    (small_disk / "filler").write_bytes(bytes(free - (64 << 10)))

    with pytest.raises(PSPError, match=r"space|written"):
        OWNER.found(small_disk / "box")

    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_read_only_disk_is_said_and_can_still_be_read(tmp_path: Path, small_disk: Path) -> None:
    archive = OWNER.found(small_disk / "box")
    ingest(archive, write(tmp_path / "first.csv"))
    expected = stored(archive)
    archive.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(ArchiveError, match="cannot be locked for writing"):
        Archive.open(small_disk / "box")
    with Archive.open(small_disk / "box", read_only=True) as reading:
        assert stored(reading) == expected


def test_the_time_of_an_entry_is_the_one_given(tmp_path: Path) -> None:
    with OWNER.found(tmp_path / "box") as archive:
        done = ingest(archive, write(tmp_path / "in.csv"))

        assert archive.original_of(done.entry_index).time == NOW
