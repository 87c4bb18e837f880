"""Aggregators above aggregators: states, hidden cells and receipts survive; tenants stay apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing

from psp.aggregator import (
    Answer,
    Desk,
    Gate,
    Member,
    MemberState,
    Roster,
    TrioFleet,
    aggregator_id,
    open_fleet,
    serve_fleet,
)
from psp.aggregator._limits import QUESTIONS_AT_ONCE_MAX, QUESTIONS_WAITING_MAX
from psp.aggregator._reply import read_branch_untrusted
from psp.endpoint import Address
from psp.errors import Denied, EstateError, Overloaded, PSPError, RemoteProtocolError
from psp.plan import plan_from_sql
from psp.testing import VirtualHost
from psp.transport import MachineKey, Pin, check_certificate_untrusted

from .virtual import Estate, Ready, estate, fleet, member, named

COUNT = "select count(*) as n, sum(amount) as amount from rows"
PLAN = plan_from_sql(COUNT).plan
T = TypeVar("T")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("branch")


def virtual(main: Callable[[], Awaitable[T]]) -> T:
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@asynccontextmanager
async def above(
    below: Estate, directory: Path, *beside: Member, name: str = "north"
) -> AsyncIterator[tuple[TrioFleet, Estate]]:
    """A fleet whose first member is an aggregator over another fleet."""
    of = estate(directory, [member(name, is_aggregator=True), *beside])
    async with fleet(below) as lower:
        desk = Desk(lower)
        of.network.hosts[of.address(name).archive_id] = VirtualHost(lambda: Gate(desk), _no_tokens)
        async with fleet(of) as upper:
            yield upper, of


def _no_tokens(_peer: object, _token: bytes) -> Gate:
    raise Denied


def test_every_archive_below_has_its_own_state_cause_and_as_of(directory: Path) -> None:
    below = estate(directory, named("well", "gone", "none", "slow"))
    below.boxes["none"].count = 0
    below.boxes["slow"].takes_s = 9  # Within the deadline of the one above, not of its own.
    below.host("gone").is_down = True

    async def main() -> Answer:
        async with above(below, directory, member("own")) as (upper, _):
            return await upper.ask(COUNT)

    answer = virtual(main)
    assert {leaf.member: leaf.state.value for leaf in answer.leaves} == {
        "north/well": "answered",
        "north/gone": "unreachable",
        "north/none": "empty",
        "north/slow": "late",
        "own": "answered",
    }
    assert answer.rows == [[2, Decimal("2.50")]]
    assert sum(answer.states.values()) == 5
    absent = {entry["member"]: entry for entry in answer.to_dict()["absent"]}
    assert "not on the virtual network" in absent["north/gone"]["cause"]
    assert all(entry["since"] for entry in absent.values())
    assert answer.as_of == {"north/well": 1, "north/none": 1, "own": 1}


def test_what_is_hidden_below_stays_hidden_and_is_told(directory: Path) -> None:
    below = estate(directory, named("a", "b"))
    below.boxes["b"].hidden = 3

    async def main() -> Answer:
        async with above(below, directory) as (upper, _):
            return await upper.ask(COUNT)

    (entry,) = virtual(main).withheld
    assert (entry.member, entry.cells, entry.floor) == ("north/b", 3, 10)


def test_receipts_of_archives_below_come_up_with_the_answers_that_they_prove(
    directory: Path,
) -> None:
    below = estate(directory, named("a"))
    below.boxes["a"].entry = b"a read"

    async def main() -> Answer:
        async with above(below, directory) as (upper, _):
            return await upper.ask(COUNT, receipts=True)

    (leaf,) = virtual(main).leaves
    assert leaf.reply is not None
    assert leaf.reply.receipt is not None
    assert leaf.reply.receipt.answer["cells"] == [[[], [1, Decimal("1.25")]]]


def test_a_branch_of_which_nobody_answered_is_not_empty(directory: Path) -> None:
    below = estate(directory, named("a", "b"))
    for name in "ab":
        below.host(name).is_down = True

    async def main() -> Answer:
        async with above(below, directory) as (upper, _):
            return await upper.ask(COUNT)

    answer = virtual(main)
    assert answer.outcomes[0].state is MemberState.UNREACHABLE
    assert answer.rows == []
    assert answer.states == {"unreachable": 2}


def test_three_levels_give_the_figures_of_one(directory: Path) -> None:
    below = estate(directory, named("a", "b", "c"))

    async def main() -> Answer:
        async with above(below, directory, member("d")) as (middle, _):
            top = estate(directory, [member("all", is_aggregator=True), member("e")])
            desk = Desk(middle)
            top.network.hosts[top.address("all").archive_id] = VirtualHost(
                lambda: Gate(desk), _no_tokens
            )
            async with fleet(top) as upper:
                return await upper.ask(COUNT)

    answer = virtual(main)
    assert answer.rows == [[5, Decimal("6.25")]]
    assert sorted(leaf.member for leaf in answer.leaves) == [
        "all/d",
        "all/north/a",
        "all/north/b",
        "all/north/c",
        "e",
    ]


def test_an_aggregator_that_is_a_member_of_itself_comes_to_an_end(directory: Path) -> None:
    of = estate(directory, [member("self", is_aggregator=True), member("a")])

    async def main() -> Answer:
        async with fleet(of) as opened:
            desk = Desk(opened)
            of.network.hosts[of.address("self").archive_id] = VirtualHost(
                lambda: Gate(desk), _no_tokens
            )
            return await opened.ask(COUNT)

    answer = virtual(main)
    (deepest,) = (leaf for leaf in answer.absent)
    assert deepest.member.count("/") == 3
    assert "one aggregator too many" in deepest.cause


def test_a_tenant_that_asks_too_much_is_told_so(directory: Path) -> None:
    below = estate(directory, named("a"))
    below.boxes["a"].takes_s = 1
    errors: list[PSPError] = []

    async def main() -> None:
        async with fleet(below) as opened:
            desk = Desk(opened)

            async def one() -> None:
                try:
                    await desk.put(PLAN, deadline_s=5, depth=1, receipts=False)
                except PSPError as exc:
                    errors.append(exc)

            async with trio.open_nursery() as nursery:
                for _ in range(QUESTIONS_AT_ONCE_MAX + QUESTIONS_WAITING_MAX + 3):
                    nursery.start_soon(one)
                    await trio.testing.wait_all_tasks_blocked()
            assert not desk.turns.running["owner"]

    virtual(main)
    assert [type(error) for error in errors] == [Overloaded] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {"cells": [], "other": None},
        {"cells": [], "other": None, "members": [["a", "well", "", None, None]]},
        {"cells": [], "other": None, "members": [["a", "answered", "", None]]},
        {"cells": [], "other": None, "members": [["", "late", "", None, None]]},
        {"cells": [], "other": None, "members": [["a", "late", "", None, None]] * 2},
        {"cells": [], "other": None, "members": [["a", "answered", "", None, [-1, [], None]]]},
        {"cells": [], "other": None, "members": [["a", "answered", "", None, [1, [[]], None]]]},
        {
            "cells": [],
            "other": None,
            "members": [["a", "answered", "", None, [1, [], [b"no proof", {}]]]],
        },
        {"cells": [[[], [1]]], "other": None, "members": []},
        {"cells": [], "other": [1, "x"], "members": []},
    ],
)
def test_what_a_captured_aggregator_sends_is_refused_whole(wrong: object) -> None:
    with pytest.raises(RemoteProtocolError, match="'north"):
        read_branch_untrusted("north", PLAN, wrong)


# Over TLS


def test_each_tenant_reaches_its_own_fleet_by_its_machine_key_alone(directory: Path) -> None:
    keys = {name: MachineKey.create(directory / f"{name}.key") for name in ("anna", "ben", "hub")}
    below = estate(directory, named("a"), tenants=("owner", "bank"))
    consoles = {"owner": "anna", "bank": "ben"}
    roster = Roster(
        name="shared",
        file=directory / "estate.toml",
        members=below.roster.members,
        tenants={
            name: Ready(
                name=name,
                sentence="",
                key_file=below.roster.tenants[name].key_file,
                grants=directory,
                consoles=(_pin(keys[consoles[name]]),),
            )
            for name in consoles
        },
    )
    log: list[str] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            host, port = await nursery.start(_serving, roster, keys["hub"], log, below)
            hub = Member(
                name="hub",
                label="hub",
                is_aggregator=True,
                address=Address(
                    aggregator_id("shared"), host, port, keys["hub"].certificate_pem, "hub"
                ),
            )
            for name, console in consoles.items():
                asking = Ready(
                    name=name, sentence="", key_file=directory / f"{console}.key", grants=directory
                )
                one = Roster(name="one", file=directory, members=(hub,), tenants={"one": asking})
                async with open_fleet(one) as opened:
                    answer = await opened.ask(COUNT)
                    assert answer.rows == [[1, Decimal("1.25")]]
                    assert (await opened.status()).health["hub"].state == "active"
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert below.boxes["a"].tokens == [b"owner for a", b"bank for a"]
    assert below.host("a").connects == 2
    assert log == []


async def _serving(
    roster: Roster,
    key: MachineKey,
    log: list[str],
    below: Estate,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve_fleet(
        roster,
        key=key,
        host="127.0.0.1",
        port=0,
        log=log.append,
        dial=below.network.dial,
        task_status=task_status,
    )


def _pin(key: MachineKey) -> Pin:
    return Pin("console", check_certificate_untrusted(key.certificate_pem))


def test_one_machine_is_not_two_tenants(directory: Path) -> None:
    pin = _pin(MachineKey.create(directory / "two.key"))
    below = estate(directory, named("a"), tenants=("owner", "bank"))
    for name, found in below.roster.tenants.items():
        below.roster.tenants[name] = Ready(  # type: ignore[index]
            name=name, sentence="", key_file=found.key_file, grants=directory, consoles=(pin,)
        )
    with pytest.raises(EstateError, match="console of 'owner' and of 'bank'"):
        trio.run(_serving, below.roster, MachineKey.create(directory / "hub2.key"), [], below)


def test_an_estate_without_consoles_is_not_served(directory: Path) -> None:
    below = estate(directory, named("a"))
    with pytest.raises(EstateError, match="no tenant of"):
        trio.run(_serving, below.roster, MachineKey.create(directory / "hub3.key"), [], below)
