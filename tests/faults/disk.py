"""A disk that forgets what was not synced, and the calls of `os` that lead to its state."""
# ruff: noqa: PTH102, PTH104, PTH106, PTH108

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.errors import LedgerError
from psp.ledger import Ledger
from psp.ledger._files import TEMPORARY, Files
from psp.ledger._journal import SECTOR_BYTES

ORIGIN = "example.com/books"

What: TypeAlias = Literal["name", "size", "sector"]
Fate: TypeAlias = Callable[[What], bool]
"""Says of each thing that was not synced whether it survived."""


class Key:
    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
        self.public_bytes = self._private.public_key().public_bytes_raw()

    def sign(self, data: bytes, /) -> bytes:
        return self._private.sign(data)


KEY = Key()


class Crash(BaseException):
    """The power went."""


@dataclass(eq=False)
class File:
    """What processes see, and what the platter has."""

    data: bytearray
    durable: bytearray = field(default_factory=bytearray)
    mode: int = 0o600


@dataclass(eq=False)
class Directory:
    names: dict[str, File | Directory] = field(default_factory=dict)
    durable: dict[str, File | Directory] = field(default_factory=dict)


class Disk(Files):
    """Files in memory that crash before a chosen step and forget what was not synced."""

    def __init__(self) -> None:
        super().__init__(Path("/disk"))
        self.root = Directory()
        self.steps_left: int | None = None
        self._open_journal: File | None = None

    def step(self) -> None:
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise Crash
            self.steps_left -= 1

    def find(self, path: str) -> File | Directory | None:
        node: File | Directory | None = self.root
        for name in path.split("/"):
            if name in ("", "."):
                continue
            assert isinstance(node, Directory)
            node = node.names.get(name)
            if node is None:
                return None
        return node

    def parent(self, path: str) -> tuple[Directory, str]:
        directory, _, name = path.rpartition("/")
        found = self.find(directory)
        assert isinstance(found, Directory), f"{directory} was not made"
        return found, name

    def read(self, path: str, *, bytes_max: int) -> bytes:
        found = self.find(path)
        if not isinstance(found, File):
            raise LedgerError(f"{path} is missing")
        assert len(found.data) <= bytes_max
        return bytes(found.data)

    def exists(self, path: str) -> bool:
        return self.find(path) is not None

    def names(self, path: str) -> list[str]:
        found = self.find(path)
        return sorted(found.names) if isinstance(found, Directory) else []

    def mode(self, path: str) -> int:
        found = self.find(path)
        return stat.S_IFREG | found.mode if isinstance(found, File) else stat.S_IFDIR | 0o755

    def make_directory(self, path: str) -> None:
        self.step()
        directory, name = self.parent(path)
        assert name not in directory.names
        directory.names[name] = Directory()

    def write_temporary(self, data: bytes, *, mode: int, size: int | None = None) -> None:
        self.step()
        self.root.names[TEMPORARY] = File(bytearray(data.ljust(size or 0, b"\0")), mode=mode)

    def sync_temporary(self) -> None:
        self.step()
        file = self.root.names[TEMPORARY]
        assert isinstance(file, File)
        file.durable = bytearray(file.data)

    def rename_temporary(self, path: str) -> None:
        self.step()
        directory, name = self.parent(path)
        directory.names[name] = self.root.names.pop(TEMPORARY)

    def sync_directory(self, path: str) -> None:
        self.step()
        directory = self.find(path)
        assert isinstance(directory, Directory)
        directory.durable = dict(directory.names)

    def remove(self, path: str) -> None:
        self.step()
        directory, name = self.parent(path)
        directory.names.pop(name, None)

    def remove_directory(self, path: str) -> None:
        self.step()
        directory, name = self.parent(path)
        gone = directory.names.pop(name)
        assert isinstance(gone, Directory)
        assert not gone.names

    def write_journal(self, path: str, data: bytes, *, offset: int) -> None:
        self.step()
        if self._open_journal is None:
            found = self.find(path)
            assert isinstance(found, File)
            self._open_journal = found
        assert offset % SECTOR_BYTES == 0
        assert offset + len(data) <= len(self._open_journal.data), "the journal keeps its size"
        self._open_journal.data[offset : offset + len(data)] = data
        self.step()  # A crash here is between the write and its sync.

    def sync_journal(self, path: str) -> None:
        self.step()
        assert self._open_journal is not None
        self._open_journal.durable = bytearray(self._open_journal.data)

    def close_journal(self) -> None:
        self._open_journal = None

    def after(self, fate: Fate) -> Disk:
        """The disk that the next boot finds; `fate` says of each unsynced thing if it survived."""
        survivor = Disk()
        survivor.root = what_survives(self.root, fate)
        return survivor


