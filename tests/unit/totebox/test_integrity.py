"""An audit names everything that is wrong, how serious it is, what to type; and changes nothing."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import apsw
import pytest
import trio

from psp.errors import ArchiveError
from psp.totebox import DOCUMENTS, Archive, Severity, add_table, audit_archive
from psp.totebox._receipts import Read
from psp.totebox._report import Report, chance_of_catching
from psp.totebox._rounds import Round, draw, read_round

from .conftest import CSV, NOW, OWNER, ingest, machine, write

SECOND = CSV.replace("0016,", "0019,")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A stopped archive with two originals, a pin and a read."""
    with OWNER.found(tmp_path / "box") as archive:
        archive.pair("user", machine().certificate_pem, "USER")
        ingest(archive, write(tmp_path / "in.csv"))
        ingest(archive, write(tmp_path / "in2.csv", SECOND))
        data = archive.ledger.checkpoint
        read = Read(
            grant_id=bytes(32),
            command=bytes(32),
            tree_size=data.tree_size,
            root_hash=data.root_hash,
            rows=0,
            groups=1,
            size_bytes=100,
            time=NOW,
            result=None,
        )
        trio.run(archive.read_audit().record, read.encode(), 0.0)
    return tmp_path / "box"


def contents(box: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(box)): (path.stat().st_mode, path.read_bytes())
        for path in sorted(box.rglob("*"))
        if path.is_file()
    }


def original(box: Path) -> Path:
    return box / "assets" / hashlib.sha256(CSV.encode()).hexdigest()


def overwrite(path: Path, old: bytes = b"", new: bytes = b"") -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data.replace(old, new, 1) if old else bytes([data[0] ^ 1]) + data[1:])


def test_all_is_well_with_an_archive_that_nobody_touched(box: Path) -> None:
    before = contents(box)
    report = audit_archive(box)

    assert report.findings == []
    assert (report.worst, report.index_compared) == (Severity.NOTE, True)
    assert (report.assets_read, report.assets_sealed, report.reads_recorded) == (2, 2, 1)
    assert report.to_dict()["tree_size"] == 4
    assert contents(box) == before


def flip_a_tile(box: Path) -> None:
    overwrite(next((box / "ledger" / "tile" / "0").rglob("4")))


def flip_a_read(box: Path) -> None:
    overwrite(next((box / "ledger" / "read-audit" / "tile" / "entries").rglob("1")))


def edit_the_floor(box: Path) -> None:
    overwrite(box / "manifest.toml", b"floor = 1", b"floor = 2")


def change_a_row(box: Path) -> None:
    connection = apsw.Connection(str(box / "index" / "index.sqlite"))
    connection.execute("UPDATE sales SET price = price + 1 WHERE id = '0016'")
    connection.close()


def another_ceiling(box: Path) -> None:
    overwrite(box / "keys" / "peers" / "user.toml", b"USER", b"ADMIN")


def a_strangers_pin(box: Path) -> None:
    with OWNER.found(box.with_name("other")) as other:
        other.pair("thief", machine().certificate_pem, "ADMIN")
    shutil.copy(box.with_name("other") / "keys/peers/thief.toml", box / "keys" / "peers")


def another_ledger_key(box: Path) -> None:
    overwrite(
        box / "keys" / "ledger.key", *(key.private_pem() for key in (OWNER.ledger, OWNER.box))
    )
    (box / "keys" / "ledger.key").chmod(0o600)


DAMAGE, WARNING, NOTE = Severity.DAMAGE, Severity.WARNING, Severity.NOTE


@pytest.mark.parametrize(
    ("harm", "part", "severity"),
    [
        (lambda box: overwrite(original(box), b"0016", b"0061"), "assets", DAMAGE),
        (lambda box: original(box).unlink(), "assets", DAMAGE),
        (lambda box: original(box).chmod(0o644), "assets", WARNING),
        (lambda box: (box / "assets" / "strange").touch(), "assets", NOTE),
        (flip_a_tile, "ledger", DAMAGE),
        (lambda box: overwrite(box / "ledger" / "checkpoint"), "ledger", DAMAGE),
        (flip_a_read, "reads", DAMAGE),
        (lambda box: shutil.rmtree(box / "ledger" / "read-audit"), "reads", DAMAGE),
        (edit_the_floor, "manifest", DAMAGE),
        (lambda box: (box / "manifest.toml").unlink(), "manifest", DAMAGE),
        (lambda box: overwrite(box / "keys" / "anchor"), "anchor", DAMAGE),
        (lambda box: (box / "keys" / "machine.key").chmod(0o640), "keys", DAMAGE),
        (lambda box: (box / "keys" / "ledger.key").unlink(), "keys", WARNING),
        (another_ledger_key, "keys", DAMAGE),
        (another_ceiling, "pins", DAMAGE),
        (a_strangers_pin, "pins", DAMAGE),
        (lambda box: (box / "keys" / "peers" / "user.toml").unlink(), "pins", NOTE),
        (lambda box: overwrite(box / "keys" / "peers" / "user.toml"), "pins", DAMAGE),
        (change_a_row, "index", DAMAGE),
        (lambda box: (box / "index" / "index.sqlite").unlink(), "index", NOTE),
        (lambda box: overwrite(box / "index" / "index.sqlite"), "index", WARNING),
    ],
)  # fmt: skip
def test_each_harm_is_found_named_and_left_as_it_is(
    box: Path, harm: Callable[[Path], object], part: str, severity: Severity
) -> None:
    harm(box)
    before = contents(box)
    report = audit_archive(box)

    (found,) = report.findings
    assert (found.part, found.severity, report.worst) == (part, severity, severity)
    assert found.next.split()[0] in {"cp", "chmod", "rm", "ls", "diff", "psp"}
    assert contents(box) == before


