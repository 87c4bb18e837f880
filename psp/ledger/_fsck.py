"""The check of a whole ledger: every file is read, everything wrong is listed, nothing is changed.

A tile is judged from above and from below. From above comes the hash it must have, which leads to
the signed root; from below come the hashes of what it covers. If the tile has the hash that it must
have, what does not fit below it is damaged. If it has not, and what lies below it leads there, the
tile itself is. So the file that is named is the file that changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeAlias

from psp.errors import LedgerError

from ._checkpoint import Checkpoint, verify_checkpoint_untrusted
from ._files import Files
from ._journal import Journal, decode_journal_untrusted
from ._leftovers import Sizes, find_leftovers
from ._limits import HASH_BYTES, JOURNAL_BYTES, NOTE_BYTES_MAX, SNAPSHOT_TRIES, TILE_WIDTH
from ._published import Published
from ._report import ALL_LOST, CHANGED, LOST, Finding, LedgerReport
from ._state import CHECKPOINT, JOURNAL
from ._tiles import bundle_path, tile_path
from ._tree import RightEdge, TileId, hash_complete, hash_leaves, width_at

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many entries were checked, and of how many."""

UNKNOWN = b""
"""Stands for a hash that no readable file gives; nothing is compared with it."""


def check_files(
    files: Files, *, origin: str, public_key: bytes, progress: Progress | None = None
) -> LedgerReport:
    """Do what `check_ledger` does, on these files."""
    check = _Check(files, origin, public_key, progress)
    check.run()
    return LedgerReport(
        entries=check.entries,
        tiles=check.tiles,
        bundles=check.bundles,
        findings=tuple(check.findings),
    )


