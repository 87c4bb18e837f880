"""A program with an archive of its own, on asyncio: python examples/agent.py DIRECTORY"""

import asyncio
import sys
from pathlib import Path

import psp
from psp.endpoint import Portal
from psp.totebox import serving


class Agent(psp.Exposed):
    """What the program tells of itself, to grants that name `agent` and the method."""

    rounds = 0

    @psp.method
    def rounds_made(self) -> int:
        return self.rounds


async def main(directory: Path) -> None:
    agent = Agent()
    archive = serving(directory, host="127.0.0.1", port=0, objects={"agent": agent})
    with Portal() as portal, portal.enter(archive) as (host, port):
        print(f"serving on {host} port {port}", flush=True)
        while True:  # The program's own work; the archive answers meanwhile.
            agent.rounds += 1
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
