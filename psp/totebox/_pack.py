"""One archive as one file, and back. The same archive gives the same bytes.

A tar, because every system reads one. What is derived stays out. What comes in is a stranger's: it
is unpacked beside its place, looked at, and only then given its name.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Final, NoReturn

from psp.durable import sync_directory
from psp.errors import ArchiveError

from ._integrity import audit_archive
from ._limits import PACKED_BYTES_MAX, PACKED_FILES_MAX, PACKED_NAME_BYTES_MAX
from ._lock import LOCK_FILE, DirectoryLock
from ._report import Report

PRIVATE_KEYS: Final = ("keys/machine.key", "keys/ledger.key")
"""What makes a copy another archive's equal: whoever has them answers and signs as it does."""

_DERIVED: Final = ("index/", "app-console-input/", "control/")
"""The index is made again; what lies in the input is not the archive's yet; a control socket is a
killed process's."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was packed."""

    files: int
    size_bytes: int
    has_keys: bool


def pack(directory: Path, file: Path, *, with_keys: bool = False) -> Packed:
    """Write a stopped archive into one file, which is there whole or not at all.

    Args:
        with_keys: Put its private keys in: then the file *is* the archive, to whoever has it.

    Raises:
        ArchiveError: The archive is in use, is none, or holds what no archive does; or the file is
            there already, or the disk refused.
    """
    if file.exists():
        raise ArchiveError(f"{file} is there already, and nothing is overwritten. Name another.")
    # Exclusively: a reader of the lock file would not stop somebody who begins to serve.
    with DirectoryLock(directory, shared=False, doing="packing it"):
        draft = file.with_name(f".{file.name}.making-{os.getpid()}")
        try:
            return _write(directory, file, draft, with_keys)
        except OSError as exc:
            raise ArchiveError(
                f"{directory} was not packed into {file} ({exc.strerror or exc}). Nothing was"
                " written; make room, or choose another place."
            ) from exc
        finally:
            draft.unlink(missing_ok=True)


def unpack(file: Path, directory: Path) -> Report:
    """Make an archive from a packed file, where nothing is yet, and audit all of it.

    It stays also where the audit finds damage: the report says what.

    Raises:
        ArchiveError: The file is not a packed archive, or holds something that none may; or the
            directory is there already. Nothing was left behind.
    """
    if directory.exists():
        raise ArchiveError(
            f"{directory} is there already, and nothing is overwritten. Name another."
        )
    making = directory.with_name(f".{directory.name}.making-{os.getpid()}")
    try:
        making.mkdir(mode=0o700, parents=True)
        _extract_untrusted(file, making)
        for name in ("", "keys", "keys/peers", "state", "assets", "index", "app-console-input"):
            (making / name).mkdir(mode=0o700, exist_ok=True)
        (making / LOCK_FILE).touch(mode=0o600)
        _sync_tree(making)
        # Before it has its name: a name stands for something that was looked at.
        report = audit_archive(making)
        making.rename(directory)
        sync_directory(directory.parent)
    except (OSError, tarfile.TarError, EOFError) as exc:
        raise ArchiveError(
            f"{file} was not unpacked to {directory} ({exc}). Nothing was left behind; check the"
            " file against the one that was packed."
        ) from exc
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return _told_of(report, making, directory)


def _told_of(report: Report, making: Path, directory: Path) -> Report:
    """Give the report with the archive's final name, which its commands are to be typed with."""
    report.directory = directory
    old, new = str(making), str(directory)
    report.findings = [
        replace(one, what=one.what.replace(old, new), next=one.next.replace(old, new))
        for one in report.findings
    ]
    return report


