"""Answers that are too large for one RETURN, as streams: rows in columns, and sealed documents.

No byte of them is copied here: columns leave from where the engine has them, documents from the
kernel's own pages. A stream is on record before its first byte leaves, with the rows it shows; how
many bytes they take is known only of what lies there whole, a document or a sealed result.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from psp.buffers import MappedFile, Piece, SealedFile, arrow_pieces
from psp.capability import Command, TableRule, hash_commands
from psp.endpoint import Stream, handed_over
from psp.errors import HandlerFailed, Invalid, LimitExceeded
from psp.ledger import Checkpoint
from psp.plan import Listing
from psp.values import Value

from ._budgets import Spend
from ._clocks import instant
from ._engine import Engine
from ._engine_thread import run_in_thread
from ._granted import Shared
from ._limits import LOADED_BYTES
from ._reader import Reader
from ._receipts import Read

_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bulk:
    """One answer that is streamed.

    Attributes:
        commands: What led from the grant to it, in the form in which its holder would sign it.
        data: The state of the data that is read.
        check_open: Refuses when the grant is over.
    """

    desk: Shared
    reader: Reader
    rule: TableRule
    commands: Sequence[Command]
    data: Checkpoint
    spend: Spend | None
    check_open: Callable[[], None]

    async def begin(self) -> None:
        """Let a question begin, at the cost of one use.

        Raises:
            Overloaded, HandlerFailed: See `ReadAudit.admit`.
            BudgetSpent: A budget does not have so much left.
        """
        self.reader.admit()
        if self.spend is not None:
            await self.spend(uses=1)

    async def spend_more(self, *, rows: int = 0, size: int = 0) -> None:
        if self.spend is not None:
            await self.spend(rows=rows, bytes=size)

    async def on_record(self, rows: int, size: int) -> int:
        """Put it on record before its first byte leaves; give its place."""
        now = self.reader.clocks()
        read = Read(
            grant_id=self.reader.grant.grant_id,
            command=hash_commands(self.commands),
            tree_size=self.data.tree_size,
            root_hash=self.data.root_hash,
            rows=rows,
            groups=0,
            size_bytes=size,
            time=instant(now),
            result=None,
        )
        index = await self.reader.audit.record(read.encode(), now.boot_s)
        self.reader.keep(index)
        return index


class _Rows:
    """Rows of an engine that is this one's alone, on their way into an Arrow stream."""

    def __init__(self, engine: Engine, listing: Listing, bytes_max: int) -> None:
        self.engine = engine
        self.size_bytes = 0
        self._bytes_max = bytes_max
        self._listing = listing
        self._open = ExitStack()
        self._open.callback(engine.close)

    def begin(self) -> int:
        """Count them, and keep the state they are at; in the engine's thread."""
        listed = self._open.enter_context(self.engine.listing(self._listing))
        self._batches = arrow_pieces(listed.reader())
        self._open.callback(self._batches.close)
        return listed.row_count

    def next(self) -> list[Piece]:
        """Compute the next batch; empty after the last. In the engine's thread."""
        batch = next(self._batches, [])
        self.size_bytes += sum(map(len, batch))
        if self.size_bytes > self._bytes_max:
            raise LimitExceeded(
                f"rows of more than {self._bytes_max} bytes, which is what this grant allows in one"
                " answer. Ask for fewer rows or columns."
            )
        return batch

    def close(self) -> None:
        self._open.close()

    def __del__(self) -> None:
        self.close()  # A stream that never began has nobody else to do it.


