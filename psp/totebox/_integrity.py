"""Is everything still there? Looks at every part of a stopped archive, and repairs nothing.

Not by `Archive.open`, which refuses at the first thing that is wrong: each part is looked at by
itself, so one report names all that is. What it finds, it says with how serious it is and what to
type next. docs/auditing.md tells what each part is held against.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import apsw

from psp.capability import Anchor, verify_anchor_untrusted
from psp.errors import ArchiveError, CapabilityError, EstateError, LedgerError, MissingExtra
from psp.ledger import Checkpoint, Ledger, check_ledger, verify_consistency
from psp.transport import MachineKey

from ._assets import Assets, write_durably
from ._audit_memory import Harm, memory_harms, open_memory_harms
from ._engines import index_file, is_sound, open_index, read_tables
from ._entries import PAIRED, UNPAIRED, decode_change
from ._index import Built
from ._lock import DirectoryLock
from ._manifest import Manifest
from ._manifest_file import read_manifest
from ._pairing import read_pairings
from ._read_audit import READS_DIRECTORY, has_reads, reads_origin
from ._receipts import decode_read_untrusted
from ._replay import replay
from ._report import Finding, Report, Severity
from ._rounds import ROUND_FILE, draw, read_round

if TYPE_CHECKING:
    from ._archive import Archive

_ENTRIES_AT_A_TIME: Final = 1_024
_Memory: TypeAlias = Callable[[bytes, Anchor, Ledger], Sequence[Harm]]


def audit_archive(directory: Path, *, sample: int | None = None) -> Report:
    """Look at a stopped archive, whole, or at a sample of its originals.

    Args:
        sample: How many originals to hash, those that no sample of this round has had; None for all
            of them, and for the index to be made again and compared.

    Raises:
        ArchiveError: It is in use, or no archive is here. Nothing was looked at.
    """
    if sample is not None and sample < 1:
        raise ArchiveError(f"a sample of {sample} originals says nothing; take 1 or more.")
    with DirectoryLock(directory, shared=True, doing="auditing it"):
        audit = _Audit(Report(directory), directory)
        audit.look(sample, memory=partial(memory_harms, directory), compare=sample is None)
    return audit.report


def audit_open(archive: Archive, *, sample: int | None = None) -> Report:
    """Look at an archive that this process has open, and that nobody changes meanwhile.

    Each part from its files, as `audit_archive` does, but for two: what it remembers about grants
    is open already, and the index is left to an audit of the stopped archive.

    Args:
        sample: As for `audit_archive`.
    """

    def remembered(_id: bytes, anchor: Anchor, ledger: Ledger) -> list[Harm]:
        return open_memory_harms(archive.memory.state(), anchor, ledger)

    audit = _Audit(Report(archive.directory), archive.directory)
    audit.look(sample, memory=remembered, compare=False)
    return audit.report


@dataclass(slots=True)
class _Audit:
    report: Report
    directory: Path

    def look(self, sample: int | None, *, memory: _Memory, compare: bool) -> None:
        manifest, anchor = self._manifest_and_anchor()
        self._keys(anchor)
        if manifest is None or anchor is None:
            return
        ledger = self._open_ledger("ledger", f"psp-archive/{manifest.archive_id.hex()}", anchor)
        if ledger is None:
            return
        self.report.checkpoint = ledger.checkpoint
        facts = list(_facts(ledger))
        self._recorded_hashes(facts)
        self._reads(ledger, anchor)
        self._assets(facts, sample)
        self._pins(facts)
        for harm in memory(manifest.archive_id, anchor, ledger):
            next_ = harm.next_.replace("DIR", shlex.quote(str(self.directory)))
            self.say("state", harm.severity, harm.what, next_)
        self._index(manifest, ledger, compare=compare)

    def say(
        self, part: str, severity: Severity, what: str, next_: str, since: str | None = None
    ) -> None:
        self.report.findings.append(Finding(part, severity, what, since, next_))

    def _shell(self, command: str, *paths: str) -> str:
        return " ".join([command, *(shlex.quote(str(self.directory / path)) for path in paths)])

    def _restore(self, path: str) -> str:
        return f"cp BACKUP/{shlex.quote(path)} {shlex.quote(str(self.directory / path))}"

    def _manifest_and_anchor(self) -> tuple[Manifest | None, Anchor | None]:
        manifest = anchor = None
        try:
            manifest = read_manifest((self.directory / "manifest.toml").read_text("utf-8"))
        except (OSError, UnicodeDecodeError, ArchiveError) as exc:
            self.say("manifest", Severity.DAMAGE, str(exc), self._restore("manifest.toml"))
            return None, None
        try:
            statement = (self.directory / "keys/anchor").read_bytes()
            anchor = verify_anchor_untrusted(statement, archive_id=manifest.archive_id)
        except (OSError, CapabilityError) as exc:
            self.say("anchor", Severity.DAMAGE, str(exc), self._restore("keys/anchor"))
        return manifest, anchor

    def _open_ledger(self, path: str, origin: str, anchor: Anchor) -> Ledger | None:
        """Open a ledger and check all of it; None if what it holds cannot be believed."""
        part = "reads" if path == READS_DIRECTORY else path
        place, key = self.directory / path, anchor.ledger_key
        try:
            ledger = Ledger.open(place, origin=origin, public_key=key)
            report = check_ledger(place, origin=origin, public_key=key)
        except LedgerError as exc:
            restore = f"cp -r BACKUP/{path}/. {shlex.quote(str(place))}"
            self.say(part, Severity.DAMAGE, str(exc), restore)
            return None
        for one in report.findings:
            severity = Severity.DAMAGE if one.is_damage else Severity.WARNING
            what = f"{path}/{one.file}: {one.what}. {one.remedy}"
            self.say(part, severity, what, self._shell("psp ledger fsck", "."))
        return None if any(one.is_damage for one in report.findings) else ledger

    def _recorded_hashes(self, facts: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Hold the manifest and the anchor against the last entry that recorded their hash."""
        for name, path in (("manifest", "manifest.toml"), ("anchor", "keys/anchor")):
            recorded = [(place, entry[name]) for place, entry in facts if name in entry]
            if not recorded:
                continue
            place, expected = recorded[-1]
            found = hashlib.sha256((self.directory / path).read_bytes()).hexdigest()
            if found != expected:
                self.say(
                    name,
                    Severity.DAMAGE,
                    f"{path} is not the one that entry {place} of the ledger recorded: it was"
                    " edited or replaced, and with it perhaps the floor and the columns",
                    f"diff BACKUP/{path} {shlex.quote(str(self.directory / path))}",
                    since=f"tree size {place + 1}",
                )

    def _reads(self, data: Ledger, anchor: Anchor) -> None:
        if not (self.directory / READS_DIRECTORY).is_dir():
            if has_reads(data):
                what = "the record of reads is gone, and entry 0 says that there was one"
                restore = f"cp -r BACKUP/{READS_DIRECTORY} " + self._shell("", "ledger").strip()
                self.say("reads", Severity.DAMAGE, what, restore, since="tree size 1")
            return
        origin = reads_origin(data.checkpoint.origin)
        if (reads := self._open_ledger(READS_DIRECTORY, origin, anchor)) is None:
            return
        self.report.reads_recorded = reads.checkpoint.tree_size
        states: dict[tuple[int, bytes], int] = {}
        for place, entry in _entries(reads):
            try:
                read = decode_read_untrusted(entry)
            except LedgerError:
                what = f"entry {place} of the record of reads is not the entry of a read"
                self.say("reads", Severity.DAMAGE, what, "pip install --upgrade psp-protocol")
                continue
            states.setdefault((read.tree_size, read.root_hash), place)
        for (size, root), place in states.items():
            if not _was_state(data, size, root):
                self.say(
                    "reads",
                    Severity.DAMAGE,
                    f"entry {place} of the record of reads tells of a ledger of {size} entries that"
                    " this ledger never was: one of the two was rewritten, or put back from a copy",
                    "diff -r BACKUP/ledger " + self._shell("", "ledger").strip(),
                    since=f"tree size {size}",
                )

    def _assets(self, facts: Sequence[tuple[int, Mapping[str, Any]]], sample: int | None) -> None:
        sealed: dict[str, int] = {}
        for place, entry in facts:
            if isinstance(asset := entry.get("asset"), str):
                sealed.setdefault(asset, place)
        names = sorted(sealed)
        drawn = names if sample is None else self._draw(names, sample)
        self.report.assets_sealed, self.report.assets_read = len(names), len(drawn)
        assets = Assets(self.directory / "assets")
        for name in sorted(drawn):
            path = f"assets/{name}"
            since = f"tree size {sealed[name] + 1}, whose last entry sealed it"
            try:
                with assets.open_verified(bytes.fromhex(name)) as file:
                    mode = stat.S_IMODE(Path(file.name).stat().st_mode)
            except (ArchiveError, OSError, ValueError) as exc:
                self.say("assets", Severity.DAMAGE, str(exc), self._restore(path), since)
                continue
            if mode & 0o222:
                what = f"the original {name} can be written: its mode is {mode:04o}, not 0444"
                self.say("assets", Severity.WARNING, what, self._shell("chmod 444", path))
        self._strange_assets(set(sealed))

    def _draw(self, names: Sequence[str], count: int) -> Sequence[str]:
        """Draw the next originals of a round: all are read before one is read again."""
        drawn, then = draw(names, count, read_round(self.directory))
        try:
            write_durably(self.directory / ROUND_FILE, then.encode())
        except OSError as exc:
            what = f"which originals were read cannot be remembered ({exc.strerror})"
            self.say("assets", Severity.WARNING, what, self._shell("ls -ld", "state"))
        return drawn

    def _strange_assets(self, sealed: set[str]) -> None:
        for path in sorted((self.directory / "assets").glob("*")):
            if path.name not in sealed and not path.name.startswith("."):
                what = f"assets/{path.name} is sealed by no entry; an interrupted intake leaves one"
                look = self._shell("ls -l", f"assets/{path.name}")
                self.say("assets", Severity.NOTE, what, look)

    def _pins(self, facts: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        recorded: dict[str, tuple[str, str, int]] = {}
        for place, entry in facts:
            if entry.get("kind") == PAIRED:
                recorded[str(entry["peer"])] = entry["spki"], entry["ceiling"], place
            elif entry.get("kind") == UNPAIRED:
                recorded.pop(str(entry["peer"]), None)
        try:
            pairings = read_pairings(self.directory)
        except ArchiveError as exc:
            self.say("pins", Severity.DAMAGE, str(exc), self._shell("ls -l", "keys/peers"))
            return
        for one in pairings:
            name, path = one.pin.name, f"keys/peers/{one.pin.name}.toml"
            spki, ceiling, place = recorded.get(name, ("", "", 0))
            if (one.pin.certificate.spki_hash.hex(), one.ceiling) != (spki, ceiling):
                self.say(
                    "pins",
                    Severity.DAMAGE,
                    f"the machine {name!r} may connect with a key or a ceiling that no entry"
                    " of the ledger records",
                    self._shell("rm", path),
                    since=f"tree size {place + 1}" if spki else None,
                )
        for name in sorted(recorded.keys() - {one.pin.name for one in pairings}):
            what = f"the machine {name!r} was paired and has no file now: it may not connect"
            self.say("pins", Severity.NOTE, what, self._shell("ls -l", "keys/peers"))

    def _keys(self, anchor: Anchor | None) -> None:
        for name in ("machine.key", "ledger.key"):
            path = self.directory / "keys" / name
            if not path.exists():
                what = f"keys/{name} is not here; without it the archive is not served"
                self.say("keys", Severity.WARNING, what, self._restore(f"keys/{name}"))
                continue
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                what = f"keys/{name} can be read by others: its mode is {mode:04o}, not 0600"
                self.say("keys", Severity.DAMAGE, what, self._shell("chmod 600", f"keys/{name}"))
                continue
            try:
                key = MachineKey.load(path)
            except EstateError as exc:
                self.say("keys", Severity.DAMAGE, str(exc), self._restore(f"keys/{name}"))
                continue
            if name == "ledger.key" and anchor and key.public_bytes != anchor.ledger_key:
                what = "keys/ledger.key is not the key that the owner's anchor statement names"
                self.say("keys", Severity.DAMAGE, what, self._restore(f"keys/{name}"))

    def _index(self, manifest: Manifest, ledger: Ledger, *, compare: bool) -> None:
        name = index_file(manifest.engine)
        path = self.directory / "index" / name
        remedy = self._shell("rm", f"index/{name}")
        if not path.exists():
            what = "there is no index; it is made again when the archive is next served"
            self.say("index", Severity.NOTE, what, self._shell("ls", "index"))
            return
        if not compare or any(
            one.part == "assets" and one.severity for one in self.report.findings
        ):
            return  # In a sample; or the originals, from which it would be made, are not whole.
        try:
            with TemporaryDirectory(prefix="psp-audit-") as making:
                fresh = Path(making) / name
                _build_index(fresh, manifest, ledger, Assets(self.directory / "assets"))
                different = _differences(manifest.engine, path, fresh)
        except (apsw.Error, ArchiveError, MissingExtra, OSError) as exc:
            what = f"the index cannot be compared with the originals ({exc})"
            self.say("index", Severity.WARNING, what, remedy)
            return
        self.report.index_compared = True
        if different:
            what = f"the index's {', '.join(different)} are not what the sealed originals say"
            self.say("index", Severity.DAMAGE, what, remedy)


def _entries(ledger: Ledger) -> Iterator[tuple[int, bytes]]:
    size = ledger.checkpoint.tree_size
    for start in range(0, size, _ENTRIES_AT_A_TIME):
        entries = ledger.entries(start, min(start + _ENTRIES_AT_A_TIME, size))
        yield from enumerate(entries, start)


def _facts(ledger: Ledger) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Give every entry with its place; the ledger vouches for what it says."""
    return ((place, json.loads(entry)) for place, entry in _entries(ledger))


def _was_state(ledger: Ledger, size: int, root: bytes) -> bool:
    now = ledger.checkpoint
    if size > now.tree_size:
        return False
    then = Checkpoint(origin=now.origin, tree_size=size, root_hash=root)
    try:
        verify_consistency(then, now, ledger.prove_consistency(size, now.tree_size))
    except LedgerError:
        return False
    return True


def _build_index(path: Path, manifest: Manifest, ledger: Ledger, assets: Assets) -> None:
    """Make the index again, beside the archive, as opening it without one would."""
    now = ledger.checkpoint
    index = open_index(manifest.engine, path, manifest.tables, manifest.archive_id, read_only=False)
    try:
        with index.writing():
            for place, entry in _entries(ledger):
                if (change := decode_change(entry)) is not None:
                    replay(change, place, manifest, assets, index)
            index.mark(Built(now.tree_size, now.root_hash))
    finally:
        index.close()


def _differences(engine: str, one: Path, other: Path) -> list[str]:
    """Name the tables that two indexes do not have alike."""
    first, second = _digests(engine, one), _digests(engine, other)
    unsound = [] if is_sound(engine, one) else ["ways to its rows"]
    return unsound + [
        name for name in sorted(first.keys() | second) if first.get(name) != second.get(name)
    ]


def _digests(engine: str, path: Path) -> dict[str, tuple[int, int]]:
    """Count and digest the rows of every table; their order does not count, so none is sorted."""
    with read_tables(engine, path) as tables:
        return {name: _digest(rows) for name, rows in tables}


def _digest(rows: Iterable[tuple[object, ...]]) -> tuple[int, int]:
    count = total = 0
    for row in rows:
        count += 1
        # Added up and not XORed: two rows that are alike must not vanish together.
        total += int.from_bytes(hashlib.sha256(repr(row).encode()).digest())
    return count, total