def what_survives(directory: Directory, fate: Fate) -> Directory:
    names = dict(directory.durable)
    for name in sorted(directory.durable.keys() | directory.names.keys()):
        now = directory.names.get(name)
        if now is not directory.durable.get(name) and fate("name"):
            if now is None:
                del names[name]
            else:
                names[name] = now
    found: dict[str, File | Directory] = {}
    for name, node in names.items():
        if isinstance(node, Directory):
            found[name] = what_survives(node, fate)
        else:
            data = _torn(node, fate)
            found[name] = File(data, bytearray(data), node.mode)
    return Directory(found, dict(found))


def _torn(file: File, fate: Fate) -> bytearray:
    """A file after the crash: each unsynced sector is there or not."""
    size = len(file.data if fate("size") else file.durable)
    data = bytearray(file.durable[:size].ljust(size, b"\0"))
    if file.data == file.durable:
        return data
    used = max(len(each.rstrip(b"\0")) for each in (file.data, file.durable))
    for start in range(0, min(size, used), SECTOR_BYTES):
        sector = slice(start, min(start + SECTOR_BYTES, size))
        if data[sector] != file.data[sector] and fate("sector"):
            data[sector] = file.data[sector].ljust(len(data[sector]), b"\0")
    return data


def signature(node: Directory | File) -> int:
    """Tell two disks apart by every name, mode and byte."""
    if isinstance(node, File):
        return hash((bytes(node.data), node.mode))
    return hash(tuple((name, signature(below)) for name, below in sorted(node.names.items())))


def always(_what: What) -> bool:
    return True


def never(_what: What) -> bool:
    return False


def names_alone(what: What) -> bool:
    return what == "name"


def contents_alone(what: What) -> bool:
    return what != "name"


def by_chance(seed: int, step: int) -> Fate:
    random = Random(f"{seed}/{step}")  # Not the same luck at every step.
    return lambda _what: random.random() < 0.5


FATES: dict[str, Callable[[int], Fate]] = {
    "a killed process: all survives": lambda _step: always,
    "a lost power: only what was synced survives": lambda _step: never,
    "a lost power: names survive, contents do not": lambda _step: names_alone,
    "a lost power: contents survive, names do not": lambda _step: contents_alone,
    **{f"a lost power: chance {seed} decides": partial(by_chance, seed) for seed in range(4)},
}


def batches(count: int) -> Iterator[list[bytes]]:
    for number in range(count):
        # Long enough for several sectors, so that there is something to tear.
        yield [b"%d:%d " % (number, i) + bytes(300) * (number % 3) for i in range(3 + number)]


def work(ledger: Ledger, acknowledged: list[bytes]) -> None:
    """Append over the border of a tile, in every relation to the tiles that are written behind."""
    for number, batch in enumerate(batches(5)):
        ledger.append(batch)
        acknowledged += batch
        if number % 2 == 0:
            ledger.write_tiles()
    ledger.close()


def reopen(disk: Disk, *, key: Key | None = KEY) -> Ledger:
    return Ledger.open_on(disk, origin=ORIGIN, public_key=KEY.public_bytes, key=key)


class Call(NamedTuple):
    """One call that changes a file, as it was made, and by which line of ours if it is a sync."""

    do: Callable[[], None]
    site: str | None = None


