"""A console's line to one member, by way of an aggregator that carries what the console has signed.

The console sends a letter: which member, its token, the commands, and a signature over them. The
aggregator delivers it and brings back what the archive says. It can read and drop letters. It has
nothing by which it could write one, and a letter is delivered once.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from psp.capability import Command, SigningKey, sign_invocation
from psp.endpoint import Connection, Statistics
from psp.errors import (
    ConnectionLost,
    Expired,
    NotPaired,
    PSPError,
    RemoteProtocolError,
    Unreachable,
)
from psp.values import Value

from ._limits import SIGNED_S
from ._line import Callee, Line
from ._links import Links

T = TypeVar("T")

AWAY: Final[Mapping[str, type[PSPError]]] = {
    "unreachable": Unreachable,
    "not paired": NotPaired,
    "lost": ConnectionLost,
    "broken": RemoteProtocolError,
}
"""How an aggregator says that a letter could not be delivered, and what that is at the console."""


@dataclass(slots=True, kw_only=True)
class CarriedLine(Line):
    """What is open towards one member of whom only the aggregator knows the way.

    Attributes:
        hub: The line to the aggregator; all members share it.
        signer: Signs every call: the console's key for as long as it is open.
        clock: Seconds since 1970.
    """

    hub: Line
    signer: SigningKey
    own: Links
    clock: Callable[[], float]

    async def ask(self, question: Callable[[Callee], Awaitable[T]]) -> T:
        """Run one question on this member's grant; each of its calls is signed by itself.

        Raises:
            PSPError: Whatever the member, the aggregator or the way did.
        """
        return await question(Unsigned(self))

    async def connection(self) -> Connection:
        """The connection to the aggregator."""
        return await self.hub.connection()

    async def health(self) -> Value:
        """Have the aggregator ask the member how it is; that is not signed, and shows no data."""
        name = self.member.name

        async def ask(carrier: Callee) -> Value:
            brought: Value = await carrier.call("health", name)
            return brought

        return _opened(name, await self.hub.ask(ask))

    @property
    def holder(self) -> SigningKey:
        """The key that the grant was given to: the console's own."""
        return self.signer

    def token(self) -> bytes:
        """The token that goes with the next letter."""
        return self.own.token_for(self.member.name)

    def statistics(self) -> Statistics | None:
        """Nothing: the connection is the aggregator's, and shared."""
        return None

    async def carry(self, commands: list[Command], timeout_s: float | None) -> Value:
        """Sign commands, have them carried, and give what the archive answered."""
        name = self.member.name
        wire = [[method, [*arguments]] for method, arguments in commands]

        async def letter(carrier: Callee) -> Value:
            # Signed anew at each attempt: an archive runs a letter once.
            made = self.own.made_for(name)
            now_s = int(self.clock())
            invocation = sign_invocation(
                self.signer,
                archive_id=self.member.address.archive_id,
                grant_id=made.grant_id,
                commands=commands,
                nonce=secrets.token_bytes(16),
                issued_s=now_s,
                expires_s=now_s + SIGNED_S,
            )
            try:
                brought: Value = await carrier.call(
                    "carry", name, made.token, wire, invocation, timeout_s=timeout_s
                )
            except Expired:
                self.own.forget(name)  # By the archive's clock, which alone counts.
                raise
            return brought

        return _opened(name, await self.hub.ask(letter))


class Unsigned:
    """Commands under an interactive grant, one on what the other gives; signed when awaited."""

    def __init__(
        self, line: CarriedLine, commands: tuple[Command, ...] = (), timeout_s: float | None = None
    ) -> None:
        self._line = line
        self._commands = commands
        self._timeout_s = timeout_s

    def call(
        self,
        method: str,
        /,
        *arguments: Any,
        timeout_s: float | None = None,
        is_last: bool = False,
    ) -> Unsigned:
        """Add a command. Nothing is sent."""
        del is_last  # Nothing is kept by the archive, so nothing is given back.
        return Unsigned(self._line, (*self._commands, (method, arguments)), timeout_s)

    def __await__(self) -> Generator[Any, Any, Value]:
        return self._line.carry([*self._commands], self._timeout_s).__await__()


def _opened(member: str, brought: Value) -> Value:
    """Read what an aggregator brought back: the answer, or why there is none."""
    match brought:
        case [True, answer]:
            return answer
        case [False, str(word), str(words)] if word in AWAY:
            raise AWAY[word](words)
    raise RemoteProtocolError(
        f"for {member!r} the aggregator brought what is no answer; ask its operator which release"
        " it runs"
    )
