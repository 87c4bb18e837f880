"""The calls of the system that an archive makes, replayed up to each on a disk that forgets.

As `test_ledger_replay` does for a ledger alone, here for making an archive and for everything that
changes one: files sealed whole and in part, a table added, a document, a retraction.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import apsw
import pytest

from psp.errors import PSPError
from psp.totebox import (
    DOCUMENTS,
    Archive,
    Severity,
    add_table,
    audit_archive,
    retract,
    seal_document,
)
from tests.unit.totebox.conftest import CSV, NOW, OWNER, ingest

from .disk import FATES, Call, Directory, signature, what_survives
from .seen import Seen
from .whole import WholeRecorder

Rows: TypeAlias = "dict[str, list[tuple[object, ...]]]"

SITES = {
    "create: make_root",
    "create: sync_directory",
    "write_durably: fsync",
    "write_durably: sync_directory",
    "copy_in: fsync",
    "seal: sync_directory",
    "keep: fsync",
    "keep: sync_directory",
    "append: sync_journal",
    "SQLite: the journal",
    "SQLite: the database",
}
"""Whose syncs an archive lives by, besides those that `test_ledger_replay` removes."""

NOT_REMOVED = {"create_reads: sync_directory", "SQLite: the directory, for a journal"}
"""SQLite's is missed in one state of hundreds: too slow to show each time. The other one: when an
archive is made, its ledger syncs the same directory a moment later; the sync is for an archive from
before there were records of reads, which gets its record when it is first served."""

LEDGERS = ("replace_", "write: ", "sync_directories: ", "_remove_partials: ")
"""How the others begin."""

LIKELY = list(FATES)[:5]
"""The further chances find nothing that the first does not, and cost twenty seconds."""

SECOND = "id,date,price,rooms\n0016,2014-05-02,1.00,3\nbad,never,1.00,3\n0019,2014-05-02,1.00,3\n"
REFUSED = "second.csv.refused.csv"


def rows_of(archive: Archive) -> Rows:
    """Every row of every table, with the entry and the line that it came from.

    In the order of their texts: a torn index may hold anything.
    """
    connection = archive.index._connection
    return {
        table.name: sorted(connection.execute(f'SELECT * FROM "{table.name}"'), key=repr)
        for table in archive.manifest.tables
    }


class Record:
    """What was called, and what was acknowledged after how many calls."""

    def __init__(self, top: Path) -> None:
        self.top, self._recorder = top, WholeRecorder(top)
        # By tree size: what an archive of this size has to hold.
        self.rows: dict[int, Rows] = {}
        # Call count -> size acknowledged by then, and whether the refused rows were listed.
        self.acknowledged: dict[int, tuple[int, bool]] = {}
        with self._recorder.everywhere():
            self._run()
        self.refused = (top / "in" / REFUSED).read_bytes()

    def _run(self) -> None:
        inputs, box = self.top / "in", self.top / "box"
        inputs.mkdir()
        self._sync(self.top)
        for name, text in (("first.csv", CSV), ("second.csv", SECOND), ("a.pdf", "a letter")):
            (inputs / name).write_text(text, encoding="utf-8", newline="")
        self.begin = len(self._recorder.calls)
        with OWNER.found(box) as archive:
            self._note(archive)
            ingest(archive, inputs / "first.csv")
            self._note(archive)
        with Archive.open(box) as archive:
            ingest(archive, inputs / "second.csv", accept_partial=True)
            self._note(archive)
            add_table(archive, DOCUMENTS, operator="jane", now=NOW)
            self._note(archive)
            seal_document(archive, inputs / "a.pdf", operator="jane", now=NOW)
            self._note(archive)
            retract(archive, "sales", [["0017"]], operator="jane", now=NOW, reason="sold twice")
            self._note(archive)

    def _sync(self, directory: Path) -> None:
        descriptor = self._recorder.open(directory, os.O_RDONLY)
        self._recorder.fsync(descriptor)
        self._recorder.close(descriptor)

    def _note(self, archive: Archive) -> None:
        size = archive.ledger.checkpoint.tree_size
        self.rows[size] = rows_of(archive)
        self.acknowledged[len(self.calls)] = size, size > 2

    @property
    def calls(self) -> list[Call]:
        return self._recorder.calls

    @property
    def sites(self) -> set[str]:
        return {call.site for call in self.calls[self.begin :] if call.site}

    def states(
        self, *, without: str | None = None
    ) -> Iterator[tuple[int, tuple[int, bool], Directory]]:
        """Yield before each call its number, what is acknowledged, and the disk.

        Args:
            without: The line whose syncs are taken for never called.
        """
        self._recorder.rewind()
        acknowledged, begin = (0, False), self.begin
        if without is not None:  # Before the first of them nothing is different.
            begin = next(n for n, call in enumerate(self.calls) if call.site == without)
        for number, call in enumerate([*self.calls, Call(lambda: None)]):
            acknowledged = self.acknowledged.get(number, acknowledged)
            if number >= begin:
                yield number, acknowledged, self._recorder.root
            if call.site is None or call.site != without:
                call.do()


def lay_out(directory: Directory, place: Path) -> None:
    """Write what survived onto a real disk."""
    place.mkdir()
    for name, node in directory.names.items():
        if isinstance(node, Directory):
            lay_out(node, place / name)
            continue
        (place / name).write_bytes(node.data)
        (place / name).chmod(node.mode)


class Judge:
    """Says what is lost on a disk; a state that was seen already is not looked at again."""

    def __init__(self, record: Record, place: Path) -> None:
        self._record, self._place = record, place
        self._seen: set[tuple[tuple[int, bool], int]] = set()
        self._repaired = Seen("lock")

    @property
    def seen(self) -> int:
        return len(self._seen)

    def check(self, root: Directory, acknowledged: tuple[int, bool]) -> None:
        """Raise unless the archive is as it was before a change or after it, and whole."""
        state = (acknowledged, signature(root))
        if state in self._seen:
            return
        if "box" not in root.names:
            assert not acknowledged[0], "the archive is gone"
            return
        top = self._place / "disk"
        lay_out(root, top)
        try:
            self._look(top, *acknowledged)
        finally:
            shutil.rmtree(top)
        self._seen.add(state)

    def _look(self, top: Path, size: int, has_listed: bool) -> None:
        box = top / "box"
        with Archive.open(box) as archive:
            found = archive.ledger.checkpoint.tree_size
            assert found >= size, "an acknowledged change is gone"
            assert rows_of(archive) == self._record.rows[found]
            change(archive)
            assert len(rows_of(archive)["sales"]) == len(self._record.rows[found]["sales"]) + 1
        listed = top / "in" / REFUSED
        assert listed.exists() >= has_listed, "the list of refused rows is gone"
        if found > 2 and self._record.rows[found]["sales"]:
            assert listed.exists(), "rows are refused, and nobody is told which"
        if listed.exists():
            assert listed.read_bytes() == self._record.refused, "half a list"
        if self._repaired.is_new(box):  # Most of what is lost is repaired to the same bytes.
            self._clean(box)

    @staticmethod
    def _clean(box: Path) -> None:
        assert not [path for path in box.rglob(".*")], "a draft is left"
        # It checks both ledgers as `check_ledger` does, and makes the index again.
        assert audit_archive(box).worst <= Severity.NOTE


def change(archive: Archive) -> None:
    """Life goes on."""
    file = archive.directory.parent / "third.csv"
    file.write_text("id,date,price,rooms\n0020,2014-05-02,1.00,3\n")
    ingest(archive, file)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return Record(tmp_path_factory.mktemp("record"))


@pytest.fixture(scope="module")
def judge(record: Record) -> Iterator[Judge]:
    # In memory where there is such a place: what is synced here is not what is judged.
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(dir=where) as place:
        yield Judge(record, Path(place))


@pytest.mark.slow
@pytest.mark.parametrize("fate", LIKELY)
def test_whatever_a_lost_power_leaves_is_the_state_before_or_after(
    record: Record, judge: Judge, fate: str
) -> None:
    for number, acknowledged, root in record.states():
        judge.check(what_survives(root, FATES[fate](number)), acknowledged)
    assert len(record.calls) > 200, "these were real calls"


def test_the_record_holds_every_sync_of_an_archive_and_is_what_the_disk_has(
    record: Record,
) -> None:
    ledgers = {site for site in record.sites if site.startswith(LEDGERS)}
    assert record.sites - ledgers == SITES | NOT_REMOVED
    *_, (_, _, root) = record.states()
    assert on_disk(record.top) == flat(root)


@pytest.mark.slow
@pytest.mark.parametrize("site", sorted(SITES))
def test_without_any_one_sync_something_is_lost(record: Record, judge: Judge, site: str) -> None:
    """The test above would fail: so every sync is needed, and the test sees it."""
    for number, acknowledged, root in record.states(without=site):
        for fate in LIKELY[1:]:  # A killed process loses nothing that was written.
            try:
                judge.check(what_survives(root, FATES[fate](number)), acknowledged)
            except (PSPError, AssertionError, apsw.Error):
                return
    raise AssertionError(f"nothing is lost without {site}: is it needed?")


def flat(directory: Directory, above: str = "") -> dict[str, tuple[bytes, int]]:
    found: dict[str, tuple[bytes, int]] = {}
    for name, node in directory.names.items():
        if isinstance(node, Directory):
            found |= flat(node, f"{above}{name}/")
        else:
            found[above + name] = bytes(node.data), node.mode
    return found


def on_disk(top: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(top)): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in top.rglob("*")
        if path.is_file()
    }
