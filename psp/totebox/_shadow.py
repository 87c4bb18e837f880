"""An archive's rows and rules, asked without a trace: to try what questions would give away.

It reads the archive's own index, which may be served meanwhile, and decides as the archive does,
with a history of its own that begins empty and ends with the object. Nothing is recorded, counted
or remembered in the archive.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from psp.capability import TableRule
from psp.errors import ArchiveError
from psp.plan import Filter, Plan
from psp.values import Value

from ._administer import manifest_of
from ._engine import Engine, Release
from ._engines import index_file, reading_sqlite
from ._history_file import Asked, HistoryFile
from ._state_file import StateFile


class Shadow:
    """One table of an archive, under its disclosure control and without its grants."""

    def __init__(self, directory: Path, table: str, *, floor: int) -> None:
        """Look at an archive whose index is SQLite's.

        Args:
            floor: Fewest subjects behind an answer. With 1 nothing is held back, whatever the
                archive's own policy says: it is for its owner, who has the files.

        Raises:
            ArchiveError: No archive is here, it has no such table, or DuckDB holds its index.
        """
        # Here and not above: numpy takes 30 MB, and who imports this package may not need it.
        from ._history import TableHistory

        manifest = manifest_of(directory)
        if manifest.engine != "sqlite":
            raise ArchiveError(
                f"the index of {manifest.name!r} is {manifest.engine}'s, which lets one process in;"
                " ask the archive itself."
            )
        try:
            self.table = manifest.table(table)
        except KeyError:
            known = ", ".join(one.name for one in manifest.tables) or "none"
            raise ArchiveError(
                f"{manifest.name!r} has no table {table!r}; it has: {known}."
            ) from None
        self.floor = floor
        self._path = directory / "index" / index_file(manifest.engine)
        self._reading = partial(reading_sqlite, self._path)
        state = StateFile.stand_in(manifest.archive_id, {})
        self._close = state.close
        self._history = TableHistory(self.table, self._reading, HistoryFile(lambda: state, table))

    def ask(self, plan: Plan, rule: TableRule, *, tree_size: int | None = None) -> dict[str, Value]:
        """Answer a plan as the archive would under a grant with this rule.

        Args:
            tree_size: The size that the ledger has at this question; None for its size now.

        Raises:
            CallFailed: As an archive refuses it.
        """
        floor = max(self.floor, rule.floor)
        if floor <= 1:
            return self._at(tree_size, rule, replace(plan, as_of=tree_size))
        if tree_size is None:
            with self._reading("SELECT 1") as (tree_size, _):
                pass
        as_of, same_since = self._history.release_point(tree_size, floor)
        rows = tuple(Filter(name, domain) for name, domain in sorted(rule.rows.items()))
        asked = Asked(replace(plan, as_of=same_since), rows)
        release = partial(self._history.release, asked, floor=floor)
        return self._at(as_of, rule, replace(plan, as_of=as_of), release)

    def _at(
        self, as_of: int | None, rule: TableRule, plan: Plan, release: Release | None = None
    ) -> dict[str, Value]:
        engine = Engine(self._path, self.table, rule, entity_floor=self.floor, as_of=as_of)
        try:
            return engine.query(plan, release)
        finally:
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
