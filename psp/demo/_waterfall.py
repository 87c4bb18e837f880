"""Five dependent hops in one round trip, beside the same hops as plain calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from psp.aggregator import Member
from psp.endpoint import Connection, Promise, connect
from psp.transport import MachineKey

HOPS: Final = ("grant", "table", "row", "sealed original", "ledger proof")
BAR: Final = 48

Steps = tuple[Callable[[Connection, Any], Promise], ...]
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
    """

    round_trip_s: float
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
            "round_trips": {name: round(trips, 2) for name, trips in self.round_trips.items()},
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
        for title, hops in (("pipelined", self.pipelined), ("plain calls", self.plain)):
            trips = hops[-1].came_s / self.round_trip_s
            lines.append(f"{title}: {hops[-1].came_s * 1000:.0f} ms, {trips:.2f} round trips")
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
    round_trip_s: float,
) -> Waterfall:
    """Walk grant → table → row → sealed original → ledger proof, pipelined and then one by one."""
    steps: Steps = (
        lambda connection, _: connection.present(token),
        lambda _, grant: grant.call("table", table),
        lambda _, found: found.call("row", list(row)),
        lambda _, found: found.call("original"),
        lambda _, original: original.call("proof"),
    )
    runs = []
    for walk in (_pipelined, _plain):
        async with connect(member.address, key=key) as connection:
            await connection.bootstrap.call("describe")  # The connection is warm for both.
            runs.append(await walk(connection, steps))
    return Waterfall(round_trip_s=round_trip_s, pipelined=runs[0], plain=runs[1])


async def _pipelined(connection: Connection, steps: Steps) -> tuple[Hop, ...]:
    start = trio.current_time()
    promises: list[Promise] = []
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
