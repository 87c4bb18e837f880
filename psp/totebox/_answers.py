"""Answers about one table under one grant: at which state, by which engine, and with what history.

Where no floor stands, the newest state is asked and nothing is remembered.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from psp.capability import TableRule
from psp.plan import Filter, Plan
from psp.values import Value

from ._earlier import check_as_of
from ._engine import Engine, Release
from ._engine_thread import query_in_thread, run_in_thread
from ._engines import open_engine
from ._granted import Shared
from ._history_file import Asked, RowsDisagree
from ._manifest import Table
from ._stop import Stop


class Answers:
    """Answers plans about one table, as one grant shows it.

    Attributes:
        engine: Of the newest state.
    """

    def __init__(self, desk: Shared, table: Table, rule: TableRule) -> None:
        self._desk = desk
        self._table = table
        self._rule = rule
        self.engine = self.open_engine()

    async def figures(self, plan: Plan) -> tuple[int, dict[str, Value]]:
        """Answer a plan; the tree size that it is answered at comes first.

        Raises:
            PSPError: As the engine says, and the history.
        """
        data, floor = self._desk.data, self._floor
        newest = same_since = data.tree_size
        release, ahead, stop = None, None, Stop()
        if floor > 1 and self._desk.archive.manifest.remembers:
            history = self._desk.history(self._table)
            find_point = partial(history.release_point, newest, floor, stop)
            if (point := await run_in_thread(stop, find_point)) is not None:
                newest, same_since = point
            asked = self._asked(plan, same_since)
            release = partial(history.release, asked, floor=floor, stop=stop)
            ahead = history.reads_ahead(asked)
        as_of = check_as_of(plan, newest, floor, same_since)
        if plan.as_of is None and self._desk.settled is None and as_of == data.tree_size:
            try:
                figures = await query_in_thread(self.engine, plan, release, stop, ahead)
            except RowsDisagree:
                if data == self._desk.archive.ledger.checkpoint:
                    raise
            else:
                if data == self._desk.archive.ledger.checkpoint:
                    return as_of, figures
        # Or while it was read a change came in: then it is read as it was before that.
        return as_of, await self._query_at(as_of, plan, release, stop)

    async def _query_at(
        self, as_of: int, plan: Plan, release: Release | None, stop: Stop
    ) -> dict[str, Value]:
        """Answer from a state that stays as it is. The engine is made for one answer: states are
        too many to keep one for each."""
        engine = self.open_engine(as_of)
        try:
            return await query_in_thread(engine, replace(plan, as_of=as_of), release, stop)
        finally:
            engine.close()

    def _asked(self, plan: Plan, same_since: int) -> Asked:
        rows = tuple(Filter(name, domain) for name, domain in sorted(self._rule.rows.items()))
        return Asked(replace(plan, as_of=same_since), rows)

    @property
    def _floor(self) -> int:
        return max(self._rule.floor, self._desk.archive.manifest.floor)

    def open_engine(self, as_of: int | None = None) -> Engine:
        """Open an engine bound to the grant."""
        archive = self._desk.archive
        return open_engine(
            archive.index,
            archive.index_path,
            self._table,
            self._rule,
            entity_floor=self._floor,
            as_of=as_of,
        )
