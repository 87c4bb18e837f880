"""What an attacker, an accident and an owner do, live; each ends in one line."""

from __future__ import annotations

import csv
import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from psp.aggregator import Member, Outcome, Reply, Roster, TrioFleet, open_fleet
from psp.capability import Operation, TableRule, between
from psp.console import neutral
from psp.endpoint import Connection, connect
from psp.errors import Denied, Expired, NotPaired, Suppressed
from psp.estate import Estate, Servers, create_estate, draft_estate
from psp.plan import Filter, Measure, Plan
from psp.totebox import Shadow
from psp.transport import MachineKey

from ._programme import Programme, TwoSums

ONE_ROW_S: Final = 3
LOG_S: Final = 2.0
"""How long to wait for a line of the owner's log, which comes through two processes."""
KILLED_AFTER: Final = 5
"""Members that have answered when one is killed: some have, most have not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One attempt and how it ended.

    Attributes:
        ended: The outcome in a word or two; the tests compare it.
        sentence: The line that people read.
    """

    name: str
    ended: str
    sentence: str
    details: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ended": self.ended,
            "sentence": self.sentence,
            **self.details,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What every scene plays on.

    Attributes:
        roster: The estate as the aggregators reach it, through the delay proxy if there is one.
        member: The archive that the scenes about one archive use.
        owner_log: What the archives have told their owner, filled by `servers.poll`.
        key: The key of one row in it, by column.
    """

    programme: Programme
    estate: Estate
    roster: Roster
    servers: Servers
    owner_log: list[str]
    key: Mapping[str, str | int | date]

    @property
    def member(self) -> Member:
        """The archive that the scenes about one archive use."""
        name = self.programme.scene_member
        return next(each for each in self.roster.members if each.name == name)

    @property
    def table(self) -> str:
        return self.programme.source.table

    def one_row_token(self, seconds: int) -> bytes:
        """The owner's word for one row of one archive, for so many seconds."""
        return self.estate.grants.one_row(
            self.programme.owner.name,
            self.member,
            key=self.key,
            columns=self.programme.shown_of_row,
            seconds=seconds,
        )


async def one_row(stage: Stage) -> Scene:
    """The owner grants one row of one archive for three seconds: it is read, then refused."""
    member = stage.member
    owner = stage.roster.tenant(stage.programme.owner.name)
    row_key = list(stage.key.values())
    async with connect(member.address, key=MachineKey.load(owner.key_file)) as connection:
        table = connection.present(stage.one_row_token(ONE_ROW_S)).call("table", stage.table)
        row = await table.call("row", row_key).call("values")
        assert isinstance(row, Mapping)
        record_bytes = await _record_bytes(connection)
        ended = "read, then "
        while True:  # A real clock must pass: the archive's is the only judge.
            await trio.sleep(0.25)
            try:
                await table.call("row", row_key).call("values")
            except Expired:
                ended += "expired"
                break
    return Scene(
        name="one row for three seconds",
        ended=ended,
        sentence=f"{', '.join(row)} of one row of {member.name}: read; refused 3 s later",
        details={"columns": sorted(row), "record_bytes": record_bytes},
    )


async def _record_bytes(connection: Connection) -> int:
    """What the archive itself has counted as bytes of records that left it."""
    health = await connection.bootstrap.call("health")
    assert isinstance(health, Mapping)
    counted = health["record_bytes"]
    assert isinstance(counted, int)
    return counted


async def stolen_grant(stage: Stage) -> Scene:
    """The lender presents the owner's grant over its own, paired, connection."""
    member = stage.member
    token = stage.roster.tenant(stage.programme.owner.name).token_for(member.name)
    thief = MachineKey.load(stage.roster.tenant(stage.programme.lender.name).key_file)
    async with connect(member.address, key=thief) as connection:
        try:
            await connection.present(token).call("table", stage.table).call("describe")
            ended = "accepted"
        except Denied:
            ended = "denied"
    # The thief hears one word; which check stopped it is for the owner's log alone.
    await trio.to_thread.run_sync(partial(stage.servers.poll, timeout_s=LOG_S))
    reason = stage.owner_log[-1] if stage.owner_log else "nothing"
    return Scene(
        name="a stolen grant",
        ended=ended,
        sentence=f"{ended}, and no more is said; the owner's log: {neutral(reason)}",
        details={},
    )


