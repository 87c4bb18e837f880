"""An aggregator that has carried a command: over real TLS, what that is worth to it afterwards.

A fleet gives the commands, so this is also the way that they take from end to end.
"""

from __future__ import annotations

import functools
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from psp.aggregator import CommandReport, FleetCommand, open_fleet
from psp.capability import CommandKey, Scope, issue, sign_transition
from psp.endpoint import Address, Promise, Reference, connect
from psp.errors import CallFailed, Denied, Expired, Invalid
from psp.estate import ADMINISTRATOR, OWNER, Estate, create_estate, draft_estate
from psp.totebox import Archive, State, manifest_of, serve_archive
from psp.totebox._clocks import Clocks, read_clocks
from psp.totebox._service import Desk
from psp.transport import MachineKey
from psp.values import Value

WINDOW_S = 15 * 60


@dataclass
class MovedClock:
    """The machine's own clocks, put forward."""

    ahead_s: float = 0.0

    def __call__(self) -> Clocks:
        now = read_clocks()
        return Clocks(now.wall_s + self.ahead_s, now.boot_s + self.ahead_s)


@dataclass
class House:
    """An estate of one archive, and the statements that its administrator has signed."""

    estate: Estate
    clock: MovedClock
    signed: list[bytes] = field(default_factory=list)

    @property
    def address(self) -> Address:
        return self.estate.roster.members[0].address

    @property
    def box(self) -> Path:
        return self.estate.layout.archive("flats")

    def machine(self, tenant: str = "admin") -> MachineKey:
        return MachineKey.load(self.estate.layout.machine_key(tenant))

    def token(self) -> bytes:
        return self.estate.roster.tenants["admin"].token_for("flats")

    def narrower(self) -> bytes:
        """A grant of the same machine that says less."""
        machine, now_s = self.machine(), int(time.time())
        return issue(
            MachineKey.load(self.estate.layout.anchor_key),
            archive_id=self.address.archive_id,
            epoch=1,
            holder=machine.public_bytes,
            presenter=machine.spki_hash,
            scope=Scope({}, {"archive": frozenset({"audit"})}),
            not_before_s=now_s,
            not_after_s=now_s + WINDOW_S,
            depth=0,
            nonce=bytes(16),
        )

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: serve_archive(
                    self.box,
                    host=self.address.host,
                    port=self.address.port,
                    task_status=task_status,
                )
            )
            yield
            nursery.cancel_scope.cancel()

    async def tell(self, command: FleetCommand, *, key: CommandKey | None = None) -> CommandReport:
        async with open_fleet(self.estate.roster, tenant="admin") as fleet:
            return await fleet.do(command, key=key or fresh())

    async def replay(
        self,
        told: CommandReport,
        statement: bytes,
        *,
        token: bytes | None = None,
        machine: MachineKey | None = None,
        key: CommandKey | None = None,
    ) -> Any:
        """Send once more what was sent."""
        async with connect(self.address, key=machine or self.machine()) as connection:
            grant = connection.present(token or self.token())
            used = (key or told.key).to_bytes()
            return await grant.call("do", told.command.name, {}, used, False, statement)

    def commanded(self) -> list[tuple[str, str]]:
        """Read the commands on record, and their keys."""
        with Archive.open(self.box, read_only=True) as archive:
            ledger = archive.ledger
            entries = map(json.loads, ledger.entries(0, ledger.checkpoint.tree_size))
            asked = [entry["asked"] for entry in entries if "asked" in entry]
        return [(one["command"], one["key"]) for one in asked]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    file = tmp_path / "flats.csv"
    file.write_text("id,rent\n" + "".join(f"{n},{n * 10}\n" for n in range(20)))
    draft = draft_estate(tmp_path / "estate", [file], table="flats")
    made = House(create_estate(draft, tenants=(OWNER, ADMINISTRATOR)), MovedClock())

    def sign(signer: MachineKey, **words: Any) -> bytes:
        made.signed.append(sign_transition(signer, **words))
        return made.signed[-1]

    monkeypatch.setattr("psp.totebox._serve.Desk", functools.partial(Desk, clocks=made.clock))
    monkeypatch.setattr("psp.aggregator._command.sign_transition", sign)
    return made


