"""Two real archives of a million rows each, compared over TLS: time, and bytes that left each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from psp.aggregator import Fleet, Reconciliation, Side
from psp.endpoint import Portal
from psp.estate import Estate, TenantPolicy, create_estate, draft_estate
from psp.totebox import serve_archive, share_secret

PLANTED: Final = 40
_SIDES: Final = ("bills", "books")
_ADMIN: Final = TenantPolicy(
    name="owner", sentence="", pairing="ADMIN", operations=("sketch", "read"), objects={}
)


def compare(rows: int) -> dict[str, float]:
    """Seal two tables that differ in forty rows, compare them, and say what it took.

    Raises:
        RuntimeError: What was found is not exactly what was planted.
    """
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory) / f"{name}.csv" for name in _SIDES]
        for file, is_changed in zip(files, (False, True), strict=True):
            with file.open("w") as target:
                target.writelines(_lines(rows, is_changed=is_changed))
        estate = create_estate(
            draft_estate(Path(directory) / "estate", files, table="invoices"), tenants=(_ADMIN,)
        )
        share_secret([estate.layout.archive(name) for name in _SIDES])
        sent = dict.fromkeys(_SIDES, 0)
        with (
            Portal() as portal,
            portal.enter(_served(estate, sent)),
            Fleet(estate.roster) as fleet,
        ):
            started_s = time.perf_counter()
            found = fleet.reconcile(_asked())
            took_s = time.perf_counter() - started_s
        if len(found.differ) != PLANTED or found.matched != rows - PLANTED:
            raise RuntimeError(
                f"{len(found.differ)} changes were found and {found.matched} rows matched, where"
                f" {PLANTED} of {rows} were planted."
            )
    return {
        "rows_a_side": rows,
        "changes_found": len(found.differ),
        "bytes_that_left_a_side": max(sent.values()),
        "seconds": took_s,
    }


def _lines(rows: int, *, is_changed: bool) -> Iterator[str]:
    yield "invoice,amount\n"
    for number in range(rows):
        cents = number * 17 % 9_999_991
        if is_changed and number % (rows // PLANTED) == 7:
            cents += 1
        yield f"INV-{number:09},{cents // 100}.{cents % 100:02}\n"


def _asked() -> Reconciliation:
    left, right = (
        Side(member=name, table="invoices", key=("invoice",), amount=("amount",)) for name in _SIDES
    )
    return Reconciliation(title="", left=left, right=right, deadline_s=3_600)


@asynccontextmanager
async def _served(estate: Estate, sent: dict[str, int]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for member in estate.roster.members:
            serving = partial(
                serve_archive,
                estate.layout.archive(member.name),
                host="127.0.0.1",
                port=member.address.port,
                tap=partial(_count, sent, member.name),
            )
            await nursery.start(serving)
        yield
        nursery.cancel_scope.cancel()


def _count(sent: dict[str, int], name: str, direction: str, data: bytes) -> None:
    if direction == "out":
        sent[name] += len(data)
