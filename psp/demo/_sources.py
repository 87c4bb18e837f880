"""Two public registers that should say the same and do not, compared without their rows.

Both count the people of the world's countries: the World Bank's figures as `great-tables` carries
them, and Gapminder's as `causaldata` does. Neither package is imported, and nothing of them is
shipped: the two files are read where they are installed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import trio

from psp.aggregator import Reconciled, Reconciliation, Row, Side, open_fleet
from psp.errors import EstateError
from psp.estate import Draft, Estate, TenantPolicy, create_estate
from psp.totebox import Column, ColumnType, Table, share_secret
from psp.values import to_text

from ._data import Source
from ._run import Reporter, passing_directory

YEARS: Final = 4
"""The last ones that both have: more differ in over 1,000 rows, the most that one call may read."""
TABLE: Final = "population"
FAR_APART_SHOWN: Final = 20
NAMES_SHOWN: Final = 6
LEVELS: Final = (Decimal("0.01"), Decimal("0.05"), Decimal("0.20"))


@dataclass(frozen=True, slots=True, eq=False)
class _Register:
    """One of the two, and what its columns are called."""

    name: str
    label: str
    source: Source
    country: str
    people: str


def _source(package: str, file: str, about: str) -> Source:
    return Source(
        package=package,
        file=file,
        entity="country",
        table=TABLE,
        key=("country", "year"),
        subject="country",
        currencies={},
        null="",
        about=about,
    )


WORLD_BANK: Final = _Register(
    name="worldbank",
    label="World Bank",
    source=_source(
        "great_tables", "data/01-countrypops.csv", "the World Bank's populations, 1960 to 2024"
    ),
    country="country_name",
    people="population",
)
GAPMINDER: Final = _Register(
    name="gapminder",
    label="Gapminder",
    source=_source(
        "causaldata", "gapminder/gapminder.csv", "Gapminder's populations, 1952 to 2007"
    ),
    country="country",
    people="pop",
)
AUDITOR: Final = TenantPolicy(
    name="auditor",
    sentence="Compares the two registers, and sees the rows that differ.",
    pairing="ADMIN",
    operations=("sketch", "read"),
    objects={},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesFound:
    """What came of it.

    Attributes:
        years: Those that were compared.
    """

    years: tuple[int, ...]
    reconciled: Reconciled

    def to_dict(self) -> dict[str, Any]:
        """The object that `psp demo sources --json` prints."""
        return {"years": list(self.years), **self.reconciled.to_dict()}

    def apart(self, level: Decimal) -> int:
        """How many rows differ by more than a part of the first register's figure."""
        return sum(_share(*pair) > level for pair in self.reconciled.differ)


def run_sources(*, reporter: Reporter) -> SourcesFound:
    """Put each register into an archive of its own, and compare the two.

    Raises:
        EstateError: A package is not installed, or the disk is full.
    """
    reporter.stage("reading two registers of the world's population")
    registers = {each: _read(each) for each in (WORLD_BANK, GAPMINDER)}
    years = _common_years(registers)
    with passing_directory(None) as root:
        reporter.stage("sealing them", len(registers))
        estate = _make_estate(registers, years, root, reporter)
        reporter.stage("comparing them", len(registers))
        with estate.serve(on_ready=lambda name: reporter.step()):
            found = trio.run(_compare, estate)
    return SourcesFound(years=years, reconciled=found)


def _read(register: _Register) -> dict[tuple[str, int], int]:
    with register.source.locate().open(encoding="utf-8", newline="") as file:
        return {
            (row[register.country], int(row["year"])): int(row[register.people])
            for row in csv.DictReader(file)
            if row[register.people]  # Nobody has counted everywhere in every year.
        }


def _common_years(registers: Mapping[_Register, Mapping[tuple[str, int], int]]) -> tuple[int, ...]:
    first, *others = ({year for _, year in rows} for rows in registers.values())
    return tuple(sorted(first.intersection(*others))[-YEARS:])


