"""The same fleet for every program: blocking, on trio, and on asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Unpack

import trio

from psp.buffers import Buffers
from psp.endpoint import Inspection, Landed, Portal, connect
from psp.plan import Listing
from psp.transport import PassphraseSource

from ._answer import Answer
from ._columns import RowsOptions
from ._coming import AsyncioComing, BlockingComing, Coming
from ._command import CommandReport, FleetCommand
from ._doctor import Diagnosis
from ._fleet import AskOptions, CommandOptions, TrioFleet, open_fleet
from ._limits import DEADLINE_S
from ._reconcile import Reconciled, Reconciliation
from ._roster import Roster
from ._status import EstateStatus
from ._view_file import View


class Fleet:
    """Many archives, asked as one.

        with psp.Fleet("estate.toml") as fleet:
            print(fleet.ask("select count(*) from sales"))

        async with psp.Fleet("estate.toml") as fleet:  # on trio or on asyncio
            print(await fleet.ask("select count(*) from sales"))

    Args:
        estate: An `estate.toml`, or the directory that holds one.
        tenant: Who asks; by default the first tenant of the file.
        runtime: Our own directory, where results of an archive on this machine are handed over.
        passphrase: Asked on entering, perhaps in another thread, if the tenant's key, or the
            operator's key of a console, is sealed.

    Raises:
        EstateError: On entering: the estate or the tenant cannot be read.
        KeyFileError: On entering: a key cannot be read, or is sealed otherwise.
    """

    def __init__(
        self,
        estate: str | Path | Roster,
        *,
        tenant: str | None = None,
        runtime: Path | None = None,
        passphrase: PassphraseSource | None = None,
    ) -> None:
        self._estate = estate
        self._tenant = tenant
        self._dial = partial(connect, runtime=runtime)
        self._passphrase = passphrase
        self._stack = ExitStack()
        self._async_stack = AsyncExitStack()

    def __enter__(self) -> BlockingFleet:
        with ExitStack() as stack:
            portal = stack.enter_context(Portal())
            fleet = stack.enter_context(portal.enter(self._open()))
            self._stack = stack.pop_all()
        return BlockingFleet(portal, fleet)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    async def __aenter__(self) -> AsyncFleet:
        if trio.lowlevel.in_trio_run():
            return AsyncFleet(None, await self._async_stack.enter_async_context(self._open()))
        with ExitStack() as stack:
            portal = stack.enter_context(Portal())
            # Reading one small file and starting a thread: too short to be worth a thread hop.
            fleet = stack.enter_context(portal.enter(self._open()))
            self._stack = stack.pop_all()
        return AsyncFleet(portal, fleet)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._async_stack.__aexit__(kind, error, traceback)
        self._stack.__exit__(kind, error, traceback)

    def _open(self) -> AbstractAsyncContextManager[TrioFleet]:
        return open_fleet(
            self._estate, tenant=self._tenant, dial=self._dial, passphrase=self._passphrase
        )


class BlockingFleet:
    """An open fleet whose methods wait."""

    def __init__(self, portal: Portal, fleet: TrioFleet) -> None:
        self._portal = portal
        self._fleet = fleet
        self.roster = fleet.roster

    def ask(self, sql: str, **options: Unpack[AskOptions]) -> Answer:
        """Ask the members, and combine what they answer; as `TrioFleet.ask`."""
        return self._portal.run(partial(self._fleet.ask, sql, **options))

    def view(self, view: View, **options: Unpack[AskOptions]) -> Answer:
        """Ask what a view asks; as `TrioFleet.view`."""
        return self._portal.run(partial(self._fleet.view, view, **options))

    def reconcile(self, asked: Reconciliation) -> Reconciled:
        """Compare two members' tables without their rows; as `TrioFleet.reconcile`."""
        return self._portal.run(partial(self._fleet.reconcile, asked))

    def rows(
        self,
        member: str,
        listing: Listing,
        buffers: Buffers,
        *,
        bytes_max: int,
        **options: Unpack[RowsOptions],
    ) -> Landed:
        """Read rows of one archive in columns; as `TrioFleet.rows`."""
        read = partial(self._fleet.rows, member, listing, buffers, bytes_max=bytes_max, **options)
        return self._portal.run(read)

    def inspect(self) -> dict[str, Inspection]:
        """What every open connection holds, by member; as `TrioFleet.inspect`."""
        return self._portal.run(_looking(self._fleet))

    def coming(self, sql: str, **options: Unpack[AskOptions]) -> BlockingComing:
        """Iterate over the outcomes as they come; as `TrioFleet.coming`."""
        return BlockingComing(self._portal, self._fleet.coming(sql, **options))

    def status(self, *, deadline_s: float = DEADLINE_S, members: str = "") -> EstateStatus:
        """Ask members how they are; as `TrioFleet.status`."""
        status = partial(self._fleet.status, deadline_s=deadline_s, members=members)
        return self._portal.run(status)

    def foresee(self, command: FleetCommand, **options: Unpack[CommandOptions]) -> CommandReport:
        """Ask what a command would do; as `TrioFleet.foresee`."""
        return self._portal.run(partial(self._fleet.foresee, command, **options))

    def do(self, command: FleetCommand, **options: Unpack[CommandOptions]) -> CommandReport:
        """Have members do something, each once for its key; as `TrioFleet.do`."""
        return self._portal.run(partial(self._fleet.do, command, **options))

    def examine(self, *, deadline_s: float = DEADLINE_S, members: str = "") -> list[Diagnosis]:
        """Try each step that a question needs; as `TrioFleet.examine`."""
        return self._portal.run(
            partial(self._fleet.examine, deadline_s=deadline_s, members=members)
        )


