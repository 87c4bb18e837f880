"""The hash tree of RFC 6962, grown at its right edge.

Nothing here reads or writes: hashes come in, hashes come out.

Words: a *node* of height h and index i covers the 2^h entries that start at i * 2^h. A *peak* is a
node that no larger complete node covers yet; a tree of n entries has one peak for each 1 in the
binary form of n. A tile of level L holds 256 consecutive nodes of height 8 * L.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from ._limits import TILE_HEIGHT, TILE_WIDTH

EMPTY_ROOT: Final = sha256(b"").digest()


def hash_leaf(entry: bytes) -> bytes:
    """Return the hash of one entry, 32 bytes. Source: RFC 6962, section 2.1."""
    return sha256(b"\x00" + entry).digest()


def hash_leaves(entries: Iterable[bytes]) -> list[bytes]:
    """Return the hash of each entry."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others, 32 bytes. Source: RFC 6962, section 2.1."""
    # Another prefix than a leaf's: otherwise an inner node could be shown as an entry.
    return sha256(b"\x01" + left + right).digest()


def hash_complete(nodes: Sequence[bytes]) -> bytes:
    """Return the node above 2^k nodes of one height."""
    assert nodes, "there is no node above nothing"
    row = nodes
    while len(row) > 1:
        row = _hash_pairs(row)
    return row[0]


def _hash_pairs(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above neighbours; one that has no neighbour yet is left out."""
    # `hash_node` without its call: most of what a ledger does is this line.
    pairs = zip(nodes[::2], nodes[1::2], strict=False)
    return [sha256(b"\x01" + left + right).digest() for left, right in pairs]


@dataclass(frozen=True, order=True, slots=True)
class TileId:
    """Which tile: `level` counts from the leaves, `index` from the left, both from 0."""

    level: int
    index: int


class RightEdge:
    """What must be remembered of a tree to make it grow: its peaks and its unfinished tiles.

    At most 63 peaks and 255 hashes for each of 8 levels, whatever the size of the tree.

    Attributes:
        size: Entries in the tree.
        unfinished: Per level the hashes of the rightmost tile, 0 to 255 of them.
        finished: Tiles that became full since `forget_finished`, 256 hashes each.
    """

    __slots__ = ("_peaks", "finished", "size", "unfinished")

    def __init__(self) -> None:
        self.size = 0
        self.unfinished: list[list[bytes]] = [[]]
        self.finished: dict[TileId, list[bytes]] = {}
        # By height. None where the tree has no peak of that height.
        self._peaks: list[bytes | None] = []

    @classmethod
    def restore(cls, size: int, unfinished: Sequence[Sequence[bytes]]) -> RightEdge:
        """Return the edge of a tree of `size` entries from its partial tiles, one per level."""
        edge = cls()
        edge.size = size
        edge.unfinished = [list(hashes) for hashes in unfinished] or [[]]
        for hashes in edge.unfinished:
            start = 0
            peaks: list[bytes | None] = [None] * TILE_HEIGHT
            for height in reversed(range(TILE_HEIGHT)):  # The widest peak is the leftmost.
                if len(hashes) >> height & 1:
                    peaks[height] = hash_complete(hashes[start : start + (1 << height)])
                    start += 1 << height
            edge._peaks += peaks
        return edge

    def copy(self) -> RightEdge:
        """Return an edge that grows on its own: a batch becomes ours only when it is durable."""
        other = RightEdge()
        other.size = self.size
        other.unfinished = [list(hashes) for hashes in self.unfinished]
        other.finished = dict(self.finished)
        other._peaks = list(self._peaks)
        return other

    def extend(self, leaf_hashes: Sequence[bytes]) -> None:
        """Append entries. Every inner node is hashed once in the life of the tree."""
        # Row by row, not leaf by leaf: a batch takes a few steps for each height, not each entry.
        row, height = list(leaf_hashes), 0
        while row:
            level, above = divmod(height, TILE_HEIGHT)
            if not above:
                self._keep(row, level=level)
            if height == len(self._peaks):
                self._peaks.append(None)
            if (left := self._peaks[height]) is not None:
                row.insert(0, left)
            self._peaks[height] = row[-1] if len(row) % 2 else None
            row = _hash_pairs(row)
            height += 1
        self.size += len(leaf_hashes)

    def root_hash(self) -> bytes:
        """Return the root of the whole tree, 32 bytes."""
        root: bytes | None = None
        for peak in self._peaks:
            if peak is not None:
                root = peak if root is None else hash_node(peak, root)
        return EMPTY_ROOT if root is None else root

    def forget_finished(self) -> None:
        """Drop the full tiles from memory: they can be read from disk from now on."""
        self.finished = {}

    def _keep(self, nodes: Sequence[bytes], *, level: int) -> None:
        if level == len(self.unfinished):
            self.unfinished.append([])
        hashes = self.unfinished[level] + list(nodes)
        first = self.size >> TILE_HEIGHT * (level + 1)  # `size` is still that of before.
        full = len(hashes) // TILE_WIDTH
        for number in range(full):
            start = number * TILE_WIDTH
            self.finished[TileId(level, first + number)] = hashes[start : start + TILE_WIDTH]
        self.unfinished[level] = hashes[full * TILE_WIDTH :]


class Width(NamedTuple):
    """How far one level reaches in a tree of some size."""

    full: int
    partial: int


def width_at(tree_size: int, level: int) -> Width:
    """Return how many full tiles a level has, and how many hashes its partial tile holds.

    Source: C2SP tlog-tiles, "Partial Tiles".
    """
    full, partial = divmod(tree_size >> TILE_HEIGHT * level, TILE_WIDTH)
    return Width(full, partial)


def level_count(tree_size: int) -> int:
    """Return how many levels have at least one tile, full or partial."""
    return -(-tree_size.bit_length() // TILE_HEIGHT)
