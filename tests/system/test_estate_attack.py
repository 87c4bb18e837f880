"""What an owner meets who has a hostile neighbour, or files with unkind names."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from psp.endpoint import connect
from psp.errors import Denied, EstateError
from psp.estate import Estate, create_estate, draft_estate
from psp.transport import MachineKey


def source(path: Path) -> Path:
    path.write_text("id,area\n" + "".join(f"{number},{50 + number}\n" for number in range(30)))
    return path


@pytest.mark.slow
def test_an_archive_answers_although_its_owner_reads_no_log(tmp_path: Path) -> None:
    """Each bad token is a line for the owner; a full pipe would stop the archive for everybody."""
    estate = create_estate(draft_estate(tmp_path / "flats", [source(tmp_path / "tower.csv")]))
    with estate.serve():
        assert trio.run(refusals, estate, 2_500) == 2_500


async def refusals(estate: Estate, count: int) -> int:
    """Show bad tokens; 1,500 lines filled the pipes once."""
    (member,) = estate.roster.members
    refused = 0
    key = MachineKey.load(estate.roster.tenant().key_file)
    with trio.move_on_after(20):
        async with connect(member.address, key=key) as connection:
            for _ in range(count):
                try:
                    await connection.present(b"no token")
                except Denied:
                    refused += 1
            assert isinstance(await connection.bootstrap.call("health"), dict)
    return refused


@pytest.mark.parametrize(
    "name", ["..csv", "...csv", ".csv", "a\nb.csv", "a\x1b[2Jb.csv", "a\udcff.csv"]
)
def test_a_file_whose_name_names_no_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EstateError, match="cannot name an archive") as refused:
        draft_estate(tmp_path / "flats", [source(tmp_path / name)])
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["a b.csv", "a.b.csv", "ünï.csv", "-x.csv", "%s{0}'.csv"])
def test_a_file_of_an_odd_name_becomes_an_archive(tmp_path: Path, name: str) -> None:
    file = source(tmp_path / name)
    estate = create_estate(draft_estate(tmp_path / "flats", [file]))
    assert [member.name for member in estate.roster.members] == [file.stem]


def test_what_lies_where_an_estate_is_made_is_named_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / ".flats.making").symlink_to(kept)
    draft = draft_estate(tmp_path / "flats", [source(tmp_path / "tower.csv")])
    with pytest.raises(EstateError, match="was not made"):
        create_estate(draft)
    assert kept.is_dir()