async def stream_rows(
    bulk: Bulk, listing: Listing, open_engine: Callable[[int | None], Engine], *, is_local: bool
) -> Stream:
    """Answer with rows, as an Arrow stream: sealed and handed over, if its reader is on this
    machine and the grant allows it, else batch by batch as its reader takes them.

    Raises:
        CallFailed: Whatever speaks against it.
    """
    await bulk.begin()
    rows = _Rows(open_engine(bulk.data.tree_size), listing, bulk.rule.bytes_max)
    try:
        count = await run_in_thread(rows.engine, rows.begin) or 0
        await bulk.spend_more(rows=count)
        why_sent = "" if not is_local else _why_sent(bulk)
        hand_over = bulk.desk.hand_over if is_local and not why_sent else None
        file = None if hand_over is None else await _sealed(bulk, rows)
        if hand_over is not None and file is None:
            why_sent = "room"
            # There was no room. What was computed is gone, and is computed again as it is sent.
            rows.close()
            rows = _Rows(open_engine(bulk.data.tree_size), listing, bulk.rule.bytes_max)
            await run_in_thread(rows.engine, rows.begin)
        bulk.check_open()
        header: dict[str, Value] = {
            "rows": count,
            "as_of": bulk.data.tree_size,
            "root": bulk.data.root_hash,
            "read": await bulk.on_record(count, 0 if file is None else file.size),
        }
    except BaseException:
        rows.close()  # At once: while its files are open the archive cannot be opened again.
        raise
    if file is None:
        if why_sent:
            header["local"] = why_sent
        return Stream(header, _batches(bulk, rows))
    rows.close()
    return handed_over(hand_over, file, header=header)


def _why_sent(bulk: Bulk) -> str:
    """Why rows cannot be handed over, as `psp.endpoint.NOT_LOCAL` knows it; empty if they can."""
    if not bulk.rule.local:
        return "scope"
    return "off" if bulk.desk.hand_over is None else ""


async def _sealed(bulk: Bulk, rows: _Rows) -> SealedFile | None:
    """Compute all rows into memory that can be handed over; None if there is no room for them."""
    pieces = (piece for batch in iter(rows.next, []) for piece in batch)
    try:
        file = await run_in_thread(rows.engine, partial(SealedFile, pieces, bulk.desk.sealing))
    except LimitExceeded:
        if rows.size_bytes > bulk.rule.bytes_max:
            raise
        return None
    assert file is not None
    await bulk.spend_more(size=file.size)
    bulk.desk.counters.record_bytes += file.size
    return file


async def _batches(bulk: Bulk, rows: _Rows) -> AsyncIterator[list[Piece]]:
    try:
        while batch := await run_in_thread(rows.engine, rows.next):
            size = sum(map(len, batch))
            await bulk.spend_more(size=size)
            bulk.desk.counters.record_bytes += size
            yield batch
    finally:
        rows.close()


async def stream_document(bulk: Bulk, path: Path, size: int, start: int, count: int) -> Stream:
    """Answer with `count` bytes of a sealed document from `start` on, fewer at its end. Whoever has
    found the document has paid for a use and a row; a range costs its bytes.

    Args:
        size: How long the document is, by its entry.

    Raises:
        Invalid: The range is not one.
        LimitExceeded: It is longer than the grant allows.
        HandlerFailed: The sealed file is damaged.
    """
    if not 0 <= start <= _LARGEST or not 1 <= count <= _LARGEST:
        raise Invalid(f"{count} bytes from {start} on; a range begins at 0 or later, with 1 byte")
    stop = min(start + count, size)
    start = min(start, stop)
    if stop - start > bulk.rule.bytes_max:
        raise LimitExceeded(
            f"{stop - start} bytes of a document; this grant allows {bulk.rule.bytes_max}."
            " Ask range by range."
        )
    bulk.reader.admit()
    try:
        file = None if start == stop else await trio.to_thread.run_sync(MappedFile, path, size)
    except OSError:
        raise _damaged(bulk, path) from None
    await bulk.spend_more(size=stop - start)
    bulk.check_open()
    header: dict[str, Value] = {
        "bytes": stop - start,
        "start": start,
        "size": size,
        "read": await bulk.on_record(1, stop - start),
    }
    bulk.desk.counters.record_bytes += stop - start
    return Stream(header, _ranges(bulk, path, file, start, stop))


async def _ranges(
    bulk: Bulk, path: Path, file: MappedFile | None, start: int, stop: int
) -> AsyncIterator[memoryview]:
    for first in range(start, stop, LOADED_BYTES):
        assert file is not None
        last = min(first + LOADED_BYTES, stop)
        try:
            await trio.to_thread.run_sync(file.load, first, last)
        except OSError:
            raise _damaged(bulk, path) from None
        yield file.view(first, last)


def _damaged(bulk: Bulk, path: Path) -> HandlerFailed:
    bulk.desk.log(f"{path} is damaged. Run: psp totebox audit")
    return HandlerFailed("the sealed document cannot be read. Tell the archive's operator")
