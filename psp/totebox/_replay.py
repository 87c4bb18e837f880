"""What one entry of the ledger does to an index that is made again."""

from __future__ import annotations

from typing import assert_never

from psp.errors import ArchiveError, ConsistencyProofInvalid
from psp.ledger import Checkpoint, Ledger, verify_consistency

from ._assets import Assets
from ._documents import DOCUMENTS, put_document
from ._entries import DocumentEntry, Entry, IngestEntry, RetractEntry, TableEntry
from ._index import Built, Index
from ._ingest import replay_ingest
from ._manifest import Manifest


def replay(change: Entry, position: int, manifest: Manifest, assets: Assets, index: Index) -> None:
    """Do again what an entry did; inside `Index.writing`.

    Raises:
        ArchiveError: An original is missing or changed, the manifest has other tables than the
            entry, or this release does otherwise than the one that wrote it.
    """
    match change:
        case IngestEntry():
            replay_ingest(change, position, manifest, assets, index)
        case DocumentEntry():
            if DOCUMENTS not in manifest.tables:
                raise _other_table(DOCUMENTS.name, position)
            with assets.open_verified(change.asset):
                put_document(index, position, change.row)
            index.remember(change.asset, position)
        case RetractEntry():
            tables = {table.name: table for table in manifest.tables}
            table = tables.get(change.table)
            if table is None or table.key != change.key:
                raise _other_table(change.table, position)
            for key in change.keys:
                if not index.retract(table, position, key):
                    raise ArchiveError(
                        f"entry {position} retracts a row that is not there. This release reads the"
                        " files before it differently: use the one that wrote it, and report this."
                    )
        case TableEntry():
            pass  # The manifest has it: see `finish_table`.
        case _:
            assert_never(change)


def extends(ledger: Ledger, built: Built) -> bool:
    """Say whether a ledger is the one that an index was built from, grown since."""
    now = ledger.checkpoint
    if not 0 < built.tree_size <= now.tree_size:
        return False
    old = Checkpoint(origin=now.origin, tree_size=built.tree_size, root_hash=built.root_hash)
    proof = ledger.prove_consistency(built.tree_size, now.tree_size)
    try:
        verify_consistency(old, now, proof)
    except ConsistencyProofInvalid:
        return False
    return True


def _other_table(name: str, position: int) -> ArchiveError:
    return ArchiveError(
        f"manifest.toml describes the table {name!r} otherwise than entry {position} of the ledger"
        " needs it. Restore the table's columns, types and key."
    )