class Recorder:
    """Stands where `_files` has `os`: does everything for real, and notes what changes a file.

    The notes are played on a tree of `File` and `Directory`, in full or up to any call. A sync that
    is left out while playing is a sync that was never called.
    """

    def __init__(self, top: Path) -> None:
        self.calls: list[Call] = []
        self.root = Directory()
        self._top = top
        # What each path and descriptor is now. Playing comes later and needs the same objects.
        self._nodes: dict[Path, File | Directory] = {top: self.root}
        self._open: dict[int, File | Directory] = {}
        self._all: list[File | Directory] = [self.root]

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def rewind(self) -> None:
        """Empty the disk, so that the calls can be played from the first."""
        for node in self._all:
            for held in (node.data, node.durable) if isinstance(node, File) else ():
                held.clear()
            for names in (node.names, node.durable) if isinstance(node, Directory) else ():
                names.clear()

    def _entry(self, path: Path) -> tuple[Directory, str]:
        parent = self._nodes[path.parent]
        assert isinstance(parent, Directory)
        return parent, path.name

    def _add(self, path: Path, node: File | Directory) -> None:
        parent, name = self._entry(path)
        self._nodes[path] = node
        self._all.append(node)
        self.calls.append(Call(lambda: parent.names.__setitem__(name, node)))

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            self._add(path, File(bytearray()))
        self._open[descriptor] = self._nodes[path]
        return descriptor

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]
        os.close(descriptor)

    def _file(self, descriptor: int) -> File:
        file = self._open[descriptor]
        assert isinstance(file, File)
        return file

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        file, written = self._file(descriptor), bytes(data)

        def do() -> None:
            file.data.extend(bytes(max(0, offset - len(file.data))))
            file.data[offset : offset + len(written)] = written

        self.calls.append(Call(do))
        return os.pwrite(descriptor, data, offset)

    def ftruncate(self, descriptor: int, size: int) -> None:
        file = self._file(descriptor)

        def do() -> None:
            file.data[:] = file.data[:size].ljust(size, b"\0")

        self.calls.append(Call(do))
        os.ftruncate(descriptor, size)

    def fchmod(self, descriptor: int, mode: int) -> None:
        file = self._file(descriptor)
        self.calls.append(Call(lambda: setattr(file, "mode", mode)))
        os.fchmod(descriptor, mode)

    def fsync(self, descriptor: int) -> None:
        node = self._open[descriptor]

        def do() -> None:
            if isinstance(node, File):
                node.durable = bytearray(node.data)
            else:
                node.durable = dict(node.names)

        self.calls.append(Call(do, site=_site()))
        os.fsync(descriptor)

    fdatasync = fsync

    def rename(self, source: Path, target: Path) -> None:
        (old, old_name), (new, new_name) = self._entry(source), self._entry(target)
        node = self._nodes[target] = self._nodes.pop(source)

        def do() -> None:
            del old.names[old_name]
            new.names[new_name] = node

        self.calls.append(Call(do))
        os.rename(source, target)

    def _drop(self, path: Path) -> None:
        parent, name = self._entry(path)
        del self._nodes[path]
        self.calls.append(Call(lambda: parent.names.__delitem__(name)))

    def unlink(self, path: Path) -> None:
        os.unlink(path)
        self._drop(path)

    def mkdir(self, path: Path) -> None:
        os.mkdir(path)
        self._add(path, Directory())

    def rmdir(self, path: Path) -> None:
        os.rmdir(path)
        self._drop(path)


_HELPERS = ("_files.py", "durable.py", "contextlib.py")
"""Modules that only sync for their callers."""


def _site() -> str:
    """Name the line that wanted a sync: the helper that made it, and who called that."""
    frame = sys._getframe(2)
    method = "fsync"
    while frame.f_code.co_filename.endswith(_HELPERS):
        method = frame.f_code.co_name
        assert frame.f_back is not None
        frame = frame.f_back
    return f"{frame.f_code.co_name}: {method}"
