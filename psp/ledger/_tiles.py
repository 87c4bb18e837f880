"""Paths and bytes of tiles and entry bundles. Source: C2SP tlog-tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psp.errors import LedgerError

from ._limits import ENTRY_BYTES_MAX, HASH_BYTES, TILE_WIDTH
from ._tree import TileId


def tile_path(tile: TileId, width: int = TILE_WIDTH) -> str:
    """Return where a tile lies in the ledger's directory: `tile/0/x001/234`, `tile/1/000.p/7`."""
    return f"tile/{tile.level}/{_index_path(tile.index)}{_partial_suffix(width)}"


def bundle_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return where a bundle of entries lies: `tile/entries/000`."""
    return f"tile/entries/{_index_path(index)}{_partial_suffix(width)}"


def partials_path(full_path: str) -> str:
    """Return the directory that holds the partial forms of one tile or bundle."""
    return full_path + ".p"


def _index_path(index: int) -> str:
    # Three digits per step and an `x` before all but the last, so that no name is both a file and
    # a directory and no directory holds more than two thousand names.
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    *parents, last = (digits[i : i + 3] for i in range(0, len(digits), 3))
    return "".join(f"x{parent}/" for parent in parents) + last


def _partial_suffix(width: int) -> str:
    assert 1 <= width <= TILE_WIDTH, "empty tiles do not exist"
    return "" if width == TILE_WIDTH else f".p/{width}"


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    """Return raw hashes one after the other: no header, no text."""
    return b"".join(hashes)


def decode_tile_untrusted(data: bytes, *, width: int) -> list[bytes]:
    """Return the hashes of a tile.

    Raises:
        LedgerError: The file does not hold exactly `width` hashes. Nothing else is raised.
    """
    if len(data) != width * HASH_BYTES:
        raise LedgerError(f"{len(data)} bytes; {width} hashes take {width * HASH_BYTES}")
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return entries with their 16-bit big-endian lengths.

    Raises:
        LedgerError: An entry is longer than 16 bits can say.
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise LedgerError(
                f"an entry of {len(entry):,} bytes; tlog-tiles holds at most {ENTRY_BYTES_MAX:,}."
                " Seal the bytes as an asset and enter their hash."
            )
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_bundle_untrusted(data: bytes, *, width: int) -> list[bytes]:
    """Return the entries of a bundle.

    Raises:
        LedgerError: The bytes are not exactly `width` entries. Nothing else is raised.
    """
    entries, end = take_entries_untrusted(data, count=width)
    if end != len(data):
        raise LedgerError(f"{len(data) - end} bytes follow the last of {width} entries")
    return entries


def take_entries_untrusted(data: bytes, *, count: int) -> tuple[list[bytes], int]:
    """Return the first `count` entries and where they end.

    Raises:
        LedgerError: The bytes end before the entries do. Nothing else is raised.
    """
    entries: list[bytes] = []
    start = 0
    for number in range(count):
        body = start + 2
        end = body + int.from_bytes(data[start:body], "big")
        if len(data) < body or len(data) < end:
            raise LedgerError(f"cut off in entry {number} of {count}")
        entries.append(data[body:end])
        start = end
    return entries, start
