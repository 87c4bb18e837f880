"""Large results over TLS: ours beside a bare socket, Arrow Flight, gRPC and `trio.SSLStream`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, NamedTuple

from benchmarks._contest import CIPHER, Contestant, Duel, Spread, Task, alternate, hall
from benchmarks._report import Bar, Report
from benchmarks._versions import in_force
from benchmarks.peers import bulk_flight, bulk_grpc
from benchmarks.peers._child import Sample

MIB: Final = 1024 * 1024

BARS: Final = {
    "bulk_vs_raw_tls": Bar(at_least=0.85),
    "bulk_vs_flight": Bar(at_least=1.0),
    "bulk_vs_grpc": Bar(at_least=1.0),
    "bulk_vs_trio_sslstream": Bar(at_least=1.8),
    "query_bulk_vs_flight": Bar(at_least=0.9),
    "peak_rss_stream_vs_window": Bar(at_most=3),
}
_MODULES: Final = ("grpc", "pyarrow", "duckdb")


class Peer(NamedTuple):
    """A contestant: the ratio that it is part of, its module, and which of its doors."""

    key: str
    module: str
    door: str = "asyncio"


PEERS: Final = {
    "raw_tls": Peer("bulk_vs_raw_tls", "bulk_raw"),
    "flight": Peer("bulk_vs_flight", "bulk_flight"),
    "grpc_sync": Peer("bulk_vs_grpc", "bulk_grpc", "sync"),
    "grpc_aio": Peer("bulk_vs_grpc", "bulk_grpc"),
    "trio_sslstream": Peer("bulk_vs_trio_sslstream", "bulk_trio_ssl"),
}


class Effort(NamedTuple):
    rounds: int
    bytes: int
    rows: int
    stream_bytes: int


FULL: Final = Effort(7, 256 * MIB, 5_000_000, 4096 * MIB)
QUICK: Final = Effort(1, 8 * MIB, 100_000, 64 * MIB)


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure everything; two minutes, or some seconds if `quick`."""
    check_installed()
    effort = QUICK if quick else FULL
    report = Report("bulk", BARS)
    with hall() as place:
        ours = place.start("psp", "bulk_ours")
        peers = {
            name: place.start(name, peer.module, loop=peer.door) for name, peer in PEERS.items()
        }
        for each in (ours, *peers.values()):  # Every page of every landing place is touched.
            each.measure("bulk", effort.bytes)
        task = Task("bulk", effort.bytes)
        met = {name: (peer, task) for name, peer in peers.items()}
        _write_bulk(alternate((ours, task), met, rounds=effort.rounds), report)
        _measure_query(ours, peers["flight"], effort, report)
        _measure_stream(ours, effort, report)
        report.limits["effort"] = effort._asdict()
    report.limits["cipher"] = CIPHER
    report.limits["batch_bytes"] = {
        "flight": bulk_flight.BATCH_BYTES,
        "grpc": bulk_grpc.MESSAGE_BYTES,
    }
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


def speeds(figure: str) -> Callable[[Sample, Sample], float]:
    """Compare two samples by a figure of which more is better."""
    return lambda ours, theirs: ours[figure] / theirs[figure]


def _write_bulk(duels: dict[str, Duel], report: Report) -> None:
    for name, duel in duels.items():
        ratio = duel.ratio(speeds("gb_per_s"))
        report.note("against each", name, ratio)
        key = PEERS[name].key
        # Of a peer with two doors the one counts that is faster against us.
        if key not in report.ratios or ratio.median < report.ratios[key].median:
            report.add(key, ratio)
        report.note(f"bulk of {name}", "gb_per_s", Spread.of([s["gb_per_s"] for s in duel.theirs]))
        report.note("cpu_ratios", name, duel.ratio(lambda a, b: b["cpu_us"] / a["cpu_us"]))
    ours = [sample for duel in duels.values() for sample in duel.ours]
    report.note("bulk of psp", "gb_per_s", Spread.of([sample["gb_per_s"] for sample in ours]))
    unlanded = Spread.of([sample["unlanded_bytes"] for sample in ours])
    report.note("bulk of psp", "bytes_through_the_control_buffer", unlanded)


def _measure_query(ours: Contestant, flight: Contestant, effort: Effort, report: Report) -> None:
    task = Task("query", effort.rows)
    for each in (ours, flight):
        each.measure(*task)
    duel = alternate((ours, task), {"flight": (flight, task)}, rounds=effort.rounds)["flight"]
    report.add("query_bulk_vs_flight", duel.ratio(speeds("rows_per_s")))
    for name, samples in (("psp", duel.ours), ("flight", duel.theirs)):
        spread = Spread.of([sample["rows_per_s"] for sample in samples])
        report.note(f"query of {name}", "rows_per_s", spread)


def _measure_stream(ours: Contestant, effort: Effort, report: Report) -> None:
    sample = ours.measure("stream", effort.stream_bytes)
    report.add(
        "peak_rss_stream_vs_window", Spread.of([sample["extra_bytes"] / sample["window_bytes"]])
    )
    report.note("stream of psp", "gb_per_s", Spread.of([sample["gb_per_s"]]))
