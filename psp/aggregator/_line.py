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
from typing import Any, Protocol, TypeVar

import trio

from psp.capability import SigningKey
from psp.endpoint import (
    Address,
    Connection,
    Inspection,
    Promise,
    Reference,
    Statistics,
    connect,
)
from psp.errors import (
    ConnectionLost,
    DeadlineExceeded,
    Denied,
    Disconnected,
    Expired,
    Revoked,
)
from psp.transport import MachineKey
from psp.values import Value

from ._breaker import Breaker
from ._limits import WITHIN_S_MAX
from ._links import Links
from ._outcome import MemberState
from ._roster import Member, Tenant

T = TypeVar("T")


class Dial(Protocol):
    """How a connection is opened: `psp.endpoint.connect`, or another way with its manners."""

    def __call__(
        self, address: Address, *, key: MachineKey, timeout_s: float
    ) -> AbstractAsyncContextManager[Connection]: ...


class Callee(Protocol):
    """A grant as a question sees it: it is called, and what a call gives is called again."""

    @property
    def call(self) -> Callable[..., Any]:
        """As of a `Promise`: the method, its arguments, `timeout_s` and `is_last`."""
        ...


@dataclass(slots=True)
class Line:
    """What is open towards one member.

    Attributes:
        links: Makes the grants, at a console; else the tenant's files hold them.
        door: What is asked of an aggregator when it is first reached.
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
    links: Links | None = None
    door: str = "fleet"
    breaker: Breaker = field(default_factory=Breaker)
    state: MemberState | None = None
    since: datetime | None = None
    cause: str = ""
    _connection: Connection | None = None
    _grant: Promise[Reference] | None = None
    _token: bytes = field(default=b"", repr=False)
    _opening: trio.Lock = field(default_factory=trio.Lock)

    async def ask(self, question: Callable[[Callee], Awaitable[T]]) -> T:
        """Run one question on this member's grant.

        Questions only read and commands carry a key, so each is safe to repeat: once more on a
        fresh connection if an old one turned out to be dead, once more with a fresh token if the
        old one has ended.

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
        except (Denied, Revoked, DeadlineExceeded):
            # A verdict is remembered by the promise of the grant. The operator may have given
            # another token since, and a member that hung may be back.
            self._grant = None
            raise
        except Expired:
            self._grant = None
            if self.links is not None:  # By the archive's clock, which alone counts.
                self.links.forget(self.member.name)
            return await question(await self._granted())

    async def connection(self) -> Connection:
        """The open connection, opened now if there is none."""
        async with self._opening:
            if self._connection is None or self._connection.closed:
                self._grant = None
                self._connection = await self.nursery.start(self._hold)
            return self._connection

    async def health(self) -> Value:
        """Ask the member how it is; this needs a pairing and no grant."""
        connection = await self.connection()
        report: Value = await connection.bootstrap.call("health")
        return report

    def token(self) -> bytes:
        """The token that is presented next.

        Raises:
            EstateError: There is none, or it cannot be made.
        """
        name = self.member.name
        return self.links.token_for(name) if self.links else self.tenant.token_for(name)

    @property
    def holder(self) -> SigningKey:
        """The key that the grant was given to."""
        return self.key

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
        if self.member.is_aggregator:
            # Another aggregator knows its tenants by their machines, and needs no grant: those
            # for its archives are its own.
            self._grant = self._grant or connection.bootstrap.call(self.door)
        # Where links are made they are renewed before they end; files are read when one has ended.
        elif self._grant is None or (self.links is not None and self.token() != self._token):
            self._token = self.token()
            # Asked for together with the first question, whose own deadline then counts: of ten
            # thousand members the last is reached after minutes.
            self._grant = connection.present(self._token, timeout_s=WITHIN_S_MAX)
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
