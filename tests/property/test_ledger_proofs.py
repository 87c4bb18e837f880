"""Every proof of every small ledger, against the definitions of RFC 6962 and another program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.errors import ConsistencyProofInvalid, InclusionProofInvalid
from psp.ledger import Checkpoint, hash_leaf, verify_consistency, verify_inclusion
from psp.ledger._consistency import consistency_ranges
from psp.ledger._inclusion import inclusion_ranges
from psp.ledger._limits import CONSISTENCY_HASHES_MAX, INCLUSION_HASHES_MAX
from psp.ledger._ranges import Range, hash_range
from psp.ledger._tree import EMPTY_ROOT, RightEdge, TileId, hash_node

SIZE_MAX = 300
LEAF_HASHES = [hash_leaf(index.to_bytes(2, "big")) for index in range(600)]


@cache
def mth(start: int, end: int) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if start == end:
        return EMPTY_ROOT
    if end - start == 1:
        return LEAF_HASHES[start]
    k = split(end - start)
    return hash_node(mth(start, start + k), mth(start + k, end))


def split(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def path(m: int, start: int, end: int) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, end)]
    return [*path(m - k, start + k, end), mth(start, start + k)]


def subproof(m: int, start: int, end: int, *, known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == end - start:
        return [] if known else [mth(start, end)]
    k = split(end - start)
    if m <= k:
        return [*subproof(m, start, start + k, known=known), mth(start + k, end)]
    return [*subproof(m - k, start + k, end, known=False), mth(start, start + k)]


def checkpoint(size: int) -> Checkpoint:
    return Checkpoint(origin="example.com/x", tree_size=size, root_hash=mth(0, size))


def inclusion(index: int, size: int) -> list[bytes]:
    return [mth(*entries) for entries in inclusion_ranges(index, size)]


def consistency(old: int, new: int) -> list[bytes]:
    return [mth(*entries) for entries in consistency_ranges(old, new)]


def test_every_inclusion_proof_is_the_defined_one_and_verifies() -> None:
    for size in range(1, SIZE_MAX + 1):
        for index in range(size):
            proof = inclusion(index, size)
            assert proof == path(index, 0, size)
            verify_inclusion(LEAF_HASHES[index], index, proof, checkpoint(size))


def test_every_consistency_proof_is_the_defined_one_and_verifies() -> None:
    for new in range(1, SIZE_MAX + 1):
        for old in range(1, new + 1):
            proof = consistency(old, new)
            assert proof == subproof(old, 0, new, known=True)
            verify_consistency(checkpoint(old), checkpoint(new), proof)


def test_every_ledger_extends_the_empty_one_without_a_hash() -> None:
    for size in range(9):
        assert consistency(0, size) == []
        verify_consistency(checkpoint(0), checkpoint(size), [])


def is_included(leaf_hash: bytes, index: int, proof: Sequence[bytes], at: Checkpoint) -> bool:
    try:
        verify_inclusion(leaf_hash, index, proof, at)
    except InclusionProofInvalid:
        return False
    return True


def is_extended(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> bool:
    try:
        verify_consistency(old, new, proof)
    except ConsistencyProofInvalid:
        return False
    return True


def test_an_inclusion_proof_shows_one_entry_at_one_index_and_nothing_else() -> None:
    for size in range(1, 40):
        at = checkpoint(size)
        for index in range(size):
            proof, leaf_hash = inclusion(index, size), LEAF_HASHES[index]
            assert not is_included(leaf_hash, index, [*proof, bytes(32)], at)
            assert not is_included(leaf_hash, index, [bytes(32), *proof], at)
            assert not (proof and is_included(leaf_hash, index, proof[:-1], at))
            assert not (proof and is_included(leaf_hash, index, proof[1:], at))
            assert not is_included(hash_leaf(b"forged"), index, proof, at)
            for other in (*range(size), -1, size, size + index):
                assert is_included(leaf_hash, other, proof, at) == (other == index)


def test_no_inclusion_proof_of_a_ledger_to_300_stands_a_change_of_hash_index_or_size() -> None:
    """One sampled change of each kind for each of 45,150 proofs."""
    random = Random(300)
    for size in range(1, SIZE_MAX + 1):
        at = checkpoint(size)
        for index in range(size):
            proof, leaf_hash = inclusion(index, size), LEAF_HASHES[index]
            assert not is_included(
                leaf_hash, (index + random.randint(1, size)) % (size + 1), proof, at
            )
            # The same root with another size: a checkpoint that nobody signed.
            other = random.choice([n for n in (size - 1, size + 1, 2 * size) if n != size])
            if len(inclusion_ranges(index, other)) != len(proof) or index >= other:
                forged = Checkpoint(origin=at.origin, tree_size=other, root_hash=at.root_hash)
                assert not is_included(leaf_hash, index, proof, forged)
            at_hash = random.randrange(len(proof) + 1)
            changed = [leaf_hash, *proof]
            changed[at_hash] = flipped(changed[at_hash], random.randrange(256))
            assert not is_included(changed[0], index, changed[1:], at)


def test_no_consistency_proof_of_ledgers_to_150_stands_a_changed_hash() -> None:
    random = Random(150)
    for new in range(2, 151):
        for old in range(1, new):
            proof = consistency(old, new)
            at_hash = random.randrange(len(proof))
            proof[at_hash] = flipped(proof[at_hash], random.randrange(256))
            assert not is_extended(checkpoint(old), checkpoint(new), proof)


def flipped(node: bytes, bit: int) -> bytes:
    return (int.from_bytes(node, "big") ^ 1 << bit).to_bytes(32, "big")


def test_a_consistency_proof_shows_one_pair_of_sizes_and_nothing_else() -> None:
    for new in range(2, 40):
        for old in range(1, new):
            proof = consistency(old, new)
            assert not is_extended(checkpoint(old), checkpoint(new), [*proof, bytes(32)])
            assert not is_extended(checkpoint(old), checkpoint(new), proof[:-1])
            assert not is_extended(checkpoint(new), checkpoint(old), proof)
            forked = Checkpoint(origin="example.com/x", tree_size=old, root_hash=bytes(32))
            assert not is_extended(forked, checkpoint(new), proof)
            for other in range(1, new):
                assert is_extended(checkpoint(other), checkpoint(new), proof) == (other == old)


def test_two_roots_of_one_size_are_a_fork_whatever_the_proof() -> None:
    forked = Checkpoint(origin="example.com/x", tree_size=3, root_hash=bytes(32))
    assert not is_extended(checkpoint(3), forked, [])
    assert not is_extended(checkpoint(3), checkpoint(3), [bytes(32)])
    assert not is_extended(
        Checkpoint(origin="example.com/x", tree_size=0, root_hash=bytes(32)), checkpoint(3), []
    )


def test_a_ledger_does_not_extend_one_of_another_name() -> None:
    other = Checkpoint(origin="example.com/y", tree_size=2, root_hash=mth(0, 2))
    assert not is_extended(other, checkpoint(4), consistency(2, 4))


def test_a_proof_longer_than_any_path_is_refused_before_it_is_hashed() -> None:
    big = Checkpoint(origin="example.com/x", tree_size=2**63 - 1, root_hash=bytes(32))
    with pytest.raises(InclusionProofInvalid, match="64 hashes"):
        verify_inclusion(bytes(32), 0, [bytes(32)] * (INCLUSION_HASHES_MAX + 1), big)
    with pytest.raises(ConsistencyProofInvalid, match="65 hashes"):
        verify_consistency(checkpoint(3), big, [bytes(32)] * (CONSISTENCY_HASHES_MAX + 1))


@given(st.integers(0, 599), st.integers(1, 600), st.lists(st.binary(max_size=40), max_size=12))
def test_a_made_up_proof_is_refused_and_nothing_else_happens(
    index: int, size: int, proof: list[bytes]
) -> None:
    at = checkpoint(size)
    true_proof = inclusion(index, size) if index < size else None
    assert is_included(LEAF_HASHES[index], index, proof, at) == (proof == true_proof)


@given(st.data())
def test_hashes_read_from_tiles_are_the_defined_ones(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 600))
    edge = RightEdge()
    edge.extend(LEAF_HASHES[:size])

    def read(tile: TileId) -> list[bytes]:
        return edge.finished.get(tile) or edge.unfinished[tile.level]

    index = data.draw(st.integers(0, size - 1))
    ranges = [Range(0, size), *inclusion_ranges(index, size), *consistency_ranges(index, size)]
    assert [hash_range(r, read) for r in ranges] == [mth(*r) for r in ranges]
    assert edge.root_hash() == mth(0, size)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 70, 300])
def test_pymerkle_finds_the_same_roots_and_paths(size: int) -> None:
    other = pymerkle.InmemoryTree(algorithm="sha256")
    for index in range(size):
        other.append_entry(index.to_bytes(2, "big"))
    assert other.get_root() == mth(0, size)
    for index in range(size):
        # It counts from 1, and its path begins with the leaf itself.
        theirs = other.prove_inclusion(index + 1, size).serialize()["path"]
        assert [bytes.fromhex(node) for node in theirs] == [
            LEAF_HASHES[index],
            *inclusion(index, size),
        ]


def test_pymerkle_finds_the_same_root_for_every_size() -> None:
    other = pymerkle.InmemoryTree(algorithm="sha256")
    for size in range(1, SIZE_MAX + 1):
        other.append_entry((size - 1).to_bytes(2, "big"))
        assert other.get_root() == mth(0, size)
