"""What the audit of answers adds to them: 200 ordinary questions with it, and without.

The house sales of King County (21,613 rows), asked in this process by one who may filter and group
by three columns; each question is asked of two engines in turn, of which one remembers what was
answered. No network, no record of reads: both would only hide the difference. Beside the bar, the
flights of United Airlines in 2013 (58,665 rows) under four columns, which their questions cut into
many more parts.
"""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks._contest import Spread
from benchmarks._report import Bar, Report
from benchmarks.ingest import flights
from psp.capability import Operation, TableRule, archive_id_of, sign_anchor
from psp.demo import FLIGHTS, HOUSES, Source
from psp.errors import Suppressed
from psp.plan import Plan, plan_from_sql
from psp.totebox import Archive, Manifest, Shadow, propose_table
from psp.transport import MachineKey

AUDIT_OVERHEAD: Final = "audit_overhead_200_queries"
QUESTIONS: Final = 200
QUICK_QUESTIONS: Final = 10
QUICK_ROWS: Final = 2_000
ROUNDS: Final = 3
FLOOR: Final = 10
_NONCE: Final = bytes(16)


@dataclass(frozen=True)
class Programme:
    """A table, and what an analyst asks of it: each figure by each group under each condition."""

    source: Source
    member: str
    columns: Sequence[str]
    figures: Sequence[str]
    groups: Sequence[str]
    conditions: Sequence[str]

    def questions(self, count: int) -> list[Plan]:
        """Give some of them, in an order that is mixed and always the same."""
        every = itertools.product(self.figures, self.groups, self.conditions)
        texts = [
            f"select {f'{group} as g, ' if group else ''}{figures} from {self.source.table}"
            + (f" where {condition}" if condition else "")
            + (" group by g" if group else "")
            for figures, group, condition in every
        ]
        random.Random(7).shuffle(texts)
        return [plan_from_sql(text).plan for text in texts[:count]]


UNITED: Final = Programme(
    FLIGHTS,
    "UA",
    columns=("month", "origin", "dest", "hour"),
    figures=("count(*), sum(distance)", "avg(distance)", "count(*), sum(hour)"),
    groups=("", "month", "origin", "dest", "hour"),
    conditions=(
        *("", "month <= 6", "month > 6", "month in (6, 7, 8)", "month = 12", "origin = 'EWR'"),
        *("origin = 'LGA'", "hour < 12", "hour >= 12", "hour between 6 and 9"),
        *("dest in ('ORD', 'DEN', 'SFO', 'LAX')", "dest = 'ORD'", "origin = 'EWR' and month <= 6"),
        "hour >= 17",
    ),
)
COUNTY: Final = Programme(
    HOUSES,
    "",
    columns=("date", "zipcode", "grade"),
    figures=(
        "count(*), sum(price)",
        "sum(price) / sum(sqft_living)",
        "count(*), avg(sqft_living)",
    ),
    groups=("", "month(date)", "quarter(date)", "year(date)", "zipcode", "grade"),
    conditions=(
        *("", "date < '2015-01-01'", "date >= '2015-01-01'", "grade in (7, 8, 9)", "grade >= 10"),
        *("grade <= 6", "date between '2014-07-01' and '2014-09-30'", "zipcode = 98103"),
        *("zipcode in (98101, 98102, 98103, 98104, 98105)", "zipcode between 98001 and 98099"),
        *("zipcode >= 98100", "date >= '2015-01-01' and grade >= 8"),
    ),
)


BARS: Final = {AUDIT_OVERHEAD: Bar(at_most=1.5)}


def measure_audit(report: Report, *, quick: bool = False) -> None:
    """Add the ratio, and how many of the questions were refused, to a report that has its bar."""
    for key, programme in ((AUDIT_OVERHEAD, COUNTY), (f"{AUDIT_OVERHEAD}_flights", UNITED)):
        with tempfile.TemporaryDirectory(prefix="psp-audit-") as made:
            directory = Path(made)
            _seal(directory, programme, rows=QUICK_ROWS if quick else None)
            plans = programme.questions(QUICK_QUESTIONS if quick else QUESTIONS)
            rounds = [_round(directory, programme, plans) for _ in range(1 if quick else ROUNDS)]
        report.add(key, Spread.of([one.audited_s / one.plain_s for one in rounds]))
        each_ms = Spread.of([one.plain_s / len(plans) * 1000 for one in rounds])
        report.note("ms_a_question_without_audit", programme.source.table, each_ms)
        refused = Spread.of([float(one.refused) for one in rounds])
        report.note(
            "refused_for_earlier_answers", f"{programme.source.table}, of {len(plans)}", refused
        )


@dataclass(frozen=True)
class _Round:
    audited_s: float
    plain_s: float
    refused: int


def _round(directory: Path, programme: Programme, plans: Sequence[Plan]) -> _Round:
    """Ask every question of both, each in turn."""
    spent, refused = [0.0, 0.0], 0
    table = programme.source.table
    columns = frozenset(programme.columns)
    rule = TableRule(
        operations=frozenset({Operation.COUNT, Operation.SUM, Operation.MEAN}),
        output=frozenset({"price", "sqft_living", "distance", "hour"}),
        filters=columns,
        groups=columns,
        aggregates_only=True,
    )
    box = directory / "box"
    with (
        Shadow(box, table, floor=FLOOR) as audited,
        Shadow(box, table, floor=FLOOR, remembers=False) as plain,
    ):
        for plan in plans:
            for at, shadow in enumerate((audited, plain)):
                start = time.perf_counter()
                try:
                    shadow.ask(plan, rule)
                except Suppressed:
                    refused += shadow is audited
                spent[at] += time.perf_counter() - start
    return _Round(audited_s=spent[0], plain_s=spent[1], refused=refused)


def _seal(directory: Path, programme: Programme, *, rows: int | None) -> None:
    source = programme.source
    file = _file(directory, programme, rows)
    table = propose_table(file, source.table, null=source.null)
    columns = tuple(
        replace(it, nullable=it.nullable and it.name not in source.key) for it in table.columns
    )
    table = replace(table, key=source.key, subject=source.subject, columns=columns)
    owner, box, ledger = (MachineKey(Ed25519PrivateKey.generate()) for _ in range(3))
    archive_id = archive_id_of(owner.public_bytes, _NONCE)
    manifest = Manifest(
        name="audited", archive_id=archive_id, module_id="bench", tables=(table,), floor=FLOOR
    )
    statement = sign_anchor(
        owner,
        anchor_keys=[owner.public_bytes],
        ledger_key=ledger.public_bytes,
        epoch=1,
        version=1,
        nonce=_NONCE,
    )
    with Archive.create(
        directory / "box", manifest, machine_key=box, ledger_key=ledger, anchor_statement=statement
    ) as archive:
        archive.ingest(
            file, source.table, operator="bench", now=datetime.now(UTC), null=source.null
        )


def _file(directory: Path, programme: Programme, rows: int | None) -> Path:
    """Give the programme's table, or what of it is in the first rows of its source."""
    if programme.source is HOUSES:
        if rows is None:
            return HOUSES.locate()
        file = directory / "houses.parquet"
        every = f"'{HOUSES.locate()}' LIMIT {rows}"
    else:
        file = directory / f"{programme.member}.csv"
        every = (
            f"read_csv('{flights(directory, rows=rows)}', all_varchar = true)"
            f" WHERE carrier = '{programme.member}' AND tailnum <> 'NA'"
        )
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * FROM {every}) TO '{file}'")
    return file
