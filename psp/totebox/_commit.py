"""One change of an archive: into the index uncommitted, into the ledger durably, then committed."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from psp.errors import ArchiveError
from psp.ledger import Appended, Ledger

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
        ArchiveError: It is done, and the index could not follow. Opening the archive repairs that.
    """
    appended = None
    try:
        with index.writing():
            position = ledger.checkpoint.tree_size
            entry = change(position)
            if original is not None:
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
