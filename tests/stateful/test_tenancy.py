"""Two tenants in one process, doing anything in any order: nothing of one reaches the other."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from psp.aggregator import Desk, Member, Roster, Tenant, TrioFleet, Turns, open_fleet
from psp.endpoint import Address, Exposed, method
from psp.errors import Denied, HandlerFailed, Invalid, Overloaded, PSPError, QuestionError
from psp.plan import plan_from_sql
from psp.testing import VirtualHost, VirtualNetwork
from psp.transport import MachineKey

TENANTS: Final = ("anna", "ben")
MEMBERS: Final = ("north", "south", "east")
MARK: Final = {"anna": "mark-of-anna", "ben": "mark-of-ben"}
SQL: Final = "select word, count(*) as n from words group by word"
PLAN: Final = plan_from_sql(SQL).plan
FAILURES: Final = {"denied": Denied, "busy": Overloaded, "broken": HandlerFailed, "wrong": Invalid}


@dataclass
class Archive:
    """Answers each tenant something of its own, or fails it in words of its own."""

    failing: dict[str, str] = field(default_factory=dict)
    asked: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def present(self, _peer: object, token: bytes) -> Exposed:
        return Grant(self, token.decode().partition(" ")[0])


class Grant(Exposed):
    def __init__(self, archive: Archive, tenant: str) -> None:
        self._archive, self._tenant = archive, tenant

    @method
    def table(self, name: str) -> Table:
        return Table(self._archive, self._tenant)


class Table(Exposed):
    def __init__(self, archive: Archive, tenant: str) -> None:
        self._archive, self._tenant = archive, tenant

    @method
    async def query(self, plan: list[object]) -> dict[str, object]:
        archive, tenant = self._archive, self._tenant
        archive.asked[tenant] += 1
        await trio.sleep(0.05)
        if kind := archive.failing.get(tenant):
            raise FAILURES[kind](f"no, {MARK[tenant]}")
        return {
            "as_of": 1,
            "cells": [[[MARK[tenant]], [1]]],
            "other": None,
            "hidden": [],
            "hidden_count": 0,
            "floor": 1,
        }


class Bootstrap(Exposed):
    @method
    def health(self) -> dict[str, object]:
        return {"state": "active", "tree_size": 1, "record_bytes": 0, "result_bytes": 0}


class Ready(Tenant):
    def token_for(self, member: str) -> bytes:
        return f"{self.name} for {member}".encode()


@dataclass
class Process:
    """One process with both tenants, and what each of them has seen."""

    network: VirtualNetwork
    archives: dict[str, Archive]
    fleets: dict[str, TrioFleet]
    desks: dict[str, Desk]
    seen: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def host(self, member: str) -> VirtualHost:
        return self.network.hosts[_id(member)]

    async def do(self, tenant: str, step: str, member: str) -> None:
        match step:
            case "ask":
                await self._note(tenant, lambda: self.fleets[tenant].ask(SQL, deadline_s=5))
            case "ask one":
                await self._note(tenant, lambda: self.fleets[tenant].ask(SQL, members=member))
            case "ask wrong":
                await self._note(tenant, lambda: self.fleets[tenant].ask("selct"))
            case "ask all":
                await self._note(tenant, lambda: self.fleets[tenant].ask(SQL, require="all"))
            case "give up":
                with trio.move_on_after(0.01):
                    await self._note(tenant, lambda: self.fleets[tenant].ask(SQL))
            case "status":
                await self._note(tenant, self.fleets[tenant].status)
            case "desk":
                desk = self.desks[tenant]
                await self._note(
                    tenant, lambda: desk.put(PLAN, deadline_s=5, depth=1, receipts=True)
                )
            case "fine":
                self.archives[member].failing.pop(tenant, None)
            case kind if kind in FAILURES:
                self.archives[member].failing[tenant] = kind
            case "cut":
                self.host(member).cut()
            case "down" | "up":
                self.host(member).is_down = step == "down"
            case "wait":
                await trio.sleep(90)

    async def _note(self, tenant: str, do: Callable[[], Awaitable[object]]) -> None:
        """Keep everything that comes back, as text, with what hangs on it."""
        try:
            found = await do()
            as_dict = getattr(found, "to_dict", lambda: found)()
            self.seen[tenant].append(f"{found!r} {as_dict!r}")
        except (PSPError, QuestionError) as exc:
            chain = [exc, exc.__cause__, exc.__context__, getattr(exc, "answer", None)]
            self.seen[tenant].append(repr([(repr(it), str(it)) for it in chain]))


def _id(member: str) -> bytes:
    return member.encode().ljust(32, b"\0")


STEPS: Final = (
    *("ask", "ask one", "ask wrong", "ask all", "give up", "status", "desk"),
    *("fine", "cut", "down", "up", "wait", *FAILURES),
)
steps = st.tuples(
    st.sampled_from(TENANTS),
    st.sampled_from(STEPS),
    st.sampled_from(MEMBERS),
)
# Each inner list is done at once.
programs = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tenancy") / "machine.key"
    MachineKey.create(file)
    return file


def run(program: list[list[tuple[str, str, str]]], key_file: Path) -> Process:
    async def main() -> Process:
        network = VirtualNetwork()
        archives = {name: Archive() for name in MEMBERS}
        for name, archive in archives.items():
            network.hosts[_id(name)] = VirtualHost(Bootstrap, archive.present)
        roster = Roster(
            name="both",
            file=key_file,
            members=tuple(
                Member(name=it, label=it, address=Address(_id(it), "virtual", 1, "", it))
                for it in MEMBERS
            ),
            tenants={
                name: Ready(name=name, sentence="", key_file=key_file, grants=key_file)
                for name in TENANTS
            },
        )
        async with (
            open_fleet(roster, tenant="anna", dial=network.dial) as anna,
            open_fleet(roster, tenant="ben", dial=network.dial) as ben,
        ):
            turns = Turns()
            fleets = {"anna": anna, "ben": ben}
            desks = {name: Desk(fleet, turns) for name, fleet in fleets.items()}
            process = Process(network, archives, fleets, desks)
            for together in program:
                async with trio.open_nursery() as nursery:
                    for step in together:
                        nursery.start_soon(process.do, *step)
            assert not any(turns.running.values())
            _check_lines(process)
            return process

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def _check_lines(process: Process) -> None:
    anna, ben = (process.fleets[name] for name in TENANTS)
    assert anna.fan is not ben.fan
    for member in MEMBERS:
        one, other = anna.lines[member], ben.lines[member]
        assert one.breaker is not other.breaker
        # Never one connection for both.
        assert one._connection is None or one._connection is not other._connection


@settings(max_examples=30, deadline=None)
@given(program=programs)
def test_nothing_that_one_tenant_sees_carries_anything_of_the_other(
    program: list[list[tuple[str, str, str]]], key_file: Path
) -> None:
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    with ExitStack() as stack:
        logging.getLogger().addHandler(handler)
        stack.callback(logging.getLogger().removeHandler, handler)
        process = run(program, key_file)
    for tenant, other in (TENANTS, TENANTS[::-1]):
        seen = "\n".join(process.seen[tenant])
        assert MARK[other] not in seen
        assert f"{other} for " not in seen  # Its tokens.
    assert not any(mark in line for line in logged for mark in MARK.values())


@settings(max_examples=10, deadline=None)
@given(program=programs)
def test_what_one_tenant_does_changes_no_figure_of_the_other(
    program: list[list[tuple[str, str, str]]], key_file: Path
) -> None:
    """Ben is served well: whatever Anna does and is done to her, his answers are whole."""
    hers = [
        [step for step in together if step[0] == "anna" and step[1] not in ("down", "up", "cut")]
        for together in program
    ]
    his = [("ben", "ask", "north")]
    process = run([*([*together, *his] for together in hers), his], key_file)
    assert len(process.seen["ben"]) == len(hers) + 1
    for seen in process.seen["ben"]:
        assert f"[['{MARK['ben']}', 3]]" in seen
