"""Answers of a whole archive: rows by key beside null calls, and groups beside bare SQL.

Everything that an owner's archive does is done: TLS on both sides, a grant verified, its view and
its lock, disclosure control with a floor of ten, each read on record. The table is made up: rows
with a number as key, one of a thousand postal codes, one of a hundred thousand owners, a price.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from benchmarks import audit
from benchmarks._contest import Contestant, Duel, Hall, Spread, Task, alternate, hall
from benchmarks._disk import disk
from benchmarks._process import memory_bytes, peak_bytes
from benchmarks._report import Bar, Report
from benchmarks._versions import in_force
from benchmarks.peers._child import Sample, Setting
from benchmarks.peers._pairing import Pairing
from psp.totebox import Archive, Column, ColumnType, Manifest, ReadPolicy, Table

BARS: Final = {
    "row_read_vs_null_call": Bar(at_most=3.5),
    "row_read_before_answer_vs_null_call": Bar(at_most=6),
    "row_read_before_answer_100_callers": Bar(at_least=0.5),
    "group_vs_same_facts_sql": Bar(at_most=1.2),
    **audit.BARS,
}
ZIPS: Final = 1_000
OWNERS: Final = 100_000
SMALL: Final = 5
"""Postal codes with fewer than ten owners, as there are in every real table."""
MIB: Final = 1 << 20

SALES: Final = Table(
    name="sales",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="zip", type=ColumnType.TEXT),
        Column(name="owner", type=ColumnType.INTEGER),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, currency="USD"),
    ),
    key=("id",),
    subject="owner",
)


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int
    calls: int
    writes: int
    rows: int
    group_rows: int
    groups: int
    growth: Mapping[str, Sequence[int]]


_SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
FULL: Final = Effort(7, 2_000, 500, 100_000, 5_000_000, 3, {"sqlite": _SIZES, "duckdb": _SIZES})
QUICK: Final = Effort(1, 100, 20, 1_000, 20_000, 1, {})


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure everything; about ten minutes, most of them for making the tables."""
    effort = QUICK if quick else FULL
    report = Report("query", BARS)
    with hall() as place:
        _measure_rows(place, effort, report)
        _measure_groups(place, effort, report)
        audit.measure_audit(report, quick=quick)
        for engine, sizes in effort.growth.items():
            for rows in sizes:
                _measure_growth(place, engine, rows, effort, report)
    report.limits["effort"] = effort._asdict()
    report.limits.update(in_force())
    return report.to_json()


def _measure_rows(place: Hall, effort: Effort, report: Report) -> None:
    null = place.start("null", "ours")
    within = _served(place, "within", effort.rows, reads=ReadPolicy.WITHIN_1S)
    before = _served(place, "before", effort.rows)
    for one in (null, within, before):
        one.measure("null" if one is null else "row", 100)
    for name, reader in (("row_read", within), ("row_read_before_answer", before)):
        with disk(place.directory) as bare:
            duels = alternate(
                (reader, Task("row", effort.calls)),
                {
                    "null": (null, Task("null", effort.calls)),
                    "disk": (bare, Task("write", effort.writes)),
                },
                rounds=effort.rounds,
            )
        duel = duels["null"]
        report.add(f"{name}_vs_null_call", duel.ratio(_over("median_us")))
        report.note("cpu_ratios", f"{name}_vs_null_call", duel.ratio(_over("cpu_us")))
        _note(report, name, duel.ours)
        _note(report, "null", duel.theirs)
    _note_disk(report, duels)
    duel = alternate(
        (before, Task("rows", effort.calls)),
        {"within": (within, Task("rows", effort.calls))},
        rounds=effort.rounds,
    )["within"]
    report.add("row_read_before_answer_100_callers", duel.ratio(_over("calls_per_s")))
    report.note("cpu_ratios", "row_read_before_answer_100_callers", duel.ratio(_over("cpu_us")))
    for title, samples in (("before-answer", duel.ours), ("within-1s", duel.theirs)):
        rates = Spread.of([it["calls_per_s"] for it in samples])
        report.note("row_reads_per_s_100_callers", title, rates)


def _note_disk(report: Report, duels: Mapping[str, Duel]) -> None:
    """Say what of a read before its answer is the disk: one durable write, with nothing around it.

    The samples of one round lie side by side, so they are compared round by round.
    """
    null, bare = duels["null"], duels["disk"]
    report.add(
        "durable_write_vs_null_call", Duel(bare.theirs, null.theirs).ratio(_over("median_us"))
    )
    without = [{"median_us": a["median_us"] - b["median_us"]} for a, b in zip(*bare, strict=True)]
    report.add(
        "row_read_before_answer_without_the_write_vs_null_call",
        Duel(without, null.theirs).ratio(_over("median_us")),
    )
    _note(report, "durable_write", bare.theirs)


