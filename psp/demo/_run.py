"""The demo from files to a view, in the order in which it happens."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from psp.aggregator import Roster, TrioFleet, open_fleet
from psp.errors import EstateError
from psp.estate import Estate, Servers, TenantPolicy, create_estate, draft_estate
from psp.testing import Far
from psp.transport import MachineKey
from psp.values import to_text

from ._data import split
from ._programme import Programme
from ._scenes import (
    Scene,
    Stage,
    hostile_member,
    killed_member,
    one_row,
    stolen_grant,
    two_sums,
    unpaired_machine,
)
from ._view import tenant_view
from ._waterfall import Waterfall, measure_waterfall


class Reporter(Protocol):
    """Who is told how far things are; the command line shows bars."""

    def stage(self, words: str, total: int | None = None) -> None:
        """A new stage begins, with so many steps."""

    def step(self) -> None:
        """One step of the stage is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything the demo found, before anybody renders it."""

    programme: Programme
    views: Mapping[str, dict[str, Any]]
    states: Mapping[str, int]
    scenes: tuple[Scene, ...]
    facts: Mapping[str, Any]
    waterfall: Waterfall | None

    def to_dict(self) -> dict[str, Any]:
        """The object that `psp demo --json` prints."""
        withheld = [
            {"tenant": name, **entry}
            for name, view in self.views.items()
            for entry in view["withheld"]
        ]
        return {
            "members": sum(self.states.values()),
            "states": dict(self.states),
            "view": dict(self.views),
            "withheld": withheld,
            "scenes": [scene.to_dict() for scene in self.scenes],
            "facts": dict(self.facts),
            "waterfall": self.waterfall.to_dict() if self.waterfall else None,
        }

    def page_view(self) -> dict[str, Any]:
        """The form that `psp.console` renders."""
        source = self.programme.source
        return {
            "title": self.programme.title,
            "as_of": to_text(datetime.now(UTC)),
            "data_note": (
                f"{source.about}; read at run time from the package {source.package}, whose stated"
                f" licence is {source.licence}."
            ),
            "words": dict(self.programme.words),
            "tenants": list(self.views.values()),
        }


def run_demo(
    programme: Programme, *, far_s: float | None, keep: Path | None, reporter: Reporter
) -> Result:
    """Make a real estate of many archives on this machine, ask it, and try to break it.

    Args:
        far_s: Put this round trip between the aggregators and the archives.
        keep: Leave the estate in this directory, which must not exist yet.

    Raises:
        EstateError: The data package is missing, the directory exists, or the disk is full.
    """
    started = time.monotonic()
    with passing_directory(keep) as root:
        reporter.stage(f"reading {programme.source.about}")
        files = split(programme.source, root / "files")
        reporter.stage("sealing one archive per file", len(files))
        estate = _create(programme, files, keep or root / "estate", reporter)
        reporter.stage("starting one process per archive", len(files))
        log: list[str] = []
        far = None if far_s is None else Far(far_s)
        with estate.serve(
            on_ready=lambda name: reporter.step(), on_log=lambda name, text: log.append(text)
        ) as servers:
            play = _Play(programme, estate, servers, log, root, far, reporter)
            return trio.run(play.run, started)


def _create(
    programme: Programme, files: Mapping[str, Path], target: Path, reporter: Reporter
) -> Estate:
    source = programme.source
    draft = draft_estate(
        target,
        list(files.values()),
        table=source.table,
        currencies=source.currencies,
        null=source.null,
    )
    return create_estate(
        replace(draft, table=programme.table(draft.table)),
        tenants=programme.tenants,
        labels={name: programme.label.format(name) for name in files},
        on_member=lambda name: reporter.step(),
    )


@contextmanager
def passing_directory(keep: Path | None) -> Iterator[Path]:
    """Somewhere for what is passing: beside the estate that is kept, or a directory that goes."""
    if keep is not None and keep.exists():
        raise EstateError(f"--keep {keep}: it exists already. Choose another directory")
    with tempfile.TemporaryDirectory(prefix="psp-demo-") as directory:
        yield Path(directory)


@dataclass(frozen=True, slots=True)
class _Play:
    """The part of the demo that happens while the archives are served."""

    programme: Programme
    estate: Estate
    servers: Servers
    owner_log: list[str]
    root: Path
    far: Far | None
    reporter: Reporter

    async def run(self, started: float) -> Result:
        async with (
            _within_reach(self.estate.roster, self.far) as roster,
            open_fleet(roster, tenant=self.programme.owner.name) as owner,
            open_fleet(roster, tenant=self.programme.lender.name) as lender,
        ):
            asked = time.monotonic()
            views = {}
            for policy, fleet in zip(self.programme.tenants, (owner, lender), strict=True):
                views[policy.name] = await self._ask(policy, fleet)
            views_s = time.monotonic() - asked
            facts = await self._facts(owner, lender)
            stage = Stage(
                programme=self.programme,
                estate=self.estate,
                roster=roster,
                servers=self.servers,
                owner_log=self.owner_log,
                key=_one_key(self.programme, self.root / "files"),
            )
            waterfall = await _waterfall(stage, self.far)
            scenes = await self._scenes(stage, owner)
        return Result(
            programme=self.programme,
            views=views,
            states=views[self.programme.owner.name]["states"],
            scenes=scenes,
            facts={
                **facts,
                "record_bytes_for_one_row": scenes[0].details["record_bytes"],
                "views_ms": round(views_s * 1000),
                "demo_s": round(time.monotonic() - started, 1),
            },
            waterfall=waterfall,
        )

    async def _ask(self, policy: TenantPolicy, fleet: TrioFleet) -> dict[str, Any]:
        members = fleet.roster.members
        self.reporter.stage(f"asking as the {policy.name}", len(members))
        answer = await fleet.ask(
            self.programme.question, on_outcome=lambda outcome: self.reporter.step()
        )
        labels = {member.name: member.label for member in members}
        return tenant_view(answer, self.programme, policy, labels)

    async def _scenes(self, stage: Stage, owner: TrioFleet) -> tuple[Scene, ...]:
        sums = stage.programme.two_sums
        plays: tuple[Callable[[], Awaitable[Scene]], ...] = (
            partial(one_row, stage),
            partial(stolen_grant, stage),
            *([partial(two_sums, stage, sums)] if sums else []),
            partial(unpaired_machine, stage),
            partial(hostile_member, self.root / "hostile"),
            partial(killed_member, stage, owner),
        )
        self.reporter.stage("trying what must not work", len(plays))
        scenes = []
        for play in plays:
            scenes.append(await play())
            self.reporter.step()
        return tuple(scenes)

    async def _facts(self, *fleets: TrioFleet) -> dict[str, Any]:
        """What the views cost, counted at both ends."""
        statistics = [line for fleet in fleets for line in fleet.statistics()]
        health = (await fleets[0].status()).health.values()
        return {
            "archives": len(self.estate.roster.members),
            "archives_memory_mib": round(self.servers.memory_bytes() / 2**20),
            "rows_sealed": self.estate.rows_sealed,
            "record_bytes_for_views": sum(report.record_bytes for report in health),
            "result_bytes": sum(line.received_bytes for line in statistics),
            "question_bytes": sum(line.sent_bytes for line in statistics),
            "round_trips_per_member": max(line.round_trips for line in statistics),
        }


@asynccontextmanager
async def _within_reach(roster: Roster, far: Far | None) -> AsyncIterator[Roster]:
    """The roster as it is, or with a delay proxy before each member."""
    if far is None:
        yield roster
        return
    async with trio.open_nursery() as nursery:
        members = []
        for member in roster.members:
            near: tuple[str, int] = await nursery.start(
                far.serve, member.address.host, member.address.port
            )
            address = replace(member.address, host=near[0], port=near[1])
            members.append(replace(member, address=address))
        yield replace(roster, members=tuple(members))
        nursery.cancel_scope.cancel()


async def _waterfall(stage: Stage, far: Far | None) -> Waterfall | None:
    if far is None:
        return None
    owner = stage.roster.tenant(stage.programme.owner.name)
    return await measure_waterfall(
        stage.member,
        key=MachineKey.load(owner.key_file),
        token=stage.one_row_token(60),
        table=stage.table,
        row=list(stage.key.values()),
        far=far,
    )


def _one_key(programme: Programme, files: Path) -> dict[str, Any]:
    """The key of one row, as its owner would know it from the deed."""
    import duckdb

    columns = ", ".join(programme.source.key)
    (file,) = files.glob(f"{programme.scene_member}.*")
    with duckdb.connect() as connection:
        row = connection.execute(f"select {columns} from '{file}' order by all limit 1").fetchone()
    assert row is not None
    return dict(zip(programme.source.key, row, strict=True))