def fresh() -> CommandKey:
    return CommandKey(int(time.time()), secrets.token_bytes(16))


async def test_a_command_that_was_carried_is_worth_nothing_a_second_time(house: House) -> None:
    async with house.served():
        suspended = await house.tell(FleetCommand.suspend())
        resumed = await house.tell(FleetCommand.resume())
        assert (suspended.is_done, resumed.is_done) == (True, True)
        statement = house.signed[0]

        # Under its own grant it hears what was done, and does nothing.
        told: Any = await house.replay(suspended, statement)
        assert (told["repeated"], told["facts"]["after"]) == (True, "suspended")
        # With a fresh key the statement is an old one.
        with pytest.raises(Invalid, match="transition 1 from active, and the next one here is 3"):
            await house.replay(suspended, statement, key=fresh())
        # A grant that says less does not even tell what was done.
        for key in (suspended.key, fresh()):
            with pytest.raises(Denied):
                await house.replay(suspended, statement, token=house.narrower(), key=key)
        # Nor does another machine, with the token or with a grant of its own.
        with pytest.raises(Denied):
            await house.replay(suspended, statement, machine=house.machine("owner"))
        other = house.estate.roster.tenants["owner"].token_for("flats")
        with pytest.raises(Denied):
            await house.replay(suspended, statement, machine=house.machine("owner"), token=other)

    assert house.commanded() == [("suspend", str(suspended.key)), ("resume", str(resumed.key))]
    assert manifest_of(house.box).state is State.ACTIVE


async def test_a_command_that_was_carried_is_worth_nothing_when_the_grant_has_ended(
    house: House,
) -> None:
    async with house.served():
        told = await house.tell(FleetCommand.suspend())
        async with connect(house.address, key=house.machine()) as connection:
            held = await connection.present(house.token())
            old = house.token()
            house.clock.ahead_s = WINDOW_S + 1
            for key in (told.key, fresh()):
                with pytest.raises(Expired):
                    await held.call("do", "resume", {}, key.to_bytes())
        for key in (told.key, fresh()):
            with pytest.raises(CallFailed) as refused:
                await house.replay(told, house.signed[0], token=old, key=key)
            assert isinstance(refused.value, Denied)
    assert house.commanded() == [("suspend", str(told.key))]
    assert manifest_of(house.box).state is State.SUSPENDED


async def test_a_command_whose_connection_ends_before_its_answer_is_done_once(
    house: House, tmp_path: Path
) -> None:
    """Cut after any number of the caller's steps; the fleet then asks with the same key."""
    keys = [fresh() for _ in range(6)]
    async with house.served():
        for steps, key in enumerate(keys):
            rent = tmp_path / "more.csv"
            rent.write_text(f"id,rent\n{100 + steps},5\n")
            command = FleetCommand.append(rent, table="flats")
            async with connect(house.address, key=house.machine()) as connection:
                grant = connection.present(house.token())
                arguments = dict(command.arguments)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_wait_in_vain, grant, arguments, key)
                    for _ in range(4**steps):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            told = await house.tell(command, key=key)
            assert told.outcomes[0].is_done, told.outcomes[0].cause
    assert house.commanded() == [("append", str(key)) for key in keys]


async def _wait_in_vain(
    grant: Promise[Reference], arguments: dict[str, Value], key: CommandKey
) -> None:
    with suppress(CallFailed):
        await grant.call("do", "append", arguments, key.to_bytes(), False, b"")


async def test_a_captured_archive_gets_a_signature_for_itself_alone(house: House) -> None:
    """What the administrator signs for an archive names that archive, so it is none of another."""
    async with house.served():
        await house.tell(FleetCommand.suspend())
    (statement,) = house.signed
    assert house.address.archive_id in statement
