"""Views while members are killed, cut, slowed, suspended, revoked and changed, at random.

`python -m tests.stateful.fleet_chaos SECONDS [SEED]` does it in real time; the test does it in
virtual time. Each member keeps every state that it ever had, so that each number of each view is
compared with the sum over the very states that the members answered at.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

import trio
import trio.testing

from psp.aggregator import Answer, Member, MemberState, Roster, Tenant, TrioFleet, open_fleet
from psp.endpoint import Address, Exposed, method
from psp.errors import Denied, EstateError, Overloaded, PSPError, Revoked
from psp.testing import VirtualHost, VirtualNetwork
from psp.transport import MachineKey

SQL: Final = "select count(*) as n, sum(amount) as amount, avg(amount) as mean from rows"
MEMBERS: Final = 30


@dataclass
class Archive:
    """One archive, with all of its past."""

    chance: Random
    past: list[tuple[int, Decimal]] = field(default_factory=lambda: [(1, Decimal("1.25"))])
    takes_s: float = 0.01
    state: str = "active"
    is_revoked: bool = False
    is_busy: bool = False

    def change(self) -> None:
        count, amount = self.past[-1]
        cents = Decimal(self.chance.randrange(-10_000, 10_000)).scaleb(-2)
        self.past.append((count + 1, amount + cents))

    def answer(self) -> dict[str, object]:
        if self.state != "active":
            raise Denied
        if self.is_revoked:
            raise Revoked
        if self.is_busy:
            raise Overloaded
        as_of = len(self.past)
        count, amount = self.past[-1]
        return {
            "as_of": as_of,
            "cells": [[[], [count, amount, [amount, count]]]],
            "other": None,
            "hidden": [],
            "hidden_count": 0,
            "floor": 1,
        }


class Table(Exposed):
    def __init__(self, of: Archive) -> None:
        self._of = of

    @method
    async def query(self, plan: list[object]) -> dict[str, object]:
        del plan
        await trio.sleep(self._of.takes_s)
        return self._of.answer()


class Grant(Exposed):
    def __init__(self, of: Archive) -> None:
        self._of = of

    @method
    def table(self, name: str) -> Table:
        del name
        return Table(self._of)


class Bootstrap(Exposed):
    def __init__(self, of: Archive) -> None:
        self._of = of

    @method
    def health(self) -> dict[str, object]:
        state = self._of.state
        return {"state": state, "tree_size": 1, "record_bytes": 0, "result_bytes": 0}


class Ready(Tenant):
    def token_for(self, member: str) -> bytes:
        return member.encode()


@dataclass
class Tally:
    """What was seen.

    Attributes:
        wrong: Views whose numbers are not those of the members that answered.
        leaked: Tasks, connections or files that were left.
    """

    views: int = 0
    states: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)


async def chaos(seconds: float, seed: int, directory: Path) -> Tally:
    """Run it."""
    chance, tally = Random(seed), Tally()
    network = VirtualNetwork()
    members = {f"m{at}": Archive(chance) for at in range(MEMBERS)}
    roster = _roster(network, members, directory)
    files, tasks = _files(), trio.lowlevel.current_statistics().tasks_living
    async with open_fleet(roster, dial=network.dial, connect_s=0.5) as fleet:
        fleet.fan.chance = chance
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_trouble, network, members, chance)
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as views:
                    for _ in range(3):
                        views.start_soon(_views, fleet, members, chance, tally)
            nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked(0.01)
    if open_streams := sum(len(host.streams) for host in network.hosts.values()):
        tally.leaked.append(f"{open_streams} connections")
    if (left := trio.lowlevel.current_statistics().tasks_living - tasks) > 0:
        tally.leaked.append(f"{left} tasks")
    if (more := _files() - files) > 0:
        tally.leaked.append(f"{more} files")
    return tally


async def _views(
    fleet: TrioFleet, members: dict[str, Archive], chance: Random, tally: Tally
) -> None:
    while True:
        # One in ten is given up in the middle.
        with trio.move_on_after(0.05 if chance.random() < 0.1 else 60):
            try:
                answer = await fleet.ask(
                    SQL,
                    deadline_s=chance.choice([0.3, 1.5]),
                    require=chance.choice(["deadline", "quorum", "any"]),
                )
            except (PSPError, EstateError):
                continue
            tally.views += 1
            tally.states.update(answer.states)
            _compare(answer, members, tally)
        await trio.sleep(chance.random() * 0.2)


def _compare(answer: Answer, members: dict[str, Archive], tally: Tally) -> None:
    shadow = [members[name].past[as_of - 1] for name, as_of in answer.as_of.items()]
    said = {outcome.member for outcome in answer.outcomes if outcome.state is MemberState.ANSWERED}
    if sum(answer.states.values()) != MEMBERS or said != set(answer.as_of):
        tally.wrong.append(f"the states {answer.states} do not sum")
    total = answer.total()
    count = sum(number for number, _ in shadow)
    amount = sum((each for _, each in shadow), Decimal(0))
    expected = (count, amount) if shadow else (None, None)
    if (total["n"], total["amount"]) != expected:
        tally.wrong.append(f"{total} where {expected} was due")


async def _trouble(network: VirtualNetwork, members: dict[str, Archive], chance: Random) -> None:
    names = [*members]
    while True:
        await trio.sleep(chance.random() * 0.1)
        name = chance.choice(names)
        member, host = members[name], network.hosts[_id(name)]
        match chance.randrange(10):
            case 0:
                host.is_down = True
                host.cut()
            case 1:
                host.is_silent = True
            case 2:
                host.cut()
            case 3:
                member.takes_s = chance.choice([0.01, 0.2, 5.0])
            case 4:
                member.state = "suspended"
            case 5:
                member.is_revoked = True
            case 6:
                member.is_busy = True
            case 7:
                member.change()
            case _:  # Most of the time somebody is well again.
                host.is_down = host.is_silent = member.is_revoked = member.is_busy = False
                member.state, member.takes_s = "active", 0.01


def _roster(network: VirtualNetwork, members: dict[str, Archive], directory: Path) -> Roster:
    key_file = directory / "machine.key"
    if not key_file.exists():
        MachineKey.create(key_file)
    for name, member in members.items():
        network.hosts[_id(name)] = VirtualHost(
            lambda member=member: Bootstrap(member),  # type: ignore[misc]
            lambda _peer, _token, member=member: Grant(member),  # type: ignore[misc]
        )
    return Roster(
        name="chaos",
        file=key_file,
        members=tuple(
            Member(name=it, label=it, address=Address(_id(it), "virtual", 1, "", it))
            for it in members
        ),
        tenants={"owner": Ready(name="owner", sentence="", key_file=key_file, grants=key_file)},
    )


def _id(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def _files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as directory:
        tally = trio.run(chaos, seconds, seed, Path(directory))
    lines = [f"seed {seed}: {tally.views} views, {dict(tally.states)}"]
    sys.stdout.write("\n".join([*lines, *tally.wrong[:10], *tally.leaked]) + "\n")
    sys.exit(bool(tally.wrong or tally.leaked))


if __name__ == "__main__":
    main()
