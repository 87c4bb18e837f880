"""Carrying what consoles have signed: all that a serving aggregator does for an interactive tenant.

It holds no token of such a tenant but those that came with letters, and those are worth nothing
without the console's signature over each call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from psp.endpoint import Connection, Exposed, Promise, Reference, method
from psp.errors import (
    CallFailed,
    ConnectionLost,
    Disconnected,
    Invalid,
    NotPaired,
    ProtocolError,
    PSPError,
)
from psp.values import Value

from ._limits import CAUSE_CHARACTERS_MAX
from ._line import Line

if TYPE_CHECKING:
    from ._branch import Desk

# How a way that failed is told; the first class that fits decides.
_WORDS: Final[tuple[tuple[type[PSPError], str], ...]] = (
    (ConnectionLost, "lost"),
    (NotPaired, "not paired"),
    (Disconnected, "unreachable"),
    (ProtocolError, "broken"),
)


class Carrier(Exposed):
    """What one console finds: its letters are delivered to the members of its tenant."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # The grant that was last presented for each member: a receipt is asked of the same one.
        self._grants: dict[str, tuple[Connection, bytes, Promise[Reference]]] = {}

    @method
    async def carry(
        self, member: str, token: bytes, commands: list[Value], invocation: bytes
    ) -> list[Value]:
        """Deliver one letter; give [true, answer], or [false, word, cause] of a way that failed.

        Whatever the archive refuses comes back as it refused it.
        """

        async def deliver(connection: Connection) -> Value:
            grant = self._presented(member, token, connection)
            try:
                answer: Value = await grant.call("run", commands, invocation=invocation)
            except CallFailed:
                self._grants.pop(member, None)  # It may be the token that was refused.
                raise
            return answer

        async with self._desk.letters.of(self._desk.fleet.tenant.name):
            return await _brought(self._line(member), deliver)

    @method
    async def health(self, member: str) -> list[Value]:
        """Ask a member how it is, by the pairing alone."""

        async def ask(connection: Connection) -> Value:
            report: Value = await connection.bootstrap.call("health")
            return report

        async with self._desk.letters.of(self._desk.fleet.tenant.name):
            return await _brought(self._line(member), ask)

    def _presented(self, member: str, token: bytes, over: Connection) -> Promise[Reference]:
        kept = self._grants.get(member)
        if kept is None or kept[:2] != (over, token):
            kept = (over, token, over.present(token))
            self._grants[member] = kept
        return kept[2]

    def _line(self, member: str) -> Line:
        try:
            return self._desk.fleet.lines[member]
        except KeyError:
            raise Invalid(
                f"this aggregator knows of no member {member[:40]!r}; compare the two estate files"
            ) from None


async def _brought(line: Line, call: Callable[[Connection], Awaitable[Value]]) -> list[Value]:
    try:
        return [True, await call(await line.connection())]
    except (ConnectionLost, Disconnected, ProtocolError) as exc:
        word = next(word for kind, word in _WORDS if isinstance(exc, kind))
        return [False, word, str(exc)[:CAUSE_CHARACTERS_MAX]]
