"""Proofs that a newer ledger still holds all of an older one, unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from psp.errors import ConsistencyProofInvalid

from ._checkpoint import Checkpoint
from ._limits import CONSISTENCY_HASHES_MAX
from ._ranges import Range, split_at
from ._tree import EMPTY_ROOT, hash_node


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """Return which ranges of entries a proof needs the hashes of, from the bottom up.

    Empty if the old ledger is empty or the two have one size: there is nothing to show.

    Source: RFC 6962, section 2.1.2, whose SUBPROOF is walked from the root down and then reversed.
    """
    if old_size in (0, new_size):
        return []
    ranges: list[Range] = []
    start, end = 0, new_size
    while old_size != end:
        middle = split_at(start, end)
        if old_size <= middle:
            ranges.append(Range(middle, end))
            end = middle
        else:
            ranges.append(Range(start, middle))
            start = middle
    if start:
        # Where `start` is 0 this node is the old root itself, which the verifier has.
        ranges.append(Range(start, end))
    return ranges[::-1]


def verify_consistency(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that the ledger of `new` begins with the whole ledger of `old`.

    Args:
        old: Already verified.
        new: Already verified.
        proof: Hashes, 32 bytes each, from the bottom up; at most 64 of them.

    Raises:
        ConsistencyProofInvalid: It does not, or the proof does not show it.

    Source: RFC 9162, section 2.1.4.2, whose names `fn`, `sn`, `fr` and `sr` are kept.
    """
    if old.origin != new.origin or old.tree_size > new.tree_size:
        raise ConsistencyProofInvalid(
            f"{new.origin} with {new.tree_size} entries cannot extend"
            f" {old.origin} with {old.tree_size}"
        )
    if len(proof) > CONSISTENCY_HASHES_MAX:
        raise ConsistencyProofInvalid(f"{len(proof)} hashes; at most {CONSISTENCY_HASHES_MAX}")
    if old.tree_size in (0, new.tree_size):
        expected = EMPTY_ROOT if old.tree_size == 0 else new.root_hash
        if proof or old.root_hash != expected:
            raise ConsistencyProofInvalid(
                f"two roots, or a proof of {len(proof)} hashes, for {old.tree_size} entries"
            )
        return
    if _roots_untrusted(old, new, proof) != (old.root_hash, new.root_hash):
        raise ConsistencyProofInvalid(
            f"the ledger of {new.tree_size} entries does not begin with that of {old.tree_size}."
            " Its history was rewritten, or the proof is of another ledger."
        )


def _roots_untrusted(
    old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the old and the new root that a proof leads to."""
    fn, sn = old.tree_size - 1, new.tree_size - 1
    path = list(proof)
    if old.tree_size & fn == 0:
        path.insert(0, old.root_hash)  # A power of two: the old root is a node of the new tree.
    if not path:
        raise ConsistencyProofInvalid("a proof of no hashes")
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ConsistencyProofInvalid(f"{len(proof)} hashes is more than the path is long")
        if fn & 1 or fn == sn:
            fr, sr = hash_node(sibling, fr), hash_node(sibling, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = hash_node(sr, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ConsistencyProofInvalid(f"{len(proof)} hashes is less than the path is long")
    return fr, sr
