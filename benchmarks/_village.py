"""A thousand members on one host, for `benchmarks fleet`: run as `python -m benchmarks._village`.

Reads a certificate and a number from its standard input, serves that many members to its owner, and
writes one JSON line of addresses. Each answers a query from memory: what is measured is the way
there and back. It ends when its input does.
"""

from __future__ import annotations

import json
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Final

import trio

from psp.endpoint import Address, Exposed, Pins, method, serve
from psp.transport import MachineKey, Peer, Pin, check_certificate_untrusted

MONTHS: Final = 13
ANSWER: Final[dict[str, object]] = {
    "as_of": 1,
    "cells": [
        [[f"2014-{month:02}"], [20 + month, Decimal(f"{1_000_000 + month}.25"), 40_000 + month]]
        for month in range(1, MONTHS + 1)
    ],
    "other": None,
    "hidden": [],
    "hidden_count": 0,
    "floor": 10,
}
"""As large as an archive's answer in the demo: thirteen months, three figures each."""


WORK_S: Final = 0.02
"""What an archive of a million rows takes for a scan that is not prepared."""


class Table(Exposed):
    def __init__(self, takes_s: float) -> None:
        self._takes_s = takes_s

    @method
    async def query(self, plan: list[object]) -> dict[str, object]:
        del plan
        if self._takes_s:
            await trio.sleep(self._takes_s)
        return ANSWER


class Grant(Exposed):
    def __init__(self, token: bytes) -> None:
        self._is_slow = token == b"slow"

    @method
    def table(self, name: str) -> Table:
        # An archive at work takes some time; one that hangs takes all there is.
        return Table(3_600.0 if self._is_slow else WORK_S if name == "at_work" else 0.0)


class Bootstrap(Exposed):
    pass


def archive_id(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def main() -> None:
    setup = json.loads(sys.stdin.readline())
    pin = Pin("the aggregator", check_certificate_untrusted(setup["certificate"]))
    with tempfile.TemporaryDirectory() as directory:
        key = MachineKey.create(Path(directory) / "machine.key")
    addresses = []
    async with trio.open_nursery() as nursery:
        for number in range(setup["members"]):

            async def one(
                number: int = number,
                task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
            ) -> None:
                await serve(
                    key=key,
                    archive_id=archive_id(number),
                    pins=Pins([pin]),
                    bootstrap=_bootstrap,
                    present=_present,
                    host="127.0.0.1",
                    port=0,
                    log=_forget,
                    task_status=task_status,
                )

            host, port = await nursery.start(one)
            addresses.append(
                Address(archive_id(number), host, port, key.certificate_pem, f"m{number}").to_text()
            )
        print(json.dumps({"certificate": key.certificate_pem, "addresses": addresses}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


def _forget(text: str) -> None:
    """A loaded machine cuts handshakes short; the aggregator tries again, and tells."""
    del text


def _bootstrap(peer: Peer) -> Exposed:
    del peer
    return Bootstrap()


def _present(peer: Peer, token: bytes) -> Exposed:
    del peer
    return Grant(token)


if __name__ == "__main__":
    trio.run(main)
