"""What the files of a ledger say: its right edge, checked against the signature, or refused.

The tiles and bundles left of the edge are checked when they are read, and all at once by `fsck`.

Nothing is written while reading. The two files that are replaced, never sealed, are written here
too, so that how they are read and how they are written stand side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psp.errors import CheckpointRejected, LedgerError

from ._checkpoint import Checkpoint, verify_checkpoint_untrusted
from ._files import GROWING, SEALED, Files
from ._journal import Journal, decode_journal_untrusted, encode_top
from ._limits import JOURNAL_BYTES, NOTE_BYTES_MAX
from ._published import Published, damage_in
from ._tree import RightEdge, hash_leaves

JOURNAL: Final = "journal"
CHECKPOINT: Final = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A ledger as its files have it, as far as its root needs them.

    Attributes:
        published: The tiles and bundles, up to the checkpoint file.
        edge: The tree with the journal's entries.
        pending: The entries that are in the journal only.
        checkpoint: What the edge is; signed in `note`.
        note: From the journal's last batch, else from the checkpoint file.
        journal_base: How many entries were published when the journal was made.
        journal_end: Where the next batch would go.
        is_recovering: Whether the journal is not as new, and must be replaced before an append.
    """

    published: Published
    edge: RightEdge
    pending: list[bytes]
    checkpoint: Checkpoint
    note: bytes
    journal_base: int
    journal_end: int
    is_recovering: bool


def load(files: Files, *, origin: str, public_key: bytes, tries: int) -> State:
    """Read and check journal, checkpoint, and the tiles that the root is made of.

    Args:
        files: The ledger's directory.
        origin: Which ledger it must be.
        public_key: Whose signature counts.
        tries: More than 1 if a writer may be at work.

    Raises:
        CheckpointRejected: The checkpoint is not signed by that key for that origin.
        LedgerError: A file is missing or damaged; the message names it.
    """
    return _Loader(files, origin, public_key).load(tries)


class _Loader:
    def __init__(self, files: Files, origin: str, public_key: bytes) -> None:
        self._files = files
        self._origin = origin
        self._public_key = public_key

    def load(self, tries: int) -> State:
        journal, note, checkpoint = self._read_snapshot(tries)
        published = Published(self._files, checkpoint.tree_size)
        edge = published.read_edge()
        if edge.root_hash() != checkpoint.root_hash:
            tiles = ", ".join(self._files.name(path) for path in published.edge_paths())
            raise LedgerError(
                f"{self._files.name(CHECKPOINT)} commits to another root than {tiles or 'no tile'}"
                f" has: some of {checkpoint.tree_size} entries were changed after they were"
                " sealed. Check the ledger to learn which, and restore it from a copy; nothing was"
                " changed now."
            )
        # The one bundle that still grows: what a crash came closest to, and the next write needs.
        published.read_open_bundle(edge)
        pending: list[bytes] = []
        # A crash after the checkpoint and before the new journal leaves batches that are published.
        if journal.batches and journal.base == checkpoint.tree_size:
            note = journal.batches[-1].note
            checkpoint = self._replay(journal, edge, pending)
        return State(
            published=published,
            edge=edge,
            pending=pending,
            checkpoint=checkpoint,
            note=note,
            journal_base=journal.base,
            journal_end=journal.end,
            is_recovering=not journal.is_settled,
        )

    def _read_snapshot(self, tries: int) -> tuple[Journal, bytes, Checkpoint]:
        """Return a journal and a checkpoint that meet, though a writer may be at work.

        The journal is read first: what is acknowledged is in it, or in a checkpoint read after it.
        """
        for left in reversed(range(tries)):
            try:
                journal = self._read_journal()
            except LedgerError:
                if left:  # A batch is half visible while it is being written.
                    continue
                raise
            note = self._files.read(CHECKPOINT, bytes_max=NOTE_BYTES_MAX)
            checkpoint = self._verify_note(note, CHECKPOINT)
            if checkpoint.tree_size in (journal.base, journal.tree_size):
                return journal, note, checkpoint
        raise LedgerError(
            f"{self._files.name(JOURNAL)} continues a ledger of {journal.base} entries, but"
            f" {self._files.name(CHECKPOINT)} is of {checkpoint.tree_size}. One of the two is from"
            " another time. Restore the whole directory from a copy; nothing was changed."
        )

    def _read_journal(self) -> Journal:
        data = self._files.read(JOURNAL, bytes_max=JOURNAL_BYTES)
        with damage_in(self._files, JOURNAL):
            return decode_journal_untrusted(data)

    def _replay(self, journal: Journal, edge: RightEdge, pending: list[bytes]) -> Checkpoint:
        """Take the journal's batches in; the last one's signature speaks for all of them."""
        for batch in journal.batches:
            pending += batch.entries
            edge.extend(hash_leaves(batch.entries))
        checkpoint = self._verify_note(journal.batches[-1].note, JOURNAL)
        if (edge.size, edge.root_hash()) != (checkpoint.tree_size, checkpoint.root_hash):
            raise LedgerError(
                f"{self._files.name(JOURNAL)} holds entries that its own checkpoint of"
                f" {checkpoint.tree_size} entries does not commit to. Restore it from a copy;"
                " nothing was changed."
            )
        return checkpoint

    def _verify_note(self, note: bytes, path: str) -> Checkpoint:
        try:
            return verify_checkpoint_untrusted(
                note, origin=self._origin, public_key=self._public_key
            )
        except CheckpointRejected as exc:
            raise CheckpointRejected(
                f"{self._files.name(path)} does not commit {self._origin} to anything: {exc}."
                " Open it with its own key, or restore it from a copy; nothing was changed."
            ) from exc


def replace_checkpoint(files: Files, note: bytes) -> None:
    """Publish a checkpoint; its tiles are durable."""
    files.write_temporary(note, mode=SEALED)
    files.sync_temporary()
    files.rename_temporary(CHECKPOINT)
    files.sync_directory(".")


def replace_journal(files: Files, *, base: int) -> None:
    """Begin a new journal after `base` entries; they are published."""
    # A new file, not a truncated one: a reader in the middle of the old one keeps it whole.
    files.write_temporary(encode_top(base), mode=GROWING, size=JOURNAL_BYTES)
    files.sync_temporary()
    files.rename_temporary(JOURNAL)
    files.sync_directory(".")
