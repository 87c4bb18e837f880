"""A served archive is suspended and resumed by commands, and says so to whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from psp.capability import Operation, sign_transition
from psp.endpoint import connect
from psp.errors import Denied
from psp.plan import Measure, Plan
from psp.totebox import administer, manifest_of
from psp.transport import MachineKey
from tests.unit.totebox.conftest import OWNER

from .test_totebox_service import box as box
from .test_totebox_service import served, token
from .test_totebox_service import user as user

COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),)).to_wire()


async def change(box: Path, after: str) -> Any:
    manifest = manifest_of(box)
    statement = sign_transition(
        OWNER.root,
        archive_id=manifest.archive_id,
        number=manifest.transitions + 1,
        before=manifest.state.value,
        after=after,
    )
    return await trio.to_thread.run_sync(
        lambda: administer(box, "change_state", statement, "jane", doing="testing")
    )


async def test_a_served_archive_is_suspended_and_resumed_beside_its_askers(
    box: Path, user: MachineKey
) -> None:
    async with served(box) as address, connect(address, key=user) as connection:
        grant = await connection.present(token(user))
        table = await grant.call("table", "sales")
        before: Any = await table.call("query", COUNT)

        assert (await change(box, "suspended"))["state"] == "suspended"
        health: Any = await connection.bootstrap.call("health")
        for call in (table.call("query", COUNT), grant.call("table", "sales")):
            with pytest.raises(Denied, match="suspended: it answers health and proofs only"):
                await call
        # A held reference, and one that is presented anew: both are told the state.
        with pytest.raises(Denied, match="suspended"):
            await connection.present(token(user)).call("table", "sales")
        receipt: Any = await grant.call("receipt", before["read"])

        assert (await change(box, "active"))["state"] == "active"
        after: Any = await table.call("query", COUNT)
    assert health["state"] == "suspended"
    assert receipt["index"] == before["read"]
    assert (after["cells"], after["as_of"]) == (before["cells"], before["as_of"] + 2)