def _make_estate(
    registers: Mapping[_Register, Mapping[tuple[str, int], int]],
    years: tuple[int, ...],
    root: Path,
    reporter: Reporter,
) -> Estate:
    files = {}
    for register, rows in registers.items():
        files[register.name] = file = root / f"{register.name}.csv"
        with file.open("w", encoding="utf-8", newline="") as target:
            kept = ((*key, people) for key, people in rows.items() if key[1] in years)
            csv.writer(target).writerows([("country", "year", "people"), *kept])
    columns = {
        "country": ColumnType.TEXT,
        "year": ColumnType.INTEGER,
        "people": ColumnType.INTEGER,
    }
    table = Table(
        name=TABLE,
        columns=tuple(Column(name=name, type=kind) for name, kind in columns.items()),
        key=("country", "year"),
        subject="country",
    )
    estate = create_estate(
        Draft(root=root / "estate", files=files, table=table, null=""),
        tenants=(AUDITOR,),
        labels={register.name: register.label for register in registers},
        on_member=lambda name: reporter.step(),
    )
    share_secret([estate.layout.archive(name) for name in files])
    return estate


async def _compare(estate: Estate) -> Reconciled:
    async with open_fleet(estate.roster, tenant=AUDITOR.name) as fleet:
        left, right = (
            Side(member=register.name, table=TABLE, key=("country", "year"), amount=("people",))
            for register in (WORLD_BANK, GAPMINDER)
        )
        found = await fleet.reconcile(
            Reconciliation(title="The world's population, twice", left=left, right=right)
        )
    if not found.is_listed:
        raise EstateError(f"the registers cannot be compared row by row: {found.why_not_listed}")
    return found


def sources_page(found: SourcesFound) -> dict[str, Any]:
    """The form that `psp.console` draws."""
    it = found.reconciled
    both = it.matched + len(it.differ)
    return {
        "title": it.asked.title,
        "as_of": to_text(it.asked_at),
        "note": " ".join(map(_said_of, (WORLD_BANK, GAPMINDER))),
        "headline": (
            f"Of {both} figures that both registers have, for {found.years[0]} to"
            f" {found.years[-1]}, {it.matched} are the same."
        ),
        "tiles": [
            ["In both", f"{both:,}"],
            ["The same", f"{it.matched:,}"],
            *([f"Over {level:.0%} apart", f"{found.apart(level):,}"] for level in LEVELS[1:]),
        ],
        "exceptions": None,
        "sections": [_apart_section(it), _missing_section(it), _cost_section(it)],
    }


def _said_of(register: _Register) -> str:
    return (
        f"{register.label}: {register.source.about}; read at run time from the package"
        f" {register.source.package}, whose stated licence is {register.source.licence}."
    )


def _apart_section(found: Reconciled) -> dict[str, Any]:
    pairs = sorted(found.differ, key=lambda pair: (-_share(*pair), to_text(pair[0].key[0])))
    rows = [
        [
            *map(to_text, one.key),
            f"{_people(one):,}",
            f"{_people(other):,}",
            f"{_share(one, other):.1%}",
        ]
        for one, other in pairs[:FAR_APART_SHOWN]
    ]
    return {
        "name": f"Furthest apart, {len(rows)} of {len(pairs)}",
        "sentence": "Each share is of the first figure.",
        "columns": ["Country", "Year", WORLD_BANK.label, GAPMINDER.label, "Apart"],
        "figures": [False, True, True, True, True],
        "rows": rows,
        "last": None,
    }


def _missing_section(found: Reconciled) -> dict[str, Any]:
    rows = []
    for register, missing in ((WORLD_BANK, found.only_left), (GAPMINDER, found.only_right)):
        names = sorted({to_text(row.key[0]) for row in missing})
        shown = " · ".join(names[:NAMES_SHOWN])
        rows.append([register.label, str(len(missing)), str(len(names)), shown])
    return {
        "name": "In one register alone",
        "sentence": (
            "A country under two names, as Turkey and Turkiye, is two countries to a comparison."
        ),
        "columns": ["Only in", "Rows", "Names", "Such as"],
        "figures": [False, True, True, False],
        "rows": rows,
        "last": None,
    }


def _cost_section(found: Reconciled) -> dict[str, Any]:
    return {
        "name": "What was sent",
        "sentence": (
            "So much differs that the first table was too small; it was doubled until it told all."
        ),
        "columns": ["Register", "Rows", "Bytes sent"],
        "figures": [False, True, True],
        "rows": [
            [register.label, f"{rows:,}", f"{size:,}"]
            for register, rows, size in zip(
                (WORLD_BANK, GAPMINDER), found.rows, found.sizes, strict=True
            )
        ],
        "last": None,
    }


def _people(row: Row) -> int:
    (people,) = row.amount
    assert isinstance(people, int)  # Both archives' schemas say so.
    return people


def _share(one: Row, other: Row) -> Decimal:
    return Decimal(abs(_people(other) - _people(one))) / Decimal(_people(one) or 1)
