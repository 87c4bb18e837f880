"""`psp aggregator serve`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import App, Parameter

from psp.aggregator import Roster, aggregator_id, serve_fleet
from psp.console import neutral
from psp.endpoint import Address
from psp.errors import EstateError
from psp.transport import MachineKey

from ._common import err, find_estate, out, print_json
from ._passphrase import Passphrases

aggregator = App(name="aggregator", help="Let machines of tenants ask through one aggregator.")


@aggregator.command
def serve(
    *,
    key: Path,
    listen: str = "127.0.0.1:7400",
    estate: Path | None = None,
    passphrase_fd: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Ask an estate for others: each tenant's consoles reach that tenant's members, until Ctrl-C.

    No file is written. What a console reaches is decided by its machine key alone.

    Parameters
    ----------
    key
        The machine key that callers are shown; make one with: psp key new FILE --plain
    listen
        Where to listen, HOST:PORT; port 0 for any.
    estate
        The estate's directory, with `consoles` for at least one tenant.
    passphrase_fd
        Read the key's passphrase from this file descriptor instead of asking.
    json
        Print one JSON object when it is ready.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise EstateError(f"--listen {listen} is not HOST:PORT. Write it as in 127.0.0.1:7400")
    roster = Roster.load(find_estate(estate))
    machine = MachineKey.load(key, Passphrases(passphrase_fd))
    try:
        trio.run(partial(_serve, roster, machine, host.strip("[]"), int(port), json=json))
    except* KeyboardInterrupt:  # In a group, as whatever ends a nursery.
        interrupted = True
    else:
        interrupted = False
    if interrupted:
        raise KeyboardInterrupt


async def _serve(roster: Roster, key: MachineKey, host: str, port: int, *, json: bool) -> None:
    raised: EstateError | None = None
    async with trio.open_nursery() as nursery:
        serving = partial(serve_fleet, roster, key=key, host=host, port=port, log=_log)
        try:
            bound_host, bound_port = await nursery.start(serving)
            _say_ready(roster, key, bound_host, bound_port, json=json)
            await trio.sleep_forever()
        except EstateError as exc:
            raised = exc  # Carried around the nursery, which would wrap it in a group.
    if raised is not None:
        raise raised


def _say_ready(roster: Roster, key: MachineKey, host: str, port: int, *, json: bool) -> None:
    hub = aggregator_id(roster.name)
    address = Address(hub, host, port, key.certificate_pem, roster.name).to_text()
    tenants = [name for name, tenant in roster.tenants.items() if tenant.consoles]
    if json:
        print_json({"address": address, "tenants": tenants, "members": len(roster.members)})
    else:
        out().print(
            f"{len(roster.members)} members for {', '.join(map(neutral, tenants))} · {address} ·"
            " Ctrl-C stops",
            soft_wrap=True,
        )
    sys.stdout.flush()


def _log(text: str) -> None:
    """What happened at the door. Peers' names may be in it."""
    err().print(neutral(text))
