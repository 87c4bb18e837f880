"""The recorder of `disk.py` for a whole archive: what Python writes, and what SQLite does.

Python's calls are taken where its modules have `os` and `io`; SQLite's where it asks its VFS.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from psp.totebox._state_file import CHECKSUM_VFS

from .disk import Call, Directory, File, Recorder

_JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL
_REAL = "unix"


# The calls of `os` and `io` themselves are what this stands for.
# ruff: noqa: PTH102, PTH108, PTH123


class WholeRecorder(Recorder):
    """Notes every call below one directory. All else is passed on."""

    def open(
        self, path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        place = Path(path)
        if dir_fd is not None or not place.is_relative_to(self._top):
            return os.open(path, flags, mode, dir_fd=dir_fd)
        descriptor = os.open(place, flags, mode)
        if flags & os.O_CREAT and place not in self._nodes:
            self._add(place, File(bytearray(), mode=mode & 0o755))
        self._open[descriptor] = self._nodes[place]
        return descriptor

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        os.close(descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        written = self.pwrite(descriptor, memoryview(bytes(data)), at)
        os.lseek(descriptor, at + written, os.SEEK_SET)
        return written

    def fdopen(self, descriptor: int, mode: str = "r", **options: Any) -> Any:
        if descriptor not in self._open or "r" in mode:
            self._open.pop(descriptor, None)
            return os.fdopen(descriptor, mode, **options)
        raw = io.BufferedWriter(_Raw(self, descriptor))
        return raw if "b" in mode else io.TextIOWrapper(raw, **options)

    def open_file(
        self,
        path: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Stand for `io.open`."""
        if "r" in mode or not Path(path).is_relative_to(self._top):
            return open(path, mode, buffering, encoding, errors, newline)
        how = os.O_EXCL if "x" in mode else os.O_TRUNC
        descriptor = self.open(path, os.O_WRONLY | os.O_CREAT | how, 0o644)
        text = {} if "b" in mode else {"encoding": encoding, "newline": newline}
        return self.fdopen(descriptor, mode, **text)

    def mkdir(self, path: str | Path, mode: int = 0o777) -> None:
        os.mkdir(path, mode)
        if (place := Path(path)).is_relative_to(self._top):
            self._add(place, Directory())

    def rename(self, source: str | Path, target: str | Path) -> None:
        """Rename, and remember that all below has another path now."""
        source, target = Path(source), Path(target)
        below = {
            target / path.relative_to(source): node
            for path, node in self._nodes.items()
            if path.is_relative_to(source) and path != source
        }
        super().rename(source, target)
        self._nodes = {p: n for p, n in self._nodes.items() if not p.is_relative_to(source)}
        self._nodes |= below

    def unlink(self, path: str | Path) -> None:
        os.unlink(path)
        if (place := Path(path)).is_relative_to(self._top):
            self._drop(place)

    def ftruncate(self, descriptor: int, size: int) -> None:
        super().ftruncate(descriptor, size)

    def at(self, path: str) -> File | Directory | None:
        """Give what a path is, as SQLite names it; None if it is not below the directory."""
        return self._nodes.get(Path(path))

    def note_file(self, path: str) -> File:
        self._add(Path(path), file := File(bytearray(), mode=0o644))
        return file

    def note_sync(self, node: File | Directory, site: str) -> None:
        def do() -> None:
            if isinstance(node, File):
                node.durable = bytearray(node.data)
            else:
                node.durable = dict(node.names)

        self.calls.append(Call(do, site=site))

    def note_dropped(self, path: str) -> None:
        self._drop(Path(path))

    def parent_of(self, path: str) -> Directory:
        return self._entry(Path(path))[0]

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """Stand for `os` in our modules and in `pathlib`, and for the disk of SQLite."""
        before = apsw.vfs_names()[0]
        _drop_checksums()
        vfs = _SQLiteDisk(self)
        try:
            with pytest.MonkeyPatch.context() as patch:
                for name, module in list(sys.modules.items()):
                    if name.startswith("psp.") and getattr(module, "os", None) is os:
                        patch.setattr(module, "os", self)
                paths = sys.modules[Path.rename.__module__]
                patch.setattr(paths, "os", self)
                patch.setattr(paths, "io", SimpleNamespace(**{**vars(io), "open": self.open_file}))
                yield
        finally:
            apsw.set_default_vfs(before)
            _drop_checksums()
            vfs.unregister()


def _drop_checksums() -> None:
    """Who next opens a file with checksums puts them over the disk that is SQLite's own then."""
    if CHECKSUM_VFS in apsw.vfs_names():
        apsw.unregister_vfs(CHECKSUM_VFS)


class _Raw(io.FileIO):
    """A file whose writes are noted; Python's buffers stand before it as before any file."""

    def __init__(self, recorder: WholeRecorder, descriptor: int) -> None:
        super().__init__(descriptor, "w")
        self._recorder = recorder

    def write(self, data: Any, /) -> int:
        return self._recorder.write(self.fileno(), data)

    def close(self) -> None:
        if not self.closed:
            self._recorder._open.pop(self.fileno(), None)
        super().close()


class _SQLiteDisk(apsw.VFS):
    """SQLite's own disk, with a note of what changes it."""

    def __init__(self, recorder: WholeRecorder) -> None:
        self._recorder = recorder
        super().__init__("recorded", _REAL, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or not Path(path).is_relative_to(self._recorder._top):
            return apsw.VFSFile(_REAL, name, flags)
        return _SQLiteFile(self._recorder, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        if self._recorder.at(filename) is not None:
            parent = self._recorder.parent_of(filename)
            self._recorder.note_dropped(filename)
            if syncdir:
                self._recorder.note_sync(parent, "SQLite: the directory, after a removal")


class _SQLiteFile(apsw.VFSFile):
    def __init__(self, recorder: WholeRecorder, path: str, name: Any, flags: list[int]) -> None:
        asked = flags[0]  # SQLite is told in the same list what it got.
        super().__init__(_REAL, name, flags)
        self._recorder, self._path = recorder, path
        known = recorder.at(path)
        self._file = known if isinstance(known, File) else recorder.note_file(path)
        # A new journal's name is made durable with its first sync (os_unix.c, UNIXFILE_DIRSYNC).
        self._is_new_journal = known is None and bool(asked & _JOURNALS)

    def xWrite(self, data: Any, offset: int) -> None:
        super().xWrite(data, offset)
        file, written = self._file, bytes(data)

        def do() -> None:
            file.data.extend(bytes(max(0, offset - len(file.data))))
            file.data[offset : offset + len(written)] = written

        self._recorder.calls.append(Call(do))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        file = self._file

        def do() -> None:
            file.data[:] = file.data[:newsize].ljust(newsize, b"\0")

        self._recorder.calls.append(Call(do))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        kind = "the journal" if self._path.endswith("-journal") else "the database"
        self._recorder.note_sync(self._file, f"SQLite: {kind}")
        if self._is_new_journal:
            self._is_new_journal = False
            parent = self._recorder.parent_of(self._path)
            self._recorder.note_sync(parent, "SQLite: the directory, for a journal")
