"""Rows that turned out not to be true: a later file replaces them, an entry retracts them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from psp.errors import IntakeRefused
from psp.ledger import Appended

from ._cells import CellRefused, Stored, converter
from ._commit import commit
from ._entries import RetractEntry
from ._ingest import disk_errors
from ._manifest import Table

if TYPE_CHECKING:
    from ._archive import Archive

ENTRY_BYTES_MAX: Final = 65_535
"""tlog-tiles writes the length of an entry in 16 bits."""


def retract(
    archive: Archive,
    table: str,
    keys: Sequence[Sequence[str]],
    *,
    operator: str,
    now: datetime,
    reason: str,
) -> Appended:
    """Take rows out of a table: all of these keys, or none. Their originals stay sealed.

    Args:
        keys: The values of the key columns of each row, in the key's order, as in a CSV.

    Raises:
        IntakeRefused: No reason is given, a key does not fit the table or is not in it, or they
            are more than one entry holds. The archive is as before.
        ArchiveError: The archive was opened only to read.
    """
    archive.require_writing(f"retract rows of {table!r}")
    known = archive.table_to_fill(table)
    if not reason.strip():
        raise IntakeRefused("a retraction needs a reason, and none was given. Say why (--reason).")
    if not keys:
        raise IntakeRefused(f"no key was given, so nothing of {table!r} is retracted. Name one.")
    entry = RetractEntry(
        operator=operator,
        time=now,
        table=known.name,
        key=known.key,
        keys=tuple(_stored(known, at, key) for at, key in enumerate(keys, 1)),
        reason=reason,
    )
    encoded = entry.encode()
    if len(encoded) > ENTRY_BYTES_MAX:
        raise IntakeRefused(
            f"{len(keys)} keys make an entry of {len(encoded)} bytes; one holds {ENTRY_BYTES_MAX}."
            " Retract them in several steps."
        )

    def change(position: int) -> bytes:
        for at, key in enumerate(entry.keys, 1):
            if not archive.index.retract(known, position, key):
                raise IntakeRefused(
                    f"key {at} of {len(keys)} is not in {table!r}, or was named twice; nothing was"
                    " retracted. Name keys that are there, each once."
                )
        return encoded

    with disk_errors(f"nothing of {table!r} was retracted", IntakeRefused):
        return commit(f"the rows of {table!r} are retracted", archive.ledger, archive.index, change)


def _stored(table: Table, at: int, key: Sequence[str]) -> tuple[Stored, ...]:
    if len(key) != len(table.key):
        raise IntakeRefused(
            f"key {at} has {len(key)} values; {table.name!r} has the key"
            f" ({', '.join(table.key)}). Give one value for each."
        )
    stored = []
    for name, text in zip(table.key, key, strict=True):
        try:
            stored.append(converter(table.column(name), null=None)(text))
        except CellRefused as exc:
            raise IntakeRefused(f"key {at}, column {name!r}: {exc}. Correct it.") from None
    return tuple(stored)
