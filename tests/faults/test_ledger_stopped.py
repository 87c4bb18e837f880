"""A real process on a real disk, killed or refused at each call that changes a file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from errno import EIO, ENOSPC, EROFS
from pathlib import Path
from typing import Any

import pytest

from psp import durable
from psp.errors import LedgerError
from psp.ledger import Ledger, check_ledger
from psp.ledger import _files as files_module
from psp.ledger._journal import SECTOR_BYTES

from .disk import KEY, ORIGIN, batches, work
from .seen import Seen

CHANGES = {
    *("open", "pwrite", "ftruncate", "fchmod", "fsync", "fdatasync", "rename", "unlink"),
    *("mkdir", "rmdir", "close"),
}
FIRST = [b"%d" % i for i in range(250)]
ALL = [*FIRST, *(entry for batch in batches(5) for entry in batch)]
SIZES = [250, 253, 257, 262, 268, 275]
"""How many entries there are after each batch."""
NEVER = 100_000
"""A call that there is not: whoever is to be killed there lives."""


class Stopping:
    """Stands where `_files` has `os`, and does something else from a chosen call on."""

    def __init__(self, calls_left: int) -> None:
        self._calls_left = calls_left
        self.count = 0

    def stop(self, name: str) -> None:
        raise AssertionError("said by those below")

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGES:
            return real

        def call(*args: Any) -> Any:
            self.count += 1
            if self.count > self._calls_left:
                if name == "pwrite":
                    # Half of it gets there. The kernel stops between pages, so between sectors.
                    descriptor, data, offset = args
                    half = len(data) // 2
                    os.pwrite(descriptor, data[: half - half % SECTOR_BYTES], offset)
                self.stop(name)
            return real(*args)

        return call


class Killing(Stopping):
    def stop(self, name: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Telling(Stopping):
    """Tells a pipe at which calls a kill leaves what no earlier one did, and goes on."""

    def __init__(self, pipe: int, home: Path, acknowledged: list[bytes]) -> None:
        super().__init__(0)
        self._pipe, self._home, self._acknowledged = pipe, home, acknowledged
        self._seen = Seen()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGES:
            return real

        def call(*args: Any) -> Any:
            # A write is stopped half way, which is a state of its own.
            if self._seen.is_new(self._home, len(self._acknowledged)) or name == "pwrite":
                os.write(self._pipe, b"%d\n" % self.count)
            self.count += 1
            return real(*args)

        return call


class Refusing(Stopping):
    """The system refuses everything that needs what there is not, until it is `well`."""

    def __init__(self, calls_left: int, error: int) -> None:
        super().__init__(calls_left)
        self._error = error
        self.well = False

    def stop(self, name: str) -> None:
        if not self.well and name != "close":
            raise OSError(self._error, os.strerror(self._error))


def reopen(home: Path, *, key: bool = False) -> Ledger:
    return Ledger.open(home, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY if key else None)


def assert_sound(home: Path, acknowledged: int) -> None:
    """Check that all is there and no half of anything, for a reader, the check, and a writer."""
    reader = reopen(home)
    size = reader.checkpoint.tree_size
    assert size in SIZES
    assert size >= acknowledged
    assert reader.entries(0, size) == ALL[:size]
    assert complaints(home) == ()
    with reopen(home, key=True) as writer:
        assert writer.checkpoint == reader.checkpoint
    assert complaints(home) == ()


def complaints(home: Path) -> tuple[object, ...]:
    return check_ledger(home, origin=ORIGIN, public_key=KEY.public_bytes).findings


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("begun") / "ledger"
    with Ledger.create(home, origin=ORIGIN, key=KEY) as ledger:
        ledger.append(FIRST)
    return home


class Sizes(list[bytes]):
    """Tells a pipe how many entries are acknowledged, as often as it grows."""

    def __init__(self, pipe: int) -> None:
        super().__init__(FIRST)
        self._pipe = pipe

    def __iadd__(self, entries: Any) -> Sizes:  # type: ignore[misc, override]
        self.extend(entries)
        os.write(self._pipe, b"%d\n" % len(self))
        return self


def in_a_child(task: Callable[[int], None]) -> tuple[list[int], int]:
    """Fork, do a task with a pipe, and give the numbers that it wrote there and how it ended."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            task(write)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        numbers = [int(line) for line in pipe]
    return numbers, os.waitpid(pid, 0)[1]


