"""A console open for an hour: straight to its archives, or through an aggregator that carries.

Real archives and a real aggregator over TLS, by a clock that the test puts forward.
"""

from __future__ import annotations

import functools
import shutil
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import tomli_w
import trio

from psp.aggregator import (
    Became,
    FleetCommand,
    MemberState,
    Reconciliation,
    Roster,
    Side,
    TrioFleet,
    View,
    aggregator_id,
    load_view,
    open_fleet,
    serve_fleet,
    show,
)
from psp.aggregator._carrier import Carrier
from psp.capability import (
    ARCHIVE_METHODS,
    ARCHIVE_OBJECT,
    Operation,
    decode_chain_untrusted,
)
from psp.endpoint import Address, Connection, connect, method
from psp.errors import CallFailed, Denied, EstateError, QuestionError
from psp.estate import Estate, TenantPolicy, create_estate, draft_estate
from psp.plan import Measure, Plan
from psp.totebox._service import Desk
from psp.transport import MachineKey
from psp.values import Value
from tests.attacks.test_captured import MovedClock, served

MINUTE_S = 60
WINDOW_S = 15 * MINUTE_S
COUNT = "select member, count(*) as n, sum(rent) as rent from flats group by member"
PLAN = Plan(table="flats", measures=(Measure(Operation.COUNT),)).to_wire()
QUERY: list[Value] = [["table", ["flats"]], ["query", [PLAN]]]


@dataclass
class House:
    """Three machines: the owner's with the archives, the aggregator's, and the console's."""

    estate: Estate
    office: Path
    console: Path
    clock: MovedClock

    def now_s(self) -> float:
        return self.clock().wall_s


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Estate, Path, MovedClock]:
    root = tmp_path_factory.mktemp("console")
    files = [root / "tower.csv", root / "court.csv"]
    for at, file in enumerate(files):
        rows = (f"{number},{1000 + number + at}\n" for number in range(30))
        file.write_text("id,rent\n" + "".join(rows))
    tenant = TenantPolicy(
        name="office",
        sentence="",
        pairing="ADMIN",
        operations=("meta", "count", "sum"),
        objects={ARCHIVE_OBJECT: tuple(sorted(ARCHIVE_METHODS))},
    )
    estate = create_estate(draft_estate(root / "flats", files), tenants=(tenant,))
    _furnish(estate, root)
    # One for all tests: an archive that is started again does not believe in an earlier time.
    return estate, root, MovedClock()


@pytest.fixture
def house(made: tuple[Estate, Path, MovedClock], monkeypatch: pytest.MonkeyPatch) -> House:
    estate, root, clock = made
    monkeypatch.setattr("psp.totebox._serve.Desk", functools.partial(Desk, clocks=clock))
    return House(estate, root / "office", root / "console", clock)


def _furnish(estate: Estate, root: Path) -> None:
    """Write what the aggregator's and the console's machine have: no key of an archive."""
    private = shutil.ignore_patterns("keys", "archives", "grants")
    for name in ("office", "console"):
        shutil.copytree(estate.layout.root, root / name, ignore=private)
    console, hub = (MachineKey.create(root / f"{it}.key") for it in ("console", "hub"))
    _rewrite(root / "office", {"profile": "interactive", "consoles": ["console.pem"]})
    (root / "office" / "console.pem").write_text(console.certificate_pem)
    here = root / "console"
    shutil.rmtree(here / "tenants")
    for name, path in (
        ("operator.key", estate.layout.operator_key),
        ("console.key", root / "console.key"),
    ):
        shutil.copy(path, here / name)
    (here / "hub.pem").write_text(hub.certificate_pem)
    office = MachineKey.load(estate.layout.machine_key("office"))
    (here / "office.pem").write_text(office.certificate_pem)


