"""Whatever happens to the disk, no answer is out there without its entry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from psp.errors import HandlerFailed
from psp.ledger import Ledger
from psp.totebox import Archive
from psp.totebox._manifest import ReadPolicy
from psp.totebox._read_audit import ReadAudit
from tests.unit.totebox.conftest import OWNER, ingest, write

from .disk import KEY, ORIGIN, Crash, Disk, Fate, by_chance

READERS = 12


def read_until_the_power_goes(disk: Disk, steps: int) -> tuple[dict[int, bytes], bool]:
    """Let readers read, each after the other's batch; give what was answered, and if all was."""
    ledger = Ledger.open_on(disk, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY)
    audit = ReadAudit(ledger, ReadPolicy.BEFORE_ANSWER, free_bytes=lambda: 2**40)
    answered: dict[int, bytes] = {}

    async def read(number: int) -> None:
        entry = b"%d" % number
        answered[await audit.record(entry, 0)] = entry

    async def all_read() -> None:
        disk.steps_left = steps
        async with trio.open_nursery() as nursery:
            for number in range(READERS):
                nursery.start_soon(read, number)
                await trio.lowlevel.checkpoint()
        audit.close()

    try:
        trio.run(all_read)
    except Crash:
        return answered, False
    except BaseExceptionGroup as group:
        if group.split(Crash)[1] is not None:
            raise
        return answered, False
    return answered, True


def fate(steps: int, seed: int) -> Fate:
    """Nothing unsynced survives, everything does, or chance decides."""
    return (lambda _what: bool(seed)) if seed < 2 else by_chance(seed, steps)


def test_at_every_step_of_a_disk_that_forgets_all_answers_are_on_record() -> None:
    lived, steps, before = False, 0, 0
    while not lived:
        disk = Disk()
        Ledger.create_on(disk, origin=ORIGIN, key=KEY).close()
        answered, lived = read_until_the_power_goes(disk, steps)
        before += bool(answered)
        for seed in (0, 1, 2, 3):
            survivor = disk.after(fate(steps, seed))
            found = Ledger.open_on(survivor, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY)
            for place, entry in answered.items():
                assert found.entries(place, place + 1) == [entry], f"step {steps}, seed {seed}"
        steps += 1
    assert before > 5  # Steps at which some were answered and the power went.


def test_a_read_on_record_at_once_is_there_whenever_the_power_goes() -> None:
    """Where the loop itself waits for a quick disk."""
    lived, steps, before = False, 0, 0
    while not lived:
        disk = Disk()
        Ledger.create_on(disk, origin=ORIGIN, key=KEY).close()
        ledger = Ledger.open_on(disk, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY)
        audit = ReadAudit(ledger, ReadPolicy.BEFORE_ANSWER, free_bytes=lambda: 2**40)
        answered: dict[int, bytes] = {}

        async def read_all(audit: ReadAudit = audit, answered: dict[int, bytes] = answered) -> None:
            for number in range(READERS):
                answered[audit.record_now(b"%d" % number, 0)] = b"%d" % number

        disk.steps_left = steps
        try:
            trio.run(read_all)
            lived = True
        except Crash:
            before += bool(answered)
        for seed in (0, 1, 2, 3):
            survivor = disk.after(fate(steps, seed))
            found = Ledger.open_on(survivor, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY)
            for place, entry in answered.items():
                assert found.entries(place, place + 1) == [entry], f"step {steps}, seed {seed}"
        steps += 1
    assert before > 5


SERVER = """
import resource, sys, trio
from pathlib import Path
from psp.errors import HandlerFailed
from psp.totebox import Archive

async def main(archive, limit):
    audit, answered = archive.read_audit(), 0
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        while True:
            print(await audit.record(b"%d" % answered, 0), flush=True)
            answered += 1
    except HandlerFailed as exc:
        print("stopped", audit.state, flush=True)
        sys.stdout.close()
        import os; os._exit(0)

trio.run(main, Archive.open(Path(sys.argv[1])), int(sys.argv[2]))
"""


@pytest.fixture
def box(tmp_path: Path) -> Path:
    with OWNER.found(tmp_path / "box") as archive:
        ingest(archive, write(tmp_path / "in.csv"))
    return tmp_path / "box"


def start(box: Path, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, str(box), str(limit)], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_archive_has_every_answer_on_record(box: Path) -> None:
    with start(box) as process:
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(50)]
        process.kill()
        answered += [int(line) for line in process.stdout.read().split()]

    with Archive.open(box) as archive:
        ledger = archive.read_audit()._ledger
        assert answered == list(range(len(answered)))
        assert ledger.checkpoint.tree_size >= len(answered)
        entries = ledger.entries(0, len(answered))
    assert entries == [b"%d" % number for number in answered]


def test_a_disk_that_takes_no_more_stops_answers_and_loses_none(box: Path) -> None:
    """The process may not write beyond 96 KiB of any file: the journal is filled 64 KiB ahead."""
    with start(box, limit=96 * 1024) as process:
        out, _ = process.communicate(timeout=60)
    *answered, said = out.splitlines()

    assert said == "stopped stopped"
    assert len(answered) > 3
    with Archive.open(box) as archive:
        ledger = archive.read_audit()._ledger
        assert ledger.entries(0, len(answered)) == [place.encode() for place in answered]


async def test_after_a_failed_sync_nothing_is_taken_although_the_disk_is_well() -> None:
    """The kernel may have dropped the pages: a second sync would say yes to nothing."""

    class Failing(Disk):
        fails = False

        def sync_journal(self, path: str) -> None:
            if self.fails:
                raise OSError(5, os.strerror(5))
            super().sync_journal(path)

    disk = Failing()
    Ledger.create_on(disk, origin=ORIGIN, key=KEY).close()
    ledger = Ledger.open_on(disk, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY)
    audit = ReadAudit(ledger, ReadPolicy.BEFORE_ANSWER, free_bytes=lambda: 2**40)
    assert await audit.record(b"first", 0) == 0
    disk.fails = True
    with pytest.raises(HandlerFailed):
        await audit.record(b"second", 0)
    disk.fails = False
    with pytest.raises(HandlerFailed):
        await audit.record(b"third", 0)

    assert (audit.state, audit.recorded) == ("stopped", 1)
    assert "error" in str(audit.failure).lower()
