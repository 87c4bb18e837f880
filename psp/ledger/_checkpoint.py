"""Checkpoints: the size and root of a ledger, signed. Source: C2SP tlog-checkpoint."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass

from psp.errors import CheckpointRejected

from ._limits import HASH_BYTES, TREE_SIZE_MAX
from ._note import Signer, sign_note, verify_note_untrusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a ledger commits to. Made by `verify_checkpoint_untrusted`, or by the ledger itself.

    Attributes:
        origin: Which ledger; also the name of the key that signs.
        tree_size: How many entries.
        root_hash: The root of the tree over them, 32 bytes.
    """

    origin: str
    tree_size: int
    root_hash: bytes


def sign_checkpoint(checkpoint: Checkpoint, key: Signer) -> bytes:
    """Return the checkpoint as a signed note."""
    return sign_note(encode_body(checkpoint), name=checkpoint.origin, key=key)


def encode_body(checkpoint: Checkpoint) -> str:
    """Return the three lines that are signed."""
    root = b64encode(checkpoint.root_hash).decode()
    return f"{checkpoint.origin}\n{checkpoint.tree_size}\n{root}\n"


def verify_checkpoint_untrusted(note: bytes, *, origin: str, public_key: bytes) -> Checkpoint:
    """Return what a signed note commits to, if it is this ledger's and its key signed it.

    Extension lines may follow the root hash: they are signed, opaque, and ignored.

    Raises:
        CheckpointRejected: Malformed, of another ledger, or not signed by the key. Nothing else is
            raised.
    """
    text = verify_note_untrusted(note, name=origin, public_key=public_key)
    checkpoint = decode_body_untrusted(text)
    if checkpoint.origin != origin:
        raise CheckpointRejected(f"a checkpoint of {checkpoint.origin[:80]!r}; expected {origin!r}")
    return checkpoint


def decode_body_untrusted(text: str) -> Checkpoint:
    """Return what the text of a checkpoint says; who says so is another question.

    Raises:
        CheckpointRejected: It is not the text of a checkpoint. Nothing else is raised.
    """
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise CheckpointRejected("a checkpoint is origin, tree size and root hash, a line each")
    return Checkpoint(
        origin=lines[0],
        tree_size=_tree_size_untrusted(lines[1]),
        root_hash=_root_hash_untrusted(lines[2]),
    )


def _tree_size_untrusted(line: str) -> int:
    # `int` also takes spaces, underscores, signs and the digits of forty scripts.
    canonical = line.isascii() and line.isdigit() and (line == "0" or line[0] != "0")
    if not canonical or len(line) > len(str(TREE_SIZE_MAX)) or int(line) > TREE_SIZE_MAX:
        raise CheckpointRejected(f"{line[:80]!r} is not a tree size: 0 to {TREE_SIZE_MAX}")
    return int(line)


def _root_hash_untrusted(line: str) -> bytes:
    try:
        root = b64decode(line, validate=True)
    except (Base64Error, ValueError):
        root = b""
    if len(root) != HASH_BYTES or b64encode(root).decode() != line:
        raise CheckpointRejected(f"{line[:80]!r} is not a root hash: {HASH_BYTES} bytes in base64")
    return root
