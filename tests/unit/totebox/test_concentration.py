"""Sums that are nearly one subject's, against published examples; figures only are taken over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from psp.capability import Operation
from psp.errors import ArchiveError, Suppressed
from psp.plan import GroupKey, Measure, Plan
from psp.totebox import Archive, Column, ColumnType, Concentration, Manifest, Table, read_manifest
from psp.totebox._manifest_file import write_manifest

from .conftest import OWNER, ingest, write
from .test_history import TENANT, told
from .test_service import Bench

# Hundepool et al., "Handbook on Statistical Disclosure Control", section 4.2: examples 1, 1d and 2,
# each with what it says of the cell. Contributions that it does not name are small ones.
HANDBOOK = [
    ("example 1: 50,000 and 49,000 of 100,000", [50_000, 49_000, 600, 400], (1, 90, 0), False),
    ("the second could tell the first to within 2 %", [50_000, 49_000, 600, 400], (0, 0, 3), True),
    ("as above, to within 2 % and no nearer", [50_000, 49_000, 600, 400], (0, 0, 2), False),
    ("example 1d: one of 51 has 99 %", [99_000, *[20] * 50], (1, 90, 0), True),
    ("example 2: 52,000 and 50,000 of 110,000", [52_000, 50_000, *[1_000] * 8], (0, 0, 10), False),
    ("it overestimates by 15.4 %", [52_000, 50_000, *[1_000] * 8], (0, 0, 16), True),
    ("102,000 is more than 90 % of 110,000", [52_000, 50_000, *[1_000] * 8], (2, 90, 0), True),
]


@pytest.mark.parametrize(("case", "contributions", "rule", "is_hidden"), HANDBOOK)
def test_the_examples_of_the_handbook(
    case: str, contributions: list[int], rule: tuple[int, int, int], is_hidden: bool
) -> None:
    assert Concentration(*rule).hides(contributions) is is_hidden


# Statistics Norway, package GaussSuppression, data set "magnitude1" of its vignette on magnitude
# tables: sales by sector, country and company.
MAGNITUDE_1 = """\
Agriculture Portugal A 75.9
Agriculture Portugal B 24.5
Agriculture Spain A 96.6
Agriculture Spain B 43.2
Entertainment Iceland B 16.8
Entertainment Portugal B 7.1
Entertainment Portugal D 2.3
Entertainment Spain A 77.4
Entertainment Spain B 11.5
Entertainment Spain C 16.4
Governmental Portugal B 21.6
Governmental Portugal D 2.0
Governmental Spain C 6.5
Governmental Spain D 2.7
Industry Iceland B 9.6
Industry Iceland C 8.8
Industry Iceland D 1.9
Industry Portugal B 25.7
Industry Portugal D 3.4
Industry Spain C 8.4
"""


def test_the_contributions_of_a_company_are_one_contribution() -> None:
    """In all Agriculture, of four rows, two companies stand: A has 172.5 of 240.2, or 71.8 %."""
    rows = [line.split() for line in MAGNITUDE_1.splitlines()]
    by_company: dict[str, float] = {}
    for sector, _, company, value in rows:
        if sector == "Agriculture":
            by_company[company] = by_company.get(company, 0) + float(value)
    each = [float(value) for sector, _, _, value in rows if sector == "Agriculture"]

    assert Concentration(1, 70).hides(list(by_company.values()))
    assert not Concentration(1, 72).hides(list(by_company.values()))
    assert not Concentration(1, 70).hides(each)
    assert Concentration(p_percent=10).hides(list(by_company.values()))


@pytest.mark.parametrize("rule", [(1, 0, 0), (0, 80, 0), (11, 80, 0), (1, 100, 0), (0, 0, 101)])
def test_a_rule_without_a_meaning_is_refused(rule: tuple[int, int, int]) -> None:
    with pytest.raises(ArchiveError):
        Concentration(*rule)


def test_a_manifest_keeps_the_rules() -> None:
    manifest = replace(OWNER.manifest(floor=3), concentration=Concentration(2, 85, 10))
    text = write_manifest(manifest)

    assert "dominance = [2, 85]" in text
    assert read_manifest(text) == manifest
    with pytest.raises(ArchiveError, match="has 1 numbers"):
        read_manifest(text.replace("[2, 85]", "[2]"))
    with pytest.raises(ArchiveError, match="Set a floor of 2 or more"):
        replace(manifest, floor=1)
    with pytest.raises(ArchiveError, match="without a history"):
        replace(manifest, remembers=False)


# Through an archive: ten firms in each of four towns; one has nearly all of its town's sales.

FIRMS = Table(
    name="sales",
    columns=(
        Column(name="id", type=ColumnType.TEXT),
        Column(name="town", type=ColumnType.TEXT, values=("east", "north", "south", "west")),
        Column(name="price", type=ColumnType.INTEGER),
    ),
    key=("id",),
    subject="id",
)
BY_TOWN = (GroupKey("town"),)
COUNT, SUM = Measure(Operation.COUNT), Measure(Operation.SUM, "price")


def firms(directory: Path, giant: int) -> Bench:
    manifest: Manifest = replace(OWNER.manifest(FIRMS, floor=3), concentration=Concentration(1, 80))
    archive = Archive.create(
        directory / "box",
        manifest,
        machine_key=OWNER.box,
        ledger_key=OWNER.ledger,
        anchor_statement=OWNER.statement(),
    )
    towns = ("east", "north", "south", "west")
    rows = [
        f"{town}{number},{town},{giant if (town, number) == ('west', 0) else 10 + at}"
        for at, town in enumerate(towns)
        for number in range(10)
    ]
    ingest(archive, write(directory / "firms.csv", "\n".join(["id,town,price", *rows, ""])))
    return Bench(archive)


async def test_a_sum_that_is_nearly_one_firms_is_hidden_with_its_smallest_neighbours(
    tmp_path: Path,
) -> None:
    bench = firms(tmp_path, giant=500)
    rule = replace(TENANT, output=frozenset({"price"}), groups=frozenset({"town"}))
    with bench.archive:
        table = bench.table(replace(rule, filters=frozenset()))
        counts = await told(table, Plan(table="sales", measures=(COUNT,), group=BY_TOWN))
        sums = await told(table, Plan(table="sales", measures=(COUNT, SUM), group=BY_TOWN))

    assert [key for [key], _ in counts["cells"]] == ["east", "north", "south", "west"]
    # 500 of 617 in the west is 81 %; with the east's 100 it is 70 %.
    assert sums["hidden"] == [["east", "complement"], ["west", "dominance"]]
    assert sums["other"] == [20, 717]


async def test_where_one_firm_is_nearly_everything_no_sum_is_told(tmp_path: Path) -> None:
    bench = firms(tmp_path, giant=100_000)
    with bench.archive:
        table = bench.table(replace(TENANT, output=frozenset({"price"}), groups=frozenset()))
        for _ in range(2):
            with pytest.raises(Suppressed, match=r"^hidden: nearly all of this sum"):
                await told(table, Plan(table="sales", measures=(SUM,)))
        counted = await told(table, Plan(table="sales", measures=(COUNT,)))
    assert counted["cells"] == [[[], [40]]]
