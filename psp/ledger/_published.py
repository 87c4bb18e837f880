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
        entries = self.read_bundle_unchecked(index)
        for offset, (entry, leaf_hash) in enumerate(zip(entries, leaf_hashes, strict=False)):
            if hash_leaf(entry) != leaf_hash:
                raise LedgerError(
                    f"{self._files.name(bundle_path(index, width))} is damaged: entry"
                    f" {index * TILE_WIDTH + offset} is not what was sealed. Restore it from a"
                    " copy; nothing was changed."
                )
        return entries

    def read_bundle_unchecked(self, index: int) -> list[bytes]:
        """Return the entries of a bundle; whether they are what was sealed is another question."""
        return self._read(
            lambda w: bundle_path(index, w),
            self._width(TileId(0, index)),
            lambda data, w: decode_bundle_untrusted(data, width=w),
            bytes_max=BUNDLE_BYTES_MAX,
        )

    def read_edge(self) -> RightEdge:
        """Return the tree's right edge: one partial tile per level, whose hashes make the root.

        Nothing else is read: opening takes as long for ten entries as for ten million.
        """
        unfinished = [
            self.read_tile(tile) if width_at(self.tree_size, tile.level).partial else []
            for tile in self.edge_tiles()
        ]
        return RightEdge.restore(self.tree_size, unfinished)

    def edge_tiles(self) -> list[TileId]:
        """Return the tile of each level that grows next, whether it has hashes already or not."""
        return [
            TileId(level, width_at(self.tree_size, level).full)
            for level in range(level_count(self.tree_size))
        ]

    def edge_paths(self) -> list[str]:
        """Return the files that `read_edge` reads."""
        return [
            tile_path(tile, width)
            for tile in self.edge_tiles()
            if (width := width_at(self.tree_size, tile.level).partial)
        ]

    def read_full_tile(self, tile: TileId, node: bytes) -> list[bytes]:
        """Return the hashes of a full tile, which must lead to a node that is known already."""
        hashes = self.read_tile(tile)
        if hash_complete(hashes) != node:
            raise LedgerError(
                f"{self._files.name(tile_path(tile))} is damaged: its hashes do not lead to the"
                " signed root. Restore it from a copy; nothing was changed."
            )
        return hashes

    def extend(self, edge: RightEdge, pending: Sequence[bytes]) -> None:
        """Write the tiles and bundles of a grown tree, each durable before this returns.

        Run again after a crash it writes the same bytes to the same names.

        Args:
            edge: The grown tree, with every tile in `finished` that filled since.
            pending: The entries that are not in bundles yet.
        """
        # Read before anything is written: a damaged bundle leaves everything as it was.
        held = self.read_open_bundle(edge) if pending else []
        writer = _Writer(self._files)
        for tile, hashes in sorted(edge.finished.items()):
            writer.write(tile_path(tile), encode_tile(hashes))
        for level, hashes in enumerate(edge.unfinished):
            grown = edge.size >> TILE_HEIGHT * level
            if hashes and grown != self.tree_size >> TILE_HEIGHT * level:
                tile = TileId(level, grown // TILE_WIDTH)
                writer.write(tile_path(tile, len(hashes)), encode_tile(hashes))
        self._write_bundles(writer, [*held, *pending])
        writer.sync_directories()

    def read_open_bundle(self, edge: RightEdge) -> list[bytes]:
        """Return the entries of the bundle that is not full yet.

        Checked each time: a byte that rotted since must not get into a sealed bundle.
        """
        first, taken = divmod(self.tree_size, TILE_WIDTH)
        if not taken:
            return []
        return self.read_bundle(first, edge.finished.get(TileId(0, first), edge.unfinished[0]))

    def _write_bundles(self, writer: _Writer, entries: Sequence[bytes]) -> None:
        first = self.tree_size // TILE_WIDTH
        for start in range(0, len(entries), TILE_WIDTH):
            bundle = entries[start : start + TILE_WIDTH]
            path = bundle_path(first + start // TILE_WIDTH, len(bundle))
            writer.write(path, encode_bundle(bundle))

    def remove_partials(self, *, old_size: int, new_size: int) -> None:
        """Remove the partial forms of tiles that filled between two sizes and are durable.

        Durable before this returns: afterwards the journal that would repeat it is replaced.
        """
        for level in range(level_count(old_size)):
            # At each level one tile was partial: the one after the last full tile.
            tile = TileId(level, width_at(old_size, level).full)
            if tile.index < width_at(new_size, level).full:
                self._remove_partials(tile_path(tile))
                if level == 0:
                    self._remove_partials(bundle_path(tile.index))

    def _remove_partials(self, full_path: str) -> None:
        directory = partials_path(full_path)
        if not self._files.exists(directory):
            return
        for name in self._files.names(directory):
            self._files.remove(f"{directory}/{name}")
        self._files.remove_directory(directory)
        self._files.sync_directory(full_path.rpartition("/")[0])

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