def _rewrite(directory: Path, more: dict[str, object]) -> None:
    file = directory / "estate.toml"
    document = tomllib.loads(file.read_text())
    document["tenants"] = {"office": {"key": "tenants/office/machine.key", **more}}
    file.write_text(tomli_w.dumps(document))


def sit_down(house: House, address: str | None, key: str = "console.key") -> Roster:
    """Write the console's estate file: through an aggregator, or straight to the archives."""
    through = {"address": address, "certificate": "hub.pem", "presenter": "office.pem"}
    _rewrite(house.console, {"key": key, "operator": "operator.key", "links": "links"})
    if address is not None:
        _rewrite(
            house.console,
            {"key": key, "operator": "operator.key", "links": "links", "through": through},
        )
    (policy,) = house.estate.layout.policies(("office",))
    for member in house.estate.roster.members:
        house.estate.grants.write_first(policy, member, house.console / "links")
    return Roster.load(house.console)


@asynccontextmanager
async def archives(house: House) -> AsyncIterator[None]:
    """The archives, some seconds after their start: what is signed before that is refused."""
    async with served(house.estate):
        house.clock.ahead_s += 5
        yield


@asynccontextmanager
async def hub(house: House) -> AsyncIterator[str]:
    """The aggregator, by its address."""
    key = MachineKey.load(house.office.parent / "hub.key")
    roster = Roster.load(house.office)
    async with trio.open_nursery() as nursery:
        serve = functools.partial(
            serve_fleet, roster, key=key, host="127.0.0.1", port=0, log=lambda text: None
        )
        host, port = await nursery.start(serve)
        yield Address(aggregator_id(roster.name), host, port, key.certificate_pem, "hub").to_text()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def console(house: House) -> AsyncIterator[TrioFleet]:
    """A console through the aggregator, with everything that it needs running."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(archives(house))
        roster = sit_down(house, await stack.enter_async_context(hub(house)))
        yield await stack.enter_async_context(open_fleet(roster, clock=house.now_s))


def direct_key(house: House) -> str:
    """For the direct mode the console is the paired machine."""
    shutil.copy(house.estate.layout.machine_key("office"), house.console / "paired.key")
    return "paired.key"


@pytest.mark.parametrize("mode", ["direct", "through an aggregator"])
async def test_a_console_open_for_an_hour_keeps_answering(house: House, mode: str) -> None:
    """No file is renewed meanwhile: the console makes its links itself, from one of a day."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(archives(house))
        if mode == "direct":
            roster = sit_down(house, None, direct_key(house))
        else:
            roster = sit_down(house, await stack.enter_async_context(hub(house)))
        fleet = await stack.enter_async_context(open_fleet(roster, clock=house.now_s))
        tokens = set()
        for _ in range(13):
            answer = await fleet.ask(COUNT)
            assert answer.to_dict()["states"] == {"answered": 2}
            assert [row[1] for row in answer.rows] == [30, 30]
            tokens.add(next(iter(fleet.lines.values())).token())
            house.clock.ahead_s += 5 * MINUTE_S
    assert len(tokens) == 13
    ends = [decode_chain_untrusted(token).leaf for token in tokens]
    assert all(leaf.not_after_s - leaf.not_before_s == WINDOW_S for leaf in ends)


async def test_a_console_that_slept_for_an_hour_answers_at_once(house: House) -> None:
    async with console(house) as fleet:
        await fleet.ask(COUNT)
        house.clock.ahead_s += 61 * MINUTE_S
        assert (await fleet.ask(COUNT)).to_dict()["states"] == {"answered": 2}


