"""Calls on one machine: ours beside pycapnp, gRPC, Arrow Flight and a bare TLS socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Final

from benchmarks._contest import Contestant, Duel, Hall, Spread, Task, alternate, hall
from benchmarks._contests import (
    BARS,
    CONTESTS,
    FULL,
    OUTSTANDING,
    PEERS,
    QUICK,
    SMALL_UNDER_BULK,
    Contest,
    Effort,
)
from benchmarks._process import memory_bytes
from benchmarks._report import Report
from benchmarks._versions import in_force
from benchmarks.peers._certificates import tls_version
from benchmarks.peers._child import Sample, Setting

_MODULES: Final = ("capnp", "grpc", "pyarrow", "uvloop")


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure everything; about two minutes, or some seconds if `quick`."""
    check_installed()
    effort = QUICK if quick else FULL
    report = Report("rpc", BARS)
    with hall() as place:
        ours = place.start("psp", "ours")
        peers = {
            name: place.start(name, peer.module, loop=peer.loop) for name, peer in PEERS.items()
        }
        report.limits["tls"] = {
            name: tls_version(Setting(str(place.directory), port=peers[name].port))
            for name in ("pycapnp", "grpc_aio", "flight")
        }
        report.limits["effort"] = effort._asdict()
        _warm_up([ours, *peers.values()])
        for contest in CONTESTS:
            met = {name: peers[name] for name in contest.peers}
            _write(contest, _fight(contest, ours, met, effort), report)
        _measure_small_under_bulk(ours, effort, report)
        report.figures["outstanding_us_per_call"] = _measure_outstanding(ours, effort)
        report.figures["memory_bytes"] = _measure_memory(place, effort)
    report.limits.update(in_force())
    return report.to_json()


def check_installed() -> None:
    """Refuse to start without the peers.

    Raises:
        SystemExit: Names what is missing, and the one command that brings it.
    """
    if missing := [name for name in _MODULES if find_spec(name) is None]:
        raise SystemExit(
            f"this benchmark measures against {', '.join(missing)}, which is not installed."
            " Run `make bench`, or `pip install psp-protocol[bench]`."
        )


def _warm_up(contestants: Sequence[Contestant]) -> None:
    for contestant in contestants:
        contestant.measure("null", 100)


def _fight(
    contest: Contest, ours: Contestant, peers: dict[str, Contestant], effort: Effort
) -> dict[str, Duel]:
    calls = effort.calls(contest)
    return alternate(
        (ours, Task(contest.ours, calls)),
        {name: (peer, Task(contest.theirs, calls)) for name, peer in peers.items()},
        rounds=effort.rounds,
    )


def _write(contest: Contest, duels: dict[str, Duel], report: Report) -> None:
    for name, duel in duels.items():
        key = contest.names(name)
        ratio = duel.ratio(_compare(contest.figure, flip=contest.is_ours_over_theirs(name)))
        cpu = duel.ratio(_compare("cpu_us", flip=False))
        report.add(key, ratio)
        report.note("cpu_ratios", key, cpu)
        report.note(f"{contest.theirs} of {name}", contest.figure, _spread(duel.theirs, contest))
        report.note(f"{contest.theirs} of {name}", "cpu_us", _cpu(duel.theirs))
    all_ours = [sample for duel in duels.values() for sample in duel.ours]
    report.note(f"{contest.ours} of psp", contest.figure, _spread(all_ours, contest))
    report.note(f"{contest.ours} of psp", "cpu_us", _cpu(all_ours))


def _compare(figure: str, *, flip: bool) -> Callable[[Sample, Sample], float]:
    if flip:
        return lambda ours, theirs: ours[figure] / theirs[figure]
    return lambda ours, theirs: theirs[figure] / ours[figure]


def _spread(samples: Sequence[Sample], contest: Contest) -> Spread:
    return Spread.of([sample[contest.figure] for sample in samples])


def _cpu(samples: Sequence[Sample]) -> Spread:
    return Spread.of([sample["cpu_us"] for sample in samples])


def _measure_small_under_bulk(ours: Contestant, effort: Effort, report: Report) -> None:
    """Let ours meet itself: alone, and with a stream on the same connection."""
    duel = alternate(
        (ours, Task("p99_alone", effort.ticks)),
        {"bulk": (ours, Task("p99_under_bulk", effort.ticks))},
        rounds=effort.rounds,
    )["bulk"]
    report.add(SMALL_UNDER_BULK, duel.ratio(_compare("p99_us", flip=False)))
    for title, samples in (("alone", duel.ours), ("under bulk", duel.theirs)):
        for figure in ("median_us", "p99_us"):
            spread = Spread.of([sample[figure] for sample in samples])
            report.note(f"small calls {title}", figure, spread)
    streamed = Spread.of([sample["bulk_gb_per_s"] for sample in duel.theirs])
    report.note("small calls under bulk", "bulk_gb_per_s", streamed)


def _measure_outstanding(ours: Contestant, effort: Effort) -> dict[str, Sequence[float]]:
    """Give the time per call when 1, 10, ... calls leave together."""
    found: dict[int, list[float]] = {at_once: [] for at_once in OUTSTANDING}
    for _ in range(effort.rounds):
        for at_once, times in found.items():
            times.append(ours.measure("outstanding", at_once)["median_us"])
    return {str(at_once): Spread.of(times).rounded() for at_once, times in found.items()}


def _measure_memory(place: Hall, effort: Effort) -> dict[str, object]:
    """Give what one more connection costs, and one more outstanding call, at each end."""
    # Fresh processes: those that were measured have room left over from their own tables.
    ours = place.start("psp", "ours")
    _warm_up([ours])
    return {
        "idle_connection": _grown(ours, "connect", "disconnect", effort.connections),
        "outstanding_call": _grown(ours, "hold", "let_go", effort.held),
    }


def _grown(ours: Contestant, do: str, undo: str, count: int) -> dict[str, float]:
    # One first: what the first of its kind costs is no part of what one more costs.
    ours.measure(do, 1)
    before = memory_bytes(ours.driver.pid), memory_bytes(ours.server.pid)
    ours.measure(do, count)
    after = memory_bytes(ours.driver.pid), memory_bytes(ours.server.pid)
    ours.measure(undo, count + 1)
    controller, subject = (
        (late - early) / count for early, late in zip(before, after, strict=True)
    )
    return {"controller": round(controller), "subject": round(subject)}
