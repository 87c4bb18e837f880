"""Proof files: one entry, its place in a ledger and the signed checkpoint, checked without either.

Source: C2SP tlog-proof. Its line `extra` is the application's; here it is the entry itself. That it
is not signed does no harm: its hash is where the proof begins, so another entry leads to another
root.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psp.errors import InclusionProofInvalid

from ._checkpoint import Checkpoint, verify_checkpoint_untrusted
from ._cosignature import Cosignature, verify_quorum_untrusted
from ._inclusion import verify_inclusion
from ._limits import (
    ENTRY_BYTES_MAX,
    HASH_BYTES,
    INCLUSION_HASHES_MAX,
    PROOF_FILE_BYTES_MAX,
    TREE_SIZE_MAX,
)
from ._note import VerifierKey
from ._tree import hash_leaf

FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_ENTRY: Final = "extra "
_INDEX: Final = "index "


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFile:
    """What a proof file says, not verified.

    Attributes:
        index: Where the entry is.
        hashes: Sibling hashes, 32 bytes each, from the leaf up.
        note: The checkpoint as a signed note, with any cosignatures.
        entry: The entry. None if whoever made the file kept it back: then it shows only to those
            who have the entry where it is.
    """

    index: int
    hashes: Sequence[bytes]
    note: bytes
    entry: bytes | None = None

    def encode(self) -> bytes:
        """Return the file's bytes."""
        lines = [FIRST_LINE]
        if self.entry is not None:
            lines.append(_ENTRY + b64encode(self.entry).decode())
        lines.append(f"{_INDEX}{self.index}")
        lines += [b64encode(node).decode() for node in self.hashes]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """An entry that is in a ledger, verified.

    Attributes:
        entry: The entry.
        index: Where it is.
        checkpoint: Of which ledger, and as of which size.
        cosignatures: Which of the witnesses asked about had seen that checkpoint, and when.
    """

    entry: bytes
    index: int
    checkpoint: Checkpoint
    cosignatures: Sequence[Cosignature]


def decode_proof_file_untrusted(data: bytes) -> ProofFile:
    """Return what a proof file says. Nothing is verified, and the note in it is not looked at.

    There is one way to write each proof: other spellings of a number or of base64 are refused.

    Raises:
        InclusionProofInvalid: It is not a proof file. Nothing else is raised.
    """
    if len(data) > PROOF_FILE_BYTES_MAX:
        raise InclusionProofInvalid(
            f"a proof file of {len(data):,} bytes; at most {PROOF_FILE_BYTES_MAX:,}"
        )
    # The *first* empty line divides: the checkpoint after it has one of its own.
    head, divider, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        lines = []
    if not divider or lines[:1] != [FIRST_LINE]:
        raise InclusionProofInvalid(
            f"not a proof file: one begins with {FIRST_LINE!r} and holds an empty line. Take the"
            " file whole, as `psp ledger prove` wrote it."
        )
    del lines[0]
    entry = None
    if lines and lines[0].startswith(_ENTRY):
        entry = _base64_untrusted(lines.pop(0).removeprefix(_ENTRY))
        if len(entry) > ENTRY_BYTES_MAX:
            raise InclusionProofInvalid(f"an entry of {len(entry):,} bytes in a proof file")
    if not lines:
        raise InclusionProofInvalid("a proof file without an index")
    index = _index_untrusted(lines.pop(0))
    if len(lines) > INCLUSION_HASHES_MAX:
        raise InclusionProofInvalid(f"{len(lines)} hashes; no path has over {INCLUSION_HASHES_MAX}")
    hashes = tuple(map(_base64_untrusted, lines))
    if any(len(node) != HASH_BYTES for node in hashes):
        raise InclusionProofInvalid(f"a hash in a proof file that is not {HASH_BYTES} bytes")
    return ProofFile(index=index, hashes=hashes, note=note, entry=entry)


def verify_proof_file_untrusted(
    data: bytes,
    *,
    key: VerifierKey,
    witnesses: Sequence[VerifierKey] = (),
    quorum: int | None = None,
    entry: bytes | None = None,
) -> Proven:
    """Check a proof file, with nothing at hand but keys.

    Args:
        data: The file's bytes.
        key: The ledger's, with its name. Where it came from is what the proof is worth.
        witnesses: Who is trusted to have watched the ledger.
        quorum: How many of them must have cosigned; by default all.
        entry: The entry, if the file does not hold it; if both are given they must be the same.

    Raises:
        InclusionProofInvalid: Not a proof file, or it does not lead from the entry to the root.
        CheckpointRejected: The checkpoint is not signed by the key, or by too few witnesses.
            Nothing else is raised.
    """
    proof = decode_proof_file_untrusted(data)
    if proof.entry is None and entry is None:
        raise InclusionProofInvalid(
            "the proof file holds no entry, and none was given. Give the entry that it is to show."
        )
    if proof.entry is not None and entry is not None and proof.entry != entry:
        raise InclusionProofInvalid("the proof file is of another entry than the one given")
    shown = entry if proof.entry is None else proof.entry
    assert shown is not None, "one of the two is there"
    checkpoint = verify_checkpoint_untrusted(proof.note, origin=key.name, public_key=key.public_key)
    cosignatures = verify_quorum_untrusted(
        proof.note, ledger=key, witnesses=witnesses, quorum=quorum
    )
    verify_inclusion(hash_leaf(shown), proof.index, proof.hashes, checkpoint)
    return Proven(entry=shown, index=proof.index, checkpoint=checkpoint, cosignatures=cosignatures)


def _base64_untrusted(text: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        data = b""
    if b64encode(data).decode() != text:
        raise InclusionProofInvalid(f"{text[:80]!r} in a proof file is not base64 in its one form")
    return data


def _index_untrusted(line: str) -> int:
    digits = line.removeprefix(_INDEX)
    # The lengths first: `int` of a hundred thousand digits takes seconds, or raises.
    if line.startswith(_INDEX) and digits.isdigit() and len(digits) <= len(str(TREE_SIZE_MAX)):
        index = int(digits)
        if index < TREE_SIZE_MAX and f"{_INDEX}{index}" == line:
            return index
    raise InclusionProofInvalid(f"{line[:80]!r} is not the index line of a proof file")
