"""A byte flipped in any file of an archive, or any file gone: the audit says so and names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.errors import ArchiveError
from psp.totebox import DOCUMENTS, add_table, audit_archive, retract, seal_document
from tests.unit.totebox.conftest import CSV, NOW, OWNER, ingest, machine, write

SPARE = {"ledger/tile/0/000.p/1", "ledger/tile/entries/000.p/1"}
"""Earlier forms of a tile that grew: nobody needs them any more, and they may go."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with a file of each kind, whose tiles are written."""
    top = tmp_path_factory.mktemp("whole")
    with OWNER.found(top / "box") as archive:
        archive.pair("console", machine().certificate_pem, "USER")
        ingest(archive, write(top / "first.csv", CSV))
        add_table(archive, DOCUMENTS, operator="jane", now=NOW)
        (top / "a.pdf").write_bytes(b"a letter")
        seal_document(archive, top / "a.pdf", operator="jane", now=NOW)
        retract(archive, "sales", [["0017"]], operator="jane", now=NOW, reason="sold twice")
        archive.read_audit()
    return top / "box"


def flip(path: Path) -> None:
    mode, data = path.stat().st_mode, bytearray(path.read_bytes())
    # In an index, a byte of a row: much of SQLite's file is free, and nothing stands there.
    data[max(data.rfind(b"0018"), min(len(data) - 1, 40))] ^= 0x01
    path.unlink()
    path.write_bytes(data)
    path.chmod(mode)


def remove(path: Path) -> None:
    path.unlink()


def said_of(box: Path) -> list[str]:
    try:
        return [f"{one.what} {one.next}" for one in audit_archive(box).findings]
    except ArchiveError as exc:
        return [str(exc)]


def bytes_of(box: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in box.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("harm", [flip, remove])
def test_harm_to_any_file_is_found_named_and_left_as_it_is(
    tmp_path: Path, original: Path, harm: Callable[[Path], None]
) -> None:
    everything = (str(p.relative_to(original)) for p in original.rglob("*") if p.is_file())
    # The lock holds no fact.
    files = sorted(name for name in everything if name != "lock")
    assert len(files) > 12, "a file of each kind"
    for name in files:
        box = tmp_path / "box"
        shutil.copytree(original, box)
        spare = harm is remove and name in SPARE
        harm(box / name)
        before = bytes_of(box)
        said = said_of(box)
        assert any(Path(name).stem in text for text in said) or spare, (name, said)
        assert bytes_of(box) == before, "healed in silence"
        shutil.rmtree(box)
