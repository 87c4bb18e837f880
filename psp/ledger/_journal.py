"""The journal's bytes: where a batch becomes durable, by one write and one sync.

A crash can leave the last batch half written. That batch was never acknowledged and is dropped;
every other damage is refused. To tell the two apart, the file has one fixed size from the start,
and it is cut in sectors of 512 bytes, the smallest unit that a disk writes whole. A sector's last
byte is its stamp: FIRST or NEXT in a batch, 0 where nothing was written, and then the other 511
are 0 as well. So

- a cut file has the wrong size;
- a changed byte is a wrong checksum in a batch that is all there, or a byte where none may be;
- a torn batch lacks a sector, and nothing follows it: the writer syncs a batch before it begins
  the next.

An end mark or a shorter file would not do: to a reader, a byte lost later looks the same as a byte
never written.

The checksums find accidents. What finds a forger is the signed checkpoint inside each batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from psp.errors import LedgerError

from ._limits import JOURNAL_BYTES
from ._tiles import encode_bundle, take_entries_untrusted

SECTOR_BYTES: Final = 512
BODY_BYTES: Final = SECTOR_BYTES - 1
UNWRITTEN: Final = 0x00
FIRST: Final = 0xF1
NEXT: Final = 0xF2

MAGIC: Final = b"psp ledger journal 1\n"

_HEADER: Final = Struct(">QQLLL")
# The sector number, so that a batch found elsewhere than it was written is damage; index of the
# first entry; count of entries; bytes after the header; their checksum.
_CHECKSUM: Final = Struct(">L")
_HEAD_BYTES: Final = _HEADER.size + _CHECKSUM.size
_TOP: Final = Struct(">21sQ")

# The first sector of a batch must hold its whole header, and of a file its whole top.
assert _HEAD_BYTES <= BODY_BYTES
assert _TOP.size + _CHECKSUM.size <= BODY_BYTES
assert JOURNAL_BYTES % SECTOR_BYTES == 0


class Batch(NamedTuple):
    """Entries that were made durable together, and the checkpoint signed over them."""

    first_index: int
    entries: list[bytes]
    note: bytes


class Journal(NamedTuple):
    """What a journal holds.

    Attributes:
        base: How many entries the ledger had when this file was made.
        batches: Every batch that is complete, in order.
        end: Where in the file the next batch goes.
        is_torn: Whether a batch that was never acknowledged follows the last one.
    """

    base: int
    batches: list[Batch]
    end: int
    is_torn: bool

    @property
    def is_settled(self) -> bool:
        """Whether it is as new: no batch is in it, whole or torn."""
        return self.end == SECTOR_BYTES and not self.is_torn

    @property
    def tree_size(self) -> int:
        """How many entries the ledger has with all batches."""
        return self.base + sum(len(batch.entries) for batch in self.batches)


def encode_top(base: int) -> bytes:
    """Return the first sector of a new journal; the rest of the file is zeros."""
    top = _TOP.pack(MAGIC, base)
    return _stamped(top + _CHECKSUM.pack(crc32(top)))


def encode_batch(first_index: int, entries: Sequence[bytes], note: bytes, *, offset: int) -> bytes:
    """Return whole sectors, to be written at `offset`.

    Raises:
        LedgerError: An entry is too long for a bundle.
    """
    body = encode_bundle(entries) + note
    head = _HEADER.pack(offset // SECTOR_BYTES, first_index, len(entries), len(body), crc32(body))
    return _stamped(head + _CHECKSUM.pack(crc32(head)) + body)


def _stamped(data: bytes) -> bytes:
    data += bytes(-len(data) % BODY_BYTES)
    bodies = [data[start : start + BODY_BYTES] for start in range(0, len(data), BODY_BYTES)]
    bodies[0] += bytes([FIRST])  # All others are followed by `NEXT`, which thus ends the whole.
    if len(bodies) == 1:
        return bodies[0]
    return bodies[0] + bytes([NEXT]).join([*bodies[1:], b""])


def decode_journal_untrusted(data: bytes) -> Journal:
    """Return what a journal holds; drop a torn last batch, refuse everything else that is wrong.

    Signatures are not checked here.

    Raises:
        LedgerError: The file is damaged. Nothing else is raised.
    """
    if len(data) != JOURNAL_BYTES:
        raise LedgerError(f"{len(data):,} bytes; a journal has {JOURNAL_BYTES:,}")
    stamps = data[BODY_BYTES::SECTOR_BYTES]
    _check_stamps(data, stamps)
    base = next_index = _decode_top_untrusted(_body(data, 0, 1))
    batches: list[Batch] = []
    sector = 1
    while sector < len(stamps) and stamps[sector] == FIRST:
        batch, sectors = _decode_batch_untrusted(data, stamps, sector, next_index)
        if batch is None:
            return Journal(base, batches, sector * SECTOR_BYTES, is_torn=True)
        batches.append(batch)
        next_index += len(batch.entries)
        sector += sectors
    # A torn batch may have lost its first sector and kept others; they have no beginning.
    rest = stamps[sector:].strip(b"\0")
    if FIRST in rest:
        raise LedgerError(f"a batch is missing before byte {sector * SECTOR_BYTES:,}")
    return Journal(base, batches, sector * SECTOR_BYTES, is_torn=bool(rest))


def _check_stamps(data: bytes, stamps: bytes) -> None:
    used = len(stamps.rstrip(b"\0"))
    rest = data[used * SECTOR_BYTES :]
    if rest != bytes(len(rest)):  # One comparison for what is most of most journals.
        raise LedgerError(f"bytes after sector {used}, where nothing was written")
    for sector, stamp in enumerate(stamps[:used]):
        if stamp == UNWRITTEN:
            start = sector * SECTOR_BYTES
            if data.count(0, start, start + SECTOR_BYTES) != SECTOR_BYTES:
                raise LedgerError(f"bytes in the unwritten sector {sector}")
        elif stamp not in (FIRST, NEXT):
            raise LedgerError(f"sector {sector} has the stamp {stamp:#x}")
    if stamps[0] != FIRST:
        raise LedgerError("its first sector is not a journal's")


def _body(data: bytes, sector: int, end: int) -> bytes:
    """Return the bytes of some sectors without their stamps."""
    return b"".join(
        data[i * SECTOR_BYTES : i * SECTOR_BYTES + BODY_BYTES] for i in range(sector, end)
    )


def _checked_untrusted(body: bytes, size: int, what: str) -> bytes:
    (checksum,) = _CHECKSUM.unpack_from(body, size)
    if crc32(body[:size]) != checksum:
        raise LedgerError(f"the checksum of {what} does not fit")
    return body[:size]


def _decode_top_untrusted(body: bytes) -> int:
    top = _checked_untrusted(body, _TOP.size, "its first sector")
    magic, base = _TOP.unpack(top)
    if magic != MAGIC or any(body[_TOP.size + _CHECKSUM.size :]):
        raise LedgerError("its first sector is not a journal's")
    return int(base)


def _decode_batch_untrusted(
    data: bytes, stamps: bytes, sector: int, next_index: int
) -> tuple[Batch | None, int]:
    """Return the batch that begins at a sector, None if it is torn, and how many sectors it has."""
    what = f"the batch at byte {sector * SECTOR_BYTES:,}"
    head = _checked_untrusted(_body(data, sector, sector + 1), _HEADER.size, what)
    number, first_index, count, size, checksum = _HEADER.unpack(head)
    sectors = -(-(_HEAD_BYTES + size) // BODY_BYTES)
    own = stamps[sector + 1 : sector + sectors]
    if number != sector or first_index != next_index or len(own) != sectors - 1:
        raise LedgerError(f"{what} belongs elsewhere: it begins with entry {first_index}")
    if FIRST in own:
        raise LedgerError(f"{what} is overwritten by another")
    if UNWRITTEN in own:
        if FIRST in stamps[sector + sectors :]:
            raise LedgerError(f"{what} has lost a sector, and another batch follows it")
        return None, sectors
    stream = _body(data, sector, sector + sectors)
    body, padding = stream[_HEAD_BYTES : _HEAD_BYTES + size], stream[_HEAD_BYTES + size :]
    if crc32(body) != checksum or any(padding):
        raise LedgerError(f"the checksum of {what} does not fit")
    entries, end = take_entries_untrusted(body, count=count)
    return Batch(first_index, entries, body[end:]), sectors
