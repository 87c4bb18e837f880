"""Attacks by inference, on the real sales of King County and the real flights out of New York.

Each gets nothing at a floor of ten, stopped by a rule that is named, and gets a record's value
where nothing is held back: so the attacks work, and it is the rule that stops them.
"""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from psp.attack import Verdict
from psp.attack._inference import Asker, find_target, inference_attacks
from psp.attack._report import Attempt
from psp.capability import Operation, TableRule
from psp.demo import FLIGHTS, HOUSES, Source
from psp.errors import ArchiveError, EstateError, Suppressed
from psp.plan import plan_from_sql
from psp.totebox import Archive, Column, ColumnType, Shadow, propose_table
from tests.unit.totebox.conftest import NOW, OWNER

Figures: TypeAlias = "list[Any]"

RULES = {
    "subtraction": "history",
    "individual tracker": "history",
    "general tracker": "history",
    "three-query set": "history",
    "colluding tenants": "history",
    "presence probe": "floor",
    "ask again": "release point",
}


def of(source: Source) -> Path:
    try:
        return source.locate()
    except EstateError as exc:
        pytest.skip(str(exc))


def sealed(
    directory: Path, source: Source, file: Path, floor: int = 10, engine: str = "sqlite"
) -> Archive:
    """An archive of one file, with the key and the subject that the demo gives it."""
    table = propose_table(file, source.table, null=source.null)
    columns = [
        Column(name=it.name, type=ColumnType.DECIMAL, scale=0, currency="USD")
        if it.name in source.currencies
        else replace(it, nullable=it.nullable and it.name not in source.key)
        for it in table.columns
    ]
    table = replace(table, key=source.key, subject=source.subject, columns=tuple(columns))
    manifest = replace(OWNER.manifest(table, floor=floor), engine=engine)
    archive = Archive.create(
        directory,
        manifest,
        machine_key=OWNER.box,
        ledger_key=OWNER.ledger,
        anchor_statement=OWNER.statement(),
    )
    archive.ingest(file, source.table, operator="jane", now=NOW, null=source.null)
    return archive


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Greenwood's sales, and the flights of Alaska Airlines."""
    import duckdb

    directory = tmp_path_factory.mktemp("files")
    houses, flights = directory / "98103.parquet", directory / "AS.csv"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select * from read_parquet('{of(HOUSES)}') where zipcode = 98103) to"
            f" '{houses}' (format parquet)"
        )
    with zipfile.ZipFile(of(FLIGHTS)) as packed, packed.open("flights.csv") as lines:
        heading, *rows = io.TextIOWrapper(lines, "utf-8")
    at = heading.split(",").index("carrier")
    flights.write_text("".join([heading, *(row for row in rows if row.split(",")[at] == "AS")]))
    return {"houses": houses, "flights": flights}


