"""The bytes of a sealed document, range by range, to whom a grant shows the document."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import trio

from psp.capability import Operation
from psp.endpoint import method
from psp.errors import Denied, HandlerFailed, Invalid
from psp.values import Value

from ._asset_stream import StreamedAsset
from ._documents import DOCUMENTS
from ._engine import Engine
from ._entries import DocumentEntry
from ._limits import ASSET_RANGE_BYTES_MAX
from ._manifest import Table
from ._rows import RowReads

_LARGEST: Final = 2**63 - 1


class AssetObject(StreamedAsset):
    """One sealed document, range by range.

    Who has all ranges compares their SHA-256 with the key that the document was asked by; the
    archive's owner has the audit, which hashes every original.
    """

    def __init__(self, reads: RowReads, sealed: DocumentEntry) -> None:
        super().__init__(reads.desk, reads.time)
        self._reads = reads
        self._sealed = sealed

    @method
    async def range(self, start: int, count: int) -> Mapping[str, Value]:
        """Give `count` bytes from `start` on, fewer at the end, and the size of the whole.

        Raises:
            Invalid: The range is not one, or is longer than one call gives.
            HandlerFailed: The sealed file is damaged.
        """
        if not 0 <= start <= _LARGEST or not 1 <= count <= ASSET_RANGE_BYTES_MAX:
            raise Invalid(
                f"{count} bytes from {start} on; one call gives 1 to {ASSET_RANGE_BYTES_MAX} bytes,"
                " from 0 on. Ask for the next range in a call of its own."
            )
        self._reads.reader.admit()
        size = self._sealed.size_bytes
        path = self._desk.archive.assets.path(self._sealed.asset)
        data = await trio.to_thread.run_sync(_read, path, start, count, size)
        if data is None:
            self._desk.log(f"{path} is damaged. Run: psp totebox audit")
            raise HandlerFailed("the sealed document cannot be read. Tell the archive's operator")
        self.check_open()  # A disk can be slow.
        found: Mapping[str, Value] = {"start": start, "bytes": data, "size": size}
        return await self._reads.on_record([("range", [start, count])], found)


async def find_document(
    reads: RowReads, table: Table, open_engine: Callable[[int | None], Engine]
) -> AssetObject:
    """Give the sealed document with a key, if the grant shows it and lets it be read.

    Raises:
        Denied: For whatever reason there is nothing to give.
    """
    # Documents alone: the file that a row came with holds rows that the scope does not show.
    if Operation.ASSET not in reads.rule.allowed_operations or table != DOCUMENTS:
        raise Denied
    if reads.spend is not None:
        # Before it is looked for: whether it is there is worth a question.
        await reads.spend(uses=1, rows=1)
        reads.time.check(reads.desk.clocks())
    desk = reads.desk
    with closing(open_engine(desk.settled.tree_size if desk.settled else None)) as engine:
        if not engine.shows_document(reads.key):
            raise Denied
    entry, _ = reads.locate(table)
    sealed = desk.archive.original_of(entry)
    assert isinstance(sealed, DocumentEntry)
    return AssetObject(reads, sealed)


def _read(path: Path, start: int, count: int, size: int) -> bytes | None:
    """Read a range; None if the file is not there, or is not as long as its entry says."""
    expected = min(count, max(size - start, 0))
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                return None
            # A file may end in the middle of a number that is too large for an offset.
            data = os.pread(file.fileno(), expected, start) if expected else b""
    except OSError:
        return None
    return data if len(data) == expected else None
