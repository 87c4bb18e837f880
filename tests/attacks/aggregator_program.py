"""An aggregator as its user would write one: it asks, carries signed calls, and keeps its lines.

Run as `python -m tests.attacks.aggregator_program DIRECTORY`; one line of JSON is answered by one.
"""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from typing import Any

import trio

from psp.aggregator import Roster, TrioFleet, open_fleet
from psp.endpoint import Connection, connect
from psp.errors import PSPError
from psp.transport import MachineKey


async def main(directory: str) -> None:
    roster = Roster.load(directory)
    key = MachineKey.load(roster.tenant().key_file)
    async with AsyncExitStack() as kept, open_fleet(roster) as fleet:
        lines: dict[str, Connection] = {}
        for member in roster.members:
            lines[member.name] = await kept.enter_async_context(connect(member.address, key=key))
        say("ready")
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            try:
                answer = await obey(json.loads(line), fleet, lines)
            except PSPError as exc:
                answer = {"error": type(exc).__name__}
            say(json.dumps(answer, default=str))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def obey(wish: dict[str, Any], fleet: TrioFleet, lines: dict[str, Connection]) -> Any:
    if "ask" in wish:
        return (await fleet.ask(wish["ask"])).to_dict()
    token, invocation = bytes.fromhex(wish["token"]), bytes.fromhex(wish["invocation"])
    grant = lines[wish["member"]].present(token)
    return await grant.call("run", wish["commands"], invocation=invocation)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
