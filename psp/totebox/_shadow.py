"""An archive's rows and rules, asked without a trace: to try what questions would give away.

It reads the archive's own index, which may be served meanwhile, and decides as the archive does,
with a history of its own that begins empty and ends with the object. Nothing is recorded, counted
or remembered in the archive. An index in DuckDB, which lets one process in, is copied for it; so is
one in which some rows are to count as sealed last.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
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
from ._history_file import Asked, HistoryFile, RowsDisagree
from ._load_history import load_history
from ._looked_at import looked_at
from ._state_file import StateFile


class Shadow:
    """One table of an archive, under its disclosure control and without its grants."""

    def __init__(
        self,
        directory: Path,
        table: str,
        *,
        floor: int,
        remembers: bool = True,
        last: Filter | None = None,
    ) -> None:
        """Look at an archive.

        Args:
            floor: Fewest subjects behind an answer. With 1 nothing is held back, whatever the
                archive's own policy says: it is for its owner, who has the files.
            remembers: False decides on each answer alone, as if nothing had been asked before.
            last: Rows that count as sealed by one more entry, after all others: what is asked at
                `size - 1` and again at `size` shows what their coming tells.

        Raises:
            ArchiveError: No archive is here, it has no such table, or its index is written all the
                time and cannot be copied.
            MissingExtra: The engine is not installed.
        """
        manifest = manifest_of(directory)
        try:
            self.table = manifest.table(table)
        except KeyError:
            known = ", ".join(one.name for one in manifest.tables) or "none"
            raise ArchiveError(
                f"{manifest.name!r} has no table {table!r}; it has: {known}."
            ) from None
        self.floor = floor
        self._opened = ExitStack()
        with self._opened as opened:
            self._index = opened.enter_context(looked_at(directory, manifest, self.table, last))
            state = StateFile.stand_in(manifest.archive_id, {})
            self._state = opened.enter_context(closing(state))
            self._remembers = remembers
            self._bound: tuple[TableRule, Engine] | None = None
            self._history = load_history()(
                self.table,
                self._index.reading,
                HistoryFile(lambda: state, table),
                manifest.concentration,
                Path(tempfile.gettempdir()),
            )
            self._newest = self._size()
            self._opened = opened.pop_all()

    @property
    def size(self) -> int:
        """The size of the ledger that its newest state stands for."""
        return self._newest

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
        with self._index.reading() as state:
            return state.tree_size

    def close(self) -> None:
        """Forget everything."""
        if self._bound is not None:
            self._bound[1].close()
            self._bound = None
        self._opened.close()

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
        return self._index.engine(self.table, rule, self.floor, as_of)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