@dataclass
class _Check:
    files: Files
    origin: str
    public_key: bytes
    progress: Progress | None
    entries: int = 0
    tiles: int = 0
    bundles: int = 0
    findings: list[Finding] = field(default_factory=list)
    published: Published = field(init=False)

    def run(self) -> None:
        for _ in range(SNAPSHOT_TRIES):
            # A writer may be in the middle of a batch, or publish between the two.
            self.findings.clear()
            snapshot = self._snapshot()
            journal, checkpoint = self._journal(), self._checkpoint()
            if journal and checkpoint and checkpoint.tree_size in (journal.base, journal.tree_size):
                break
        if checkpoint is not None:
            size, root = checkpoint.tree_size, checkpoint.root_hash
        elif journal is not None:
            # Nothing signed says so, but the files can still be held against each other.
            size, root = journal.base, UNKNOWN
        else:
            return
        self.published = Published(self.files, size)
        edge = self._edge(size, root)
        for level in reversed(range(len(edge))):
            self._below(TileId(level, width_at(size, level).full), edge[level], known=bool(root))
        tree = None if any(UNKNOWN in hashes for hashes in edge) else RightEdge.restore(size, edge)
        sizes = Sizes(size, size, size, is_settled=True)
        if journal is not None and self._do_meet(journal, size):
            self._continuation(journal, tree, is_published=size != journal.base)
            sizes = Sizes(journal.base, size, journal.tree_size, journal.is_settled)
        self.findings += find_leftovers(
            self.files, sizes, edge, lambda: self._snapshot() == snapshot
        )

    def _snapshot(self) -> tuple[bytes, bytes]:
        """Return the journal and the checkpoint, empty if they cannot be read."""
        found: list[bytes] = []
        for path, bytes_max in ((JOURNAL, JOURNAL_BYTES), (CHECKPOINT, NOTE_BYTES_MAX)):
            try:
                found.append(self.files.read(path, bytes_max=bytes_max))
            except LedgerError:
                found.append(b"")
        return found[0], found[1]

    def _journal(self) -> Journal | None:
        try:
            data = self.files.read(JOURNAL, bytes_max=JOURNAL_BYTES)
        except LedgerError as exc:
            self._found(JOURNAL, str(exc), LOST)
            return None
        try:
            return decode_journal_untrusted(data)
        except LedgerError as exc:
            self._found(JOURNAL, f"it is damaged: {exc}", CHANGED)
            return None

    def _checkpoint(self) -> Checkpoint | None:
        try:
            note = self.files.read(CHECKPOINT, bytes_max=NOTE_BYTES_MAX)
        except LedgerError as exc:
            self._found(CHECKPOINT, str(exc), LOST)
            return None
        return self._verified(note, CHECKPOINT)

    def _verified(self, note: bytes, path: str) -> Checkpoint | None:
        try:
            return verify_checkpoint_untrusted(note, origin=self.origin, public_key=self.public_key)
        except LedgerError as exc:
            self._found(path, f"it does not commit {self.origin} to anything: {exc}", CHANGED)
            return None

    def _edge(self, size: int, root: bytes) -> list[list[bytes]]:
        """Return the partial tile of each level, as the signed root has them if anything can."""
        tiles = self.published.edge_tiles()
        widths = [width_at(size, tile.level).partial for tile in tiles]
        stored = [self._tile(tile, w) for tile, w in zip(tiles, widths, strict=True)]
        if None not in stored and (not root or _root(size, stored) == root):
            return [hashes or [] for hashes in stored]
        rebuilt = [self._rebuilt(tile, w) for tile, w in zip(tiles, widths, strict=True)]
        for count in range(len(tiles) + 1):
            for levels in combinations(range(len(tiles)), count):
                tried = [rebuilt[n] if n in levels else stored[n] for n in range(len(tiles))]
                if root and None not in tried and _root(size, tried) == root:
                    for level in levels:
                        self._not_the_signed(tiles[level], widths[level], stored[level])
                    return [hashes or [] for hashes in tried]
        if root:
            self._found(
                CHECKPOINT,
                f"it commits to another root than the tiles have: some of {size} entries were"
                " changed after they were sealed, together with their hashes",
                ALL_LOST,
            )
        return [a if a is not None else b for a, b in zip(stored, rebuilt, strict=True)]

    def _below(self, tile: TileId, hashes: Sequence[bytes], *, known: bool) -> None:
        """Check everything that a tile covers.

        Args:
            tile: Which.
            hashes: What it should hold.
            known: Whether these hashes lead to the signed root.
        """
        first = tile.index * TILE_WIDTH
        if tile.level == 0:
            if hashes:
                self._bundle(tile.index, hashes)
            return
        for offset, node in enumerate(hashes):
            below = TileId(tile.level - 1, first + offset)
            held, is_known = self._full_tile(below, node, known=known)
            self._below(below, held, known=is_known)

    def _full_tile(self, tile: TileId, node: bytes, *, known: bool) -> tuple[list[bytes], bool]:
        """Return what a full tile should hold, and whether that leads to the signed root."""
        stored = self._tile(tile, TILE_WIDTH)
        if stored is not None and (node == UNKNOWN or hash_complete(stored) == node):
            return stored, known and node != UNKNOWN
        rebuilt = self._rebuilt(tile, TILE_WIDTH)
        if UNKNOWN not in rebuilt and hash_complete(rebuilt) == node:
            self._not_the_signed(tile, TILE_WIDTH, stored)
            return rebuilt, known
        if stored is None:
            if known and UNKNOWN not in rebuilt:
                # Its hashes were all that could have said which of the files below it is.
                path = tile_path(tile) if tile.level else bundle_path(tile.index)
                self._found(path, "what is left does not lead to the signed root", CHANGED)
            return rebuilt, False
        if known or stored != rebuilt:  # Else the fault is above, where it was found already.
            self._not_the_signed(tile, TILE_WIDTH, stored)
        return stored, False

    def _not_the_signed(self, tile: TileId, width: int, stored: list[bytes] | None) -> None:
        if stored is not None:  # A missing file was found when it was to be read.
            self._found(
                tile_path(tile, width),
                "it is damaged: its hashes do not lead to the signed root",
                CHANGED,
            )

    def _bundle(self, index: int, leaf_hashes: Sequence[bytes]) -> None:
        width = len(leaf_hashes)
        path = bundle_path(index, width)
        hashes = self._leaf_hashes(index, width, tell=True)
        if hashes is not None:
            pairs = zip(hashes, leaf_hashes, strict=True)
            wrong = [n for n, (ours, known) in enumerate(pairs) if known and ours != known]
            if wrong:
                self._found(
                    path,
                    f"it is damaged: entry {index * TILE_WIDTH + wrong[0]} is not what was sealed"
                    + (f", nor are {len(wrong) - 1} after it" if wrong[1:] else ""),
                    CHANGED,
                )
            self.bundles += 1
            self.entries += width
        if self.progress is not None:
            self.progress(self.entries, self.published.tree_size)

    def _tile(self, tile: TileId, width: int) -> list[bytes] | None:
        """Return what a file holds; list it and return None if it is missing or cut."""
        if not width:
            return []
        path = tile_path(tile, width)
        try:
            hashes = self.published.read_tile(tile)
        except LedgerError as exc:
            self._found(path, str(exc), CHANGED if self.files.exists(path) else LOST)
            return None
        self.tiles += 1
        return hashes

    def _rebuilt(self, tile: TileId, width: int) -> list[bytes]:
        """Return a tile's hashes from what lies below it, `UNKNOWN` where that cannot be read."""
        if not width:
            return []
        if tile.level == 0:
            return self._leaf_hashes(tile.index, width, tell=False) or [UNKNOWN] * width
        first = tile.index * TILE_WIDTH
        found: list[bytes] = []
        for index in range(first, first + width):
            try:
                below = self.published.read_tile(TileId(tile.level - 1, index))
            except LedgerError:
                found.append(UNKNOWN)  # It will be found when it is its turn.
            else:
                found.append(hash_complete(below))
        return found

    def _leaf_hashes(self, index: int, width: int, *, tell: bool) -> list[bytes] | None:
        """Return the hashes of a bundle's entries, None if it is missing or cut."""
        path = bundle_path(index, width)
        try:
            entries = self.published.read_bundle_unchecked(index)
        except LedgerError as exc:
            if tell:
                self._found(path, str(exc), CHANGED if self.files.exists(path) else LOST)
            return None
        return hash_leaves(entries)

    def _do_meet(self, journal: Journal, size: int) -> bool:
        if size in (journal.base, journal.tree_size):
            return True
        self._found(
            JOURNAL,
            f"it continues a ledger of {journal.base} entries, but the checkpoint is of {size}:"
            " one of the two is from another time",
            ALL_LOST,
        )
        return False

    def _continuation(
        self, journal: Journal, tree: RightEdge | None, *, is_published: bool
    ) -> None:
        """Check every signature in the journal, and that its batches continue the tree."""
        size = journal.base
        for batch in journal.batches:
            size += len(batch.entries)
            signed = self._verified(batch.note, JOURNAL)
            if tree is None or signed is None or is_published:
                continue
            tree.extend(hash_leaves(batch.entries))
            tree.forget_finished()
            if (signed.tree_size, signed.root_hash) != (size, tree.root_hash()):
                self._found(
                    JOURNAL,
                    f"it holds entries that its own checkpoint of {signed.tree_size} entries does"
                    " not commit to",
                    CHANGED,
                )
                return
            self.entries += len(batch.entries)

    def _found(self, path: str, what: str, remedy: str) -> None:
        # What a file's reader says begins with its name and ends with the remedy.
        what = what.removeprefix(self.files.name(path)).lstrip(" :").split(" Restore it")[0]
        self.findings.append(Finding(file=path, what=what.rstrip(". "), remedy=remedy))


def _root(size: int, unfinished: Sequence[list[bytes] | None]) -> bytes:
    known = [hashes or [] for hashes in unfinished]
    if any(len(node) != HASH_BYTES for hashes in known for node in hashes):
        return UNKNOWN
    return RightEdge.restore(size, known).root_hash()
