"""Any file, sealed as it is: its bytes among the originals, a row about it in `documents`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psp.errors import IntakeRefused
from psp.ledger import Appended, Checkpoint

from ._add_table import add_table
from ._assets import DraftAsset
from ._cells import CellRefused, Stored, converter
from ._commit import commit
from ._entries import DocumentEntry, decode_change
from ._index import Index
from ._ingest import disk_errors
from ._manifest import Column, ColumnType, Table

if TYPE_CHECKING:
    from ._archive import Archive

DOCUMENTS: Final = Table(
    name="documents",
    columns=(
        Column(name="hash", type=ColumnType.TEXT),
        Column(name="name", type=ColumnType.TEXT),
        Column(name="kind", type=ColumnType.TEXT, nullable=True),
        Column(name="date", type=ColumnType.DATE, nullable=True),
        Column(name="size", type=ColumnType.INTEGER),
        Column(name="counterparty", type=ColumnType.TEXT, nullable=True),
    ),
    key=("hash",),
)
"""The same in every archive; `hash` is the SHA-256 of the bytes in hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedDocument:
    """A sealed document.

    Attributes:
        entry_index: The place of its entry in the ledger.
        earlier: The same bytes were sealed before, by this entry, and nothing was added.
    """

    sha256: bytes
    size_bytes: int
    entry_index: int
    checkpoint: Checkpoint
    earlier: DocumentEntry | None


def seal_document(
    archive: Archive,
    path: Path,
    *,
    operator: str,
    now: datetime,
    kind: str = "",
    date: str = "",
    counterparty: str = "",
    asked: Mapping[str, str] | None = None,
) -> SealedDocument:
    """Seal any file, whole or not at all. The first one brings the table `documents`.

    Args:
        kind: What it is, as in invoice; empty if nobody says. So are the next two.
        date: Its own date, as in 2026-05-02.
        counterparty: Whom it is from or to.
        asked: The call under a grant that brings it, for the entry.

    Raises:
        IntakeRefused: It cannot be read, what is said about it does not fit, or the archive takes
            no documents. The archive is as before.
        ArchiveError: The archive was opened only to read.
    """
    archive.require_writing(f"seal {path.name}")
    said = {"name": path.name, "kind": kind, "date": date, "counterparty": counterparty}
    facts = {name: _stored(name, text) for name, text in said.items()}
    _require_table(archive, operator, now)
    with disk_errors(f"{path.name} was not sealed", IntakeRefused):
        draft = archive.assets.copy_in(path)
        try:
            if (found := _earlier(archive, draft.sha256)) is not None:
                return found
            facts |= {"hash": draft.sha256.hex(), "size": draft.size_bytes}
            entry = DocumentEntry(
                operator=operator,
                time=now,
                asset=draft.sha256,
                file=path.name,
                size_bytes=draft.size_bytes,
                row=tuple(facts[name] for name in DOCUMENTS.column_names),
                asked=asked,
            )
            appended = _commit_document(archive, draft, entry)
        finally:
            archive.assets.discard(draft)
    return SealedDocument(
        sha256=draft.sha256,
        size_bytes=draft.size_bytes,
        entry_index=appended.first_index,
        checkpoint=appended.checkpoint,
        earlier=None,
    )


def _commit_document(archive: Archive, draft: DraftAsset, entry: DocumentEntry) -> Appended:
    def change(position: int) -> bytes:
        put_document(archive.index, position, entry.row)
        return entry.encode()

    what, original = f"{entry.file} is sealed", (archive.assets, draft)
    return commit(what, archive.ledger, archive.index, change, original=original)


def put_document(index: Index, position: int, row: Sequence[Stored]) -> None:
    """Put the row of one document into its table; inside `Index.writing`."""
    index.load(
        DOCUMENTS,
        position,
        [(*row, 1)],
        refuse=lambda _row, _line: None,
        on_batch=lambda _rows: None,
    )


def _require_table(archive: Archive, operator: str, now: datetime) -> None:
    tables = {table.name.lower(): table for table in archive.manifest.tables}
    if DOCUMENTS.name not in tables:
        add_table(archive, DOCUMENTS, operator=operator, now=now)
    elif tables[DOCUMENTS.name] != DOCUMENTS:
        raise IntakeRefused(
            f"the archive {archive.manifest.name!r} has a table {DOCUMENTS.name!r} of its own, with"
            " other columns, so it takes no documents. Seal them in another archive."
        )
    archive.table_to_fill(DOCUMENTS.name)


def _earlier(archive: Archive, sha256: bytes) -> SealedDocument | None:
    # Retracted, it is not there and may come again.
    found = archive.index.locate(DOCUMENTS, [sha256.hex()])
    if found is None:
        return None
    (entry,) = archive.ledger.entries(found[0], found[0] + 1)
    earlier = decode_change(entry)
    assert isinstance(earlier, DocumentEntry)
    return SealedDocument(
        sha256=sha256,
        size_bytes=earlier.size_bytes,
        entry_index=found[0],
        checkpoint=archive.ledger.checkpoint,
        earlier=earlier,
    )


def _stored(name: str, text: str) -> Stored:
    try:
        return converter(DOCUMENTS.column(name), null="")(text)
    except CellRefused as exc:
        raise IntakeRefused(f"the document's {name} {exc}. Correct it.") from None
