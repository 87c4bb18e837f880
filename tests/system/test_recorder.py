"""What crosses the archive's plaintext side: no withheld column, whatever is asked."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from psp.aggregator import open_fleet
from psp.endpoint import connect
from psp.errors import CallFailed
from psp.estate import Estate, TenantPolicy, create_estate, draft_estate
from psp.totebox import serve_archive
from psp.transport import MachineKey
from psp.values import Value

SHOWN = ("id", "area")
CANARY_TEXT = "canary-{column}-7f3a91"
CANARY_NUMBER = 271_828_182_845
WITHHELD: dict[str, str | int] = {
    "owner_name": CANARY_TEXT.format(column="owner_name"),
    "note": CANARY_TEXT.format(column="note"),
    "rent": CANARY_NUMBER,
}


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    """One archive of 30 flats; each column that the tenant may not see holds a canary."""
    file = tmp_path / "tower.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["id", *WITHHELD, "area"])
        for number in range(30):
            writer.writerow([number, *WITHHELD.values(), 50 + number])
    tenant = TenantPolicy(
        name="tenant", sentence="", columns=SHOWN, by=("id",), floor=1, objects={}
    )
    return create_estate(draft_estate(tmp_path / "flats", [file]), tenants=(tenant,))


async def recorded(estate: Estate, play: Callable[[Estate], object]) -> bytes:
    """Everything that one archive sent in the clear while `play` was played, over real TLS."""
    (member,) = estate.roster.members
    sent = bytearray()

    def tap(direction: str, data: bytes) -> None:
        if direction == "out":
            sent.extend(data)

    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_archive(
                estate.layout.archive(member.name),
                host=member.address.host,
                port=member.address.port,
                tap=tap,
                task_status=task_status,
            )
        )
        await play(estate)  # type: ignore[misc]
        nursery.cancel_scope.cancel()
    return bytes(sent)


def canaries_in(data: bytes) -> set[str]:
    """The columns whose canary stands in the bytes, as text or as a number in any width."""
    found = set()
    for column, canary in WITHHELD.items():
        if isinstance(canary, str):
            forms = [canary.encode()]
        else:
            forms = [str(canary).encode(), canary.to_bytes(5, "big"), canary.to_bytes(5, "little")]
        if any(form in data for form in forms):
            found.add(column)
    return found


async def ask_everything(estate: Estate) -> None:
    """Aggregates that are allowed, and every way to name a column that is not."""
    (member,) = estate.roster.members
    tenant = estate.roster.tenant()
    questions = [
        "select count(*), sum(area), avg(area), min(area), max(area) from flats",
        "select id, count(*) from flats group by id",
    ]
    async with open_fleet(estate.roster) as fleet:
        for question in questions:
            answer = await fleet.ask(question)
            assert answer.states == {"answered": 1}
    async with connect(member.address, key=MachineKey.load(tenant.key_file)) as connection:
        grant = connection.present(tenant.token_for(member.name))
        table = grant.call("table", "flats")
        await grant.call("describe")
        for column in WITHHELD:
            plans: list[Value] = [
                ["flats", [], [], [["sum", [column]]], []],
                ["flats", [], [], [["max", [column]]], []],
                ["flats", [], [[column, []]], [["count", []]], []],
                ["flats", [[column, [3, "canary"]]], [], [["count", []]], []],
            ]
            for plan in plans:
                with pytest.raises(CallFailed):
                    await table.call("query", plan)
        with pytest.raises(CallFailed):
            await table.call("row", [3]).call("values")


async def read_one_row(estate: Estate) -> None:
    """The positive control: a grant to read one row, all columns."""
    (member,) = estate.roster.members
    tenant = estate.roster.tenant()
    token = estate.grants.one_row(
        tenant.name, member, key={"id": 3}, columns=("id", "area", *WITHHELD), seconds=60
    )
    async with connect(member.address, key=MachineKey.load(tenant.key_file)) as connection:
        row = await connection.present(token).call("table", "flats").call("row", [3]).call("values")
        assert isinstance(row, dict)
        assert row["id"] == 3


async def test_no_withheld_value_leaves_the_archive(estate: Estate) -> None:
    sent = await recorded(estate, ask_everything)
    assert len(sent) > 500, "the recorder must have heard the answers"
    assert canaries_in(sent) == set()


async def test_the_recorder_finds_every_canary_that_a_read_grant_lets_out(estate: Estate) -> None:
    assert canaries_in(await recorded(estate, read_one_row)) == set(WITHHELD)
