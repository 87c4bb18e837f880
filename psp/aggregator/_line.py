"""One tenant's line to one member: at most one connection, opened when first needed.

The first question on a fresh line leaves together with HELLO and the grant, before any answer has
come. One connection is the whole pool: questions share it side by side, and a line that broke is
opened again by the next one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import trio

from psp.endpoint import (
    Address,
    Connection,
    Inspection,
    Promise,
    Reference,
    Statistics,
    connect,
)
from psp.errors import ConnectionLost, Disconnected, Expired
from psp.transport import MachineKey

from ._breaker import Breaker
from ._outcome import MemberState
from ._roster import Member, Tenant

T = TypeVar("T")


class Dial(Protocol):
    """How a connection is opened: `psp.endpoint.connect`, or another way with its manners."""

    def __call__(
        self, address: Address, *, key: MachineKey, timeout_s: float
    ) -> AbstractAsyncContextManager[Connection]: ...


@dataclass(slots=True)
class Line:
    """What is open towards one member.

    Attributes:
        breaker: Whether the member is asked at all, after it failed.
        state: What became of the last question; None before the first.
        since: When the member was first found in that state.
        cause: What went wrong then, if anything did.
    """

    member: Member
    tenant: Tenant
    key: MachineKey
    nursery: trio.Nursery
    connect_s: float
    dial: Dial = connect
    breaker: Breaker = field(default_factory=Breaker)
    state: MemberState | None = None
    since: datetime | None = None
    cause: str = ""
    _connection: Connection | None = None
    _grant: Promise[Reference] | None = None
    _opening: trio.Lock = field(default_factory=trio.Lock)

    async def ask(self, question: Callable[[Promise[Reference]], Awaitable[T]]) -> T:
        """Run one question on this member's grant.

        Questions only read and commands carry a key, so each is safe to repeat: once more on a
        fresh connection if an old one turned out to be dead, once more with a fresh token if the
        operator renewed it.

        Raises:
            PSPError: Whatever the member or the way to it did.
        """
        fresh = self._connection is None or self._connection.closed
        try:
            return await question(await self._granted())
        except (ConnectionLost, Disconnected):
            if fresh:
                raise
            return await question(await self._granted())
        except Expired:
            self._grant = None
            return await question(await self._granted())

    async def connection(self) -> Connection:
        """The open connection, opened now if there is none."""
        async with self._opening:
            if self._connection is None or self._connection.closed:
                self._grant = None
                self._connection = await self.nursery.start(self._hold)
            return self._connection

    def statistics(self) -> Statistics | None:
        """The counters of the connection, if one is or was open."""
        return self._connection.statistics() if self._connection else None

    def inspect(self) -> Inspection | None:
        """What the connection holds, if one is or was open."""
        return self._connection.inspect() if self._connection else None

    def note(self, state: MemberState, cause: str) -> datetime:
        """Remember what became of a question; give the time since when that is so."""
        if state is not self.state or self.since is None:
            self.since = datetime.now(UTC)
        self.state, self.cause = state, cause
        return self.since

    async def _granted(self) -> Promise[Reference]:
        connection = await self.connection()
        if self._grant is None:
            # Another aggregator knows its tenants by their machines, and needs no grant: those
            # for its archives are its own.
            self._grant = (
                connection.bootstrap.call("fleet")
                if self.member.is_aggregator
                else connection.present(self.tenant.token_for(self.member.name))
            )
        return self._grant

    async def _hold(
        self, *, task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Own the connection for as long as it lives: its tasks run in this one."""
        async with self.dial(
            self.member.address, key=self.key, timeout_s=self.connect_s
        ) as connection:
            task_status.started(connection)
            await connection.wait_closed()
