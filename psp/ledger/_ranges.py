"""Ranges of entries and their hashes: what every proof is put together from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from ._limits import TILE_HEIGHT
from ._tree import TileId, hash_complete, hash_node

ReadTile: TypeAlias = Callable[[TileId], list[bytes]]
"""Gives the hashes of a tile that are there, 1 to 256."""


class Range(NamedTuple):
    """Entries from `start` up to but not including `end`."""

    start: int
    end: int


def split_at(start: int, end: int) -> int:
    """Return where RFC 6962 divides a range of two or more entries in its two subtrees."""
    # The largest power of two that is smaller than the number of entries.
    return start + (1 << (end - start - 1).bit_length() - 1)


def hash_range(entries: Range, read_tile: ReadTile) -> bytes:
    """Return the hash of one subtree: MTH(D[start:end]) of RFC 6962, section 2.1."""
    root: bytes | None = None
    for height, index in reversed(list(_complete_nodes(entries))):
        node = _read_node(height, index, read_tile)
        root = node if root is None else hash_node(node, root)
    assert root is not None, "a subtree has at least one entry"
    return root


def _complete_nodes(entries: Range) -> Iterator[tuple[int, int]]:
    """Yield the complete nodes (height, index) that make up a subtree, from the left."""
    start, end = entries
    while start < end:
        # A subtree begins at a multiple of its largest node, so size alone decides.
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _read_node(height: int, index: int, read_tile: ReadTile) -> bytes:
    """Return one node; heights between two tile levels are hashed from the lower one."""
    level, above = divmod(height, TILE_HEIGHT)
    tile, offset = divmod(index << above, 1 << TILE_HEIGHT)
    hashes = read_tile(TileId(level, tile))
    return hash_complete(hashes[offset : offset + (1 << above)])