async def test_an_archive_whose_clock_is_ahead_gets_a_new_link_when_it_says_expired(
    house: House,
) -> None:
    """The console's own clock says that the link is good: the archive's alone counts."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(archives(house))
        roster = sit_down(house, None, direct_key(house))
        began_s = house.now_s()
        late_s = began_s
        fleet = await stack.enter_async_context(open_fleet(roster, clock=lambda: late_s))
        await fleet.ask(COUNT)
        first = next(iter(fleet.lines.values())).token()

        house.clock.ahead_s += WINDOW_S
        late_s = began_s + 4 * MINUTE_S
        assert (await fleet.ask(COUNT)).to_dict()["states"] == {"answered": 2}
        assert next(iter(fleet.lines.values())).token() != first


async def test_a_stolen_link_is_dead_after_fifteen_minutes(house: House) -> None:
    """Token and presenter's key in a thief's hands, while the console goes on."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(archives(house))
        roster = sit_down(house, None, direct_key(house))
        fleet = await stack.enter_async_context(open_fleet(roster, clock=house.now_s))
        await fleet.ask(COUNT)
        line = next(iter(fleet.lines.values()))
        stolen, key = line.token(), MachineKey.load(house.console / "paired.key")
        thief = await stack.enter_async_context(connect(line.member.address, key=key))
        assert await count(thief, stolen) == 30

        # The clock also goes on by itself: a minute is more than a slow machine takes.
        house.clock.ahead_s += WINDOW_S - 60
        assert await count(thief, stolen) == 30
        house.clock.ahead_s += 60
        with pytest.raises(CallFailed):
            await count(thief, stolen)
        again = await stack.enter_async_context(connect(line.member.address, key=key))
        with pytest.raises(Denied):
            await count(again, stolen)
        assert (await fleet.ask(COUNT)).to_dict()["states"] == {"answered": 2}


async def count(connection: Connection, token: bytes) -> int:
    answer = await connection.present(token).call("table", "flats").call("query", PLAN)
    number: int = answer["cells"][0][1][0]
    return number


async def test_both_modes_answer_in_the_same_words(house: House) -> None:
    house.clock.ahead_s += 5 * MINUTE_S  # Whatever ran before: both modes shall see it.
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(archives(house))
        address = await stack.enter_async_context(hub(house))
        found = []
        for place, key in ((None, direct_key(house)), (address, "console.key")):
            roster = sit_down(house, place, key)
            fleet = await stack.enter_async_context(open_fleet(roster, clock=house.now_s))
            answer = await fleet.ask(COUNT, receipts=True)
            assert all(it.reply and it.reply.receipt for it in answer.outcomes)
            health = await fleet.status()
            examined = [
                (it.member, [step.what for step in it.steps if not step.is_well])
                for it in await fleet.examine()
            ]
            as_dict = answer.to_dict()
            figures = [as_dict[word] for word in ("columns", "rows", "states", "as_of")]
            found.append((figures, [*health.health], examined))
            with pytest.raises(QuestionError, match="nothing"):
                await fleet.ask("select count(nothing) from flats")
    assert found[0] == found[1]
    # The archives' clocks are ahead of this machine's, by the test.
    assert found[1][2] == [("tower", ["clock"]), ("court", ["clock"])]


