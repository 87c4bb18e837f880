"""Make a golden archive with the release that is installed: `python -m tests.golden.make NAME`."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from psp.capability import Operation, Scope, TableRule, archive_id_of, issue, sign_anchor
from psp.endpoint import Address, Promise, connect
from psp.plan import Measure, Plan
from psp.totebox import Archive, Column, ColumnType, Manifest, Table, pack, serve_archive

from .keys import ANCHOR, BOX, INTERFACE, LEDGER, NONCE, ROOT, USER

GOLDEN = Path(__file__).parent
ARCHIVE_ID = archive_id_of(ROOT.public_bytes, NONCE)
COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT), Measure(Operation.SUM, "price")))

_SALES = Table(
    name="sales",
    columns=(
        Column(name="id", type=ColumnType.TEXT),
        Column(name="date", type=ColumnType.DATE),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, currency="USD"),
        Column(name="rooms", type=ColumnType.INTEGER, nullable=True),
    ),
    key=("id",),
    subject="id",
)
_FILES = (
    "id,date,price,rooms\n1,2014-05-02,221900.50,3\n2,2014-06-03,538000,\n3,2014-06-04,1.25,2\n",
    "id,date,price,rooms\n3,2014-06-04,180000.25,2\n4,2014-07-01,604000.00,4\n",
)
_SHOWN = frozenset({"id", "price", "rooms"})


def token() -> bytes:
    """Sign a grant for the user of a golden archive, for a minute."""
    now_s = int(time.time())
    rule = TableRule(
        operations=frozenset({Operation.META, Operation.COUNT, Operation.SUM, Operation.READ}),
        output=_SHOWN,
        filters=frozenset({"id"}),
        rows_max=10,
    )
    return issue(
        ANCHOR,
        archive_id=ARCHIVE_ID,
        epoch=1,
        holder=USER.public_bytes,
        presenter=USER.spki_hash,
        scope=Scope({"sales": rule}, {"ledger": frozenset({"prove"})}),
        not_before_s=now_s,
        not_after_s=now_s + 60,
        depth=0,
        nonce=bytes(16),
    )


@asynccontextmanager
async def granted(box: Path) -> AsyncIterator[Promise[object]]:
    """Serve a golden archive and present a grant to it."""
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            lambda task_status: serve_archive(
                box, host="127.0.0.1", port=0, task_status=task_status
            )
        )
        address = Address(ARCHIVE_ID, host, port, BOX.certificate_pem, "golden")
        async with connect(address, key=USER) as connection:
            yield connection.present(token())
        nursery.cancel_scope.cancel()


def make(file: Path) -> None:
    """Make an archive with files, pins and reads in it, and pack it with its keys."""
    statement = sign_anchor(
        ROOT,
        anchor_keys=[ANCHOR.public_bytes],
        ledger_key=LEDGER.public_bytes,
        epoch=1,
        version=1,
        nonce=NONCE,
    )
    manifest = Manifest(
        name="golden-1", archive_id=ARCHIVE_ID, module_id="homes", tables=(_SALES,), floor=1
    )
    with TemporaryDirectory() as made:
        box = Path(made) / "box"
        with Archive.create(
            box, manifest, machine_key=BOX, ledger_key=LEDGER, anchor_statement=statement
        ) as archive:
            archive.pair("user", USER.certificate_pem, "USER")
            archive.pair("interface", INTERFACE.certificate_pem, "INTERFACE")
            for number, text in enumerate(_FILES):
                path = Path(made) / f"sales-{number}.csv"
                path.write_text(text)
                archive.ingest(path, "sales", operator="jane", now=datetime.now(UTC))
        trio.run(_read, box)
        pack(box, file, with_keys=True)


async def _read(box: Path) -> None:
    async with granted(box) as grant:
        table = grant.call("table", "sales")
        await table.call("query", COUNT.to_wire())
        await table.call("row", ["3"]).call("values")


if __name__ == "__main__":
    make(GOLDEN / f"{sys.argv[1]}.tar")