class AsyncFleet:
    """An open fleet whose methods are awaited, on trio or on asyncio."""

    def __init__(self, portal: Portal | None, fleet: TrioFleet) -> None:
        self._portal = portal
        self._fleet = fleet
        self.roster = fleet.roster

    async def ask(self, sql: str, **options: Unpack[AskOptions]) -> Answer:
        """Ask the members, and combine what they answer; as `TrioFleet.ask`."""
        ask = partial(self._fleet.ask, sql, **options)
        return await (self._portal.arun(ask) if self._portal else ask())

    async def view(self, view: View, **options: Unpack[AskOptions]) -> Answer:
        """Ask what a view asks; as `TrioFleet.view`."""
        ask = partial(self._fleet.view, view, **options)
        return await (self._portal.arun(ask) if self._portal else ask())

    async def reconcile(self, asked: Reconciliation) -> Reconciled:
        """Compare two members' tables without their rows; as `TrioFleet.reconcile`."""
        compare = partial(self._fleet.reconcile, asked)
        return await (self._portal.arun(compare) if self._portal else compare())

    async def rows(
        self,
        member: str,
        listing: Listing,
        buffers: Buffers,
        *,
        bytes_max: int,
        **options: Unpack[RowsOptions],
    ) -> Landed:
        """Read rows of one archive in columns; as `TrioFleet.rows`."""
        read = partial(self._fleet.rows, member, listing, buffers, bytes_max=bytes_max, **options)
        return await (self._portal.arun(read) if self._portal else read())

    async def inspect(self) -> dict[str, Inspection]:
        """What every open connection holds, by member; as `TrioFleet.inspect`."""
        look = _looking(self._fleet)
        return await (self._portal.arun(look) if self._portal else look())

    def coming(
        self, sql: str, **options: Unpack[AskOptions]
    ) -> AbstractAsyncContextManager[Coming | AsyncioComing]:
        """Iterate over the outcomes as they come; as `TrioFleet.coming`."""
        opening = self._fleet.coming(sql, **options)
        return AsyncioComing(self._portal, opening) if self._portal else opening

    async def status(self, *, deadline_s: float = DEADLINE_S, members: str = "") -> EstateStatus:
        """Ask members how they are; as `TrioFleet.status`."""
        status = partial(self._fleet.status, deadline_s=deadline_s, members=members)
        return await (self._portal.arun(status) if self._portal else status())

    async def foresee(
        self, command: FleetCommand, **options: Unpack[CommandOptions]
    ) -> CommandReport:
        """Ask what a command would do; as `TrioFleet.foresee`."""
        foresee = partial(self._fleet.foresee, command, **options)
        return await (self._portal.arun(foresee) if self._portal else foresee())

    async def do(self, command: FleetCommand, **options: Unpack[CommandOptions]) -> CommandReport:
        """Have members do something, each once for its key; as `TrioFleet.do`."""
        do = partial(self._fleet.do, command, **options)
        return await (self._portal.arun(do) if self._portal else do())

    async def examine(
        self, *, deadline_s: float = DEADLINE_S, members: str = ""
    ) -> list[Diagnosis]:
        """Try each step that a question needs; as `TrioFleet.examine`."""
        examine = partial(self._fleet.examine, deadline_s=deadline_s, members=members)
        return await (self._portal.arun(examine) if self._portal else examine())


def _looking(fleet: TrioFleet) -> Callable[[], Awaitable[dict[str, Inspection]]]:
    """Have the tables looked at where they change: in the portal's thread."""

    async def look() -> dict[str, Inspection]:
        return fleet.inspect()

    return look