def _measure_groups(place: Hall, effort: Effort, report: Report) -> None:
    """Let an archive and bare SQL take turns over the same rows."""
    ours = _served(place, "groups", effort.group_rows, engine="duckdb")
    database = place.directory / "bare.duckdb"
    with duckdb.connect(str(database)) as made:
        file = _file(place.directory, effort.group_rows)
        types = "{'id': 'BIGINT', 'zip': 'VARCHAR', 'owner': 'BIGINT', 'price': 'DECIMAL(12,2)'}"
        made.execute(f"CREATE TABLE sales AS FROM read_csv('{file}', columns={types})")
    setting = Setting(str(place.directory), box=str(database))
    driver = place.child("sql", "duckdb_sql", "drive", setting)
    driver.hear()
    theirs = Contestant("sql", driver, driver, 0)
    for one in (ours, theirs):
        one.measure("group", 1)
    duel = alternate(
        (ours, Task("group", effort.groups)),
        {"sql": (theirs, Task("group", effort.groups))},
        rounds=effort.rounds,
    )["sql"]
    report.add("group_vs_same_facts_sql", duel.ratio(_over("median_us")))
    report.note("cpu_ratios", "group_vs_same_facts_sql", duel.ratio(_over("cpu_us")))
    _note(report, "group", duel.ours)
    _note(report, "group in bare SQL", duel.theirs)


def _measure_growth(place: Hall, engine: str, rows: int, effort: Effort, report: Report) -> None:
    title = f"{rows:,} rows in {engine}"
    start = time.perf_counter()
    with _made(place, f"{engine}-{rows}", rows, engine=engine) as one:
        _figure(report, title, "seconds_to_make", time.perf_counter() - start)
        _figure(report, title, "started_mib", memory_bytes(one.server.pid) / MIB)
        _note(report, title, [one.measure("row", effort.calls)], "row")
        _figure(report, title, "after_rows_mib", memory_bytes(one.server.pid) / MIB)
        _note(report, title, [one.measure("group", 1)], "group")
        _figure(report, title, "peak_mib", peak_bytes(one.server.pid) / MIB)


# What is served


def _served(
    place: Hall,
    name: str,
    rows: int,
    *,
    engine: str = "sqlite",
    reads: ReadPolicy = ReadPolicy.BEFORE_ANSWER,
) -> Contestant:
    """Make an archive with so many rows, and serve it to a driver."""
    box = place.directory / name
    _fill(place.directory, box, rows, engine, reads)
    there = Setting(str(place.directory), box=str(box))
    server = place.child(name, "totebox", "serve", there)
    port = int(server.hear()["port"])
    driver = place.child(name, "totebox", "drive", Setting(there.directory, port=port))
    driver.hear()
    driver.ask(["size", rows])
    return Contestant(name, server, driver, port)


@contextmanager
def _made(place: Hall, name: str, rows: int, *, engine: str) -> Iterator[Contestant]:
    with hall() as own:
        (own.directory / "seed").write_bytes((place.directory / "seed").read_bytes())
        yield _served(own, name, rows, engine=engine)


def _fill(directory: Path, box: Path, rows: int, engine: str, reads: ReadPolicy) -> None:
    pairing = Pairing.of(Setting(str(directory)))
    file = _file(directory, rows)
    manifest = Manifest(
        name="cluster-totebox-sales-1",
        archive_id=pairing.anchor.archive_id,
        module_id="sales",
        tables=(SALES,),
        floor=10,
        engine=engine,
        reads=reads,
    )
    with Archive.create(
        box,
        manifest,
        machine_key=pairing.subject,
        ledger_key=pairing.ledger,
        anchor_statement=pairing.statement,
    ) as archive:
        archive.pair("benchmark", pairing.controller.certificate_pem, "ADMIN")
        archive.ingest(file, SALES.name, operator="benchmark", now=datetime.now(UTC))


def _file(directory: Path, rows: int) -> Path:
    """Write the table as a CSV; the same rows every time."""
    file = directory / f"{rows}.csv"
    if not file.exists():
        # Multiplied by primes, and so spread over the table without any chance.
        owner = f"CASE WHEN zip < {98_000 + SMALL} THEN 1 ELSE i * 7919 % {OWNERS} END"
        price = "CAST(50000 + i * 104729 % 90000000 / 100 AS DECIMAL(12,2))"
        duckdb.execute(
            f"COPY (SELECT i AS id, zip, {owner} AS owner, {price} AS price FROM"
            f" (SELECT range AS i, 98000 + range * 31 % {ZIPS} AS zip FROM range({rows})))"
            f" TO '{file}' (HEADER)"
        )
    return file


# What is said of it


def _over(figure: str) -> Callable[[Sample, Sample], float]:
    return lambda ours, theirs: ours[figure] / theirs[figure]


def _note(report: Report, title: str, samples: list[Sample], prefix: str = "") -> None:
    for figure in ("median_us", "cpu_us"):
        spread = Spread.of([sample[figure] for sample in samples])
        report.note(title, f"{prefix}_{figure}".lstrip("_"), spread)


def _figure(report: Report, title: str, key: str, value: float) -> None:
    report.note(title, key, Spread(value, value, value))
