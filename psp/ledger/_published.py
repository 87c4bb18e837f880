"""The tiles and entry bundles on disk: read and checked, written and sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from psp.errors import LedgerError

from ._files import SEALED, Files
from ._limits import BUNDLE_BYTES_MAX, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH
from ._tiles import (
    bundle_path,
    decode_bundle_untrusted,
    decode_tile_untrusted,
    encode_bundle,
    encode_tile,
    partials_path,
    tile_path,
)
from ._tree import RightEdge, TileId, hash_complete, hash_leaf, level_count, width_at

T = TypeVar("T")


class Published:
    """The files of the first `tree_size` entries, which the checkpoint beside them names."""

    def __init__(self, files: Files, tree_size: int) -> None:
        self._files = files
        self.tree_size = tree_size

    def read_tile(self, tile: TileId) -> list[bytes]:
        """Return the hashes of a tile, as wide as it was when it was published."""
        width = self._width(tile)
        return self._read(
            lambda w: tile_path(tile, w),
            width,
            lambda data, w: decode_tile_untrusted(data, width=w),
            bytes_max=TILE_BYTES,
        )

    def read_bundle(self, index: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
        """Return the entries of a bundle, each checked against its leaf hash."""
        width = self._width(TileId(0, index))
        entries = self._read(
            lambda w: bundle_path(index, w),
            width,
            lambda data, w: decode_bundle_untrusted(data, width=w),
            bytes_max=BUNDLE_BYTES_MAX,
        )
        for offset, (entry, leaf_hash) in enumerate(zip(entries, leaf_hashes, strict=False)):
            if hash_leaf(entry) != leaf_hash:
                raise LedgerError(
                    f"{self._files.name(bundle_path(index, width))} is damaged, or its hashes in"
                    f" {self._files.name(tile_path(TileId(0, index), width))} are: entry"
                    f" {index * TILE_WIDTH + offset} is not what was sealed. Restore both from a"
                    " copy; nothing was changed."
                )
        return entries

    def verify(self) -> RightEdge:
        """Read every file, check each against the ones below it, and return the edge of the tree.

        One tile of each level is in memory at a time. What is left to compare is the root.

        Raises:
            LedgerError: A file is missing or damaged; the message names it.
        """
        unfinished: list[list[bytes]] = []
        for level in range(level_count(self.tree_size)):
            full, partial = width_at(self.tree_size, level)
            unfinished.append(self._verify_tile(TileId(level, full)) if partial else [])
        return RightEdge.restore(self.tree_size, unfinished)

    def _verify_tile(self, tile: TileId) -> list[bytes]:
        hashes = self.read_tile(tile)
        if tile.level == 0:
            self.read_bundle(tile.index, hashes)
            return hashes
        for offset, node in enumerate(hashes):
            below = TileId(tile.level - 1, tile.index * TILE_WIDTH + offset)
            if hash_complete(self._verify_tile(below)) != node:
                raise LedgerError(
                    f"{self._files.name(tile_path(below))} is damaged, or its hash in"
                    f" {self._files.name(tile_path(tile, len(hashes)))} is: they do not fit."
                    " Restore both from a copy; nothing was changed."
                )
        return hashes

    def extend(self, edge: RightEdge, pending: Sequence[bytes]) -> None:
        """Write the tiles and bundles of a grown tree, each durable before this returns.

        Run again after a crash it writes the same bytes to the same names.

        Args:
            edge: The grown tree, with every tile in `finished` that filled since.
            pending: The entries that are not in bundles yet.
        """
        writer = _Writer(self._files)
        for tile, hashes in sorted(edge.finished.items()):
            writer.write(tile_path(tile), encode_tile(hashes))
        for level, hashes in enumerate(edge.unfinished):
            grown = edge.size >> TILE_HEIGHT * level
            if hashes and grown != self.tree_size >> TILE_HEIGHT * level:
                tile = TileId(level, grown // TILE_WIDTH)
                writer.write(tile_path(tile, len(hashes)), encode_tile(hashes))
        self._write_bundles(writer, edge, pending)
        writer.sync_directories()

    def _write_bundles(self, writer: _Writer, edge: RightEdge, pending: Sequence[bytes]) -> None:
        if not pending:
            return
        first, taken = divmod(self.tree_size, TILE_WIDTH)
        held: list[bytes] = []
        if taken:
            # Checked once more: a byte that rotted since must not get into a sealed bundle.
            known = edge.finished.get(TileId(0, first), edge.unfinished[0])
            held = self.read_bundle(first, known)
        entries = [*held, *pending]
        for start in range(0, len(entries), TILE_WIDTH):
            bundle = entries[start : start + TILE_WIDTH]
            path = bundle_path(first + start // TILE_WIDTH, len(bundle))
            writer.write(path, encode_bundle(bundle))

    def remove_partials(self, *, old_size: int, new_size: int) -> None:
        """Remove the partial forms of tiles that filled between two sizes and are durable."""
        for level in range(level_count(old_size)):
            # At each level one tile was partial: the one after the last full tile.
            tile = TileId(level, width_at(old_size, level).full)
            if tile.index < width_at(new_size, level).full:
                self._remove_partials(tile_path(tile))
                if level == 0:
                    self._remove_partials(bundle_path(tile.index))

    def _remove_partials(self, full_path: str) -> None:
        directory = partials_path(full_path)
        names = self._files.names(directory)
        for name in names:
            self._files.remove(f"{directory}/{name}")
        if self._files.exists(directory):
            self._files.remove_directory(directory)

    def _width(self, tile: TileId) -> int:
        full, partial = width_at(self.tree_size, tile.level)
        assert tile.index < full or (tile.index == full and partial), "outside the tree"
        return TILE_WIDTH if tile.index < full else partial

    def _read(
        self,
        path: Callable[[int], str],
        width: int,
        decode: Callable[[bytes, int], list[T]],
        *,
        bytes_max: int,
    ) -> list[T]:
        if not self._files.exists(path(width)) and self._files.exists(path(TILE_WIDTH)):
            # A reader that opened before the tile filled: its partial form is gone, and the full
            # one begins with it.
            return self._read(path, TILE_WIDTH, decode, bytes_max=bytes_max)[:width]
        data = self._files.read(path(width), bytes_max=bytes_max)
        with damage_in(self._files, path(width)):
            return decode(data, width)


@contextmanager
def damage_in(files: Files, path: str) -> Iterator[None]:
    """Put a file's name before what is wrong with its bytes."""
    try:
        yield
    except LedgerError as exc:
        raise type(exc)(
            f"{files.name(path)} is damaged: {exc} Restore it from a copy; nothing was changed."
        ) from exc


class _Writer:
    """Writes sealed files and remembers which directories must be synced for their names.

    Every directory above a file counts, whether made now or found: one that was made by a run that
    was killed is there, and is still not durable.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._unsynced: set[str] = set()

    def write(self, path: str, data: bytes) -> None:
        parent = path.rpartition("/")[0]
        self._make_directories(parent)
        self._files.write_temporary(data, mode=SEALED)
        self._files.sync_temporary()
        self._files.rename_temporary(path)

    def _make_directories(self, path: str) -> None:
        if path in self._unsynced:
            return
        self._unsynced.add(path)
        if path:
            self._make_directories(path.rpartition("/")[0])
            if not self._files.exists(path):
                self._files.make_directory(path)

    def sync_directories(self) -> None:
        for directory in sorted(self._unsynced):
            self._files.sync_directory(directory)
