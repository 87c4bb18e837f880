from __future__ import annotations

import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from psp.errors import ArchiveError, CapabilityError, EstateError, IntakeRefused, LedgerError
from psp.ledger import hash_leaf, verify_inclusion
from psp.totebox import Archive, Column, ColumnType, Manifest, State, Table
from psp.totebox._entries import IngestEntry
from psp.totebox._manifest_file import write_manifest

from .conftest import CSV, NOW, SALES, Owner, ingest, machine, stored, write

ROWS = [
    ("0016", "2014-05-02", 22190050, 3),
    ("0017", "2014-06-03", 53800000, None),
    ("0018", "2014-06-04", 18000000, 2),
]


def entries(archive: Archive) -> list[dict[str, object]]:
    found = archive.ledger.entries(0, archive.ledger.checkpoint.tree_size)
    return [json.loads(entry) for entry in found]


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in ("lock", "index.sqlite")
    }


# Founding


def test_a_new_archive_has_the_skeleton_and_one_entry(archive: Archive) -> None:
    assert {path.name for path in archive.directory.iterdir()} == {
        "app-console-input", "assets", "index", "keys", "ledger", "lock", "manifest.toml", "state",
    }  # fmt: skip
    assert [entry["kind"] for entry in entries(archive)] == ["created"]


def test_keys_are_readable_by_their_owner_alone(archive: Archive) -> None:
    for name in ("machine.key", "ledger.key"):
        mode = (archive.directory / "keys" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE(archive.directory.stat().st_mode) == 0o700


def test_an_archive_is_the_same_after_it_was_moved(
    tmp_path: Path, archive: Archive, owner: Owner
) -> None:
    ingest(archive, write(tmp_path / "in.csv"))
    archive.close()
    shutil.move(archive.directory, tmp_path / "elsewhere")

    with Archive.open(tmp_path / "elsewhere") as moved:
        assert stored(moved) == ROWS
        assert moved.machine_key().public_bytes == owner.box.public_bytes


def test_a_directory_that_holds_something_never_becomes_an_archive(
    tmp_path: Path, owner: Owner
) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "letter").touch()

    with pytest.raises(ArchiveError, match="not empty"):
        owner.found(tmp_path / "box")


def test_an_anchor_for_other_keys_founds_nothing(tmp_path: Path, owner: Owner) -> None:
    def found(manifest: Manifest, statement: bytes) -> None:
        Archive.create(
            tmp_path / "box",
            manifest,
            machine_key=owner.box,
            ledger_key=owner.ledger,
            anchor_statement=statement,
        )

    with pytest.raises(ArchiveError, match="another ledger key"):
        found(owner.manifest(), owner.statement(machine().public_bytes))
    with pytest.raises(CapabilityError):
        found(replace(owner.manifest(), archive_id=bytes(32)), owner.statement())
    assert list(tmp_path.iterdir()) == []


# Opening


def test_a_directory_without_an_archive_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"not an archive.*psp estate new"):
        Archive.open(tmp_path)


@pytest.mark.parametrize("name", ["manifest.toml", "keys/anchor"])
def test_a_missing_part_is_named(archive: Archive, name: str) -> None:
    archive.close()
    (archive.directory / name).unlink()

    with pytest.raises(ArchiveError, match=name):
        Archive.open(archive.directory)


def test_a_manifest_that_is_not_text_is_refused(archive: Archive) -> None:
    archive.close()
    (archive.directory / "manifest.toml").write_bytes(b"\xff")

    with pytest.raises(ArchiveError, match="not UTF-8"):
        Archive.open(archive.directory)


