"""An archive's index, looked at from another process: in its place, or as a copy of one's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import apsw

from psp.capability import TableRule
from psp.errors import ArchiveError
from psp.plan import Filter

from ._dialect import DUCKDB, SQLITE
from ._engine import Engine
from ._engines import index_file, open_engine, open_index, reading, reading_sqlite
from ._index import PAST_PREFIX, Index, quoted
from ._manifest import Manifest, Table
from ._storage import condition

if TYPE_CHECKING:
    from ._row_batches import State

_COPIES_MAX: Final = 20
"""Copies tried of a file that is being written. A change of an archive takes a moment, mostly."""

_Mark: TypeAlias = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class LookedAt:
    """An index that can be read.

    Attributes:
        index: Where the engine's library holds it open; None for SQLite's.
    """

    path: Path
    index: Index | None

    def reading(self) -> AbstractContextManager[State]:
        """Open one state of it."""
        return reading_sqlite(self.path) if self.index is None else reading(self.index, self.path)

    def engine(self, table: Table, rule: TableRule, floor: int, as_of: int | None) -> Engine:
        """Open an engine for one scope."""
        if self.index is None:
            return Engine(self.path, table, rule, entity_floor=floor, as_of=as_of)
        return open_engine(self.index, self.path, table, rule, entity_floor=floor, as_of=as_of)


@contextmanager
def looked_at(
    directory: Path, manifest: Manifest, table: Table, last: Filter | None = None
) -> Iterator[LookedAt]:
    """Open the index of an archive, which may be served meanwhile.

    Args:
        last: Rows that count as sealed by one more entry, after all others.

    Raises:
        ArchiveError: It is not there, or cannot be copied because it is written all the time.
        MissingExtra: The engine is not installed.
    """
    path = directory / "index" / index_file(manifest.engine)
    is_sqlite = manifest.engine == "sqlite"
    if is_sqlite and last is None:
        yield LookedAt(path, None)
        return
    with tempfile.TemporaryDirectory(prefix="psp-shadow-") as made:
        copy = Path(made) / path.name
        (_copy_sqlite if is_sqlite else _copy_quiet)(path, copy)
        if last is not None:
            _seal_last(manifest, copy, table, last)
        if is_sqlite:
            yield LookedAt(copy, None)
            return
        opening = partial(open_index, manifest.engine, copy, manifest.tables, manifest.archive_id)
        with closing(opening(read_only=True)) as index:
            yield LookedAt(copy, index)


def _copy_sqlite(path: Path, copy: Path) -> None:
    """Copy one state: SQLite's own way, for a database that others write."""
    with (
        closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as source,
        closing(apsw.Connection(str(copy))) as target,
        target.backup("main", source, "main") as backup,
    ):
        backup.step()


def _copy_quiet(path: Path, copy: Path) -> None:
    """Copy a database and its log until neither has changed meanwhile."""
    files = [
        (path.with_name(path.name + end), copy.with_name(copy.name + end)) for end in ("", ".wal")
    ]
    for _ in range(_COPIES_MAX):
        before = _marks([source for source, _ in files])
        for source, target in files:
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)
        if _marks([source for source, _ in files]) == before:
            return
    raise ArchiveError(
        f"the index {path} is being written all the time, so there is no copy of one state of it."
        " Try again when the archive takes in nothing."
    )


def _marks(files: Sequence[Path]) -> list[_Mark]:
    marks: list[_Mark] = []
    for file in files:
        try:
            found = file.stat()
        except FileNotFoundError:
            marks.append(None)
        else:
            marks.append((found.st_size, found.st_mtime_ns))
    return marks


def _seal_last(manifest: Manifest, copy: Path, table: Table, last: Filter) -> None:
    """Let some rows have come with one entry more, in a copy that is nobody else's."""
    dialect = SQLITE if manifest.engine == "sqlite" else DUCKDB
    where = condition(table.column(last.column), last.domain, dialect.literal)
    opening = partial(open_index, manifest.engine, copy, manifest.tables, manifest.archive_id)
    with closing(opening(read_only=False)) as index:
        size = index.built.tree_size
        for sql in (
            f"UPDATE {quoted(table.name)} SET psp_entry = {size:d} WHERE {where}",
            # SQLite's trigger has taken this for a correction.
            f"DELETE FROM {quoted(PAST_PREFIX + table.name)} WHERE psp_end = {size:d}",
            f"UPDATE psp_build SET tree_size = {size + 1:d}",
        ):
            index._connection.execute(sql)
