"""Sealing one file: copy, look at every row, ask the ledger, show the index.

copy and hash       a draft beside the originals, durable
every row           into the index, uncommitted; one refused row ends it here
flush               a full disk is noticed here, while everything can still be undone
final name          of the original, durable
ledger entry        durable: the file is sealed
commit              of the index; after a crash before it, `open` reads the original again
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import apsw

from psp.errors import ArchiveError, IntakeRefused
from psp.ledger import Checkpoint, Ledger

from ._assets import Assets, DraftAsset
from ._commit import commit
from ._entries import IngestEntry, decode_change
from ._index import Index, Row
from ._intake import Quarantine, Refusal, TypedRows
from ._manifest import Manifest, Table
from ._readers import open_source

Progress: TypeAlias = "Callable[[int, int, int], None]"
"""Takes the rows accepted so far, the bytes read so far, and the bytes of the file."""

_REMEDIES: Final = {
    errno.ENOSPC: "Free space on that disk, then try again",
    errno.EDQUOT: "Free space within the quota, then try again",
    errno.EROFS: "Mount it for writing, or work on a copy",
    errno.EACCES: "Make the directory writable for this user",
    errno.EPERM: "Make the directory writable for this user",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One file to be sealed; see `Archive.ingest`."""

    path: Path
    table: Table
    operator: str
    now: datetime
    accept_partial: bool
    null: str
    sheet: str
    progress: Progress | None
    asked: Mapping[str, str] | None = None
    rows_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """A sealed file.

    Attributes:
        entry_index: The place of its entry in the ledger.
        checkpoint: What the ledger commits to with it.
        quarantine: The file that lists the refused rows, if there are any.
        earlier: The same bytes were sealed into the same table before, by this entry, which is then
            also the one of `entry_index`; nothing was added. None: the file is new.
    """

    rows: int
    refused: int
    entry_index: int
    checkpoint: Checkpoint
    quarantine: Path | None
    earlier: IngestEntry | None = None


def seal(request: Request, ledger: Ledger, assets: Assets, index: Index) -> Ingested:
    """Seal one file; see `Archive.ingest`."""
    quarantine = Quarantine(request.path, request.table)
    draft = assets.copy_in(request.path)
    try:
        ingested = _already(request, draft, ledger, index) or _seal(
            request, draft, ledger, assets, index, quarantine
        )
    except IntakeRefused:
        quarantine.keep()
        raise
    finally:
        assets.discard(draft)
        quarantine.discard()
    return ingested


def replay_ingest(
    ingest: IngestEntry, position: int, manifest: Manifest, assets: Assets, index: Index
) -> None:
    """Read a sealed original into the index again; inside `Index.writing`.

    Raises:
        ArchiveError: The original is missing or changed, the manifest's table is another one by
            now, or this release reads the file differently than the one that sealed it.
    """
    table = _same_table(ingest, position, manifest)
    refused: list[int] = []
    with assets.open_verified(ingest.asset) as file:
        path, name = assets.path(ingest.asset), ingest.file
        reading = _Reading(table, file, path, name, ingest.null, ingest.sheet)
        accepted = _read_into(
            index,
            position,
            reading,
            refuse=lambda refusal: refused.append(refusal.line),
            on_batch=lambda _rows, _bytes: None,
        )
    if (accepted, len(refused)) != (ingest.rows, ingest.refused):
        raise ArchiveError(
            f"entry {position} sealed {ingest.rows} rows and refused {ingest.refused}; reading its"
            f" original again gives {accepted} and {len(refused)}. This release reads the file"
            " differently: use the one that sealed it, and report this."
        )
    index.remember(ingest.asset, position)


@contextmanager
def disk_errors(what: str, error: type[ArchiveError]) -> Iterator[None]:
    """Turn what the disk says into a sentence with a remedy."""
    try:
        yield
    except apsw.FullError as exc:
        raise error(f"{what}: the disk is full. {_REMEDIES[errno.ENOSPC]}.") from exc
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.IOError) as exc:
        raise error(
            f"{what}: the index cannot be written ({exc}). Check that the archive's directory is"
            " writable and its disk is sound."
        ) from exc
    except OSError as exc:
        remedy = _REMEDIES.get(exc.errno or 0, "Check the disk and the permissions")
        where = f" at {exc.filename}" if exc.filename else ""
        raise error(f"{what}: {os.strerror(exc.errno or 0)}{where}. {remedy}.") from exc


def _already(request: Request, draft: DraftAsset, ledger: Ledger, index: Index) -> Ingested | None:
    """Recognise a file by its content: the same bytes, read the same way into the same table."""
    for position in index.entries_of(draft.sha256):
        (entry,) = ledger.entries(position, position + 1)
        match decode_change(entry):
            case IngestEntry() as found if (found.table.name, found.null, found.sheet) == (
                request.table.name,
                request.null,
                request.sheet,
            ):
                return Ingested(
                    rows=0,
                    refused=0,
                    entry_index=position,
                    checkpoint=ledger.checkpoint,
                    quarantine=None,
                    earlier=found,
                )
    return None


