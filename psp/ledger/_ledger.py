"""A ledger in a directory: entries come in at the end and never change.

    journal      one fixed file; a batch is durable when it is synced
    checkpoint   the signed size and root of everything in tile/
    tile/        hashes and entries, C2SP tlog-tiles; written from the journal, sealed

The order of writing is the whole of crash safety: batch into journal, sync, *acknowledge*; later
tiles, then checkpoint, then an empty journal. After a crash the journal therefore begins where the
checkpoint ends, or ends there. Anything else was not our doing and is refused.

Nothing is locked here: one process at a time may open with a key, and who sees to that is the
archive, which holds the lock on its directory. Any number may read beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from psp.errors import ConsistencyProofInvalid, InclusionProofInvalid, LedgerError

from ._checkpoint import Checkpoint, sign_checkpoint
from ._consistency import consistency_ranges
from ._files import Files
from ._fsck import Progress, check_files
from ._inclusion import inclusion_ranges
from ._journal import SECTOR_BYTES, encode_batch
from ._limits import (
    JOURNAL_AHEAD_BYTES,
    JOURNAL_BYTES,
    PENDING_ENTRIES_MAX,
    SNAPSHOT_TRIES,
    TILE_HEIGHT,
    TILE_WIDTH,
)
from ._note import Signer, check_key_name
from ._published import Published
from ._ranges import Range, hash_range
from ._report import LedgerReport
from ._settled import settled_in
from ._state import JOURNAL, load, replace_checkpoint, replace_journal
from ._tree import EMPTY_ROOT, TileId, hash_leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """A batch that is durable.

    Attributes:
        first_index: Where the first entry of the batch is; the others follow it.
        checkpoint: What the ledger commits to with the batch in it.
    """

    first_index: int
    checkpoint: Checkpoint


class Ledger:
    """An append-only record that anybody can check. Made by `create` and `open`.

    Attributes:
        checkpoint: What it commits to now: every acknowledged entry.
        note: The same as a signed note, to hand out with a proof.
    """

    checkpoint: Checkpoint
    note: bytes

    def __init__(self, files: Files, *, origin: str, public_key: bytes, key: Signer | None) -> None:
        # Only a writer can rely on the files to stand still.
        state = load(
            files, origin=origin, public_key=public_key, tries=SNAPSHOT_TRIES if key is None else 1
        )
        self.checkpoint, self.note = state.checkpoint, state.note
        self._files = files
        self._origin = origin
        self._key = key
        # Why nothing can be appended any more; None while all is well.
        self._refusal: str | None = None
        self._published = state.published
        # Per level the full tile that was read last: neighbouring entries and hashes share tiles.
        self._verified: dict[int, tuple[int, list[bytes]]] = {}
        self._edge = state.edge
        # Entries from `_published.tree_size` on, whose bundles are not written yet.
        self._pending = state.pending
        self._journal_base, self._journal_end = state.journal_base, state.journal_end
        # Up to where the file has its blocks, as far as this process has seen to that.
        self._journal_filled = state.journal_end
        # Whether the journal is not as new, and must be replaced before the first append.
        self._is_recovering = state.is_recovering

    @classmethod
    def create(cls, directory: Path, *, origin: str, key: Signer) -> Self:
        """Make an empty ledger in a directory that is empty or not there, and open it.

        Raises:
            LedgerError: The directory holds something, or cannot be written.
        """
        check_key_name(origin)
        files = Files(directory)
        if found := files.names("."):
            raise LedgerError(
                f"{directory} cannot become a ledger: it holds {found[0]!r}. Open what is there,"
                " or choose an empty directory; a ledger is never started over."
            )
        files.make_root()
        return cls.create_on(files, origin=origin, key=key)

    @classmethod
    def create_on(cls, files: Files, *, origin: str, key: Signer) -> Self:
        """Make an empty ledger on files that hold nothing."""
        empty = Checkpoint(origin=origin, tree_size=0, root_hash=EMPTY_ROOT)
        replace_journal(files, base=0)
        replace_checkpoint(files, sign_checkpoint(empty, key))
        return cls(files, origin=origin, public_key=key.public_bytes, key=key)

    @classmethod
    def open(
        cls, directory: Path, *, origin: str, public_key: bytes, key: Signer | None = None
    ) -> Self:
        """Open a ledger: verify the checkpoint's signature, and the root from the right edge.

        This reads a few tiles, whatever the size. Every other tile and entry is checked when it is
        read, and all of them by `check_ledger`.

        With a key, what a crash left in the journal is carried into the tiles. Without one the
        ledger can only be read and nothing is written; another process may be appending.

        Raises:
            CheckpointRejected: The checkpoint is not signed by `public_key` for `origin`.
            LedgerError: A file is missing or damaged; the message names it. Nothing was changed.
        """
        if key is not None and key.public_bytes != public_key:
            raise LedgerError(f"the key given is not the key of {origin}; nothing was opened.")
        return cls.open_on(Files(directory), origin=origin, public_key=public_key, key=key)

    @classmethod
    def open_on(
        cls, files: Files, *, origin: str, public_key: bytes, key: Signer | None = None
    ) -> Self:
        """Do what `open` does, on these files."""
        ledger = cls(files, origin=origin, public_key=public_key, key=key)
        if key is not None and ledger._is_recovering:
            ledger.write_tiles()
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the tiles of what is pending and let go of the files.

        Without it nothing is lost: the next `open` does the same.
        """
        try:
            if self._key is not None and self._refusal is None:
                self.write_tiles()
        finally:
            self._refusal = "it is closed"
            self._files.close_journal()

    def append(self, entries: Sequence[bytes]) -> Appended:
        """Add entries; when this returns they are durable and committed to by a signed checkpoint.

        Their tiles are written later, by `write_tiles`: at a quiet moment, on `close`, or here once
        the journal is full. A batch is one write and one sync, however many entries it has.

        Raises:
            LedgerError: The batch is too large, and nothing happened; or the disk failed, and
                whether the batch is there will be known when the ledger is opened again.
        """
        key = self._writer()
        if not 0 < len(entries) <= PENDING_ENTRIES_MAX:
            raise LedgerError(f"a batch of {len(entries)} entries; give 1 to {PENDING_ENTRIES_MAX}")
        grown = self._edge.copy()
        grown.extend(hash_leaves(entries))
        checkpoint = Checkpoint(
            origin=self._origin, tree_size=grown.size, root_hash=grown.root_hash()
        )
        note = sign_checkpoint(checkpoint, key)
        first_index = self._edge.size
        sectors = encode_batch(first_index, entries, note, offset=self._journal_end)
        if len(sectors) > JOURNAL_BYTES - SECTOR_BYTES:
            raise LedgerError(
                f"a batch of {len(entries)} entries takes {len(sectors):,} bytes of a journal of"
                f" {JOURNAL_BYTES:,}. Append it in several batches."
            )
        pending_count = len(self._pending) + len(entries)
        if self._journal_end + len(sectors) > JOURNAL_BYTES or pending_count > PENDING_ENTRIES_MAX:
            self.write_tiles()
            return self.append(entries)  # Once: a batch that got here fits in an empty journal.
        with self._poisoned_by_failure():
            filled = sectors + self._zeros_after(self._journal_end + len(sectors))
            self._files.write_journal(JOURNAL, filled, offset=self._journal_end)
            self._files.sync_journal(JOURNAL)
        self._journal_filled = max(self._journal_filled, self._journal_end + len(filled))
        self._journal_end += len(sectors)
        self._edge = grown
        self._pending += entries
        self.checkpoint, self.note = checkpoint, note
        return Appended(first_index=first_index, checkpoint=checkpoint)

    @property
    def fills_soon(self) -> bool:
        """Whether one of the next appends finds the journal full, and has to write tiles first."""
        return self._journal_end > JOURNAL_BYTES - JOURNAL_AHEAD_BYTES

    def write_tiles(self) -> None:
        """Carry every acknowledged entry into sealed tiles, and empty the journal.

        Raises:
            LedgerError: The disk failed. Nothing acknowledged is lost; open the ledger again.
        """
        self._writer()
        if not self._pending and not self._is_recovering:
            return
        with self._poisoned_by_failure():
            self._published.extend(self._edge, self._pending)
            replace_checkpoint(self._files, self.note)
            self._published.remove_partials(old_size=self._journal_base, new_size=self._edge.size)
            self._files.close_journal()
            replace_journal(self._files, base=self._edge.size)
        self._published = Published(self._files, self._edge.size)
        self._pending = []
        self._edge.forget_finished()
        self._journal_base, self._journal_end = self._edge.size, SECTOR_BYTES
        self._journal_filled = SECTOR_BYTES
        self._is_recovering = False

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the entries from `start` up to but not including `end`, each checked.

        Raises:
            LedgerError: There are no such entries, or a file changed since the ledger was opened.
        """
        if not 0 <= start <= end <= self._edge.size:
            raise LedgerError(f"entries {start} to {end} of a ledger of {self._edge.size} entries")
        published = self._published.tree_size
        found: list[bytes] = []
        for index in range(start // TILE_WIDTH, -(-min(end, published) // TILE_WIDTH)):
            bundle = self._published.read_bundle(index, self._tile(TileId(0, index)))
            first = index * TILE_WIDTH
            found += bundle[max(start - first, 0) : end - first]
        return found + self._pending[max(start - published, 0) : max(end - published, 0)]

    def root_hash(self, tree_size: int) -> bytes:
        """Return the root that the ledger had at a size.

        Raises:
            LedgerError: It never had that size, or a file changed since the ledger was opened.
        """
        if tree_size == self._edge.size:
            return self.checkpoint.root_hash
        if not 0 < tree_size < self._edge.size:
            raise LedgerError(f"the root at size {tree_size} of a ledger of {self._edge.size}")
        # A proof is checked against the files as it is made; a bare hash would not be.
        self.prove_inclusion(tree_size - 1, tree_size)
        return self._hashes([Range(0, tree_size)])[0]

    def prove_inclusion(self, index: int, tree_size: int) -> list[bytes]:
        """Return the proof that an entry is in the ledger of its first `tree_size` entries.

        Raises:
            InclusionProofInvalid: There is no such entry in a ledger of that size.
            LedgerError: A file changed since the ledger was opened; the message names it.
        """
        if not 0 <= index < tree_size <= self._edge.size:
            raise InclusionProofInvalid(
                f"entry {index} in the first {tree_size} entries of {self._edge.size}"
            )
        return self._hashes(inclusion_ranges(index, tree_size))

    def prove_consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the proof that the ledger of `new_size` entries extends that of `old_size`.

        Raises:
            ConsistencyProofInvalid: The ledger never had those sizes, in that order.
            LedgerError: A file changed since the ledger was opened; the message names it.
        """
        if not 0 <= old_size <= new_size <= self._edge.size:
            raise ConsistencyProofInvalid(
                f"from {old_size} to {new_size} entries in a ledger of {self._edge.size}"
            )
        return self._hashes(consistency_ranges(old_size, new_size))

    def _zeros_after(self, end: int) -> bytes:
        """Fill the journal ahead of a batch that reaches a hole; to a reader both are the same."""
        if end <= self._journal_filled:
            return b""
        return bytes(min(JOURNAL_AHEAD_BYTES, JOURNAL_BYTES - end))

    def _tile(self, tile: TileId) -> list[bytes]:
        """Return a tile as far as it is filled now; each hash of it leads to the signed root."""
        if tile in self._edge.finished:
            return self._edge.finished[tile]
        if tile.index == self._edge.size >> TILE_HEIGHT * (tile.level + 1):
            return self._edge.unfinished[tile.level]
        index, hashes = self._verified.get(tile.level, (-1, []))
        if index != tile.index:
            # Upwards until the edge, which was checked against the signature when it was read.
            above, offset = divmod(tile.index, TILE_WIDTH)
            node = self._tile(TileId(tile.level + 1, above))[offset]
            hashes = self._published.read_full_tile(tile, node)
            self._verified[tile.level] = tile.index, hashes
        return hashes

    def _hashes(self, ranges: Sequence[Range]) -> list[bytes]:
        return [hash_range(entries, self._tile) for entries in ranges]

    def _writer(self) -> Signer:
        if self._key is None:
            raise LedgerError(f"{self._origin} was opened for reading; open it with its key.")
        if self._refusal is not None:
            raise LedgerError(f"{self._origin} takes no entries: {self._refusal}. Open it again.")
        return self._key

    @contextmanager
    def _poisoned_by_failure(self) -> Iterator[None]:
        """Let nothing be appended after a failed write.

        After a failed fsync the kernel may count the lost pages as written, so a second fsync would
        succeed and say nothing. Only reading the files again tells what is there.
        """
        try:
            yield
        except BaseException as exc:
            self._refusal = f"an earlier write failed ({exc})"
            self._files.close_journal()
            raise


