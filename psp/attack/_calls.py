"""Attacks on signed calls: a console has signed one, and the machine that carries it is captured.

The only calls that are made describe the grant or list its reads: nothing is read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import trio

from psp.capability import Chain, Command
from psp.endpoint import Connection, Reference
from psp.errors import Denied

from ._forger import Forger
from ._judge import judge
from ._limits import STARTING_S
from ._report import Attempt

_DESCRIBE: Final[list[Command]] = [("describe", [])]
_OTHER: Final[list[Command]] = [("reads", [])]


async def call_attacks(
    connection: Connection,
    reach: Callable[[], AbstractAsyncContextManager[Connection]],
    forger: Forger,
) -> list[Attempt]:
    """Have one call signed and answered; then try to get a second one out of it.

    Raises:
        Denied: The honest call is refused too, so that nothing could be shown.
    """
    chain, other = forger.interactive(), forger.interactive()
    grant = await connection.present(chain.encode())
    spent = await _spend(grant, forger, chain)
    fresh = forger.sign(chain, _DESCRIBE)
    async with reach() as second:
        again = await second.present(chain.encode())
        cases: list[tuple[str, str, Reference, list[Command], bytes | None]] = [
            ("replay", "a signed call, once more", grant, _DESCRIBE, spent),
            ("replay", "the same, over another connection", again, _DESCRIBE, spent),
            ("tampered command", "another command under the signature", grant, _OTHER, fresh),
            ("tampered command", "one command more", grant, [*_DESCRIBE, *_OTHER], fresh),
            ("unsigned call", "a call without any signature", grant, _DESCRIBE, None),
            (
                *("forged call", "signed by the machine that carries it", grant, _DESCRIBE),
                forger.sign(chain, _DESCRIBE, by=forger.thief),
            ),
            (
                *("held-back call", "a call that was signed two minutes ago", grant, _DESCRIBE),
                forger.sign(chain, _DESCRIBE, age_s=120),
            ),
            (
                *("another grant's call", "signed for a twin of this grant", grant, _DESCRIBE),
                forger.sign(other, _DESCRIBE),
            ),
        ]
        return [
            await judge(attack, tried, _carry(held, commands, invocation), rule="invocation")
            for attack, tried, held, commands, invocation in cases
        ]


def _carry(
    grant: Reference, commands: list[Command], invocation: bytes | None
) -> Callable[[], Any]:
    carried: list[Any] = [[name, list(arguments)] for name, arguments in commands]
    return lambda: grant.call("run", carried, invocation=invocation)


async def _spend(grant: Reference, forger: Forger, chain: Chain) -> bytes:
    """Have one signed call answered: the control of all the others."""
    try:
        signed = forger.sign(chain, _DESCRIBE)
        await _carry(grant, _DESCRIBE, signed)()
    except Denied:
        await trio.sleep(STARTING_S)
        signed = forger.sign(chain, _DESCRIBE)
        await _carry(grant, _DESCRIBE, signed)()
    return signed
