"""One tenant's line to one member: at most one connection, opened when first needed.

The first question on a fresh line leaves together with HELLO and the grant, before any answer has
come. A line that broke is opened again by the next question; it remembers since when it is down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import trio

from psp.endpoint import Connection, Promise, Reference, Statistics, connect
from psp.errors import ConnectionLost, Disconnected, Expired, PSPError
from psp.transport import MachineKey

from ._roster import Member, Tenant

T = TypeVar("T")


@dataclass(slots=True)
class Line:
    """What is open towards one member.

    Attributes:
        down_since: When the member was first found unreachable; None while it is not.
    """

    member: Member
    tenant: Tenant
    key: MachineKey
    nursery: trio.Nursery
    connect_s: float
    down_since: datetime | None = None
    _connection: Connection | None = None
    _grant: Promise[Reference] | None = None
    _opening: trio.Lock = field(default_factory=trio.Lock)

    async def ask(self, question: Callable[[Promise[Reference]], Awaitable[T]]) -> T:
        """Run one question on this member's grant.

        Questions only read, so each is safe to repeat: once more on a fresh connection if an old
        one turned out to be dead, once more with a fresh token if the operator renewed it.

        Raises:
            PSPError: Whatever the member or the way to it did.
        """
        fresh = self._connection is None or self._connection.closed
        try:
            result = await question(await self._granted())
        except (ConnectionLost, Disconnected):
            if fresh:
                raise
            result = await question(await self._granted())
        except Expired:
            self._grant = None
            result = await question(await self._granted())
        self.down_since = None
        return result

    async def connection(self) -> Connection:
        """The open connection, opened now if there is none."""
        async with self._opening:
            if self._connection is None or self._connection.closed:
                self._grant = None
                try:
                    self._connection = await self.nursery.start(self._hold)
                except Disconnected:
                    self.down_since = self.down_since or datetime.now(UTC)
                    raise
            return self._connection

    def statistics(self) -> Statistics | None:
        """The counters of the connection, if one is or was open."""
        return self._connection.statistics() if self._connection else None

    def note_failure(self, error: PSPError) -> None:
        """Remember when a member was first missed."""
        if isinstance(error, ConnectionLost | Disconnected):
            self.down_since = self.down_since or datetime.now(UTC)

    async def _granted(self) -> Promise[Reference]:
        connection = await self.connection()
        if self._grant is None:
            self._grant = connection.present(self.tenant.token_for(self.member.name))
        return self._grant

    async def _hold(
        self, *, task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Own the connection for as long as it lives: its tasks run in this one."""
        async with connect(
            self.member.address, key=self.key, timeout_s=self.connect_s
        ) as connection:
            task_status.started(connection)
            await connection.wait_closed()