def _seal(
    request: Request,
    draft: DraftAsset,
    ledger: Ledger,
    assets: Assets,
    index: Index,
    quarantine: Quarantine,
) -> Ingested:
    rows = 0

    def change(position: int) -> bytes:
        nonlocal rows
        rows = _load(request, draft, position, index, quarantine)
        # Listed before the ledger's yes: what is sealed without some rows says which.
        quarantine.keep()
        _decide(request, rows, quarantine)
        return _entry(request, draft, rows, quarantine.count)

    what = f"{request.path.name} is sealed"
    appended = commit(what, ledger, index, change, original=(assets, draft))
    return Ingested(
        rows=rows,
        refused=quarantine.count,
        entry_index=appended.first_index,
        checkpoint=appended.checkpoint,
        quarantine=quarantine.path if quarantine.count else None,
    )


def _load(
    request: Request, draft: DraftAsset, entry: int, index: Index, quarantine: Quarantine
) -> int:
    def on_batch(accepted: int, bytes_done: int) -> None:
        if request.progress is not None:
            request.progress(accepted, bytes_done, draft.size_bytes)

    # The copy is read, not the input: what was hashed is what is parsed.
    with draft.path.open("rb") as file:
        name, null, sheet = request.path.name, request.null, request.sheet
        reading = _Reading(request.table, file, draft.path, name, null, sheet)
        return _read_into(index, entry, reading, refuse=quarantine.add, on_batch=on_batch)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A sealed original, open, and how it is read."""

    table: Table
    file: BinaryIO
    path: Path
    shown_name: str
    null: str
    sheet: str


def _read_into(
    index: Index,
    entry: int,
    reading: _Reading,
    *,
    refuse: Callable[[Refusal], None],
    on_batch: Callable[[int, int], None],
) -> int:
    """Put the rows of a file into their table: whole, if the engine can, or row by row."""
    table, null = reading.table, reading.null

    def refuse_repeated(row: Row, first_line: int) -> None:
        reason = f"has the key of line {first_line}; a key stands once in a file"
        refuse(Refusal(_line(row), "", reason, row[:-1]))

    if not reading.sheet:
        accepted = index.load_file(
            table, entry, reading.path, null=null, refuse=refuse_repeated, on_batch=on_batch
        )
        if accepted is not None:
            return accepted
    source = open_source(reading.file, shown_name=reading.shown_name, sheet=reading.sheet)
    rows = TypedRows(source, table, null=null, refuse=refuse)
    return index.load(
        table,
        entry,
        rows,
        refuse=refuse_repeated,
        on_batch=lambda accepted: on_batch(accepted, source.bytes_done()),
    )


def _decide(request: Request, rows: int, quarantine: Quarantine) -> None:
    if quarantine.count and not request.accept_partial:
        raise quarantine.refused(request.path.name, is_of_a_stranger=request.asked is not None)
    if quarantine.unwritable is not None:
        raise IntakeRefused(
            f"{request.path.name}: {quarantine.count:,} rows would be refused, and they cannot be"
            f" listed in {quarantine.path} ({quarantine.unwritable}). Make that directory writable."
        )
    if request.rows_max is not None and rows > request.rows_max:
        raise IntakeRefused(
            f"{request.path.name} has {rows:,} rows, and the grant lets {request.rows_max:,} be"
            " appended at a time; nothing was sealed. Split the file."
        )
    if not rows:
        raise IntakeRefused(
            f"{request.path.name} has no rows for the table {request.table.name!r}; nothing was"
            " sealed. Give a file with rows."
        )


def _entry(request: Request, draft: DraftAsset, rows: int, refused: int) -> bytes:
    return IngestEntry(
        operator=request.operator,
        time=request.now,
        asset=draft.sha256,
        file=request.path.name,
        size_bytes=draft.size_bytes,
        table=request.table,
        null=request.null,
        rows=rows,
        refused=refused,
        sheet=request.sheet,
        asked=request.asked,
    ).encode()


def _same_table(ingest: IngestEntry, position: int, manifest: Manifest) -> Table:
    """Give the table as it was then, if its rows still fit the table as it is now."""

    def stored(table: Table) -> object:
        return table.key, [(column.name, column.type, column.scale) for column in table.columns]

    then = ingest.table
    now = next((table for table in manifest.tables if table.name == then.name), None)
    if now is None or stored(now) != stored(then):
        raise ArchiveError(
            f"manifest.toml describes the table {then.name!r} otherwise than entry {position} of"
            " the ledger, which sealed rows into it. Restore the table's columns, types and key."
        )
    return then


def _line(row: Row) -> int:
    line = row[-1]
    assert isinstance(line, int)
    return line
