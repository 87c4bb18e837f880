"""Five dependent hops in one round trip, beside the same hops as plain calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from psp.aggregator import Member
from psp.endpoint import Connection, Promise, connect
from psp.testing import Far
from psp.transport import MachineKey

HOPS: Final = ("grant", "table", "row", "sealed original", "ledger proof")
BAR: Final = 48

Steps = tuple[Callable[[Connection, Any], Promise[Any]], ...]
"""Each makes the next call from the connection and the answer, or promise, before."""


@dataclass(frozen=True, slots=True)
class Hop:
    """When one call left and when its answer was here, in seconds from the first departure."""

    name: str
    left_s: float
    came_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """The same five hops, twice.

    Attributes:
        round_trip_s: The delay put between the two ends, there and back.
        counted: How often the way was gone, as the delay proxy counted it: exact on any machine,
            where the measured times are not.
    """

    round_trip_s: float
    counted: Mapping[str, int]
    pipelined: tuple[Hop, ...]
    plain: tuple[Hop, ...]

    @property
    def round_trips(self) -> dict[str, float]:
        """How many round trips of the delay each way took."""
        return {
            "pipelined": self.pipelined[-1].came_s / self.round_trip_s,
            "plain": self.plain[-1].came_s / self.round_trip_s,
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            "round_trip_ms": round(self.round_trip_s * 1000),
            "round_trips": dict(self.counted),
            "round_trips_by_time": {
                name: round(trips, 2) for name, trips in self.round_trips.items()
            },
            **{
                name: [
                    [hop.name, round(hop.left_s * 1000, 1), round(hop.came_s * 1000, 1)]
                    for hop in hops
                ]
                for name, hops in (("pipelined", self.pipelined), ("plain", self.plain))
            },
        }

    def lines(self) -> list[str]:
        """The picture, as a browser's network tab draws it."""
        longest = self.plain[-1].came_s
        lines = []
        for title, hops in (("pipelined", self.pipelined), ("plain", self.plain)):
            trips = self.counted[title]
            lines.append(
                f"{title}: {trips} round trip{'s' if trips > 1 else ''},"
                f" {hops[-1].came_s * 1000:.0f} ms"
            )
            for hop in hops:
                start = round(hop.left_s / longest * BAR)
                width = max(1, round(hop.came_s / longest * BAR) - start)
                lines.append(f"  {hop.name:<16} {' ' * start}{'█' * width}")
        return lines


async def measure_waterfall(
    member: Member,
    *,
    key: MachineKey,
    token: bytes,
    table: str,
    row: Sequence[Any],
    far: Far,
) -> Waterfall:
    """Walk grant → table → row → sealed original → ledger proof, pipelined and then one by one."""
    steps: Steps = (
        lambda connection, _: connection.present(token),
        lambda _, grant: grant.call("table", table),
        lambda _, found: found.call("row", list(row)),
        lambda _, found: found.call("original"),
        lambda _, original: original.call("proof"),
    )
    runs, counted = [], []
    for walk in (_pipelined, _plain):
        async with connect(member.address, key=key) as connection:
            await connection.bootstrap.call("describe")  # The connection is warm for both.
            before = far.round_trips
            runs.append(await walk(connection, steps))
            counted.append(far.round_trips - before)
    return Waterfall(
        round_trip_s=far.round_trip_s,
        counted=dict(zip(("pipelined", "plain"), counted, strict=True)),
        pipelined=runs[0],
        plain=runs[1],
    )


async def _pipelined(connection: Connection, steps: Steps) -> tuple[Hop, ...]:
    start = trio.current_time()
    promises: list[Promise[Any]] = []
    left = []
    for step in steps:
        promises.append(step(connection, promises[-1] if promises else None))
        left.append(trio.current_time() - start)
    came = [0.0] * len(promises)

    async def note(index: int, promise: Awaitable[object]) -> None:
        await promise
        came[index] = trio.current_time() - start

    async with trio.open_nursery() as nursery:
        for index, promise in enumerate(promises):
            nursery.start_soon(note, index, promise)
    return tuple(Hop(*hop) for hop in zip(HOPS, left, came, strict=True))


async def _plain(connection: Connection, steps: Steps) -> tuple[Hop, ...]:
    start = trio.current_time()
    answer: Any = None
    hops = []
    for name, step in zip(HOPS, steps, strict=True):
        left = trio.current_time() - start
        answer = await step(connection, answer)
        hops.append(Hop(name, left, trio.current_time() - start))
    return tuple(hops)
