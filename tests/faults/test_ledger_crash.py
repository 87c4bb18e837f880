"""A ledger whose recovery stops at every step, whose disk is full, whose process is killed.

On a disk made of dictionaries, which forgets what was not synced; then a real process on a real
disk. The steps of `append` and `write_tiles`, as calls of the system: test_ledger_replay.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.errors import LedgerError
from psp.ledger import Ledger, LedgerReport, check_ledger

from .disk import FATES, KEY, ORIGIN, Crash, Disk, always, batches, reopen, signature, work


def rest(_ledger: Ledger, _acknowledged: list[bytes]) -> None:
    """Do no more than to open it."""


def begin(disk: Disk) -> list[bytes]:
    """A ledger just below its first full tile, with partial tiles on disk."""
    acknowledged = [b"%d" % i for i in range(250)]
    with Ledger.create_on(disk, origin=ORIGIN, key=KEY) as ledger:
        ledger.append(acknowledged)
    return acknowledged


def run_until(
    disk: Disk, steps: int, task: Callable[[Ledger, list[bytes]], None], acknowledged: list[bytes]
) -> bool:
    """Open the ledger and do a task; say whether it came to its end before the crash."""
    disk.steps_left = steps
    try:
        task(reopen(disk), acknowledged)
    except Crash:
        return False
    return True


def assert_all_there(disk: Disk, acknowledged: list[bytes]) -> list[bytes]:
    """Return what a reader finds: all that was acknowledged, and perhaps the batch in flight."""
    reader = reopen(disk, key=None)
    found = reader.entries(0, reader.checkpoint.tree_size)
    assert found[: len(acknowledged)] == acknowledged
    rest = found[len(acknowledged) :]
    assert rest == [] or rest in list(batches(5)), "a batch is there whole or not at all"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("fate", FATES)
def test_a_crash_at_any_step_of_the_recovery_loses_nothing_either(fate: str) -> None:
    for first in range(3, 80, 15):
        disk = Disk()
        acknowledged = begin(disk)
        run_until(disk, first, work, acknowledged)
        found = assert_all_there(disk.after(FATES[fate](first)), acknowledged)
        second = 0
        seen = set()
        done = False
        while not done:
            again = disk.after(FATES[fate](first))  # Made anew, with the same luck each time.
            done = run_until(again, second, rest, acknowledged)
            last = again.after(FATES[fate](second))
            if signature(last.root) not in seen:  # Of the same two disks, one look is enough.
                seen.add(signature(last.root))
                assert_all_there(last, found)
                with reopen(last) as ledger:
                    assert ledger.entries(0, len(found)) == found
            second += 1


def test_after_recovery_no_partial_tile_lies_beside_its_full_one() -> None:
    """Also if the crash came just before they were to be removed."""
    steps = 0
    done = False
    while not done:
        disk = Disk()
        acknowledged = begin(disk)
        done = run_until(disk, steps, work, acknowledged)
        after = disk.after(always)
        reopen(after)
        for directory in ("tile/0", "tile/entries"):
            names = set(after.names(directory))
            assert not {name for name in names if name + ".p" in names}
        steps += 1


class FullDisk(Disk):
    """A disk that can take no more after some steps, and stays alive."""

    def step(self) -> None:
        try:
            super().step()
        except Crash:
            raise LedgerError("No space left on device.") from None


def test_a_full_disk_stops_the_writer_and_loses_nothing() -> None:
    for steps in range(80):
        disk = FullDisk()
        acknowledged = begin(disk)
        ledger = reopen(disk)
        disk.steps_left = steps
        try:
            work(ledger, acknowledged)
        except LedgerError:
            with pytest.raises(LedgerError, match=r"takes no entries.*No space left"):
                ledger.append([b"too late"])
        disk.steps_left = None
        disk.close_journal()
        assert_all_there(disk, acknowledged)
        reopen(disk)


CHILD = """
import os, sys
from pathlib import Path
from tests.faults.disk import KEY, ORIGIN
from psp.ledger import Ledger, LedgerReport, check_ledger
directory = Path(sys.argv[1])
ledger = Ledger.open(directory, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY)
for number in range(100_000):
    index = ledger.append([b"%d" % number] * 20).first_index
    os.write(1, b"%d %d\\n" % (index, number))
    if number % 3 == 0:
        ledger.write_tiles()
"""


def check(directory: Path) -> LedgerReport:
    return check_ledger(directory, origin=ORIGIN, public_key=KEY.public_bytes)


@pytest.mark.slow
def test_a_killed_process_leaves_every_entry_that_it_acknowledged(tmp_path: Path) -> None:
    directory = tmp_path / "ledger"
    Ledger.create(directory, origin=ORIGIN, key=KEY).close()
    acknowledged: dict[int, bytes] = {}
    for lines in (1, 17, 40):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(directory)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        with child:
            assert child.stdout is not None
            for _ in range(lines):
                index, number = child.stdout.readline().split()
                acknowledged[int(index)] = number
            # A reader beside a living writer sees a whole ledger.
            reader = Ledger.open(directory, origin=ORIGIN, public_key=KEY.public_bytes)
            assert reader.checkpoint.tree_size > max(acknowledged)
            assert check(directory).is_clean
            child.kill()
            for line in child.stdout:  # What it acknowledged before it died.
                if line.endswith(b"\n"):
                    index, number = line.split()
                    acknowledged[int(index)] = number
        reader = Ledger.open(directory, origin=ORIGIN, public_key=KEY.public_bytes)
        assert check(directory).is_clean
        for start, number in acknowledged.items():
            assert reader.entries(start, start + 20) == [number] * 20
