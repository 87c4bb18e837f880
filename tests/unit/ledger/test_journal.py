"""The journal: a torn batch is dropped, a damaged one is refused."""

from __future__ import annotations

import pytest

from psp.errors import LedgerError
from psp.ledger._journal import (
    SECTOR_BYTES,
    Batch,
    Journal,
    decode_journal_untrusted,
    encode_batch,
    encode_top,
)
from psp.ledger._limits import JOURNAL_BYTES

FIRST_BATCH = [b"one", b"", b"two" * 400]  # Three sectors.
SECOND_BATCH = [b"\0" * 2000]  # Four sectors, and zeros in most of them.
NOTE = b"a note"


def journal(*batches: list[bytes], base: int = 10) -> bytes:
    data = encode_top(base)
    index = base
    for entries in batches:
        data += encode_batch(index, entries, NOTE, offset=len(data))
        index += len(entries)
    return data.ljust(JOURNAL_BYTES, b"\0")


def erase(data: bytes, sector: int) -> bytes:
    start = sector * SECTOR_BYTES
    return data[:start] + bytes(SECTOR_BYTES) + data[start + SECTOR_BYTES :]


WHOLE = journal(FIRST_BATCH, SECOND_BATCH)
FIRST_SECTORS, SECOND_SECTORS = range(1, 4), range(4, 8)


def test_a_journal_gives_its_batches_back() -> None:
    assert decode_journal_untrusted(WHOLE) == Journal(
        base=10,
        batches=[Batch(10, FIRST_BATCH, NOTE), Batch(13, SECOND_BATCH, NOTE)],
        end=8 * SECTOR_BYTES,
        is_torn=False,
    )
    assert decode_journal_untrusted(WHOLE).tree_size == 14


def test_a_new_journal_is_empty() -> None:
    assert decode_journal_untrusted(journal()) == Journal(10, [], SECTOR_BYTES, is_torn=False)


@pytest.mark.parametrize("sector", SECOND_SECTORS)
def test_a_last_batch_that_lacks_any_sector_was_never_acknowledged(sector: int) -> None:
    assert decode_journal_untrusted(erase(WHOLE, sector)) == Journal(
        10, [Batch(10, FIRST_BATCH, NOTE)], 4 * SECTOR_BYTES, is_torn=True
    )


@pytest.mark.parametrize("sector", FIRST_SECTORS)
def test_an_earlier_batch_that_lacks_a_sector_is_damage(sector: int) -> None:
    """The writer synced it before it began the next: it had been acknowledged."""
    with pytest.raises(LedgerError, match=r"another batch follows|a batch is missing"):
        decode_journal_untrusted(erase(WHOLE, sector))


@pytest.mark.parametrize("place", [0, 40, 511, 512, 700, 1023, 2048, 4095, 4096, 9000])
def test_a_changed_byte_is_found(place: int) -> None:
    """tests/property/test_ledger_journal.py tries any place, any change and any tear."""
    damaged = bytearray(WHOLE)
    damaged[place] ^= 0xFF
    with pytest.raises(LedgerError):
        decode_journal_untrusted(bytes(damaged))


@pytest.mark.parametrize("size", [0, 1, SECTOR_BYTES, 6000, JOURNAL_BYTES - 1, JOURNAL_BYTES + 1])
def test_a_journal_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(LedgerError, match="a journal has 1,048,576"):
        decode_journal_untrusted(WHOLE.ljust(size, b"\0")[:size])


def test_zeros_are_no_journal() -> None:
    with pytest.raises(LedgerError, match="first sector is not a journal's"):
        decode_journal_untrusted(bytes(JOURNAL_BYTES))


def test_a_batch_that_was_moved_is_refused() -> None:
    first = encode_top(10) + encode_batch(10, [b"x"], NOTE, offset=2 * SECTOR_BYTES)
    with pytest.raises(LedgerError, match="belongs elsewhere"):
        decode_journal_untrusted(first.ljust(JOURNAL_BYTES, b"\0"))


def test_a_batch_that_skips_entries_is_refused() -> None:
    first = encode_top(10) + encode_batch(11, [b"x"], NOTE, offset=SECTOR_BYTES)
    with pytest.raises(LedgerError, match="begins with entry 11"):
        decode_journal_untrusted(first.ljust(JOURNAL_BYTES, b"\0"))


def test_an_entry_that_looks_like_a_batch_is_only_an_entry() -> None:
    """What a stranger puts in an entry never reaches a stamp."""
    planted = encode_batch(11, [b"x"], NOTE, offset=2 * SECTOR_BYTES) * 4
    whole = journal([planted])
    assert decode_journal_untrusted(whole).batches == [Batch(10, [planted], NOTE)]
    assert decode_journal_untrusted(erase(whole, 1)).is_torn
