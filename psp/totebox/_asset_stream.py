"""The half of a sealed document that is too large for one RETURN."""

from __future__ import annotations

from psp.endpoint import Stream, method

from ._bulk import Bulk, stream_document
from ._entries import DocumentEntry
from ._granted import Granted
from ._rows import RowReads


class StreamedAsset(Granted):
    """A sealed document that is streamed, range by range; each is a read of its own, on record.

    A range is not proved against the document's hash, which would mean to read all of it each time.
    """

    _reads: RowReads
    _sealed: DocumentEntry

    @method
    async def stream(self, start: int, count: int) -> Stream:
        """Stream `count` bytes from `start` on, fewer at the end; the header has the whole's size.

        Raises:
            Invalid: The range is not one.
            LimitExceeded: It is longer than the grant allows in one answer.
            HandlerFailed: The sealed file is damaged.
        """
        reads = self._reads
        bulk = Bulk(
            self._desk,
            reads.reader,
            reads.rule,
            [*reads.commands, ("stream", [start, count])],
            reads.data,
            reads.spend,
            self.check_open,
        )
        path = self._desk.archive.assets.path(self._sealed.asset)
        return await stream_document(bulk, path, self._sealed.size_bytes, start, count)