def test_a_damaged_original_tells_since_when_it_was_sealed(box: Path) -> None:
    overwrite(original(box), b"0016", b"0061")

    (found,) = audit_archive(box).findings
    assert found.since == "tree size 3, whose last entry sealed it"
    assert str(original(box)) in found.next


def test_a_rewritten_ledger_is_betrayed_by_what_was_read_from_the_old_one(box: Path) -> None:
    """Its owner has the key: every signature is right, and the reads still name the old root."""
    other = box.with_name("rewritten")
    with OWNER.found(other) as archive:
        archive.pair("user", machine().certificate_pem, "USER")
        ingest(archive, write(box.with_name("in.csv")))
        ingest(archive, write(box.with_name("in2.csv"), CSV.replace("0016,", "0020,")))
    shutil.rmtree(other / "ledger" / "read-audit")
    shutil.copytree(box / "ledger" / "read-audit", other / "ledger" / "read-audit")

    (found,) = audit_archive(other).findings
    assert (found.part, found.since) == ("reads", "tree size 4")
    assert "never was" in found.what


def test_a_ledger_put_back_from_an_older_copy_is_betrayed_too(box: Path, tmp_path: Path) -> None:
    other = tmp_path / "older"
    with OWNER.found(other) as archive:
        archive.pair("user", machine().certificate_pem, "USER")
    shutil.rmtree(other / "ledger" / "read-audit")
    shutil.copytree(box / "ledger" / "read-audit", other / "ledger" / "read-audit")

    assert [found.part for found in audit_archive(other).findings] == ["reads"]


def test_an_archive_in_use_is_not_looked_at(box: Path) -> None:
    with Archive.open(box, doing="serving"), pytest.raises(ArchiveError, match="in use by"):
        audit_archive(box)
    with pytest.raises(ArchiveError, match="is not an archive"):
        audit_archive(box.parent)
    with pytest.raises(ArchiveError, match="a sample of 0"):
        audit_archive(box, sample=0)


def test_samples_go_round_until_every_original_was_read(box: Path) -> None:
    overwrite(original(box), b"0016", b"0061")

    reports = [audit_archive(box, sample=1) for _ in range(2)]
    assert sorted(len(report.findings) for report in reports) == [0, 1]
    assert {report.assets_read for report in reports} == {1}
    assert reports[0].catches == {1: 0.5, 2: 1.0}
    assert not reports[0].index_compared


def test_a_round_reads_each_name_once_also_those_that_come_later() -> None:
    names = [f"name {number}" for number in range(100)]
    now, seen = Round("seed"), list[str]()
    while now.seed == "seed":
        drawn, now = draw(names, 7, now)
        seen += drawn
    assert sorted(seen) == sorted(names)
    first, now = draw(names, 60, Round("seed"))
    rest, _ = draw([*names, "new one", "new two"], 100, now)
    assert set(first).isdisjoint(rest)
    assert set(names) <= {*first, *rest}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seed": 1}'])
def test_a_lost_round_begins_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "audit.json").write_text(text)

    assert read_round(tmp_path).after == ""


def test_the_stated_chance_is_what_counting_every_sample_gives() -> None:
    for sealed in range(1, 8):
        for read in range(sealed + 1):
            for damaged in range(1, sealed + 1):
                samples = list(combinations(range(sealed), read))
                caught = sum(any(one < damaged for one in sample) for sample in samples)
                expected = float(Fraction(caught, len(samples)))
                assert chance_of_catching(damaged, read, sealed) == expected
    assert Report(Path()).catches == {}


def test_an_archive_to_which_a_table_was_added_is_still_well(box: Path) -> None:
    with Archive.open(box) as archive:
        add_table(archive, DOCUMENTS, operator="a person", now=NOW)
    assert audit_archive(box).findings == []

    overwrite(box / "manifest.toml", b"floor = 1", b"floor = 2")
    (found,) = audit_archive(box).findings
    assert found.part == "manifest"


def test_what_stands_where_it_should_not_in_a_ledger_is_a_warning(box: Path) -> None:
    (box / "ledger" / "notes.txt").write_text("a reminder")
    (found,) = audit_archive(box).findings
    assert (found.part, found.severity) == ("ledger", Severity.WARNING)
    assert "ledger/notes.txt" in found.what


def test_an_entry_changed_far_from_the_edge_is_damage_and_nothing_is_made_of_the_rest(
    box: Path,
) -> None:
    with Archive.open(box) as archive:
        archive.ledger.append([b'{"kind":"note"}'] * 600)
    bundle = box / "ledger" / "tile" / "entries" / "000"
    bundle.chmod(0o600)
    overwrite(bundle, b"note", b"Note")
    bundle.chmod(0o444)
    (found,) = audit_archive(box).findings
    assert (found.part, found.severity) == ("ledger", Severity.DAMAGE)
    assert "ledger/tile/entries/000" in found.what
