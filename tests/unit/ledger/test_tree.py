"""The tree against the vectors of certificate transparency and against its own definition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from psp.ledger._limits import TILE_WIDTH
from psp.ledger._tree import (
    EMPTY_ROOT,
    RightEdge,
    TileId,
    Width,
    hash_complete,
    hash_leaf,
    hash_node,
    level_count,
    width_at,
)

# The eight leaves and their roots that the reference implementation of RFC 6962 tests with.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        *("", "00", "10", "2021", "3031", "40414243"),
        *("5051525354555657", "606162636465666768696a6b6c6d6e6f"),
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def defined_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaf_hashes:
        return EMPTY_ROOT
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    k = 1
    while k * 2 < len(leaf_hashes):
        k *= 2
    return hash_node(defined_root(leaf_hashes[:k]), defined_root(leaf_hashes[k:]))


def grown(leaf_hashes: Sequence[bytes]) -> RightEdge:
    edge = RightEdge()
    edge.extend(leaf_hashes)
    return edge


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_those_of_rfc_6962(size: int) -> None:
    assert grown([hash_leaf(leaf) for leaf in LEAVES[:size]]).root_hash().hex() == ROOTS[size]


def test_a_leaf_cannot_be_taken_for_a_node() -> None:
    left, right = hash_leaf(b"a"), hash_leaf(b"b")
    assert hash_leaf(left + right) != hash_node(left, right)


def test_the_node_above_complete_hashes_is_their_root() -> None:
    hashes = [hash_leaf(bytes([i])) for i in range(16)]
    assert hash_complete(hashes) == defined_root(hashes)


def test_a_restored_edge_grows_like_the_one_that_was_never_put_away() -> None:
    hashes = [hash_leaf(i.to_bytes(2, "big")) for i in range(600)]
    edge = grown(hashes[:300])
    restored = RightEdge.restore(300, edge.unfinished)
    assert restored.root_hash() == edge.root_hash()
    edge.extend(hashes[300:])
    restored.extend(hashes[300:])
    assert restored.root_hash() == edge.root_hash() == defined_root(hashes)
    assert restored.unfinished == edge.unfinished


@pytest.mark.parametrize("first", [0, 1, 255, 256, 300])
@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 600])
def test_many_at_once_are_the_same_as_one_by_one(first: int, count: int) -> None:
    hashes = [hash_leaf(i.to_bytes(2, "big")) for i in range(first + count)]
    together = grown(hashes[:first])
    together.extend(hashes[first:])
    singly = RightEdge()
    for leaf_hash in hashes:
        singly.extend([leaf_hash])
    assert together.size == singly.size
    assert together.root_hash() == singly.root_hash() == defined_root(hashes)
    assert together.unfinished == singly.unfinished
    assert together.finished == singly.finished


def test_a_full_tile_is_finished_once_and_counts_above() -> None:
    hashes = [hash_leaf(bytes([i])) for i in range(TILE_WIDTH)]
    edge = grown(hashes)
    assert edge.finished == {TileId(0, 0): hashes}
    assert edge.unfinished == [[], [defined_root(hashes)]]
    edge.forget_finished()
    assert edge.finished == {}


def test_a_copy_grows_alone() -> None:
    edge = grown([hash_leaf(b"a")])
    before = edge.root_hash()
    other = edge.copy()
    other.extend([hash_leaf(b"b")])
    assert (edge.size, edge.root_hash(), edge.unfinished) == (1, before, [[hash_leaf(b"a")]])
    assert other.size == 2


def test_seventy_thousand_entries_lie_in_the_tiles_that_c2sp_counts() -> None:
    """The example of tlog-tiles, "Partial Tiles"."""
    widths = [width_at(70_000, level) for level in range(level_count(70_000))]
    assert widths == [Width(273, 112), Width(1, 17), Width(0, 1)]


def test_a_full_tile_has_a_partial_one_above_it_at_once() -> None:
    assert [width_at(256, level) for level in range(level_count(256))] == [(1, 0), (0, 1)]
    assert level_count(0) == 0
    assert level_count(255) == 1
