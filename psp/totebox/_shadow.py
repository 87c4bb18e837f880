"""An archive's rows and rules, asked without a trace: to try what questions would give away.

It reads the archive's own index, which may be served meanwhile, and decides as the archive does,
with a history of its own that begins empty and ends with the object. Nothing is recorded, counted
or remembered in the archive.
"""

from __future__ import annotations

from contextlib import closing
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
from ._history_file import Asked, HistoryFile, RowsDisagree
from ._load_history import load_history
from ._state_file import StateFile


class Shadow:
    """One table of an archive, under its disclosure control and without its grants."""

    def __init__(self, directory: Path, table: str, *, floor: int, remembers: bool = True) -> None:
        """Look at an archive whose index is SQLite's.

        Args:
            floor: Fewest subjects behind an answer. With 1 nothing is held back, whatever the
                archive's own policy says: it is for its owner, who has the files.
            remembers: False decides on each answer alone, as if nothing had been asked before.

        Raises:
            ArchiveError: No archive is here, it has no such table, or DuckDB holds its index.
        """
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
        self._state = state
        self._remembers = remembers
        self._newest = self._size()
        self._bound: tuple[TableRule, Engine] | None = None
        self._history = load_history()(
            self.table, self._reading, HistoryFile(lambda: state, table), manifest.concentration
        )

    def ask(self, plan: Plan, rule: TableRule, *, tree_size: int | None = None) -> dict[str, Value]:
        """Answer a plan as the archive would under a grant with this rule.

        Args:
            tree_size: The size that the ledger has at this question; None for its size now.

        Raises:
            CallFailed: As an archive refuses it.
        """
        floor = max(self.floor, rule.floor)
        if floor <= 1 or not self._remembers:
            return self._at(tree_size, rule, plan)
        try:
            return self._decided(plan, rule, tree_size, floor)
        except RowsDisagree:  # The archive has taken rows in since it was looked at.
            self._newest = self._size()
            return self._decided(plan, rule, tree_size, floor)

    def _decided(
        self, plan: Plan, rule: TableRule, tree_size: int | None, floor: int
    ) -> dict[str, Value]:
        point = self._history.release_point(tree_size or self._newest, floor)
        rows = tuple(Filter(name, domain) for name, domain in sorted(rule.rows.items()))
        asked = Asked(replace(plan, as_of=point.same_since), rows)
        release = partial(self._history.release, asked, floor=floor)
        as_of = None if point.tree_size == self._newest else point.tree_size
        return self._at(as_of, rule, plan, release)

    def _size(self) -> int:
        with self._reading("SELECT 1") as (tree_size, _):
            return tree_size

    def close(self) -> None:
        """Forget everything."""
        if self._bound is not None:
            self._bound[1].close()
        self._state.close()

    def _at(
        self, as_of: int | None, rule: TableRule, plan: Plan, release: Release | None = None
    ) -> dict[str, Value]:
        plan = replace(plan, as_of=as_of)
        if as_of is not None:
            with closing(self._engine(rule, as_of)) as engine:
                return engine.query(plan, release)
        # As an archive does: one engine for the newest state under one grant.
        if self._bound is None or self._bound[0] != rule:
            if self._bound is not None:
                self._bound[1].close()
            self._bound = rule, self._engine(rule)
        return self._bound[1].query(plan, release)

    def _engine(self, rule: TableRule, as_of: int | None = None) -> Engine:
        return Engine(self._path, self.table, rule, entity_floor=self.floor, as_of=as_of)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
