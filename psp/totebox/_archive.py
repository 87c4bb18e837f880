"""One directory, one archive: made, opened, paired, fed.

The ledger's journal decides. A file is sealed when its entry is durable there; the asset is in its
place before, the index follows after, and `open` repairs whatever a crash left in between. So a
killed process leaves the state before or the state after.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from psp.capability import Anchor, verify_anchor_untrusted
from psp.durable import sync_directory
from psp.errors import ArchiveError, IntakeRefused
from psp.ledger import Checkpoint, Ledger
from psp.transport import MachineKey

from ._add_table import finish_table
from ._assets import Assets, remove_drafts, write_durably
from ._engines import index_file, open_index
from ._entries import PAIRED, DocumentEntry, IngestEntry, decode_change, encode_entry
from ._founding import begin_ledger, lay_out, ledger_origin
from ._index import Built, Index
from ._ingest import Ingested, Progress, Request, disk_errors, seal
from ._lifecycle import finish_transition
from ._lock import DirectoryLock
from ._manifest import Manifest, State, Table
from ._manifest_file import read_manifest
from ._memory import GrantMemory
from ._open_memory import open_memory
from ._pairing import Pairing, check_pairing, peer_file, read_pairings, write_pairing
from ._rates import FreeBytes
from ._read_audit import ReadAudit, open_reads
from ._replay import extends, replay
from ._state_file import StateFile


class Archive:
    """An open archive. Made by `create` and `open`; closed by `close` or a `with` block."""

    def __init__(self, directory: Path, *, read_only: bool, doing: str) -> None:
        self.directory = directory
        self.read_only = read_only
        with ExitStack() as opened:
            self._lock = DirectoryLock(directory, shared=read_only, doing=doing)
            opened.callback(self._lock.close)
            if not read_only:
                with disk_errors(f"{directory} was not opened for writing", ArchiveError):
                    remove_drafts(directory)
            self.manifest = _read_manifest_file(directory / "manifest.toml")
            keys = directory / "keys"
            self.anchor_statement = _read(keys / "anchor")
            self.anchor: Anchor = verify_anchor_untrusted(
                self.anchor_statement, archive_id=self.manifest.archive_id
            )
            self.ledger = Ledger.open(
                directory / "ledger",
                origin=ledger_origin(self.manifest.archive_id),
                public_key=self.anchor.ledger_key,
                key=None if read_only else MachineKey.load(keys / "ledger.key"),
            )
            opened.callback(self.ledger.close)
            self.manifest = finish_table(directory, self.manifest, self.ledger, read_only)
            self.manifest = finish_transition(directory, self.manifest, self.ledger, read_only)
            self.assets = Assets(directory / "assets")
            self.index = self._open_index()
            opened.callback(self.index.close)
            self._reads: ReadAudit | None = None  # Opened by `read_audit`.
            self._opened = opened.pop_all()

    @classmethod
    def create(
        cls,
        directory: Path,
        manifest: Manifest,
        *,
        machine_key: MachineKey,
        ledger_key: MachineKey,
        anchor_statement: bytes,
        now: datetime | None = None,
    ) -> Self:
        """Make an archive in a directory that is not there yet, or empty, and open it.

        It is made under another name and renamed when it is whole.

        Raises:
            ArchiveError: The directory holds something, or the disk refused.
            CapabilityError: The anchor statement is not this archive's.
        """
        anchor = verify_anchor_untrusted(anchor_statement, archive_id=manifest.archive_id)
        if anchor.ledger_key != ledger_key.public_bytes:
            raise ArchiveError(
                f"the anchor statement of {manifest.name!r} names another ledger key than the one"
                " given. Sign a statement for this key."
            )
        if directory.exists() and any(directory.iterdir()):
            raise ArchiveError(
                f"{directory} cannot become an archive: it is not empty. Choose another directory."
            )
        making = directory.with_name(f".{directory.name}.making-{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)  # Of a killed process that had our number.
        try:
            with disk_errors(f"the archive {directory} was not made", ArchiveError):
                lay_out(making, manifest, machine_key, ledger_key, anchor_statement)
                StateFile.create(
                    making, manifest.archive_id, {"epoch": anchor.epoch, "recorded": 1}
                )
                begin_ledger(making, manifest, ledger_key, anchor_statement, now)
                # Opened once before it has its name: what does not open is never there.
                cls.open(making).close()
                making.rename(directory)
                sync_directory(directory.parent)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return cls.open(directory)

    @classmethod
    def open(
        cls, directory: Path, *, read_only: bool = False, doing: str = "working on it"
    ) -> Self:
        """Open an archive, check its ledger, and bring its index up to the ledger.

        Args:
            read_only: Share it with other readers and write nothing.
            doing: What to tell others who want to write meanwhile.

        Raises:
            ArchiveError: No archive is here, another process holds it, or its parts disagree.
            LedgerError: The ledger is damaged or not signed by its key. Nothing was changed.
        """
        return cls(directory, read_only=read_only, doing=doing)

    def close(self) -> None:
        """Let go of the files and the lock."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def index_path(self) -> Path:
        return self.directory / "index" / index_file(self.manifest.engine)

    def machine_key(self) -> MachineKey:
        """Load the key that this archive shows to its peers.

        Raises:
            KeyFileError: Missing, damaged, or readable by others.
        """
        return MachineKey.load(self.directory / "keys" / "machine.key")

    def read_audit(self) -> ReadAudit:
        """Open the record of reads, for whoever serves this archive; closed with the archive.

        Raises:
            ArchiveError: The archive was opened only to read, or its record is missing.
            LedgerError: The record is damaged or not signed by its key.
        """
        self.require_writing("serve reads")
        if self._reads is None:
            self._reads = ReadAudit(
                open_reads(self.directory, self.ledger, self.anchor.ledger_key),
                self.manifest.reads,
                free_bytes=FreeBytes(self.directory),
            )
            self._opened.callback(self._reads.close)
        return self._reads

    @cached_property
    def memory(self) -> GrantMemory:
        """What this archive remembers about grants; closed with the archive.

        Raises:
            ArchiveError: The archive was opened only to read.
        """
        self.require_writing("serve grants")
        memory = open_memory(self)
        self._opened.callback(memory.close)
        return memory

    def record(self, entry: bytes) -> int:
        """Put on record what changes no table; return the entry's place.

        Raises:
            LedgerError: The disk failed.
        """
        appended = self.ledger.append([entry])
        with self.index.writing():
            self.index.mark(_built(appended.checkpoint))
        return appended.first_index

    def pair(
        self,
        name: str,
        certificate_pem: str,
        ceiling: str,
        *,
        operator: str = "owner",
        now: datetime | None = None,
    ) -> Pairing:
        """Let a machine connect, up to a ceiling. An entry in the ledger says who and when.

        Raises:
            ArchiveError: The name or ceiling does not exist, or the archive is read-only.
            EstateError: The certificate does not pass the checks of pairing.
        """
        self.require_writing("pair a machine")
        pairing = check_pairing(name, certificate_pem, ceiling)
        entry = encode_entry(
            PAIRED,
            now or datetime.now(UTC),
            {
                "operator": operator,
                "peer": name,
                "ceiling": ceiling,
                "spki": pairing.pin.certificate.spki_hash.hex(),
            },
        )
        with disk_errors(f"the machine {name!r} was not paired", ArchiveError):
            # The entry first: a pin without an entry would let in a machine that no record names.
            appended = self.ledger.append([entry])
            write_durably(peer_file(self.directory, name), write_pairing(pairing))
            with self.index.writing():
                self.index.mark(_built(appended.checkpoint))
        return pairing

    def pairings(self) -> list[Pairing]:
        """Read every pairing.

        Raises:
            ArchiveError: A pairing's file is damaged; the message names it.
        """
        return read_pairings(self.directory)

    def ingest(
        self,
        path: Path,
        table: str,
        *,
        operator: str,
        now: datetime,
        accept_partial: bool = False,
        null: str = "",
        sheet: str = "",
        progress: Progress | None = None,
        asked: Mapping[str, str] | None = None,
        rows_max: int | None = None,
    ) -> Ingested:
        """Seal a file and put its rows into a table: all of it, or nothing.

        Args:
            accept_partial: Seal the file although some of its rows are refused. Its bytes are
                sealed whole; the refused rows stay out of the table.
            null: The text that stands for "no value" in a CSV.
            sheet: Which sheet of a workbook that has several.
            asked: The call under a grant that brings it, for the entry.
            rows_max: More rows than this are refused.

        Raises:
            IntakeRefused: The file cannot be sealed as it is; the message says which line and
                column, and what to do. The archive is as before.
            MissingExtra: What reads it is not installed.
        """
        self.require_writing(f"ingest {path.name}")
        request = Request(
            path=path,
            table=self.table_to_fill(table),
            operator=operator,
            now=now,
            accept_partial=accept_partial,
            null=null,
            sheet=sheet,
            progress=progress,
            asked=asked,
            rows_max=rows_max,
        )
        with disk_errors(f"{path.name} was not sealed", IntakeRefused):
            return seal(request, self.ledger, self.assets, self.index)

    def original_of(self, entry_index: int) -> IngestEntry | DocumentEntry:
        """Read the entry by which a file was sealed.

        Raises:
            ArchiveError: The entry is not about a file.
        """
        (entry,) = self.ledger.entries(entry_index, entry_index + 1)
        if not isinstance(found := decode_change(entry), IngestEntry | DocumentEntry):
            raise ArchiveError(f"entry {entry_index} of the ledger seals no file; ask for another.")
        return found

    def table_to_fill(self, name: str) -> Table:
        """Give a table of an active archive.

        Raises:
            IntakeRefused: The archive is not active, or has no such table.
        """
        if self.manifest.state is not State.ACTIVE:
            raise IntakeRefused(
                f"the archive {self.manifest.name!r} is {self.manifest.state}; only an active one"
                " takes files. Resume it first."
            )
        try:
            return self.manifest.table(name)
        except KeyError:
            names = [table.name for table in self.manifest.tables]
            close = get_close_matches(name, names, 1)
            raise IntakeRefused(
                f"the archive {self.manifest.name!r} has no table {name!r};"
                f" it has {', '.join(names) or 'none'}."
                f"{f' Did you mean {close[0]!r}?' if close else ' Name one of them.'}"
            ) from None

    def require_writing(self, what: str) -> None:
        """Raise `ArchiveError` if the archive was opened only to read."""
        if self.read_only:
            raise ArchiveError(
                f"the archive {self.directory} was opened only to read, so it cannot {what}."
                " Open it for writing."
            )

    def _open_index(self) -> Index:
        index = open_index(
            self.manifest.engine,
            self.index_path,
            self.manifest.tables,
            self.manifest.archive_id,
            read_only=self.read_only,
        )
        try:
            self._catch_up(index)
        except BaseException:
            index.close()
            raise
        return index

    def _catch_up(self, index: Index) -> None:
        """Bring the index to the ledger's state: after a crash, a copy, a deletion."""
        built, now = index.built, self.ledger.checkpoint
        if built == _built(now):
            return
        if self.read_only:
            raise ArchiveError(
                f"the index of {self.directory} is not at the ledger's state, and was opened only"
                " to read. Serve the archive or ingest once: that rebuilds it."
            )
        what = f"the index of {self.directory} was not rebuilt"
        with disk_errors(what, ArchiveError), index.writing():
            if not extends(self.ledger, built):
                index.clear(self.manifest.tables)
                built = Built(0, b"")
            entries = self.ledger.entries(built.tree_size, now.tree_size)
            for position, entry in enumerate(entries, built.tree_size):
                if (change := decode_change(entry)) is not None:
                    replay(change, position, self.manifest, self.assets, index)
            index.mark(_built(now))


def _built(checkpoint: Checkpoint) -> Built:
    return Built(checkpoint.tree_size, checkpoint.root_hash)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ArchiveError(
            f"{path} cannot be read ({exc.strerror}); without it this is no archive."
            " Restore it from a backup."
        ) from exc


def _read_manifest_file(path: Path) -> Manifest:
    try:
        return read_manifest(_read(path).decode())
    except UnicodeDecodeError as exc:
        raise ArchiveError(f"{path} is not UTF-8. Restore it from a backup.") from exc
