"""A captured aggregator: a real process, everything that it holds, and what that is worth.

The archives are served over TLS in the process of the test, by a clock that the test can put
forward: fifteen minutes of a window pass at once.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from psp.aggregator import Roster
from psp.capability import (
    Chain,
    Command,
    Operation,
    Scope,
    TableRule,
    decode_chain_untrusted,
    one_of,
    sign_invocation,
)
from psp.endpoint import Reference, connect
from psp.errors import CallFailed, Denied, Expired, Invalid
from psp.estate import Estate, TenantPolicy, create_estate, draft_estate
from psp.plan import Filter, GroupKey, Measure, Plan
from psp.totebox import serve_archive
from psp.totebox._clocks import Clocks, read_clocks
from psp.totebox._service import Desk
from psp.transport import MachineKey
from tests.unit.totebox.conftest import machine

from .canary import Canaries, seed_of

WINDOW_S = 15 * 60
COUNT = "select count(*) from flats"
COUNT_PLAN = Plan(table="flats", measures=(Measure(Operation.COUNT),)).to_wire()
EVERYTHING = TableRule(
    operations=frozenset(Operation),
    output=frozenset({"id", "owner", "rent"}),
    filters=frozenset({"id", "owner"}),
    groups=frozenset({"id", "owner"}),
    rows_max=1000,
)


@dataclass
class MovedClock:
    """The machine's own clocks, put forward."""

    ahead_s: float = 0.0

    def __call__(self) -> Clocks:
        now = read_clocks()
        return Clocks(now.wall_s + self.ahead_s, now.boot_s + self.ahead_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    moved = MovedClock()
    monkeypatch.setattr("psp.totebox._serve.Desk", functools.partial(Desk, clocks=moved))
    return moved


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    """Two archives of 30 flats; the tenant may count, and knows of two columns."""
    files = [tmp_path / "tower.csv", tmp_path / "court.csv"]
    for file in files:
        rows = (f"{number},canary-owner-{number},{1000 + number}\n" for number in range(30))
        file.write_text("id,owner,rent\n" + "".join(rows))
    tenant = TenantPolicy(
        name="office",
        sentence="",
        operations=("meta", "count", "sum"),
        columns=("rent",),
        by=("id",),
        objects={},
    )
    return create_estate(draft_estate(tmp_path / "flats", files), tenants=(tenant,))


@pytest.fixture
def office(estate: Estate, tmp_path: Path) -> Path:
    """All that goes onto the aggregator's machine."""
    directory = tmp_path / "office"
    shutil.copytree(
        estate.layout.root, directory, ignore=shutil.ignore_patterns("keys", "archives")
    )
    return directory


@asynccontextmanager
async def served(estate: Estate) -> AsyncIterator[None]:
    """Every archive of the estate, on its own port."""
    async with trio.open_nursery() as nursery:
        for member in estate.roster.members:
            await nursery.start(
                lambda task_status, member=member: serve_archive(
                    estate.layout.archive(member.name),
                    host=member.address.host,
                    port=member.address.port,
                    log=lambda text: None,
                    task_status=task_status,
                )
            )
        yield
        nursery.cancel_scope.cancel()


@dataclass
class Running:
    """The aggregator's process."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    async def wish(self, **what: Any) -> Any:
        """Have it do something; give what it says."""
        return await trio.to_thread.run_sync(self._wish, json.dumps(what))

    async def until_ready(self) -> None:
        assert self.process.stdout is not None
        assert await trio.to_thread.run_sync(self.process.stdout.readline) == "ready\n"

    def _wish(self, line: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def start(office: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.attacks.aggregator_program", os.fspath(office)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[2])},
    )


@asynccontextmanager
async def running(office: Path) -> AsyncIterator[Running]:
    process = start(office)
    try:
        one = Running(process)
        await one.until_ready()
        yield one
    finally:
        process.kill()
        process.communicate()


def memory_of(pid: int) -> Iterator[bytes]:
    """Every mapping of a process that can be read."""
    with (
        Path(f"/proc/{pid}/maps").open(encoding="utf-8") as maps,
        Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory,
    ):
        for line in maps:
            place, rights, *rest = line.split()
            if "r" not in rights or rest[-1] in {"[vvar]", "[vsyscall]", "[vvar_vclock]"}:
                continue
            begin, end = (int(number, 16) for number in place.split("-"))
            memory.seek(begin)
            yield memory.read(end - begin)


def files_of(pid: int, directory: Path) -> Iterator[bytes]:
    """What it has open, what it was started with, and what lies where it works."""
    process = Path(f"/proc/{pid}")
    yield (process / "environ").read_bytes()
    yield (process / "cmdline").read_bytes()
    opened = {link.readlink() for link in (process / "fd").iterdir()}
    for path in {*opened, *directory.rglob("*")}:
        if path.is_file():
            yield path.read_bytes()


def owners_secrets(estate: Estate, console: MachineKey) -> Canaries:
    """Every secret seed that an aggregator must never hold, and its own as a control."""
    layout = estate.layout
    files = {
        "root": layout.root_key,
        "anchor": layout.anchor_key,
        "operator": layout.operator_key,
        "its own": layout.machine_key("office"),
    }
    for member in estate.roster.members:
        for name in ("machine", "ledger"):
            path = layout.archive(member.name) / "keys" / f"{name}.key"
            files[f"{name} of {member.name}"] = path
    seeds = {name: seed_of(MachineKey.load(path)) for name, path in files.items()}
    return Canaries({**seeds, "console": seed_of(console)})


@dataclass
class Letters:
    """A console: it signs calls under a grant of its own, and has no way to any archive."""

    estate: Estate
    clock: MovedClock
    console: MachineKey

    def token(self, member: int = 0) -> bytes:
        grants, roster = self.estate.grants, self.estate.roster
        office = MachineKey.load(self.estate.layout.machine_key("office"))
        now_s = int(self.clock().wall_s)
        rule = TableRule(operations=frozenset({Operation.META, Operation.COUNT}))
        # The operator's link of a token that the estate has given: depth 1, so one more may follow.
        given = roster.tenant().token_for(roster.members[member].name)
        first = decode_chain_untrusted(given).signed[0]
        link = replace(
            first.link,
            issuer=grants.operator.public_bytes,
            holder=self.console.public_bytes,
            presenter=office.spki_hash,
            not_before_s=now_s,
            not_after_s=now_s + WINDOW_S,
            depth=0,
            scope=Scope({"flats": rule}),
        )
        return Chain((first,)).extend(link, grants.operator).encode()

    def sign(self, token: bytes, commands: list[Command], *, by: MachineKey | None = None) -> bytes:
        chain = decode_chain_untrusted(token)
        now_s = int(self.clock().wall_s)
        return sign_invocation(
            by or self.console,
            archive_id=chain.leaf.archive_id,
            grant_id=chain.ids()[-1],
            commands=commands,
            nonce=secrets.token_bytes(16),
            issued_s=now_s,
            expires_s=now_s + 60,
        )


async def test_a_running_aggregator_holds_its_own_key_and_no_other(
    estate: Estate, office: Path, clock: MovedClock
) -> None:
    """Its memory and its files, after it has asked for itself and carried a signed call."""
    letters = Letters(estate, clock, machine())
    secret = owners_secrets(estate, letters.console)
    async with served(estate), running(office) as aggregator:
        clock.ahead_s = 5  # What was signed as the archives started would be refused.
        token, commands = letters.token(), query()
        answer = await aggregator.wish(ask=COUNT)
        assert answer["states"] == {"answered": 2}
        carried = await aggregator.wish(
            member=estate.roster.members[0].name,
            token=token.hex(),
            invocation=letters.sign(token, commands).hex(),
            commands=commands,
        )
        assert carried["cells"] == [[[], [30]]]

        in_memory, in_files = (
            set().union(*map(secret.found_in, pieces))
            for pieces in (memory_of(aggregator.pid), files_of(aggregator.pid, office))
        )

    assert in_memory == {"its own"}
    assert in_files == {"its own"}


def query() -> list[Any]:
    return [["table", ["flats"]], ["query", [COUNT_PLAN]]]


async def test_what_a_captured_aggregator_holds_ends_with_its_windows(
    estate: Estate, office: Path, clock: MovedClock
) -> None:
    """Its key, its tokens and its open connections, in the hands of somebody else."""
    roster = Roster.load(office)
    key = MachineKey.load(roster.tenant().key_file)
    here, other = roster.members
    token = roster.tenant().token_for(here.name)
    async with served(estate), running(office) as aggregator:
        assert (await aggregator.wish(ask=COUNT))["states"] == {"answered": 2}
        async with connect(here.address, key=key) as connection:
            grant = await connection.present(token)
            table = await grant.call("table", "flats")
            assert (await table.call("query", COUNT_PLAN))["cells"] == [[[], [30]]]
            await beyond_the_scope(grant, table)
            for forged in forgeries(token, key, roster.tenant().token_for(other.name)):
                with pytest.raises(Denied):
                    await connection.present(forged)
            health = await connection.bootstrap.call("health")

            clock.ahead_s = WINDOW_S

            for held in (grant, table):
                with pytest.raises(Expired):
                    await held.call("describe")
            for kept in (token, *forgeries(token, key, token)):
                with pytest.raises(Denied):
                    await connection.present(kept)
            after = await connection.bootstrap.call("health")
        assert (await aggregator.wish(ask=COUNT))["states"] == {"refused": 2}
    figures = ("record_bytes", "result_bytes", "tree_size")
    assert [after[word] for word in figures] == [health[word] for word in figures]


async def beyond_the_scope(grant: Reference, table: Reference) -> None:
    """Everything that an open grant could be asked for and does not give."""
    count = Measure(Operation.COUNT)
    plans = [
        Plan(table="flats", measures=(Measure(Operation.MAX, "rent"),)),
        Plan(table="flats", measures=(Measure(Operation.SUM, "owner"),)),
        Plan(table="flats", measures=(count,), group=(GroupKey("owner"),)),
        Plan(table="flats", measures=(count,), filters=(Filter("owner", one_of(["x"])),)),
    ]
    for plan in plans:
        with pytest.raises(CallFailed):
            await table.call("query", plan.to_wire())
    with pytest.raises(Denied):
        await table.call("row", [3])
    with pytest.raises(Denied):
        await grant.call("table", "people")
    assert "owner" not in repr(await grant.call("describe"))


def forgeries(token: bytes, key: MachineKey, elsewhere: bytes) -> list[bytes]:
    """What can be made of a token and the key that presents it."""
    chain = decode_chain_untrusted(token)
    wide = Scope({"flats": EVERYTHING})
    longer = replace(chain.leaf, not_after_s=chain.leaf.not_after_s + 3600, nonce=b"f" * 16)
    mine = replace(longer, issuer=key.public_bytes)
    return [
        elsewhere if elsewhere != token else token[:-1] + bytes([token[-1] ^ 1]),
        # Its own link instead of the operator's, and behind it.
        Chain(chain.signed[:1]).extend(replace(longer, scope=wide), key).encode(),
        Chain(chain.signed[:1]).extend(replace(mine, scope=wide), key).encode(),
        chain.extend(replace(mine, scope=wide), key).encode(),
        # A chain of its own.
        Chain(()).extend(replace(mine, scope=wide), key).encode(),
        Chain(()).extend(replace(longer, issuer=chain.links[0].issuer), key).encode(),
    ]


async def test_in_the_interactive_profile_it_originates_nothing(
    estate: Estate, office: Path, clock: MovedClock
) -> None:
    """Its key, the console's token, a letter that was delivered and one that was held back."""
    letters = Letters(estate, clock, machine())
    roster = Roster.load(office)
    here, key = roster.members[0], MachineKey.load(roster.tenant().key_file)
    async with served(estate), running(office) as aggregator:
        clock.ahead_s = 5
        token, commands = letters.token(), query()
        asked: list[Command] = [(name, arguments) for name, arguments in commands]
        delivered, held_back = letters.sign(token, asked), letters.sign(token, asked)
        wish = {"member": here.name, "token": token.hex(), "commands": commands}
        assert "cells" in await aggregator.wish(**wish, invocation=delivered.hex())

        async with connect(here.address, key=key) as connection:
            grant = await connection.present(token)
            row: list[Any] = [["table", ["flats"]], ["row", [[3]]], ["values", []]]
            attempts: list[tuple[list[Any], bytes | None]] = [
                (commands, None),
                (commands, delivered),  # It was run, over another connection.
                (commands, letters.sign(token, asked, by=key)),
                (row, held_back),
                (row, letters.sign(token, [(name, given) for name, given in row], by=key)),
                (commands[:1], held_back),
                ([["describe", []]], delivered),
            ]
            for what, invocation in attempts:
                with pytest.raises(Denied):
                    await grant.call("run", what, invocation=invocation)
            with pytest.raises(Invalid):
                await grant.call("table", "flats", invocation=held_back)
            # It can hold a letter back for a minute, and deliver it late: not after that.
            clock.ahead_s += 61
            with pytest.raises(Denied):
                await grant.call("run", commands, invocation=held_back)
            health = await connection.bootstrap.call("health")
        fresh = letters.sign(token, asked)
        assert "cells" in await aggregator.wish(**wish, invocation=fresh.hex())
    assert health["reads"]["recorded"] == 1
    assert time.time() < decode_chain_untrusted(token).leaf.not_after_s
