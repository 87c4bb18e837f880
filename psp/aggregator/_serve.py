"""Serving an estate's tenants over the wire: `psp aggregator serve`.

The process keeps what `open_fleet` keeps, once per tenant, and nothing else: no file is written,
and it can be stopped, moved or multiplied at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AsyncExitStack

import trio

from psp.endpoint import Exposed, connect, serve
from psp.errors import Denied, EstateError
from psp.transport import MachineKey, Peer, Pin

from ._branch import Desk, Gate
from ._fleet import open_fleet
from ._line import Dial
from ._roster import Roster
from ._turns import Turns, letter_turns


def aggregator_id(name: str) -> bytes:
    """The 32 bytes by which an aggregator is called in addresses, made of its estate's name."""
    return hashlib.sha256(b"PSP1.aggregator\0" + name.encode()).digest()


async def serve_fleet(
    roster: Roster,
    *,
    key: MachineKey,
    host: str,
    port: int,
    log: Callable[[str], None],
    dial: Dial = connect,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve every tenant of an estate to its own machines, until cancelled.

    Args:
        key: The machine key that callers are shown.
        port: 0 for any; `task_status` gives the address that was bound.
        log: Takes one text for each fault and refusal; never an argument or a figure.

    Raises:
        EstateError: No tenant has a machine, two share one, a key cannot be read, or the port is
            in use.
    """
    owners = _owners(roster)
    async with AsyncExitStack() as stack:
        turns, letters = Turns(), letter_turns()
        desks = {}
        for name in {name for name, _ in owners.values()}:
            fleet = await stack.enter_async_context(open_fleet(roster, tenant=name, dial=dial))
            desks[name] = Desk(fleet, turns, letters)

        def bootstrap(peer: Peer) -> Exposed:
            return Gate(desks[owners[peer.spki_hash][0]])

        await serve(
            key=key,
            archive_id=aggregator_id(roster.name),
            pins=[pin for _, pin in owners.values()],
            bootstrap=bootstrap,
            present=_refuse_tokens,
            host=host,
            port=port,
            log=log,
            task_status=task_status,
        )


def _owners(roster: Roster) -> dict[bytes, tuple[str, Pin]]:
    """Tell whose each paired machine is; a machine of two tenants would be a way between them."""
    owners: dict[bytes, tuple[str, Pin]] = {}
    for tenant in roster.tenants.values():
        for pin in tenant.consoles:
            other = owners.setdefault(pin.certificate.spki_hash, (tenant.name, pin))[0]
            if other != tenant.name:
                raise EstateError(
                    f"one machine is a console of {other!r} and of {tenant.name!r} in"
                    f" {roster.file}. Give each tenant machines of its own."
                )
    if not owners:
        raise EstateError(
            f"no tenant of {roster.file} has a console, so nobody could ask. Add"
            ' consoles = ["FILE.pem"] to a tenant: docs/fleet.md'
        )
    return owners


def _refuse_tokens(peer: Peer, token: bytes) -> Exposed:
    """An aggregator is no archive: it grants nothing, and whose a machine is, its key has said."""
    del peer, token
    raise Denied
