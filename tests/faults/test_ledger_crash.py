"""A ledger whose machine stops at every step on the disk: every acknowledged entry is there.

First on a disk made of dictionaries, which forgets what was not synced; then a real process on a
real disk, killed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.errors import LedgerError
from psp.ledger import Ledger
from psp.ledger._files import TEMPORARY, Files
from psp.ledger._journal import SECTOR_BYTES

ORIGIN = "example.com/books"


class Key:
    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
        self.public_bytes = self._private.public_key().public_bytes_raw()

    def sign(self, data: bytes, /) -> bytes:
        return self._private.sign(data)


KEY = Key()


class Crash(BaseException):
    """The power went."""


@dataclass(eq=False)
class File:
    """What processes see, and what the platter has."""

    data: bytearray
    durable: bytearray = field(default_factory=bytearray)


@dataclass(eq=False)
class Directory:
    names: dict[str, File | Directory] = field(default_factory=dict)
    durable: dict[str, File | Directory] = field(default_factory=dict)


class Disk(Files):
    """Files in memory that crash before a chosen step and forget what was not synced."""

    def __init__(self) -> None:
        super().__init__(Path("/disk"))
        self.root = Directory()
        self.steps_left: int | None = None
        self._open_journal: File | None = None

    def step(self) -> None:
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise Crash
            self.steps_left -= 1

    def find(self, path: str) -> File | Directory | None:
        node: File | Directory | None = self.root
        for name in path.split("/"):
            if name in ("", "."):
                continue
            assert isinstance(node, Directory)
            node = node.names.get(name)
            if node is None:
                return None
        return node

    def parent(self, path: str) -> tuple[Directory, str]:
        directory, _, name = path.rpartition("/")
        found = self.find(directory)
        assert isinstance(found, Directory), f"{directory} was not made"
        return found, name

    def read(self, path: str, *, bytes_max: int) -> bytes:
        found = self.find(path)
        if not isinstance(found, File):
            raise LedgerError(f"{path} is missing")
        assert len(found.data) <= bytes_max
        return bytes(found.data)

    def exists(self, path: str) -> bool:
        return self.find(path) is not None

    def names(self, path: str) -> list[str]:
        found = self.find(path)
        return sorted(found.names) if isinstance(found, Directory) else []

    def make_directory(self, path: str) -> None:
        self.step()
        directory, name = self.parent(path)
        assert name not in directory.names
        directory.names[name] = Directory()

    def write_temporary(self, data: bytes, *, mode: int, size: int | None = None) -> None:
        self.step()
        self.root.names[TEMPORARY] = File(bytearray(data.ljust(size or 0, b"\0")))

    def sync_temporary(self) -> None:
        self.step()
        file = self.root.names[TEMPORARY]
        assert isinstance(file, File)
        file.durable = bytearray(file.data)

    def rename_temporary(self, path: str) -> None:
        self.step()
        directory, name = self.parent(path)
        directory.names[name] = self.root.names.pop(TEMPORARY)

    def sync_directory(self, path: str) -> None:
        self.step()
        directory = self.find(path)
        assert isinstance(directory, Directory)
        directory.durable = dict(directory.names)

    def remove(self, path: str) -> None:
        self.step()
        directory, name = self.parent(path)
        directory.names.pop(name, None)

    def remove_directory(self, path: str) -> None:
        self.step()
        directory, name = self.parent(path)
        gone = directory.names.pop(name)
        assert isinstance(gone, Directory)
        assert not gone.names

    def write_journal(self, path: str, data: bytes, *, offset: int) -> None:
        self.step()
        if self._open_journal is None:
            found = self.find(path)
            assert isinstance(found, File)
            self._open_journal = found
        assert offset % SECTOR_BYTES == 0
        assert offset + len(data) <= len(self._open_journal.data), "the journal keeps its size"
        self._open_journal.data[offset : offset + len(data)] = data
        self.step()  # A crash here is between the write and its sync.

    def sync_journal(self, path: str) -> None:
        self.step()
        assert self._open_journal is not None
        self._open_journal.durable = bytearray(self._open_journal.data)

    def close_journal(self) -> None:
        self._open_journal = None

    def after(self, fate: Callable[[], bool]) -> Disk:
        """The disk that the next boot finds; `fate` says of each unsynced thing if it survived."""
        survivor = Disk()
        survivor.root = _after(self.root, fate)
        return survivor


def _after(directory: Directory, fate: Callable[[], bool]) -> Directory:
    names = dict(directory.durable)
    for name in sorted(directory.durable.keys() | directory.names.keys()):
        now = directory.names.get(name)
        if now is not directory.durable.get(name) and fate():
            if now is None:
                del names[name]
            else:
                names[name] = now
    found: dict[str, File | Directory] = {}
    for name, node in names.items():
        if isinstance(node, Directory):
            found[name] = _after(node, fate)
        else:
            data = _torn(node, fate)
            found[name] = File(data, bytearray(data))
    return Directory(found, dict(found))


def _torn(file: File, fate: Callable[[], bool]) -> bytearray:
    """A file after the crash: each unsynced sector is there or not."""
    durable = file.durable.ljust(len(file.data), b"\0") if fate() else file.durable
    data = bytearray(durable)
    if file.data == file.durable:
        return data
    for start in range(0, len(file.data.rstrip(b"\0")), SECTOR_BYTES):
        sector = slice(start, start + SECTOR_BYTES)
        if data[sector] != file.data[sector] and fate():
            data[sector] = file.data[sector]
    return data


def always() -> bool:
    return True


def never() -> bool:
    return False


def by_chance(seed: int, step: int) -> Callable[[], bool]:
    random = Random(f"{seed}/{step}")  # Not the same luck at every step.
    return lambda: random.random() < 0.5


FATES: dict[str, Callable[[int], Callable[[], bool]]] = {
    "a killed process: all survives": lambda _step: always,
    "a lost power: only what was synced survives": lambda _step: never,
    **{f"a lost power: chance {seed} decides": partial(by_chance, seed) for seed in range(4)},
}


def batches(count: int) -> Iterator[list[bytes]]:
    for number in range(count):
        # Long enough for several sectors, so that there is something to tear.
        yield [b"%d:%d " % (number, i) + bytes(300) * (number % 3) for i in range(3 + number)]


def work(ledger: Ledger, acknowledged: list[bytes]) -> None:
    """Append over the border of a tile, in every relation to the tiles that are written behind."""
    for number, batch in enumerate(batches(5)):
        ledger.append(batch)
        acknowledged += batch
        if number % 2 == 0:
            ledger.write_tiles()
    ledger.close()


def rest(_ledger: Ledger, _acknowledged: list[bytes]) -> None:
    """Do no more than to open it."""


def begin(disk: Disk) -> list[bytes]:
    """A ledger just below its first full tile, with partial tiles on disk."""
    acknowledged = [b"%d" % i for i in range(250)]
    with Ledger.create_on(disk, origin=ORIGIN, key=KEY) as ledger:
        ledger.append(acknowledged)
    return acknowledged


def reopen(disk: Disk, *, key: Key | None = KEY) -> Ledger:
    return Ledger.open_on(disk, origin=ORIGIN, public_key=KEY.public_bytes, key=key)


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


@pytest.mark.parametrize("fate", FATES)
def test_a_crash_at_any_step_loses_nothing_acknowledged(fate: str) -> None:
    steps = 0
    done = False
    while not done:
        disk = Disk()
        acknowledged = begin(disk)
        done = run_until(disk, steps, work, acknowledged)
        after = disk.after(FATES[fate](steps))
        found = assert_all_there(after, acknowledged)
        with reopen(after) as ledger:
            ledger.append([b"life goes on"])
        reader = reopen(after, key=None)
        assert reader.entries(0, reader.checkpoint.tree_size) == [*found, b"life goes on"]
        steps += 1
    assert steps > 60, "the crashes were at real steps"


@pytest.mark.slow
@pytest.mark.parametrize("fate", FATES)
def test_a_crash_at_any_step_of_the_recovery_loses_nothing_either(fate: str) -> None:
    for first in range(3, 80, 15):
        second = 0
        done = False
        while not done:
            disk = Disk()
            acknowledged = begin(disk)
            run_until(disk, first, work, acknowledged)
            again = disk.after(FATES[fate](first))
            found = assert_all_there(again, acknowledged)
            done = run_until(again, second, rest, acknowledged)
            last = again.after(FATES[fate](second))
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
from functools import partial
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_ledger_crash import KEY, ORIGIN
from psp.ledger import Ledger
directory = Path(sys.argv[2])
ledger = Ledger.open(directory, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY)
for number in range(100_000):
    index = ledger.append([b"%d" % number] * 20).first_index
    os.write(1, b"%d %d\\n" % (index, number))
    if number % 3 == 0:
        ledger.write_tiles()
"""


@pytest.mark.slow
def test_a_killed_process_leaves_every_entry_that_it_acknowledged(tmp_path: Path) -> None:
    directory = tmp_path / "ledger"
    Ledger.create(directory, origin=ORIGIN, key=KEY).close()
    acknowledged: dict[int, bytes] = {}
    for lines in (1, 17, 40):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(directory)],
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
            child.kill()
            for line in child.stdout:  # What it acknowledged before it died.
                if line.endswith(b"\n"):
                    index, number = line.split()
                    acknowledged[int(index)] = number
        reader = Ledger.open(directory, origin=ORIGIN, public_key=KEY.public_bytes)
        for start, number in acknowledged.items():
            assert reader.entries(start, start + 20) == [number] * 20
