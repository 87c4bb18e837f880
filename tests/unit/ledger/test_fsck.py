"""The check of a whole ledger: what is wrong is found and named, and nothing is changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.errors import LedgerError
from psp.ledger import Ledger, LedgerReport, check_ledger

from .keys import Key

ORIGIN = "example.com/books"
KEY = Key()
ENTRIES = [b"entry %d" % index for index in range(700)]


def check(home: Path) -> LedgerReport:
    return check_ledger(home, origin=ORIGIN, public_key=KEY.public_bytes)


def found(home: Path) -> set[str]:
    report = check(home)
    assert all(finding.what and finding.remedy for finding in report.findings)
    return {finding.file for finding in report.findings}


def write(home: Path, parts: list[list[bytes]]) -> Path:
    """A ledger whose tiles were written after each part but the last."""
    ledger = Ledger.create(home, origin=ORIGIN, key=KEY)
    for number, part in enumerate(parts):
        if number:
            ledger.write_tiles()
        ledger.append(part)
    return home


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full tiles, an older and a newer partial of each kind, and a batch in the journal."""
    parts = [ENTRIES[:540], ENTRIES[540:600], ENTRIES[600:]]
    return write(tmp_path_factory.mktemp("sound") / "ledger", parts)


@pytest.fixture
def home(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "ledger"))


FILES = [
    *("journal", "checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/28", "tile/0/002.p/88"),
    *("tile/1/000.p/2", "tile/entries/000", "tile/entries/001"),
    *("tile/entries/002.p/28", "tile/entries/002.p/88"),
]


def flip(place: float) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        at = min(int(len(data) * place), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "first byte": flip(0),
    "a byte in the first hundredth": flip(0.01),
    "a byte in the middle": flip(0.5),
    "last byte": flip(1),
    "cut": lambda data: data[:-3],
    "empty": lambda _data: b"",
    "longer": lambda data: data + b"\0",
}


def change(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(mode)


def test_a_sound_ledger_is_clean_and_every_file_was_read(home: Path) -> None:
    assert {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()} == set(FILES)
    report = check(home)
    assert report.is_clean
    assert (report.entries, report.tiles, report.bundles) == (700, 4, 3)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_named_alone_and_left_as_it_is(home: Path, file: str, how: str) -> None:
    damaged = DAMAGES[how]((home / file).read_bytes())
    change(home / file, damaged)
    assert found(home) == {file}
    assert (home / file).read_bytes() == damaged


@pytest.mark.parametrize("file", [file for file in FILES if not file.endswith(".p/28")])
def test_a_missing_file_is_named_alone_and_not_made(home: Path, file: str) -> None:
    (home / file).unlink()
    assert found(home) - {file.rpartition("/")[0]} == {file}  # Its directory may be empty now.
    assert not (home / file).exists()


def test_everything_that_is_wrong_is_found_and_not_only_the_first(home: Path) -> None:
    changed = {"tile/0/000", "tile/entries/001", "journal", "tile/entries/002.p/88"}
    for file in changed:
        change(home / file, flip(0.01)((home / file).read_bytes()))
    (home / "tile/0/001").unlink()
    (home / "stray").touch(0o444)
    assert found(home) == {*changed, "tile/0/001", "stray"}


def test_a_tile_and_its_bundle_both_damaged_are_both_named(home: Path) -> None:
    change(home / "tile/0/000", flip(0.5)((home / "tile/0/000").read_bytes()))
    change(home / "tile/entries/000", flip(0.1)((home / "tile/entries/000").read_bytes()))
    assert found(home) == {"tile/0/000", "tile/entries/000"}


def test_without_a_checkpoint_the_files_are_held_against_each_other(home: Path) -> None:
    (home / "checkpoint").unlink()
    change(home / "tile/entries/000", flip(0.1)((home / "tile/entries/000").read_bytes()))
    assert found(home) == {"checkpoint", "tile/entries/000"}


@pytest.mark.parametrize(
    "file",
    [
        *("notes.txt", "temporary", "tile/0/003", "tile/0/001.p/7", "tile/entries/000.p/256"),
        *("tile/0/x000/001", "tile/2/000", "tile/0/002.p/89x", "tile/entries/0", "tile/1/000.p/3"),
        *("tile/entries/001.p/256", "tile/64/000", "tile/0/2147483648"),
    ],
)
def test_a_file_that_has_no_place_is_named(home: Path, file: str) -> None:
    with Ledger.open(home, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY):
        pass
    assert found(home) == set()
    (home / file).parent.mkdir(exist_ok=True, parents=True)
    (home / file).write_bytes(b"")
    (home / file).chmod(0o444)
    assert found(home) == {file}


def test_a_partial_tile_beside_its_full_one_is_named(home: Path) -> None:
    (home / "tile/0/001.p").mkdir()
    shutil.copy(home / "tile/0/002.p/28", home / "tile/0/001.p/28")
    (finding,) = check(home).findings
    assert (finding.file, finding.what) == (
        "tile/0/001.p/28",
        "a partial form whose full one is there",
    )


def test_what_is_no_plain_file_is_named(home: Path) -> None:
    (home / "tile/0/000").rename(home.parent / "elsewhere")
    (home / "tile/0/000").symlink_to(home.parent / "elsewhere")
    assert found(home) == {"tile/0/000"}


def test_a_file_that_can_be_written_is_named_with_the_command_that_seals_it(home: Path) -> None:
    (home / "tile/0/000").chmod(0o644)
    (home / "journal").chmod(0o666)
    remedies = {finding.file: finding.remedy for finding in check(home).findings}
    assert remedies == {"tile/0/000": "Set it: chmod 0444.", "journal": "Set it: chmod 0644."}


def test_another_history_under_the_old_signature_is_found(home: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [[b"forged", *ENTRIES[1:600]], [b"x"]])
    shutil.rmtree(home / "tile")
    shutil.copytree(other / "tile", home / "tile")
    assert "checkpoint" in found(home)


def test_a_bundle_and_a_tile_from_another_history_are_found(home: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [[b"forged", *ENTRIES[1:600]], [b"x"]])
    for file in ("tile/0/000", "tile/entries/000"):
        (home / file).unlink()
        shutil.copy(other / file, home / file)
    assert "tile/0/000" in found(home)


def test_a_checkpoint_from_another_day_is_found(home: Path) -> None:
    old = (home / "checkpoint").read_bytes()
    with Ledger.open(home, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY):
        pass
    change(home / "checkpoint", old)
    assert "journal" in found(home)


def test_it_can_be_followed_bundle_by_bundle(home: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_ledger(
        home,
        origin=ORIGIN,
        public_key=KEY.public_bytes,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert seen == [(256, 600), (512, 600), (600, 600)]


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 65_536, 65_537])
def test_a_ledger_is_clean_at_every_border(tmp_path: Path, count: int) -> None:
    parts = [[b"x"] * min(count - start, 16_000) for start in range(0, count, 16_000)]
    home = write(tmp_path / "ledger", parts)
    with Ledger.open(home, origin=ORIGIN, public_key=KEY.public_bytes, key=KEY):
        pass
    report = check(home)
    assert report.findings == ()
    assert report.entries == count


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no directory is there"):
        check(tmp_path / "nowhere")