async def test_without_a_console_a_captured_aggregator_gets_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory, its keys, and every letter that it has carried, also one it held back."""
    letters = Captured.letters
    monkeypatch.setattr("psp.aggregator._branch.Carrier", Captured)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(archives(house))
        address = await stack.enter_async_context(hub(house))
        roster = sit_down(house, address)
        async with open_fleet(roster, clock=house.now_s) as fleet:
            answer = await fleet.ask(COUNT)
            assert answer.to_dict()["states"] == {"answered": 2}
        assert len(letters) == 2

        captured = Roster.load(house.office)
        with pytest.raises(EstateError, match="interactive"):
            captured.tenant().token_for("tower")
        async with open_fleet(captured) as own:
            refused = (await own.ask(COUNT)).to_dict()
        assert refused["states"] == {"refused": 2}
        key = MachineKey.load(captured.tenant().key_file)
        before = {}
        for member, token, commands, invocation in letters:
            address_of = next(it.address for it in captured.members if it.name == member)
            connection = await stack.enter_async_context(connect(address_of, key=key))
            before[member] = (await connection.bootstrap.call("health"))["result_bytes"]
            grant = connection.present(bytes(token))  # type: ignore[arg-type]
            for what, signed in (
                (commands, invocation),  # As it was delivered.
                (commands, None),
                (QUERY, invocation),
                ([["describe", []]], None),
            ):
                with pytest.raises(Denied):
                    await grant.call("run", what, invocation=signed)  # type: ignore[arg-type]
            assert (await connection.bootstrap.call("health"))["result_bytes"] == before[member]


class Captured(Carrier):
    """An aggregator that keeps a copy of every letter."""

    letters: ClassVar[list[list[Value]]] = []

    @method
    async def carry(
        self, member: str, token: bytes, commands: list[Value], invocation: bytes
    ) -> list[Value]:
        self.letters.append([member, token, commands, invocation])
        return await super().carry(member, token, commands, invocation)


async def test_for_an_interactive_tenant_the_aggregator_is_no_member_of_anothers_fleet(
    house: House,
) -> None:
    """Nor does it carry for one that has grants: the two profiles never mix."""
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(hub(house))
        pem = (house.console / "hub.pem").read_text()
        place = Address.from_text_untrusted(address, certificate_pem=pem, name="hub")
        key = MachineKey.load(house.console / "console.key")
        connection = await stack.enter_async_context(connect(place, key=key))
        with pytest.raises(CallFailed, match="asks nothing by itself"):
            await connection.bootstrap.call("fleet")
        with pytest.raises(CallFailed, match="no member"):
            await connection.bootstrap.call("carrier").call("health", "castle")


async def test_two_tables_are_compared_with_signed_calls_too(house: House) -> None:
    """The refusal of an archive comes back as it refused: nobody has granted a comparison."""
    left, right = (
        Side(member=name, table="flats", key=("id",), amount=("rent",))
        for name in ("tower", "court")
    )
    asked = Reconciliation(title="", left=left, right=right)
    async with console(house) as fleet:
        with pytest.raises(CallFailed, match="sketch"):
            await fleet.reconcile(asked)


async def test_a_view_and_its_live_outcomes_come_through_an_aggregator(house: House) -> None:
    file = house.console / "rent.toml"
    file.write_text('title = "Rent"\ntable = "flats"\n[measures]\nrent = "sum(rent)"\n')
    view = load_view(file)
    assert isinstance(view, View)
    async with console(house) as fleet:
        answer = await fleet.view(view)
        assert [row[-1] for row in answer.rows] == [sum(range(1000, 1030)) * 2 + 30]
        assert show(view, answer)["states"] == {"answered": 2}
        async with fleet.coming(COUNT) as outcomes:
            came = [(it.member, it.state) async for it in outcomes]
    assert sorted(came) == [("court", MemberState.ANSWERED), ("tower", MemberState.ANSWERED)]


async def test_commands_are_signed_at_the_console_and_carried(house: House) -> None:
    """The transition too: by the key that the console made for itself, which no file has."""
    async with console(house) as fleet:
        foreseen = await fleet.foresee(FleetCommand.suspend(), members="tower")
        assert [it.became for it in foreseen.outcomes] == [Became.FORESEEN]
        report = await fleet.do(FleetCommand.suspend(), members="tower")
        assert [it.became for it in report.outcomes] == [Became.DONE]
        again = await fleet.do(FleetCommand.suspend(), members="tower", key=report.key)
        assert [it.became for it in again.outcomes] == [Became.ALREADY_DONE], again
        assert (await fleet.ask(COUNT)).to_dict()["states"] == {"answered": 1, "suspended": 1}
        audited = await fleet.do(FleetCommand.audit())
        assert audited.is_done, audited
        resumed = await fleet.do(FleetCommand.resume(), members="tower")
        assert resumed.is_done, resumed
        assert (await fleet.ask(COUNT)).to_dict()["states"] == {"answered": 2}