def stopped(home: Path, system: Stopping) -> Ledger:
    """Open a ledger whose files are changed by way of `system`, for good: in a child."""
    vars(files_module)["os"] = vars(durable)["os"] = system
    return reopen(home, key=True)


@pytest.mark.slow
def test_killed_at_any_call_it_has_every_entry_that_it_acknowledged(
    begun: Path, quick: Path
) -> None:
    seen = Seen()
    trial = Path(shutil.copytree(begun, quick / "trial"))
    told, status = in_a_child(
        lambda pipe: work(stopped(trial, Telling(pipe, trial, entries := list(FIRST))), entries)
    )
    assert status == 0
    for calls in [*told, NEVER]:
        home = Path(shutil.copytree(begun, quick / f"{calls}"))

        def be_killed(pipe: int, home: Path = home, calls: int = calls) -> None:
            work(stopped(home, Killing(calls)), Sizes(pipe))

        acknowledged, status = in_a_child(be_killed)
        if seen.is_new(home, size := max(acknowledged, default=250)):
            assert_sound(home, size)
        shutil.rmtree(home)
        assert os.WIFSIGNALED(status) == (calls != NEVER)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(told) > 80, "the kills were at real calls"
    assert len(seen) > 50, "they left different files"


@pytest.mark.slow
@pytest.mark.parametrize("error", [ENOSPC, EIO])
def test_refused_at_any_call_it_says_so_and_has_every_entry(
    begun: Path, quick: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    for calls in range(0, 1_000, 3 if error == ENOSPC else 11):
        home = quick / f"{calls}"
        shutil.copytree(begun, home)
        ledger = reopen(home, key=True)
        system = Refusing(calls, error)
        acknowledged = list(FIRST)
        with monkeypatch.context() as patch:
            patch.setattr(files_module, "os", system)
            patch.setattr(durable, "os", system)
            refusal = ""
            try:
                work(ledger, acknowledged)
            except LedgerError as exc:
                refusal = str(exc)
            if refusal:
                system.well = True  # Even then: what the kernel dropped it will not tell again.
                with pytest.raises(LedgerError, match=r"takes no entries.*Open it again"):
                    ledger.append([b"too late"])
        if seen.is_new(home, len(acknowledged)):
            assert_sound(home, len(acknowledged))
        shutil.rmtree(home)
        if not refusal:
            break
        assert str(home) in refusal
        assert os.strerror(error) in refusal
    assert not refusal
    assert calls > 100


def test_on_a_read_only_disk_nothing_is_appended_and_all_is_read(
    begun: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(begun, tmp_path / "ledger"))
    for module in (files_module, durable):
        monkeypatch.setattr(module, "os", Refusing(0, EROFS))
    ledger = reopen(home, key=True)
    with pytest.raises(LedgerError, match=r"journal: Read-only file system"):
        ledger.append([b"x"])
    assert reopen(home).entries(0, 250) == FIRST
    assert complaints(home) == ()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    point = tmp_path / "small"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(point)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def fill(ledger: Ledger, entry: bytes, entries: list[bytes]) -> None:
    for number in range(10_000):
        batch = [b"%d" % number + entry] * 5
        ledger.append(batch)
        entries += batch
        if number % 4 == 0:
            ledger.write_tiles()


@pytest.mark.parametrize("entry_bytes", [300, 5_000])
def test_a_disk_that_fills_stops_it_and_freed_it_goes_on(
    small_disk: Path, entry_bytes: int
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2 << 20))
    ledger = Ledger.create(small_disk / "ledger", origin=ORIGIN, key=KEY)
    entries: list[bytes] = []
    with pytest.raises(LedgerError, match="No space left on device"):
        fill(ledger, bytes(entry_bytes), entries)
    reader = reopen(small_disk / "ledger")
    assert reader.entries(0, len(entries)) == entries
    filler.unlink()
    with reopen(small_disk / "ledger", key=True) as again:
        again.append([b"life goes on"])
    assert complaints(small_disk / "ledger") == ()


def test_on_a_disk_mounted_read_only_it_can_be_read(small_disk: Path) -> None:
    home = small_disk / "ledger"
    with Ledger.create(home, origin=ORIGIN, key=KEY) as ledger:
        ledger.append(FIRST)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert reopen(home).entries(0, 250) == FIRST
    assert complaints(home) == ()
    with pytest.raises(LedgerError, match=r"journal: Read-only file system"):
        reopen(home, key=True).append([b"x"])