def check_ledger(
    directory: Path, *, origin: str, public_key: bytes, progress: Progress | None = None
) -> LedgerReport:
    """Read every file of a ledger and list everything that is wrong. Nothing is changed.

    The time grows with the ledger, some seconds per million small entries; the memory does not: a
    tile of each level and one bundle, and what the journal holds.

    A writer may be at work; it is then the ledger of the moment when this began that is checked.

    Args:
        directory: Where the ledger is.
        origin: Which ledger it must be.
        public_key: Whose signature counts, 32 bytes.
        progress: Called after each bundle.

    Raises:
        LedgerError: There is no such directory. Whatever else is wrong is a finding.
    """
    if not directory.is_dir():
        raise LedgerError(
            f"{directory} cannot be checked: no directory is there. Give the directory that holds"
            " the checkpoint."
        )
    return check_files(Files(directory), origin=origin, public_key=public_key, progress=progress)


def settled_checkpoint(directory: Path, *, origin: str, public_key: bytes) -> Checkpoint:
    """Give the newest checkpoint that the writer of a ledger knows, and no crash can take back.

    Raises:
        CheckpointRejected: It is not signed by that key for that origin.
        LedgerError: A file is missing or damaged, or was being written.
    """
    return settled_in(Files(directory), origin=origin, public_key=public_key)
