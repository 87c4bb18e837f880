"""Calls over a distance: a proxy with 40 ms each way, that charges for the TCP handshake too."""

from __future__ import annotations

from typing import Final

from benchmarks._contest import Contestant, Spread, hall
from benchmarks._report import Bar, Report
from benchmarks._versions import in_force
from benchmarks.peers.far import ROUND_TRIP_S

BARS: Final = {
    "chain10_round_trips": Bar(at_most=1.1),
    "cold_round_trips": Bar(at_most=3.2),
    "cold_round_trips_interactive": Bar(at_most=3.3),
}

# What the driver is asked to do for each ratio.
TASKS: Final = {
    "chain10_round_trips": "chain10",
    "cold_round_trips": "cold",
    "cold_round_trips_interactive": "cold_interactive",
}

ROUNDS: Final = 15
_US_PER_ROUND_TRIP: Final = ROUND_TRIP_S * 1e6


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure in units of the distance; about fifteen seconds."""
    report = Report("wan", BARS)
    with hall() as place:
        ours = place.start("psp", "ours", through="far")
        echo = place.start("echo", "raw_tls", through="far")
        taken: dict[str, list[float]] = {key: [] for key in TASKS}
        for _ in range(2 if quick else ROUNDS):
            for key, do in TASKS.items():
                taken[key].append(_round_trips(ours, do))
            # What the proxy itself adds to its 80 ms: no protocol can be below this.
            taken.setdefault("echo_round_trips", []).append(_round_trips(echo, "null"))
    for key, values in taken.items():
        report.add(key, Spread.of(values))
        times = Spread.of([value * ROUND_TRIP_S * 1e3 for value in values])
        report.note("milliseconds", key, times)
    report.figures["round_trip_ms"] = ROUND_TRIP_S * 1e3
    report.limits.update(in_force())
    return report.to_json()


def _round_trips(ours: Contestant, do: str) -> float:
    return ours.measure(do, 1)["median_us"] / _US_PER_ROUND_TRIP
