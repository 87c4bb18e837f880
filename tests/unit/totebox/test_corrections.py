from __future__ import annotations

from pathlib import Path

import pytest

from psp.errors import ArchiveError, IntakeRefused
from psp.totebox import Archive, retract

from .conftest import NOW, ingest, stored, write


@pytest.fixture
def fed(tmp_path: Path, archive: Archive) -> Archive:
    ingest(archive, write(tmp_path / "in.csv"))
    return archive


def take_back(archive: Archive, *keys: str, reason: str = "sold twice") -> None:
    retract(archive, "sales", [[key] for key in keys], operator="jane", now=NOW, reason=reason)


def ids(archive: Archive) -> list[object]:
    return [row[0] for row in stored(archive)]


def test_a_retracted_row_is_gone_and_its_original_stays(fed: Archive) -> None:
    take_back(fed, "0016", "0018")

    assert ids(fed) == ["0017"]
    assert len(list((fed.directory / "assets").iterdir())) == 1


def test_retractions_are_done_again_when_the_index_is_made_anew(
    tmp_path: Path, fed: Archive
) -> None:
    take_back(fed, "0016")
    ingest(fed, write(tmp_path / "later.csv", "id,date,price,rooms\n0016,2014-05-02,1.00,9\n"))
    take_back(fed, "0017")
    dump = sorted(map(repr, stored(fed)))
    past = list(fed.index._connection.execute("SELECT * FROM psp_past_sales ORDER BY psp_end, id"))
    fed.close()
    fed.index_path.unlink()

    with Archive.open(fed.directory) as opened:
        assert ids(opened) == ["0016", "0018"]
        assert sorted(map(repr, stored(opened))) == dump
        again = opened.index._connection.execute(
            "SELECT * FROM psp_past_sales ORDER BY psp_end, id"
        )
        assert list(again) == past


def test_a_retraction_that_the_index_missed_is_done_when_the_archive_opens(fed: Archive) -> None:
    """The index of before with the ledger of after: what a kill between the two leaves."""
    fed.close()
    before = fed.index_path.read_bytes()
    with Archive.open(fed.directory) as opened:
        take_back(opened, "0016")
    fed.index_path.write_bytes(before)

    with Archive.open(fed.directory) as opened:
        assert ids(opened) == ["0017", "0018"]


@pytest.mark.parametrize(
    ("keys", "reason", "said"),
    [
        (["0016", "0099"], "why", "key 2 of 2 is not in 'sales'"),
        (["0016", "0016"], "why", "key 2 of 2 is not in 'sales'"),
        (["0016"], " ", "needs a reason"),
        ([], "why", "no key was given"),
        (["0016" * 20_000], "why", "one holds 65535"),
    ],
)
def test_a_retraction_is_whole_or_not_at_all(
    fed: Archive, keys: list[str], reason: str, said: str
) -> None:
    with pytest.raises(IntakeRefused, match=said):
        take_back(fed, *keys, reason=reason)

    assert ids(fed) == ["0016", "0017", "0018"]
    assert fed.ledger.checkpoint.tree_size == 2


def test_a_key_has_a_value_for_each_of_its_columns(fed: Archive) -> None:
    with pytest.raises(IntakeRefused, match=r"key 1 has 2 values; 'sales' has the key \(id\)"):
        retract(fed, "sales", [["a", "b"]], operator="jane", now=NOW, reason="why")


def test_an_archive_opened_to_read_retracts_nothing(fed: Archive) -> None:
    fed.close()
    with (
        Archive.open(fed.directory, read_only=True) as opened,
        pytest.raises(ArchiveError, match="opened only to read"),
    ):
        take_back(opened, "0016")