def _write(directory: Path, file: Path, draft: Path, with_keys: bool) -> Packed:
    count = 0
    with draft.open("xb") as target:
        os.fchmod(target.fileno(), 0o600)
        # USTAR would end at 8 GiB a file; PAX has headers of its own only where they are needed.
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in _names(directory, with_keys):
                with (directory / name).open("rb") as source:
                    tar.addfile(_header(name, os.fstat(source.fileno())), source)
                count += 1
        target.flush()
        os.fsync(target.fileno())
        size_bytes = target.tell()
    draft.rename(file)
    sync_directory(file.parent)
    return Packed(count, size_bytes, with_keys)


def _names(directory: Path, with_keys: bool) -> Iterator[str]:
    for path in sorted(directory.rglob("*"), key=lambda path: path.relative_to(directory).parts):
        name = path.relative_to(directory).as_posix()
        # Drafts of what a crash interrupted begin with a dot; the lock is this process's.
        is_left_out = name.startswith(_DERIVED) or any(part[0] == "." for part in Path(name).parts)
        if is_left_out or name == LOCK_FILE or (path.is_dir() and not path.is_symlink()):
            continue
        if name in PRIVATE_KEYS and not with_keys:
            continue
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ArchiveError(
                f"{path} is neither a file nor a directory, and an archive has nothing else. Move"
                " it away, then pack again."
            )
        yield name


def _header(name: str, found: os.stat_result) -> tarfile.TarInfo:
    """Describe a file by its name, its size and its mode: nothing of this machine, or of today."""
    header = tarfile.TarInfo(name)
    header.size = found.st_size
    header.mode = _mode(name)
    return header


def _mode(name: str) -> int:
    """The mode that a file of an archive has, whatever a tar says of it."""
    is_published = name.endswith("/checkpoint") or "/tile/" in name
    if name.startswith("assets/") or (name.startswith("ledger/") and is_published):
        return 0o444
    return 0o600 if name in PRIVATE_KEYS or name.startswith(("ledger/", "state/")) else 0o644


def _extract_untrusted(file: Path, making: Path) -> None:
    seen: set[str] = set()
    total = 0
    with closing(tarfile.open(file, mode="r:")) as tar:
        for member in tar:
            name = _checked_name(member, seen)
            total += member.size
            if len(seen) > PACKED_FILES_MAX or total > PACKED_BYTES_MAX:
                _refuse(name, f"is beyond {PACKED_FILES_MAX:,} files or {PACKED_BYTES_MAX:,} bytes")
            source = tar.extractfile(member)
            assert source is not None  # It is a file.
            _extract_file(source, making / name, member.size, mode=_mode(name))


def _checked_name(member: tarfile.TarInfo, seen: set[str]) -> str:
    name = member.name
    parts = PurePosixPath(name).parts
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        _refuse(name, "is not a plain file; links, devices and directories are never packed")
    if not name.isprintable() or "\\" in name or len(name.encode()) > PACKED_NAME_BYTES_MAX:
        _refuse(name, "has a name that no archive has")
    # As it stands, and not as a library would clean it: `a/../b` and `a//b` are tricks here.
    if name.startswith("/") or "/".join(parts) != name or any(part[0] == "." for part in parts):
        _refuse(name, "leads elsewhere or hides")
    if name.startswith(_DERIVED) or name == LOCK_FILE:
        _refuse(name, "is derived, and never packed")
    if member.size < 0:
        _refuse(name, "has no size that can be")
    if name.lower() in seen:
        _refuse(name, "is there twice")
    seen.add(name.lower())
    return name


def _extract_file(source: IO[bytes], path: Path, size_bytes: int, *, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as target:
        shutil.copyfileobj(source, target)
        if target.tell() != size_bytes:
            _refuse(path.name, "is cut off")
        os.fchmod(target.fileno(), mode)
        target.flush()
        os.fsync(target.fileno())


def _sync_tree(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        if path.is_dir():
            sync_directory(path)


def _refuse(name: str, what: str) -> NoReturn:
    raise ArchiveError(
        f"the packed file holds {name[:80]!a}, which {what}. It was not unpacked; get it again"
        " from where it was packed."
    )
