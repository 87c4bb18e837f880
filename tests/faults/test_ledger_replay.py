"""The calls of the system that a ledger makes, replayed up to each of them on a disk that forgets.

Killing a process shows little: the kernel still writes what it holds. So the calls are recorded
once, and for every beginning of that record the states that a lost power may leave are made: what
was not synced is dropped or kept, sector by sector and name by name, in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from psp import durable
from psp.errors import LedgerError
from psp.ledger import Finding, Ledger
from psp.ledger import _files as files_module
from psp.ledger._fsck import check_files

from .disk import FATES, KEY, ORIGIN, Call, Directory, Disk, Fate, File, Recorder, reopen, work

SITES = {
    "append: sync_journal",
    "create: make_root",
    "replace_checkpoint: sync_temporary",
    "replace_checkpoint: sync_directory",
    "replace_journal: sync_temporary",
    "replace_journal: sync_directory",
    "write: sync_temporary",
    "sync_directories: sync_directory",
    "_remove_partials: sync_directory",
}


class Record:
    """What was called, and how many entries were acknowledged after how many calls."""

    def __init__(self, top: Path) -> None:
        self._recorder = Recorder(top)
        self.acknowledged: list[bytes] = []
        # Call count -> entries acknowledged by then. Before the first, there is no ledger yet.
        self.acknowledged_after: dict[int, int] = {}
        with pytest.MonkeyPatch.context() as patch:
            for module in (files_module, durable):
                patch.setattr(module, "os", self._recorder)
            self._run(top / "ledger")

    def _run(self, directory: Path) -> None:
        ledger = Ledger.create(directory, origin=ORIGIN, key=KEY)
        self._note(ledger, [])
        first = [b"%d" % i for i in range(250)]  # Just below the first full tile.
        ledger.append(first)
        self._note(ledger, first)
        ledger.write_tiles()
        append = ledger.append

        def noted(entries: Sequence[bytes]) -> object:
            done = append(entries)
            self._note(ledger, entries)
            return done

        ledger.append = noted  # type: ignore[assignment, method-assign]
        work(ledger, [])

    def _note(self, ledger: Ledger, entries: Sequence[bytes]) -> None:
        self.acknowledged += entries
        assert ledger.checkpoint.tree_size == len(self.acknowledged)
        self.acknowledged_after[len(self.calls)] = len(self.acknowledged)

    @property
    def calls(self) -> list[Call]:
        return self._recorder.calls

    def states(self, *, without: str | None = None) -> Iterator[tuple[int, int, Directory]]:
        """Yield before each call its number, how much is acknowledged, and the disk.

        Args:
            without: The line whose syncs are taken for never called.
        """
        self._recorder.rewind()
        acknowledged = None
        for number, call in enumerate([*self.calls, Call(lambda: None)]):
            acknowledged = self.acknowledged_after.get(number, acknowledged)
            if acknowledged is not None:
                yield number, acknowledged, self._recorder.root
            if call.site is None or call.site != without:
                call.do()


class Judge:
    """Says what is lost on a disk; a state that was seen already is not looked at again."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._sound: set[tuple[int, int]] = set()

    def check(self, disk: Disk, acknowledged: int) -> None:
        """Raise if an acknowledged entry is gone, half of a batch is there, or fsck complains."""
        state = (acknowledged, _signature(disk.root))
        if state in self._sound:
            return
        ledger = disk.root.names["ledger"]
        assert isinstance(ledger, Directory)
        disk.root = ledger
        entries = self._record.acknowledged
        reader = reopen(disk, key=None)
        found = reader.entries(0, reader.checkpoint.tree_size)
        assert found[:acknowledged] == entries[:acknowledged]
        assert len(found) in self._record.acknowledged_after.values(), "half a batch"
        assert found == entries[: len(found)]
        assert _complaints(disk) == ()
        with reopen(disk) as writer:
            assert _complaints(disk) == ()
            writer.append([b"life goes on"])
            disk.close_journal()
        assert _complaints(disk) == ()
        reader = reopen(disk, key=None)
        assert reader.entries(0, reader.checkpoint.tree_size) == [*found, b"life goes on"]
        self._sound.add(state)


def _complaints(disk: Disk) -> tuple[Finding, ...]:
    return check_files(disk, origin=ORIGIN, public_key=KEY.public_bytes).findings


def _signature(node: Directory | File) -> int:
    if isinstance(node, File):
        return hash(bytes(node.data))
    return hash(tuple((name, _signature(below)) for name, below in sorted(node.names.items())))


def _after(root: Directory, fate: Fate) -> Disk:
    disk = Disk()
    disk.root = root
    return disk.after(fate)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return Record(tmp_path_factory.mktemp("record"))


@pytest.fixture(scope="module")
def judge(record: Record) -> Judge:
    return Judge(record)


def test_the_record_holds_every_kind_of_sync_and_an_append_has_one(record: Record) -> None:
    assert {call.site for call in record.calls} - {None} == SITES
    before = max(at for at in record.acknowledged_after if at < max(record.acknowledged_after))
    # From the last batch but one: that batch's tiles, and the last batch. See `work`.
    tail = [call.site for call in record.calls[before : max(record.acknowledged_after)]]
    assert tail.count("append: sync_journal") == 1


@pytest.mark.slow
@pytest.mark.parametrize("fate", FATES)
def test_whatever_a_lost_power_leaves_has_all_that_was_acknowledged(
    record: Record, judge: Judge, fate: str
) -> None:
    for number, acknowledged, root in record.states():
        judge.check(_after(root, FATES[fate](number)), acknowledged)
    assert len(record.calls) > 150, "these were real calls"


@pytest.mark.slow
@pytest.mark.parametrize("site", sorted(SITES))
def test_without_any_one_sync_something_is_lost(record: Record, judge: Judge, site: str) -> None:
    """The test above would fail: so every sync is needed, and the test sees it."""
    for number, acknowledged, root in record.states(without=site):
        for fate in FATES.values():
            try:
                judge.check(_after(root, fate(number)), acknowledged)
            except (LedgerError, AssertionError, KeyError):
                return
    raise AssertionError(f"nothing is lost without {site}: is it needed?")
