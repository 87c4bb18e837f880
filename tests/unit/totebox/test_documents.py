from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from psp.errors import ArchiveError, IntakeRefused
from psp.totebox import DOCUMENTS, Archive, Column, ColumnType, Table, add_table, seal_document

from .conftest import NOW, OWNER, SALES, ingest, stored, write

LETTER = b"%PDF-1.7 a letter\x00\xff"
NOTES = replace(SALES, name="notes")


def letter(tmp_path: Path, name: str = "letter.pdf", content: bytes = LETTER) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def documents(archive: Archive) -> list[tuple[object, ...]]:
    columns = ", ".join(DOCUMENTS.column_names[1:])
    return list(archive.index._connection.execute(f"SELECT {columns} FROM documents ORDER BY name"))


def test_any_file_is_sealed_with_what_a_person_says_about_it(
    tmp_path: Path, archive: Archive
) -> None:
    sealed = seal_document(
        archive,
        letter(tmp_path),
        operator="jane",
        now=NOW,
        kind="lease",
        date="2014-05-02",
        counterparty="Ayr Ltd",
    )

    assert documents(archive) == [("letter.pdf", "lease", "2014-05-02", 19, "Ayr Ltd")]
    with archive.assets.open_verified(sealed.sha256) as original:
        assert original.read() == LETTER
    assert archive.original_of(sealed.entry_index).file == "letter.pdf"
    assert archive.index.locate(DOCUMENTS, [sealed.sha256.hex()]) == (sealed.entry_index, 1)


def test_the_same_document_twice_is_said_and_adds_nothing(tmp_path: Path, archive: Archive) -> None:
    first = seal_document(archive, letter(tmp_path), operator="jane", now=NOW)
    size = archive.ledger.checkpoint.tree_size
    again = seal_document(archive, letter(tmp_path, "copy.pdf"), operator="jane", now=NOW)

    assert first.earlier is None
    assert again.earlier is not None
    assert (again.earlier.file, again.entry_index) == ("letter.pdf", first.entry_index)
    assert archive.ledger.checkpoint.tree_size == size
    assert not list((archive.directory / "assets").glob(".*"))


def test_documents_are_there_again_when_the_index_is_made_anew(
    tmp_path: Path, archive: Archive
) -> None:
    seal_document(archive, letter(tmp_path), operator="jane", now=NOW, kind="lease")
    before = documents(archive)
    archive.close()
    archive.index_path.unlink()

    with Archive.open(archive.directory) as opened:
        assert documents(opened) == before
        again = seal_document(opened, letter(tmp_path), operator="jane", now=NOW)
        assert again.earlier is not None


def test_what_is_said_about_a_document_must_fit(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(IntakeRefused, match="document's date has the form"):
        seal_document(archive, letter(tmp_path), operator="jane", now=NOW, date="May 2")
    assert archive.ledger.checkpoint.tree_size == 1


def test_a_table_of_the_owners_own_called_documents_is_not_touched(tmp_path: Path) -> None:
    own = Table(name="documents", columns=(Column(name="a", type=ColumnType.TEXT),), key=("a",))
    with (
        OWNER.found(tmp_path / "box", own) as archive,
        pytest.raises(IntakeRefused, match="of its own"),
    ):
        seal_document(archive, letter(tmp_path), operator="jane", now=NOW)


# Tables added


def test_a_table_that_is_added_is_there_at_once_and_for_ever(
    tmp_path: Path, archive: Archive
) -> None:
    ingest(archive, write(tmp_path / "in.csv"))
    rows = stored(archive)
    add_table(archive, NOTES, operator="jane", now=NOW)
    archive.ingest(tmp_path / "in.csv", "notes", operator="jane", now=NOW)
    archive.close()

    with Archive.open(archive.directory) as opened:
        assert opened.manifest.tables == (SALES, NOTES)
        assert stored(opened) == rows
        assert opened.index.count(NOTES) == 3


def test_a_table_is_added_once(archive: Archive) -> None:
    with pytest.raises(IntakeRefused, match="has a table 'Sales' already"):
        add_table(archive, replace(SALES, name="Sales"), operator="jane", now=NOW)


def test_a_crash_between_the_entry_of_a_table_and_the_manifest_is_repaired(tmp_path: Path) -> None:
    box = tmp_path / "box"
    with OWNER.found(box) as archive:
        ingest(archive, write(tmp_path / "in.csv"))
        rows = stored(archive)
    kept = {name: (box / name).read_bytes() for name in ("manifest.toml", "index/index.sqlite")}
    with Archive.open(box) as archive:
        add_table(archive, NOTES, operator="jane", now=NOW)
    for name, content in kept.items():
        (box / name).write_bytes(content)

    with pytest.raises(ArchiveError, match="lacks the table 'notes'"):
        Archive.open(box, read_only=True)
    with Archive.open(box) as archive:
        assert archive.manifest.tables == (SALES, NOTES)
        assert stored(archive) == rows


def test_an_archive_whose_manifest_could_not_follow_writes_nothing_more(
    tmp_path: Path,
) -> None:
    box = tmp_path / "box"
    archive = OWNER.found(box)
    # A directory in the place of the manifest: no file can be renamed over it.
    shutil.move(box / "manifest.toml", tmp_path / "manifest.toml")
    (box / "manifest.toml").mkdir()
    with pytest.raises(ArchiveError, match="added as entry 1, but"):
        add_table(archive, NOTES, operator="jane", now=NOW)
    with pytest.raises(Exception, match="closed"):
        ingest(archive, write(tmp_path / "in.csv"))
    (box / "manifest.toml").rmdir()
    shutil.move(tmp_path / "manifest.toml", box / "manifest.toml")

    with Archive.open(box) as opened:
        assert opened.manifest.tables == (SALES, NOTES)
