"""Files that a ledger of some size has no place for, and files that are not sealed."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from psp.errors import LedgerError

from ._files import GROWING, SEALED, TEMPORARY, Files
from ._limits import BUNDLE_BYTES_MAX, TILE_BYTES, TILE_WIDTH
from ._report import CHANGED, Finding
from ._state import CHECKPOINT, JOURNAL
from ._tiles import (
    bundle_path,
    decode_bundle_untrusted,
    decode_tile_untrusted,
    tile_path,
)
from ._tree import TileId, hash_leaves, width_at

TILES: Final = "tile"
_NAME: Final = re.compile(r"tile/(entries|0|[1-9]\d?)/((?:x\d{3}/)*)(\d{3})(?:\.p/([1-9]\d{0,2}))?")
_REMOVE: Final = "Find out who put it there, and move it elsewhere."


class Sizes(NamedTuple):
    """How many entries a ledger has, by what says so.

    Attributes:
        base: When the journal was begun.
        sealed: By the checkpoint.
        acknowledged: With those of the journal.
        is_settled: Whether the journal is as new. While it is not, tiles are being written, or a
            crash kept them from being written; then what stands around belongs to that.
    """

    base: int
    sealed: int
    acknowledged: int
    is_settled: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """What the name of a sealed file says; `level` is None for a bundle."""

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        if self.level is None:
            return bundle_path(self.index, self.width)
        return tile_path(TileId(self.level, self.index), self.width)


def find_leftovers(
    files: Files, sizes: Sizes, edge: Sequence[Sequence[bytes]], is_as_it_was: Callable[[], bool]
) -> list[Finding]:
    """Return what is wrong with the names in a ledger, with their modes, and with old partials.

    Args:
        files: The ledger.
        sizes: How far it reaches.
        edge: The partial tile of each level.
        is_as_it_was: Says whether no writer has changed the names meanwhile; if one has, what was
            found may be its work, and only the modes are told.
    """
    modes: list[Finding] = []
    names: list[Finding] = []
    for path, mode in _walk(files, "."):
        wrong = _misplaced(path, mode, sizes) or _changed_partial(files, path, sizes, edge)
        if wrong is not None:
            names.append(wrong)
        elif (finding := _open_mode(path, mode)) is not None:
            modes.append(finding)
    return [*names, *modes] if is_as_it_was() else modes


def _walk(files: Files, directory: str) -> Iterator[tuple[str, int]]:
    """Yield every file, and every directory that is empty, with its mode.

    A directory with a checkpoint of its own is another ledger, which has its own check.
    """
    for name in files.names(directory):
        path = name if directory == "." else f"{directory}/{name}"
        try:
            mode = files.mode(path)
        except LedgerError:
            continue  # A writer's, and gone.
        if stat.S_ISDIR(mode) and files.names(path):
            if not files.exists(f"{path}/{CHECKPOINT}"):
                yield from _walk(files, path)
        else:
            yield path, mode


def _misplaced(path: str, mode: int, sizes: Sizes) -> Finding | None:
    if not sizes.is_settled and (path == TEMPORARY or stat.S_ISDIR(mode)):
        return None  # It is used or replaced when the tiles are written.
    if path == TEMPORARY:
        what = "left over from a write that was interrupted"
        return Finding(file=path, what=what, remedy="Nothing: the next write removes it.")
    if stat.S_ISDIR(mode):
        return Finding(file=path, what="an empty directory", remedy="Remove it.")
    if not stat.S_ISREG(mode):
        return Finding(file=path, what="not a plain file", remedy=_REMOVE)
    if path in (CHECKPOINT, JOURNAL):
        return None
    place = _place(path)
    if place is None:
        return Finding(file=path, what="does not belong to a ledger", remedy=_REMOVE)
    if any(_is_placed(place, size) for size in sizes[:3]):
        return None
    if place.index < width_at(sizes.sealed, place.level or 0).full:
        what = "a partial form whose full one is there"
        return Finding(file=path, what=what, remedy="Remove it: nothing reads it.")
    what = f"beyond the {sizes.acknowledged} entries of the ledger"
    return Finding(file=path, what=what, remedy=_REMOVE)


def _place(path: str) -> _Place | None:
    match = _NAME.fullmatch(path)
    if match is None:
        return None
    kind, parents, last, width = match.groups()
    place = _Place(
        level=None if kind == "entries" else int(kind),
        index=int(re.sub(r"[x/]", "", parents) + last),
        width=int(width or TILE_WIDTH),
    )
    # One name per tile: `x000/001` is not another way to write `001`.
    return place if place.width <= TILE_WIDTH and place.path == path else None


def _is_placed(place: _Place, size: int) -> bool:
    full, partial = width_at(size, place.level or 0)
    if place.width == TILE_WIDTH:
        return place.index < full
    # Earlier partial forms stay until the tile is full.
    return place.index == full and place.width <= partial


def _changed_partial(
    files: Files, path: str, sizes: Sizes, edge: Sequence[Sequence[bytes]]
) -> Finding | None:
    """Hold a partial form that is not the newest against the hashes of the newest."""
    place = _place(path)
    if place is None or place.width == TILE_WIDTH:
        return None
    full, partial = width_at(sizes.sealed, place.level or 0)
    if place.index != full or place.width >= partial:
        return None  # The newest was checked on the way, and no checkpoint names one beyond it.
    known = edge[place.level or 0][: place.width]
    if b"" in known:
        return None  # Nothing is left to hold it against, which was found before.
    try:
        if place.level is None:
            data = files.read(path, bytes_max=BUNDLE_BYTES_MAX)
            found = hash_leaves(decode_bundle_untrusted(data, width=place.width))
        else:
            data = files.read(path, bytes_max=TILE_BYTES)
            found = decode_tile_untrusted(data, width=place.width)
    except LedgerError as exc:
        return Finding(file=path, what=f"it is damaged: {exc}", remedy=CHANGED)
    if found == list(known):
        return None
    return Finding(file=path, what="it is damaged: not what was sealed", remedy=CHANGED)


def _open_mode(path: str, mode: int) -> Finding | None:
    """Say if a sealed file can be written by anyone, or the journal by another than its owner."""
    allowed = GROWING | SEALED if path == JOURNAL else SEALED
    if stat.S_ISDIR(mode) or path == TEMPORARY or not stat.S_IMODE(mode) & ~allowed:
        return None
    return Finding(
        file=path,
        what=f"it has the mode {stat.S_IMODE(mode):04o}, more than {allowed:04o}",
        remedy=f"Set it: chmod {allowed:04o}.",
    )
