"""Proofs that one entry is in a ledger."""

from __future__ import annotations

from collections.abc import Sequence

from psp.errors import InclusionProofInvalid

from ._checkpoint import Checkpoint
from ._limits import INCLUSION_HASHES_MAX
from ._ranges import Range, split_at
from ._tree import hash_node


def inclusion_ranges(index: int, tree_size: int) -> list[Range]:
    """Return which ranges of entries a proof needs the hashes of, from the leaf up.

    Source: RFC 6962, section 2.1.1, whose PATH is walked from the root down and then reversed.
    """
    ranges: list[Range] = []
    start, end = 0, tree_size
    while end - start > 1:
        middle = split_at(start, end)
        if index < middle:
            ranges.append(Range(middle, end))
            end = middle
        else:
            ranges.append(Range(start, middle))
            start = middle
    return ranges[::-1]


def verify_inclusion(
    leaf_hash: bytes, index: int, proof: Sequence[bytes], checkpoint: Checkpoint
) -> None:
    """Check that one entry is in the ledger that a checkpoint commits to.

    Args:
        leaf_hash: 32 bytes, from `hash_leaf(entry)`.
        index: Position of the entry, counted from 0; below `checkpoint.tree_size`.
        proof: Sibling hashes, 32 bytes each, from the leaf up; at most 63 of them.
        checkpoint: Already verified. An unverified root proves nothing.

    Raises:
        InclusionProofInvalid: The proof does not lead from the leaf to the root.

    Source: RFC 9162, section 2.1.3.2, whose names `fn` and `sn` are kept.
    """
    if not 0 <= index < checkpoint.tree_size:
        raise InclusionProofInvalid(f"entry {index} of a ledger of {checkpoint.tree_size} entries")
    if len(proof) > INCLUSION_HASHES_MAX:
        raise InclusionProofInvalid(f"{len(proof)} hashes; no path has over {INCLUSION_HASHES_MAX}")
    fn, sn, node = index, checkpoint.tree_size - 1, leaf_hash
    for sibling in proof:
        if sn == 0:
            raise InclusionProofInvalid(f"{len(proof)} hashes is more than the path is long")
        if fn & 1 or fn == sn:
            node = hash_node(sibling, node)
            while fn and not fn & 1:  # The right edge: levels without a sibling.
                fn, sn = fn >> 1, sn >> 1
        else:
            node = hash_node(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or node != checkpoint.root_hash:
        raise InclusionProofInvalid(f"entry {index} is not under root {checkpoint.root_hash.hex()}")