def test_a_ledger_that_was_cut_is_never_opened(tmp_path: Path, archive: Archive) -> None:
    ingest(archive, write(tmp_path / "in.csv"))
    archive.close()
    for bundle in (archive.directory / "ledger" / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            bundle.chmod(0o644)
            bundle.write_bytes(b"\0\1x")

    with pytest.raises(LedgerError):
        Archive.open(archive.directory)


def test_whoever_is_turned_away_learns_who_holds_the_archive(archive: Archive) -> None:
    archive.close()
    with Archive.open(archive.directory, doing="which serves it on 127.0.0.1 port 7001"):
        for read_only in (False, True):
            with pytest.raises(
                ArchiveError, match=f"in use by process {os.getpid()}, which serves it on 127"
            ):
                Archive.open(archive.directory, read_only=read_only)


def test_readers_share_an_archive_and_keep_writers_out(archive: Archive) -> None:
    archive.close()
    with (
        Archive.open(archive.directory, read_only=True) as one,
        Archive.open(archive.directory, read_only=True),
    ):
        with pytest.raises(ArchiveError, match="in use"):
            Archive.open(archive.directory)
        with pytest.raises(ArchiveError, match="opened only to read"):
            ingest(one, archive.directory)
        with pytest.raises(ArchiveError, match="opened only to read"):
            one.pair("x", machine().certificate_pem, "USER")
    Archive.open(archive.directory).close()


@pytest.mark.parametrize("lost", ["deleted", "stale", "of another ledger"])
def test_the_index_comes_back_from_the_sealed_originals(
    tmp_path: Path, archive: Archive, lost: str
) -> None:
    ingest(archive, write(tmp_path / "in.csv"))
    ingest(archive, write(tmp_path / "in2.csv", CSV.replace("0016,", "0019,")))
    expected = stored(archive)
    if lost == "stale":
        archive.index._connection.execute("DELETE FROM sales WHERE psp_entry = 2")
        archive.index._connection.execute(
            "UPDATE psp_build SET tree_size = 2, root = ?",
            (_root_at(archive, 2),),
        )
    if lost == "of another ledger":
        archive.index._connection.execute("UPDATE psp_build SET tree_size = 2, root = zeroblob(32)")
        archive.index._connection.execute("UPDATE sales SET price = 1")
    archive.close()
    if lost == "deleted":
        archive.index_path.unlink()
    with pytest.raises(ArchiveError, match="only to read"):
        Archive.open(archive.directory, read_only=True)

    with Archive.open(archive.directory) as again:
        assert stored(again) == expected


def _root_at(archive: Archive, size: int) -> bytes:
    from psp.ledger._tree import RightEdge

    edge = RightEdge()
    for entry in archive.ledger.entries(0, size):
        edge.extend([hash_leaf(entry)])
    return edge.root_hash()


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_an_index_is_not_rebuilt_from_a_damaged_original(
    tmp_path: Path, archive: Archive, damage: str
) -> None:
    ingest(archive, write(tmp_path / "in.csv"))
    archive.close()
    archive.index_path.unlink()
    (asset,) = (archive.directory / "assets").iterdir()
    asset.chmod(0o644)
    if damage == "changed":
        asset.write_text(CSV.replace("221900", "221901"))
    else:
        asset.unlink()

    with pytest.raises(ArchiveError, match=rf"{damage}.*Restore"):
        Archive.open(archive.directory)


def test_a_table_that_was_retyped_by_hand_is_noticed(
    tmp_path: Path, archive: Archive, owner: Owner
) -> None:
    ingest(archive, write(tmp_path / "in.csv"))
    archive.close()
    retyped = replace(
        SALES, columns=(*SALES.columns[:3], Column(name="rooms", type=ColumnType.TEXT))
    )
    text = write_manifest(owner.manifest(retyped))
    (archive.directory / "manifest.toml").write_text(text)

    with pytest.raises(ArchiveError, match="otherwise than entry 1"):
        Archive.open(archive.directory)


# Pairing


def test_a_pairing_is_a_file_and_an_entry(archive: Archive) -> None:
    lender = machine()

    pairing = archive.pair("lender", lender.certificate_pem, "INTERFACE", operator="jane", now=NOW)

    assert archive.pairings() == [pairing]
    assert pairing.pin.certificate.spki_hash == lender.spki_hash
    assert entries(archive)[1] == {
        "kind": "paired",
        "time": "2026-11-21T12:00:00.000Z",
        "operator": "jane",
        "peer": "lender",
        "ceiling": "INTERFACE",
        "spki": lender.spki_hash.hex(),
    }


@pytest.mark.parametrize(
    ("name", "ceiling", "message"),
    [
        ("../x", "USER", "cannot name a peer"),
        (".x", "USER", "cannot name a peer"),
        ("x", "user", "choose one of INTERFACE, USER, INPUT, ADMIN"),
    ],
)
def test_a_pairing_with_a_mistake_changes_nothing(
    archive: Archive, name: str, ceiling: str, message: str
) -> None:
    with pytest.raises(ArchiveError, match=message):
        archive.pair(name, machine().certificate_pem, ceiling)
    with pytest.raises(EstateError):
        archive.pair("x", "no certificate", "USER")

    assert archive.pairings() == []
    assert len(entries(archive)) == 1


def test_a_damaged_pairing_is_named(archive: Archive) -> None:
    (archive.directory / "keys" / "peers" / "lender.toml").write_text("ceiling = 1")

    with pytest.raises(ArchiveError, match=r"lender\.toml"):
        archive.pairings()


# Intake


def test_an_ingest_seals_the_file_and_says_so_in_the_ledger(
    tmp_path: Path, archive: Archive
) -> None:
    calls: list[tuple[int, int, int]] = []
    file = write(tmp_path / "in.csv")

    done = archive.ingest(
        file, "sales", operator="jane", now=NOW, progress=lambda *call: calls.append(call)
    )

    (asset,) = (archive.directory / "assets").iterdir()
    entry = entries(archive)[1]
    assert (done.rows, done.refused, done.entry_index, done.quarantine) == (3, 0, 1, None)
    assert done.checkpoint == archive.ledger.checkpoint
    assert stored(archive) == ROWS
    assert asset.read_text() == CSV
    assert stat.S_IMODE(asset.stat().st_mode) == 0o444
    assert entry["asset"] == asset.name
    assert (entry["operator"], entry["table"], entry["rows"]) == ("jane", "sales", 3)
    assert calls == [(3, len(CSV), len(CSV))]
    original = archive.original_of(1)
    assert isinstance(original, IngestEntry)
    assert original.table == SALES


def test_the_entry_of_a_file_is_proven_by_the_ledger(tmp_path: Path, archive: Archive) -> None:
    done = ingest(archive, write(tmp_path / "in.csv"))
    proof = archive.ledger.prove_inclusion(done.entry_index, done.checkpoint.tree_size)
    (entry,) = archive.ledger.entries(done.entry_index, done.entry_index + 1)

    verify_inclusion(hash_leaf(entry), done.entry_index, proof, done.checkpoint)


def test_an_entry_that_seals_no_file_is_no_original(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="entry 0 of the ledger seals no file"):
        archive.original_of(0)


def test_a_bad_row_in_line_20000_leaves_the_archive_as_it_was(
    tmp_path: Path, archive: Archive
) -> None:
    ingest(archive, write(tmp_path / "first.csv"))
    lines = [f"{n:05},2014-05-02,{n}.50,3" for n in range(2, 20_100)]
    lines[19_998] = "x,2014-05-02,twelve,3"
    before = files_below(archive.directory)
    file = write(tmp_path / "in.csv", "id,date,price,rooms\n" + "\n".join(lines) + "\n")

    with pytest.raises(IntakeRefused) as caught:
        ingest(archive, file)

    message = str(caught.value)
    assert "1 row refused, nothing sealed. line 20000, column 'price'" in message
    assert "'aaaaaa', which is not a decimal number" in message
    assert "twelve" not in message
    assert "in.csv.refused.csv. Correct the file" in message
    assert (tmp_path / "in.csv.refused.csv").exists()
    assert files_below(archive.directory) == before
    assert stored(archive) == ROWS


def test_good_rows_are_taken_without_bad_ones_only_when_asked(
    tmp_path: Path, archive: Archive
) -> None:
    bad = CSV + "0019,soon,1,1\n0016,2014-05-02,1,1\n"

    done = ingest(archive, write(tmp_path / "in.csv", bad), accept_partial=True)

    assert (done.rows, done.refused) == (3, 2)
    assert done.quarantine is not None
    listed = done.quarantine.read_text().splitlines()
    assert listed[1].startswith("5,date,\"has the form 'aaaa'")
    assert listed[2].startswith("6,,has the key of line 2")
    assert stored(archive) == ROWS

    archive.close()
    archive.index_path.unlink()
    with Archive.open(archive.directory) as again:
        assert stored(again) == ROWS


def test_the_latest_file_wins_and_both_stay_sealed(tmp_path: Path, archive: Archive) -> None:
    ingest(archive, write(tmp_path / "in.csv"))
    ingest(archive, write(tmp_path / "in.csv", "id,date,price,rooms\n0016,2014-05-02,1.00,9\n"))

    assert stored(archive)[0] == ("0016", "2014-05-02", 100, 9)
    assert len(list((archive.directory / "assets").iterdir())) == 2


def test_the_same_file_twice_is_said_and_adds_nothing(tmp_path: Path, archive: Archive) -> None:
    first = ingest(archive, write(tmp_path / "in.csv"))
    again = ingest(archive, write(tmp_path / "other.csv"))

    assert again.earlier is not None
    assert (again.entry_index, again.earlier.file) == (first.entry_index, "in.csv")
    assert (again.rows, again.earlier.rows) == (0, 3)
    assert stored(archive) == ROWS
    assert len(list((archive.directory / "assets").iterdir())) == 1
    assert len(entries(archive)) == 2


@pytest.mark.parametrize("is_first", [True, False])
def test_a_key_stands_once_in_a_file_whether_or_not_the_table_has_rows(
    tmp_path: Path, archive: Archive, is_first: bool
) -> None:
    """An empty table is filled by another way, which finds repeated keys at the end."""
    if not is_first:
        ingest(archive, write(tmp_path / "first.csv"))
    lines = "id,date,price,rooms\nx,2014-05-02,1,1\ny,2014-05-02,2,1\nx,2014-05-02,3,1\n"
    file = write(tmp_path / "in.csv", f"{lines}x,2014-05-02,4,1\n")

    with pytest.raises(IntakeRefused, match=r"line 4: the row has the key of line 2.*line 5"):
        ingest(archive, file)
    done = ingest(archive, file, accept_partial=True)

    assert (done.rows, done.refused) == (2, 2)
    assert [row for row in stored(archive) if row[0] in ("x", "y")] == [
        ("x", "2014-05-02", 100, 1),
        ("y", "2014-05-02", 200, 1),
    ]


def test_the_same_bytes_read_another_way_are_another_file(tmp_path: Path, archive: Archive) -> None:
    ingest(archive, write(tmp_path / "in.csv", CSV.replace("538000,", "538000,7")))
    again = archive.ingest(tmp_path / "in.csv", "sales", operator="jane", now=NOW, null="none")

    assert again.earlier is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,date,price,rooms\n", "has no rows for the table 'sales'"),
        ("id,date,prize,rooms\n1,2,3,4\n", "no column 'price'.*Is 'prize' meant"),
        ("", "begins with an empty line"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    tmp_path: Path, archive: Archive, text: str, message: str
) -> None:
    before = files_below(archive.directory)

    with pytest.raises(IntakeRefused, match=message):
        ingest(archive, write(tmp_path / "in.csv", text))

    assert files_below(archive.directory) == before


def test_a_missing_file_and_an_unknown_table_are_said(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(IntakeRefused, match="No such file"):
        ingest(archive, tmp_path / "none.csv")
    with pytest.raises(IntakeRefused, match="Did you mean 'sales'"):
        archive.ingest(write(tmp_path / "in.csv"), "sale", operator="jane", now=NOW)


def test_an_archive_that_is_not_active_takes_no_files(
    tmp_path: Path, archive: Archive, owner: Owner
) -> None:
    archive.close()
    suspended = replace(owner.manifest(), state=State.SUSPENDED)
    (archive.directory / "manifest.toml").write_text(write_manifest(suspended))

    with (
        Archive.open(archive.directory) as again,
        pytest.raises(IntakeRefused, match="is suspended"),
    ):
        ingest(again, write(tmp_path / "in.csv"))


def test_refused_rows_that_cannot_be_listed_are_never_accepted(
    tmp_path: Path, archive: Archive
) -> None:
    # A directory in the place of the list: works also for a user who may write everywhere.
    (tmp_path / ".in.csv.refused.csv.draft").mkdir()
    file = write(tmp_path / "in.csv", CSV + "0019,soon,1,1\n")

    with pytest.raises(IntakeRefused, match="cannot be listed"):
        ingest(archive, file, accept_partial=True)
    with pytest.raises(IntakeRefused, match=r"line 5, column 'date'.*could not be listed"):
        ingest(archive, file)


def test_a_parquet_file_is_sealed_and_rebuilt_like_a_csv(tmp_path: Path, archive: Archive) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = {
        "id": ["0016", "0017", "0018"],
        "date": ["2014-05-02", "2014-06-03", "2014-06-04"],
        "price": [221900.5, 538000.0, 180000.0],
        "rooms": [3, None, 2],
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")

    ingest(archive, tmp_path / "in.parquet")
    assert stored(archive) == ROWS
    archive.close()
    archive.index_path.unlink()
    with Archive.open(archive.directory) as again:
        assert stored(again) == ROWS


def test_an_archive_of_two_tables_keeps_them_apart(tmp_path: Path, owner: Owner) -> None:
    rents = Table(name="rents", columns=(Column(name="id", type=ColumnType.INTEGER),), key=("id",))
    with owner.found(tmp_path / "two", SALES, rents) as archive:
        ingest(archive, write(tmp_path / "in.csv"))
        archive.ingest(
            write(tmp_path / "rents.csv", "id\n1\n2\n"), "rents", operator="jane", now=NOW
        )

        assert (archive.index.count(SALES), archive.index.count(rents)) == (3, 2)
