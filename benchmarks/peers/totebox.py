"""A whole archive, served as an owner serves it: grants, engines, disclosure control, the audit."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import trio

from benchmarks.peers._child import (
    Sample,
    Setting,
    answer_commands_async,
    one_by_one_async,
    say,
    together,
)
from benchmarks.peers._pairing import Pairing
from psp.capability import Operation, Scope, TableRule
from psp.endpoint import Connection, Reference, connect
from psp.errors import Overloaded
from psp.plan import plan_from_sql
from psp.totebox import serve_archive
from psp.values import Value

CALLERS: Final = 100
QUESTION: Final = "select zip, count(*), avg(price) from sales group by zip"
_STEP: Final = 7_919
"""Keys are asked for in this step, a prime: neighbours in time are far apart in the file."""
_LATER_S: Final = 0.05
_GROUP_S_MAX: Final = 110.0
"""Ten million rows in SQLite take some twenty seconds, and the one who measures waits for 120."""

COLUMNS: Final = ("id", "zip", "owner", "price")
SCOPE: Final = Scope(
    {
        "sales": TableRule(
            operations=frozenset({Operation.COUNT, Operation.MEAN, Operation.READ}),
            output=frozenset(COLUMNS),
            filters=frozenset({"id"}),
            groups=frozenset({"zip"}),
            rows_max=10,
        )
    }
)


def serve(setting: Setting) -> None:
    trio.run(_serve, setting)


def drive(setting: Setting) -> None:
    trio.run(_drive, setting)


async def _serve(setting: Setting) -> None:
    async with trio.open_nursery() as nursery:
        serving = partial(
            serve_archive,
            Path(setting.box),
            host="127.0.0.1",
            port=0,
            log=partial(print, file=sys.stderr),
        )
        _, port = await nursery.start(serving)
        say({"port": port})


async def _drive(setting: Setting) -> None:
    pairing = Pairing.of(setting)
    async with connect(pairing.address(setting.port), key=pairing.controller) as connection:
        driver = Driver(pairing, connection)
        await answer_commands_async(
            {"row": driver.row, "rows": driver.rows, "group": driver.group, "size": driver.size},
            trio.to_thread.run_sync,
        )


class Driver:
    """Each sample has a grant of its own: an archive counts how much one reads in ten seconds."""

    def __init__(self, pairing: Pairing, connection: Connection) -> None:
        self._pairing = pairing
        self._connection = connection
        self._rows = 0
        self._asked = count()

    async def size(self, rows: int) -> Sample:
        """Say how many rows the archive has."""
        self._rows = rows
        return {}

    async def row(self, calls: int) -> Sample:
        return await one_by_one_async(await self._reader(), calls)

    async def rows(self, calls: int) -> Sample:
        """Let a hundred callers read, each one row after the other."""
        read = await self._reader()

        async def ask() -> None:
            for _ in range(calls // CALLERS):
                while True:
                    try:
                        await read()
                        break
                    except Overloaded:  # The disk did not keep up; it is said to ask again later.
                        await trio.sleep(_LATER_S)

        start = perf_counter_ns()
        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS):
                nursery.start_soon(ask)
        return together(calls // CALLERS * CALLERS, start)

    async def group(self, calls: int) -> Sample:
        table, plan = await self._table(), plan_from_sql(QUESTION).plan.to_wire()

        def ask() -> Awaitable[Any]:
            return table.call("query", plan, is_last=True, timeout_s=_GROUP_S_MAX)

        return await one_by_one_async(ask, calls)

    async def _reader(self) -> Callable[[], Awaitable[Any]]:
        table = await self._table()

        def read() -> Awaitable[Any]:
            key: list[Value] = [next(self._asked) * _STEP % self._rows]
            # A step: the row is only called on, and no reference to it has to be given back.
            return table.call("row", key, is_step=True).call("values", is_last=True)

        await read()  # The first one of a grant opens a connection to the index.
        return read

    async def _table(self) -> Reference:
        token = self._pairing.token(scope=SCOPE)
        table = await self._connection.present(token).call("table", "sales")
        assert isinstance(table, Reference)
        return table