@pytest.fixture(scope="module", params=[("houses", "duckdb"), ("flights", "sqlite")])
def box(
    request: pytest.FixtureRequest, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    name, engine = request.param
    source = {"houses": HOUSES, "flights": FLIGHTS}[name]
    directory = tmp_path_factory.mktemp("box") / "box"
    sealed(directory, source, files[name], engine=engine).close()
    return directory, source.table


def attacked(box: tuple[Path, str], floor: int) -> list[Attempt]:
    return inference_attacks(
        lambda: Shadow(*box, floor=1), lambda last: Shadow(*box, floor=1, last=last), floor
    )


def test_each_attack_gets_nothing_and_its_rule_is_named(box: tuple[Path, str]) -> None:
    """Attack 15: a tracker's questions, which no budget has to end."""
    attempts = attacked(box, 10)

    assert {one.attack: one.rule for one in attempts} == RULES
    assert {one.verdict for one in attempts} == {Verdict.HELD}


def test_without_any_policy_each_of_them_finds_what_it_looks_for(box: tuple[Path, str]) -> None:
    attempts = attacked(box, 1)

    with Shadow(*box, floor=1) as shadow:
        target = find_target(shadow)
        whole = Asker(shadow, target)
        value = whole.total() - whole.total(**{target.odd: target.others})
    who = f"{target.odd} {target.values[-1]}"
    found = {one.attack: one.got for one in attempts}
    assert {one.verdict for one in attempts} == {Verdict.BREACH}
    assert found.pop("presence probe") == f"there is one with {who}"
    assert set(found.values()) == {f"{target.learnt} of the one with {who}: {value}"}
    assert value != 0


def test_a_table_in_which_nobody_stands_out_is_no_target(tmp_path: Path) -> None:
    file = tmp_path / "rents.csv"
    file.write_text("id,rent\n" + "".join(f"{number},{1000 + number}\n" for number in range(9)))
    OWNER.found(tmp_path / "box", propose_table(file, "rents"), floor=1).close()

    with pytest.raises(ArchiveError, match="stands out"):
        attacked((tmp_path / "box", "rents"), 10)
    with pytest.raises(ArchiveError, match="no table 'rent'"):
        Shadow(tmp_path / "box", "rent", floor=1)


# One house, in figures.


EVERYTHING = TableRule(
    operations=frozenset({Operation.COUNT, Operation.SUM, Operation.MEAN}),
    output=frozenset({"price", "sqft_living"}),
    filters=frozenset({"date", "zipcode", "grade", "bedrooms"}),
    groups=frozenset({"date", "zipcode", "grade", "bedrooms"}),
)
TWO_SUMS = (
    "select count(*), sum(price) from sales",
    "select count(*), sum(price) from sales where bedrooms <= 30",
)


def figures(shadow: Shadow, question: str) -> list[Figures]:
    """Ask, and give the figures of every cell, with those of `other` as the last."""
    answer = shadow.ask(plan_from_sql(question).plan, EVERYTHING)
    cells: Any = answer["cells"]
    other: Any = answer["other"]
    return [*(figure for _, figure in cells), *([other] if other is not None else [])]


@pytest.fixture(scope="module")
def greenwood(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("greenwood") / "box"
    sealed(directory, HOUSES, files["houses"]).close()
    return directory


def test_two_sums_whose_difference_is_one_house(greenwood: Path) -> None:
    with Shadow(greenwood, "sales", floor=1) as bare:
        [[every, whole]], [[most, all_but_one]] = (figures(bare, it) for it in TWO_SUMS)
        assert (every, most) == (602, 601)
        assert whole - all_but_one == 640_000
    with Shadow(greenwood, "sales", floor=10) as shadow:
        assert figures(shadow, TWO_SUMS[0]) == [[602, whole]]
        with pytest.raises(Suppressed, match="with earlier answers this one would tell of fewer"):
            figures(shadow, TWO_SUMS[1])
    with Shadow(greenwood, "sales", floor=10) as shadow:
        assert figures(shadow, TWO_SUMS[1]) == [[601, all_but_one]]
        with pytest.raises(Suppressed):
            figures(shadow, TWO_SUMS[0])


def test_an_answer_that_tells_too_much_hides_one_group_more(greenwood: Path) -> None:
    """After all but one house by grade, its grade is hidden with another, and the rest is shown."""
    by_grade = "select grade, count(*), sum(price) from sales where bedrooms <= 30 group by grade"
    all_grades = "select grade, count(*), sum(price) from sales group by grade"
    with Shadow(greenwood, "sales", floor=10) as shadow:
        before = figures(shadow, by_grade)
        with pytest.raises(Suppressed):
            figures(shadow, all_grades)
        assert figures(shadow, by_grade) == before


# The same question after each day.


@pytest.fixture(scope="module")
def by_day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int], list[int]]:
    """Medina's sales, sealed day by day: the archive, its sizes, and all prices."""
    import duckdb

    directory = tmp_path_factory.mktemp("by_day")
    with duckdb.connect() as connection:
        relation = connection.execute(
            "select id, strftime(date, '%Y-%m-%d'), price::bigint from"
            f" read_parquet('{of(HOUSES)}') where zipcode = 98039 order by date, id"
        )
        rows = relation.fetchall()
    table = None
    sizes = []
    for number, (_, group) in enumerate(itertools.groupby(rows, key=lambda row: row[1])):
        file = directory / f"{number}.csv"
        file.write_text("id,date,price\n" + "".join(f"{i},{d},{p}\n" for i, d, p in group))
        if table is None:
            table = propose_table(file, "sales")
            table = replace(table, key=("id", "date"), subject="id")
            archive = OWNER.found(directory / "box", table, floor=10)
        archive.ingest(file, "sales", operator="jane", now=NOW)
        sizes.append(archive.ledger.checkpoint.tree_size)
    archive.close()
    return directory / "box", sizes, [row[2] for row in rows]


def single_prices(answers: Iterator[Figures], prices: list[int]) -> int:
    """Count the differences of two following answers that are one house, and right."""
    found = 0
    for (count, total), (more, grown) in itertools.pairwise(answers):
        if more - count == 1:
            assert grown - total in prices
            found += 1
    return found


def test_asking_again_after_every_day_gives_no_single_price(
    by_day: tuple[Path, list[int], list[int]],
) -> None:
    directory, sizes, prices = by_day
    plan = plan_from_sql("select count(*), sum(price) from sales").plan
    rule = replace(EVERYTHING, filters=frozenset(), groups=frozenset())

    def asked(floor: int, size: int, shadow: Shadow) -> Figures:
        try:
            cells: Any = shadow.ask(plan, replace(rule, floor=floor), tree_size=size)["cells"]
        except Suppressed:
            return [0, 0]
        return list(cells[0][1])

    with Shadow(directory, "sales", floor=1) as shadow:
        floor_alone = single_prices((asked(1, size, shadow) for size in sizes), prices)
    with Shadow(directory, "sales", floor=10) as shadow:
        held = [asked(10, size, shadow) for size in sizes]

    assert floor_alone > 30
    assert single_prices(iter(held), prices) == 0
    steps = {more - less for (less, _), (more, _) in itertools.pairwise(held)} - {0}
    assert min(steps) >= 10
    assert len(steps) > 1


# What people ask.


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("county") / "box"
    sealed(directory, HOUSES, of(HOUSES)).close()
    return directory


MARGINS = {
    "total": "select count(*), sum(price) from sales",
    "month": "select month(date) as m, count(*), sum(price) from sales group by m",
    "zipcode": "select zipcode, count(*), sum(price) from sales group by zipcode",
    "grade": "select grade, count(*), sum(price) from sales group by grade",
}


@pytest.mark.parametrize("first", MARGINS)
def test_margins_with_totals_are_answered_in_any_order(county: Path, first: str) -> None:
    order = [first, *sorted(MARGINS.keys() - {first}, reverse=first < "n")]
    with Shadow(county, "sales", floor=10) as shadow:
        for name in order:
            told = figures(shadow, MARGINS[name])
            assert [sum(column) for column in zip(*told, strict=True)] == [21613, 11672925008]
            assert len(told) == {"total": 1, "month": 13, "zipcode": 70, "grade": 10}[name]
