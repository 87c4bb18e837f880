"""Any journal, torn or damaged anywhere: the batches that were acknowledged, or a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.errors import LedgerError
from psp.ledger._journal import (
    SECTOR_BYTES,
    Batch,
    decode_journal_untrusted,
    encode_batch,
    encode_top,
)
from psp.ledger._limits import JOURNAL_BYTES

# Zeros are likely: an entry of zeros must not look like sectors that were never written.
ENTRIES = st.lists(st.binary(max_size=30) | st.integers(0, 3000).map(bytes), min_size=1, max_size=4)
NOTE = b"a signed note"


def journal(batches: list[list[bytes]]) -> tuple[bytes, list[Batch], list[int]]:
    """The bytes of a journal, its batches, and where each begins and the last one ends."""
    data, expected, starts, index = encode_top(0), [], [], 0
    for entries in batches:
        starts.append(len(data))
        data += encode_batch(index, entries, NOTE, offset=len(data))
        expected.append(Batch(index, entries, NOTE))
        index += len(entries)
    return data.ljust(JOURNAL_BYTES, b"\0"), expected, [*starts, len(data)]


@given(st.lists(ENTRIES, max_size=4))
def test_a_journal_gives_back_what_was_written(batches: list[list[bytes]]) -> None:
    data, expected, _ = journal(batches)
    decoded = decode_journal_untrusted(data)
    assert decoded.batches == expected
    assert not decoded.is_torn


@given(st.lists(ENTRIES, min_size=1, max_size=4), st.data())
def test_a_torn_last_batch_is_dropped_whole(
    batches: list[list[bytes]], draw: st.DataObject
) -> None:
    """Whichever of its sectors reached the disk, and in whichever order."""
    data, expected, starts = journal(batches)
    sectors = range(starts[-2] // SECTOR_BYTES, starts[-1] // SECTOR_BYTES)
    lost = draw.draw(st.sets(st.sampled_from(sectors), min_size=1))
    torn = bytearray(data)
    for sector in lost:
        torn[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = bytes(SECTOR_BYTES)
    decoded = decode_journal_untrusted(bytes(torn))
    assert decoded.batches == expected[:-1]
    assert decoded.end == starts[-2]
    assert decoded.is_torn == (len(lost) < len(sectors))


@given(
    st.lists(ENTRIES, min_size=1, max_size=4),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 255),
)
def test_any_changed_byte_is_refused(batches: list[list[bytes]], place: float, change: int) -> None:
    """A byte cannot make an acknowledged batch look torn: a tear loses a whole sector."""
    data, _, starts = journal(batches)
    damaged = bytearray(data)
    damaged[int(place * (starts[-1] + SECTOR_BYTES))] ^= change
    with pytest.raises(LedgerError):
        decode_journal_untrusted(bytes(damaged))


@given(st.binary(max_size=4 * SECTOR_BYTES), st.booleans())
def test_any_bytes_are_a_journal_or_refused(data: bytes, has_top: bool) -> None:
    whole = (encode_top(0) + data if has_top else data).ljust(JOURNAL_BYTES, b"\0")
    try:
        decoded = decode_journal_untrusted(whole)
    except LedgerError:
        return
    assert decoded.batches == []
