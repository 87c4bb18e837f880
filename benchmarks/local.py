"""Results handed over on one machine: beside writing them once, and Arrow Flight's Unix socket."""

from __future__ import annotations

from typing import Final, NamedTuple

from benchmarks._contest import Contestant, Spread, Task, alternate, hall
from benchmarks._report import Bar, Report
from benchmarks._versions import in_force
from benchmarks.bulk import check_installed, speeds
from benchmarks.peers import bulk_flight, local_ours

MIB: Final = 1024 * 1024

BARS: Final = {
    "local_vs_one_write": Bar(at_most=1.25),
    "local_sealed_1gib_vs_1mib": Bar(at_most=15),
    "local_vs_flight_unix": Bar(at_least=1.1),
}


class Effort(NamedTuple):
    rounds: int
    large: int
    small: int


FULL: Final = Effort(5, 1024 * MIB, MIB)
QUICK: Final = Effort(1, 16 * MIB, MIB)


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure everything; half a minute, or some seconds if `quick`."""
    check_installed()
    effort = QUICK if quick else FULL
    report = Report("local", BARS)
    with hall() as place:
        ours = place.start("psp", "local_ours")
        flight = place.start("flight", "bulk_flight", loop="unix")
        for size in (effort.large, effort.small):
            ours.measure("sealed", size)
        flight.measure("kept", effort.large)
        _measure_writing(ours, effort, report)
        _measure_sealed(ours, effort, report)
        duel = alternate(
            (ours, Task("computed", effort.large)),
            {"flight": (flight, Task("kept", effort.large))},
            rounds=effort.rounds,
        )["flight"]
        report.add("local_vs_flight_unix", duel.ratio(speeds("gb_per_s")))
        for name, samples in (("psp", duel.ours), ("flight", duel.theirs)):
            seconds = Spread.of([sample["seconds"] for sample in samples])
            report.note(f"computed to usable of {name}", "seconds", seconds)
    report.limits["effort"] = effort._asdict()
    report.limits["batch"] = {
        "flight_bytes": bulk_flight.BATCH_BYTES,
        "psp_rows": local_ours.BATCH_ROWS,
    }
    report.limits.update(in_force())
    return report.to_json()


def _measure_writing(ours: Contestant, effort: Effort, report: Report) -> None:
    duel = alternate(
        (ours, Task("computed", effort.large)),
        {"write": (ours, Task("one_write", effort.large))},
        rounds=effort.rounds,
    )["write"]
    report.add("local_vs_one_write", duel.ratio(lambda a, b: a["seconds"] / b["seconds"]))
    report.note("one write", "seconds", Spread.of([sample["seconds"] for sample in duel.theirs]))


def _measure_sealed(ours: Contestant, effort: Effort, report: Report) -> None:
    duel = alternate(
        (ours, Task("sealed", effort.large)),
        {"small": (ours, Task("sealed", effort.small))},
        rounds=effort.rounds,
    )["small"]
    ratio = duel.ratio(lambda large, small: large["seconds"] / small["seconds"])
    report.add("local_sealed_1gib_vs_1mib", ratio)
    for name, samples in (("large", duel.ours), ("small", duel.theirs)):
        seconds = Spread.of([sample["seconds"] for sample in samples])
        report.note(f"sealed to usable, {name}", "seconds", seconds)
