"""What a program exposes beside its archive: of it a grant shows the methods that it names."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest
import trio

from psp.capability import Operation, Scope, TableRule, issue
from psp.endpoint import Address, Exposed, connect, method
from psp.errors import Denied, Invalid
from psp.totebox import serve_archive
from psp.transport import MachineKey

from .conftest import OWNER, machine


class Boiler(Exposed):
    """One method that anybody may be granted to call, and one that costs something."""

    def __init__(self) -> None:
        self.done: list[str] = []

    @method
    def degrees(self) -> int:
        return 61

    @method
    def switch_off(self) -> None:
        self.done.append("off")


def token(holder: MachineKey, methods: frozenset[str] = frozenset()) -> bytes:
    """A grant of these methods of the boiler."""
    now_s = int(time.time())
    rule = TableRule(operations=frozenset({Operation.META}))
    return issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=holder.public_bytes,
        presenter=holder.spki_hash,
        scope=Scope({"sales": rule}, {"boiler": methods}),
        not_before_s=now_s,
        not_after_s=now_s + 60,
        depth=0,
        nonce=secrets.token_bytes(16),
    )


@pytest.mark.parametrize("pairing", ["USER", "ADMIN"])
async def test_a_method_that_a_grant_does_not_name_is_not_there(
    tmp_path: Path, pairing: str
) -> None:
    """The control: the same method, called under a grant that names it, is run."""
    user, boiler = machine(), Boiler()
    with OWNER.found(tmp_path / "box") as archive:
        archive.pair("user", user.certificate_pem, pairing)
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            lambda task_status: serve_archive(
                tmp_path / "box",
                host="127.0.0.1",
                port=0,
                objects={"boiler": boiler},
                log=lambda text: None,
                task_status=task_status,
            )
        )
        address = Address(OWNER.archive_id, host, port, OWNER.box.certificate_pem, "box")
        async with connect(address, key=user) as connection:
            reading = connection.present(token(user, frozenset({"degrees"})))
            boiler_read = await reading.call("object", "boiler")
            assert await boiler_read.call("degrees") == 61
            with pytest.raises(Invalid):
                await boiler_read.call("switch_off")
            with pytest.raises(Denied):
                await connection.present(token(user)).call("object", "boiler")
            assert boiler.done == []

            both = connection.present(token(user, frozenset({"degrees", "switch_off"})))
            await both.call("object", "boiler").call("switch_off")
            assert boiler.done == ["off"]
        nursery.cancel_scope.cancel()
