"""One file that is the archive, and nothing that a stranger's file could do."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from psp.errors import ArchiveError
from psp.totebox import Archive, Severity, pack, unpack
from psp.totebox import _pack as module
from psp.totebox._pack import PRIVATE_KEYS

from .conftest import OWNER, ingest, machine, stored, write


@pytest.fixture
def box(tmp_path: Path) -> Path:
    with OWNER.found(tmp_path / "box") as archive:
        archive.pair("user", machine().certificate_pem, "USER")
        ingest(archive, write(tmp_path / "in.csv"))
    return tmp_path / "box"


def names(file: Path) -> list[str]:
    with tarfile.open(file) as tar:
        return tar.getnames()


def test_an_archive_comes_out_as_it_went_in(box: Path, tmp_path: Path) -> None:
    packed = pack(box, tmp_path / "box.tar", with_keys=True)
    report = unpack(tmp_path / "box.tar", tmp_path / "copy")
    for ledger in ("ledger", "ledger/read-audit"):
        assert (tmp_path / "copy" / ledger / "checkpoint").stat().st_mode & 0o777 == 0o444

    assert packed.has_keys
    assert (report.directory, report.worst) == (tmp_path / "copy", Severity.NOTE)
    assert [one.part for one in report.findings] == ["index"]
    assert str(tmp_path / "copy") in report.findings[0].next
    with Archive.open(box) as one, Archive.open(tmp_path / "copy") as other:
        assert stored(one) == stored(other)
        assert one.ledger.note == other.ledger.note
        assert other.pairings() == one.pairings()
    for key in PRIVATE_KEYS:
        assert (tmp_path / "copy" / key).stat().st_mode & 0o777 == 0o600


def test_the_same_archive_gives_the_same_bytes_wherever_and_whenever(
    box: Path, tmp_path: Path
) -> None:
    pack(box, tmp_path / "one.tar", with_keys=True)
    unpack(tmp_path / "one.tar", tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
    pack(tmp_path / "copy", tmp_path / "two.tar", with_keys=True)

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_private_keys_and_what_is_derived_stay_where_they_are(box: Path, tmp_path: Path) -> None:
    (box / "app-console-input" / "plans.csv").touch()
    assert not pack(box, tmp_path / "box.tar").has_keys

    found = names(tmp_path / "box.tar")
    assert found == sorted(found, key=lambda name: name.split("/"))
    assert {name.split("/")[0] for name in found} == {
        *("assets", "keys", "ledger", "manifest.toml", "state"),
    }
    assert [name for name in found if name.startswith("keys/")] == [
        "keys/anchor",
        "keys/peers/user.toml",
    ]
    secrets = [(box / key).read_bytes() for key in PRIVATE_KEYS]
    assert not any(secret in (tmp_path / "box.tar").read_bytes() for secret in secrets)
    report = unpack(tmp_path / "box.tar", tmp_path / "copy")
    assert report.worst is Severity.WARNING
    assert [one.part for one in report.findings if one.severity] == ["keys", "keys"]


def test_what_is_in_use_or_in_the_way_is_left_alone(box: Path, tmp_path: Path) -> None:
    file = tmp_path / "box.tar"
    with Archive.open(box, read_only=True), pytest.raises(ArchiveError, match="in use"):
        pack(box, file)
    pack(box, file)
    before = file.read_bytes()
    with pytest.raises(ArchiveError, match="there already"):
        pack(box, file)
    with pytest.raises(ArchiveError, match="there already"):
        unpack(file, box)
    assert file.read_bytes() == before
    with pytest.raises(ArchiveError, match="was not packed"):
        pack(box, tmp_path / "nowhere" / "box.tar")
    with pytest.raises(ArchiveError, match="was not unpacked"):
        unpack(tmp_path / "nothing.tar", tmp_path / "copy")


def test_a_link_in_an_archive_is_not_packed(box: Path, tmp_path: Path) -> None:
    (box / "state" / "link").symlink_to("/etc/passwd")

    with pytest.raises(ArchiveError, match="neither a file"):
        pack(box, tmp_path / "box.tar")
    assert not [path for path in tmp_path.iterdir() if "box.tar" in path.name]


def test_damage_in_a_packed_archive_is_reported(box: Path, tmp_path: Path) -> None:
    (asset,) = (box / "assets").iterdir()
    asset.chmod(0o644)
    asset.write_bytes(b"something else")
    pack(box, tmp_path / "box.tar", with_keys=True)

    report = unpack(tmp_path / "box.tar", tmp_path / "copy")
    assert report.worst is Severity.DAMAGE
    assert (tmp_path / "copy").is_dir()


Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Entry:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, link, len(data)
    return found, data


def tar_of(file: Path, entries: Iterable[Entry]) -> Path:
    with tarfile.open(file, "w") as tar:
        for header, data in entries:
            tar.addfile(header, io.BytesIO(data))
    return file


@pytest.mark.parametrize(
    "bad",
    [
        entry("../out"),
        entry("a/../../out"),
        entry("a/../b"),
        entry("a//b"),
        entry("./a"),
        entry("/tmp/out"),
        entry(".hidden"),
        entry("assets/.draft-1"),
        entry("a\\..\\out"),
        entry("a\nb"),
        entry("x" * 300),
        entry("lock"),
        entry("index/index.sqlite"),
        entry("link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        entry("link", kind=tarfile.LNKTYPE, link="manifest.toml"),
        entry("pipe", kind=tarfile.FIFOTYPE),
        entry("device", kind=tarfile.CHRTYPE),
        entry("assets", kind=tarfile.DIRTYPE),
        entry("sparse", kind=tarfile.GNUTYPE_SPARSE),
        entry("manifest.toml"),
        entry("Manifest.TOML"),
        entry("manifest.toml/below"),
    ],
    ids=lambda bad: repr(bad[0].name)[:20] + bad[0].type.decode(),
)
def test_what_no_archive_holds_is_refused_and_leaves_nothing(bad: Entry, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = tar_of(tmp_path / "bad.tar", [entry("manifest.toml", b"x"), bad])

    with pytest.raises(ArchiveError):
        unpack(file, tmp_path / "in" / "copy")
    assert list((tmp_path / "in").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar", "in"]
    assert not Path("/tmp/out").exists()


def test_more_than_an_archive_can_be_is_refused_by_its_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tar_of(tmp_path / "big.tar", [entry("a", b"12345"), entry("b", b"12345")])
    for name in ("PACKED_BYTES_MAX", "PACKED_FILES_MAX"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 9 if name == "PACKED_BYTES_MAX" else 1)
            with pytest.raises(ArchiveError, match="is beyond"):
                unpack(file, tmp_path / "copy")


def test_a_file_cut_anywhere_leaves_nothing_or_is_reported(box: Path, tmp_path: Path) -> None:
    pack(box, tmp_path / "box.tar", with_keys=True)
    data = (tmp_path / "box.tar").read_bytes()
    for size in range(0, len(data) - 10_240, 60_013):
        (tmp_path / "cut.tar").write_bytes(data[:size])
        try:
            report = unpack(tmp_path / "cut.tar", tmp_path / "copy")
        except ArchiveError:
            assert not (tmp_path / "copy").exists()
        else:
            assert report.worst is Severity.DAMAGE
            shutil.rmtree(tmp_path / "copy")


def die_at(step: int, source: Path, target: Path, *, packing: bool) -> bool:
    """Pack or unpack in a child that is killed at one step; say whether it lived to the end."""
    pid = os.fork()
    if not pid:
        left = step

        def count(event: str, _arguments: object) -> None:
            nonlocal left
            if event in {"open", "os.rename", "os.mkdir", "os.chmod", "os.remove", "shutil.rmtree"}:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            if packing:
                pack(source, target, with_keys=True)
            else:
                unpack(source, target)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


@pytest.mark.slow
@pytest.mark.parametrize("packing", [True, False])
def test_killed_at_any_step_it_is_there_whole_or_not_at_all(
    box: Path, tmp_path: Path, packing: bool
) -> None:
    whole = tmp_path / "whole.tar"
    pack(box, whole, with_keys=True)
    source = box if packing else whole
    for step in range(0, 1_000, 1 if packing else 4):  # An unpacked step costs an audit.
        target = tmp_path / f"made-{step}"
        lived = die_at(step, source, target, packing=packing)
        assert not lived or target.exists()
        if target.exists() and packing:
            assert target.read_bytes() == whole.read_bytes()
        elif target.exists():
            pack(target, tmp_path / "again.tar", with_keys=True)
            assert (tmp_path / "again.tar").read_bytes() == whole.read_bytes()
            (tmp_path / "again.tar").unlink()
        if lived:
            break
    assert lived
    assert step > 10
