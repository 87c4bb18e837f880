"""One change of an archive: into the index uncommitted, into the ledger durably, then committed."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from psp.errors import ArchiveError, IntakeRefused
from psp.ledger import ENTRY_BYTES_MAX, Appended, Ledger

from ._assets import Assets, DraftAsset
from ._index import Built, Index


def commit(
    what: str,
    ledger: Ledger,
    index: Index,
    change: Callable[[int], bytes],
    *,
    original: tuple[Assets, DraftAsset] | None = None,
) -> Appended:
    """Make a change that the ledger decides about: the state before, or the state after.

    Args:
        what: What is done, as in "jan.csv is sealed".
        change: Takes the place that the entry will have, changes the index, and gives the entry.
        original: The draft that the entry seals.

    Raises:
        IntakeRefused: What is said about the original is too long for an entry. Nothing is done.
        ArchiveError: It is done, and the index could not follow. Opening the archive repairs that.
    """
    appended = None
    try:
        with index.writing():
            position = ledger.checkpoint.tree_size
            entry = change(position)
            if original is not None:
                _check_size(what, entry)
                index.remember(original[1].sha256, position)
            # Here a full disk is noticed, while everything can still be undone.
            index.flush()
            if original is not None:
                assets, draft = original
                assets.seal(draft)
            # If the ledger cannot say whether the entry is durable, it may be: so the
            # original stays where it is from here on; an entry must never point to nothing.
            appended = ledger.append([entry])
            index.mark(Built(appended.checkpoint.tree_size, appended.checkpoint.root_hash))
    except (apsw.Error, OSError) as exc:
        if appended is None:
            raise
        raise ArchiveError(
            f"{what} as entry {appended.first_index}, but the index could not be written"
            f" ({exc}). Free space and open the archive again: that repairs it."
        ) from exc
    return appended


def _check_size(what: str, entry: bytes) -> None:
    """Refuse what the ledger would: it is asked after the original has got its final name."""
    if len(entry) > ENTRY_BYTES_MAX:
        raise IntakeRefused(
            f"the entry which says that {what} would have {len(entry):,} bytes, and a ledger takes"
            f" {ENTRY_BYTES_MAX:,}; nothing was sealed. Say less about the file."
        )