async def two_sums(stage: Stage, sums: TwoSums) -> Scene:
    """The lender asks for a sum over all records, and for the sum over all but one."""
    member, policy = stage.member, stage.programme.lender
    wide = replace(policy, columns=(sums.figure,), by=(sums.by,))
    token = await trio.to_thread.run_sync(stage.estate.grants.of, wide, member)
    plans = [
        Plan(
            table=stage.table,
            measures=(Measure(Operation.COUNT), Measure(Operation.SUM, sums.figure)),
            filters=filters,
        )
        for filters in ((), (Filter(sums.by, between(None, sums.most)),))
    ]
    lender = MachineKey.load(stage.roster.tenant(policy.name).key_file)
    async with connect(member.address, key=lender) as connection:
        table = connection.present(token).call("table", stage.table)
        whole = await table.call("query", plans[0].to_wire())
        try:
            await table.call("query", plans[1].to_wire())
            ended, reason = "answered", ""
        except Suppressed as exc:
            ended, reason = exc.word, neutral(str(exc))
    (every, total), (most, rest) = await trio.to_thread.run_sync(_by_floor_alone, stage, plans)
    assert isinstance(whole, Mapping)
    assert whole["cells"] == [[[], [every, total]]]
    return Scene(
        name="two sums, one house apart",
        ended=ended,
        sentence=f"{sums.figure} over {every} {stage.programme.subjects}: answered; over the {most}"
        f" with {sums.by} <= {sums.most}: {reason}; the floor alone would have given"
        f" {total - rest:,}",
        details={"counts": [every, most], "difference": str(total - rest)},
    )


def _by_floor_alone(stage: Stage, plans: list[Plan]) -> list[tuple[int, Any]]:
    """What would be answered by an archive that looks at each answer alone."""
    columns = frozenset(stage.estate.grants.tables[stage.table].column_names)
    rule = TableRule(
        operations=frozenset({Operation.COUNT, Operation.SUM}), output=columns, filters=columns
    )
    directory = stage.estate.layout.archive(stage.member.name)
    with Shadow(directory, stage.table, floor=stage.programme.lender.floor, remembers=False) as it:
        answers: list[Any] = [it.ask(plan, rule)["cells"] for plan in plans]
    return [(figures[0], figures[1]) for [[_, figures]] in answers]


async def unpaired_machine(stage: Stage) -> Scene:
    """A machine with a fresh key tries the front door."""
    member = stage.member
    with tempfile.TemporaryDirectory() as directory:
        stranger = MachineKey.create(Path(directory) / "stranger.key")
        try:
            async with connect(member.address, key=stranger) as connection:
                await connection.bootstrap.call("describe")
            ended = "let in"
        except NotPaired:
            ended = "not paired"
    return Scene(
        name="an unpaired machine",
        ended=ended,
        sentence="a machine that nobody paired: the TLS handshake fails, there is no pathway",
        details={},
    )


HOSTILE_TOWNS: Final = ("\x1b[2J\x1b]0;owned\x07Bellevue", "Re\u202edmond", "=cmd|'/c calc'!A1")


async def hostile_member(root: Path) -> Scene:
    """An archive of its own names its towns with terminal escapes; it is asked for them."""
    estate = await trio.to_thread.run_sync(_hostile_estate, root)
    with estate.serve():
        async with open_fleet(estate.layout.file) as fleet:
            answer = await fleet.ask("select town, count(*) from sales group by town")
    arrived = [str(row[0]) for row in answer.rows]
    shown = [neutral(text) for text in arrived]
    harmful = sum(not c.isprintable() for text in arrived for c in text)
    left = sum(not c.isprintable() for text in shown for c in text)
    return Scene(
        name="a hostile member",
        ended="neutralised" if harmful and not left else "it got through",
        sentence=f"{harmful} control characters arrived in names, {left} reached this screen",
        details={"shown": shown},
    )


def _hostile_estate(root: Path) -> Estate:
    root.mkdir()
    file = root / "trojan.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        rows = [(number, town) for number, town in enumerate(HOSTILE_TOWNS)]
        csv.writer(target).writerows([("id", "town"), *rows])
    return create_estate(draft_estate(root / "trojan", [file], table="sales"))


async def killed_member(stage: Stage, fleet: TrioFleet) -> Scene:
    """One archive's process is killed in the middle of a view."""
    name = stage.member.name
    pid = stage.servers.pids[name]
    os.kill(pid, signal.SIGSTOP)  # So that it cannot have answered when the kill comes.
    answered = 0

    def watch(outcome: Outcome[Reply]) -> None:
        nonlocal answered
        answered += 1
        if answered == KILLED_AFTER:
            stage.servers.kill(name)

    answer = await fleet.ask(stage.programme.question, on_outcome=watch)
    (absent,) = answer.absent
    since = absent.since.astimezone().strftime("%H:%M:%S") if absent.since else "?"
    states = ", ".join(f"{count} {state}" for state, count in answer.states.items())
    return Scene(
        name="a killed member",
        ended=absent.state.value,
        sentence=f"{states} ({absent.member}, since {since}); totals say partial",
        details={"states": answer.states},
    )
