"""What an archive remembers of its answers: over grants, tenants, restarts and new rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from psp.capability import Operation, RowDomain, TableRule, between, one_of, starts_with
from psp.errors import ArchiveError, Denied, Suppressed
from psp.plan import Bucket, Filter, GroupKey, Measure, Plan
from psp.totebox import Archive, Column, ColumnType, Table, read_manifest
from psp.totebox import _query_sets as query_sets
from psp.totebox._answers import Answers
from psp.totebox._history_file import Asked, HistoryFile, RowsDisagree
from psp.totebox._manifest_file import write_manifest
from psp.totebox._row_versions import RowVersions
from psp.totebox._service import TableObject

from .conftest import OWNER, ingest, machine, write
from .test_service import Bench

Answer: TypeAlias = Any

HOMES = Table(
    name="sales",
    columns=(
        Column(name="id", type=ColumnType.TEXT),
        Column(name="date", type=ColumnType.DATE),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, currency="USD"),
        Column(name="rooms", type=ColumnType.INTEGER, nullable=True),
        Column(name="grade", type=ColumnType.INTEGER, values=(1, 2, 3, 4)),
        Column(name="sea", type=ColumnType.BOOLEAN),
        Column(name="area", type=ColumnType.FLOAT),
    ),
    key=("id",),
    subject="id",
)
ALL = frozenset(HOMES.column_names)
TENANT = TableRule(
    operations=frozenset({Operation.COUNT, Operation.SUM, Operation.MEAN}),
    output=ALL,
    filters=ALL,
    groups=ALL,
)
BY_GRADE = (GroupKey("grade"),)


def ask(*measures: Measure, group: Sequence[GroupKey] = (), **where: RowDomain) -> Plan:
    return Plan(
        table="sales",
        measures=measures or (Measure(Operation.COUNT), Measure(Operation.SUM, "price")),
        filters=tuple(Filter(name, domain) for name, domain in where.items()),
        group=tuple(group),
    )


def lines(numbers: range, *, price: int = 1000) -> str:
    """Homes by number: twenty of each grade, the seventh of each ten by the sea."""
    made = [
        f"h{number:03},{date(2014, 5, 1) + timedelta(number)},{price + number},"
        f"{'' if number % 30 == 0 else number % 5},{number // 20 % 4 + 1},"
        f"{'true' if number % 10 == 7 else 'false'},{number / 8}"
        for number in numbers
    ]
    return "\n".join(["id,date,price,rooms,grade,sea,area", *made, ""])


def bench(directory: Path, *, engine: str = "sqlite", count: int = 80) -> Bench:
    manifest = replace(OWNER.manifest(HOMES, floor=10), engine=engine)
    archive = Archive.create(
        directory / "box",
        manifest,
        machine_key=OWNER.box,
        ledger_key=OWNER.ledger,
        anchor_statement=OWNER.statement(),
    )
    ingest(archive, write(directory / "homes.csv", lines(range(count))))
    return Bench(archive)


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Bench]:
    made = bench(tmp_path)
    yield made
    made.archive.close()


def add(homes: Bench, tmp_path: Path, numbers: range, **changes: int) -> None:
    ingest(homes.archive, write(tmp_path / f"{numbers.start}.csv", lines(numbers, **changes)))


async def told(table: TableObject, plan: Plan) -> Answer:
    return await table.query(plan.to_wire())


async def counted(table: TableObject, plan: Plan) -> list[int]:
    answer = await told(table, plan)
    return [figures[0] for _, figures in answer["cells"]]


def until(number: int) -> RowDomain:
    """The homes up to this one: they were sold one a day."""
    return between(None, date(2014, 5, 1) + timedelta(number))


ALL_BUT_ONE = ask(date=until(78))


def reopened(homes: Bench) -> Bench:
    homes.archive.close()
    return Bench(Archive.open(homes.archive.directory), user=homes.user, interface=homes.interface)


async def is_refused(table: TableObject, plan: Plan) -> bool:
    with pytest.raises(Suppressed, match="with earlier answers this one would tell of fewer"):
        await told(table, plan)
    return True


async def test_what_one_grant_was_told_counts_for_the_next_and_for_another_tenant(
    homes: Bench,
) -> None:
    assert await counted(homes.table(TENANT), ask()) == [80]

    again = homes.table(TENANT)
    other = homes.grant(replace(TENANT, floor=12), key=homes.interface).table("sales")
    for table in (again, other):
        assert await is_refused(table, ALL_BUT_ONE)
        assert await counted(table, ask()) == [80]


@pytest.mark.parametrize(
    ("engine", "subject"), [("sqlite", "owner"), ("sqlite", "number"), ("duckdb", "score")]
)
async def test_rows_of_nobody_do_not_help_nine_subjects_over_the_floor(
    tmp_path: Path, engine: str, subject: str
) -> None:
    """Nor do they when they come later, nor to a new state of the table."""

    def lot(numbers: range, nobody: int) -> str:
        made = (f"{it},{'' if it == nobody else it}\n" for it in numbers)
        return f"id,{subject}\n" + "".join(made)

    columns = (
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="owner", type=ColumnType.TEXT, nullable=True),
        Column(name="number", type=ColumnType.INTEGER, nullable=True),
        Column(name="score", type=ColumnType.FLOAT, nullable=True),
    )
    chosen = tuple(it for it in columns if it.name in ("id", subject))
    lots = Table(name="sales", columns=chosen, key=("id",), subject=subject)
    archive = Archive.create(
        tmp_path / "box",
        replace(OWNER.manifest(lots, floor=10), engine=engine),
        machine_key=OWNER.box,
        ledger_key=OWNER.ledger,
        anchor_statement=OWNER.statement(),
    )
    seen = frozenset({"id"})
    allowed = replace(TENANT, output=seen, filters=seen, groups=seen)

    def first(count: int) -> Plan:
        only = (Filter("id", between(None, count - 1)),)
        return Plan(table="sales", measures=(Measure(Operation.COUNT),), filters=only)

    with closing(archive):
        ingest(archive, write(tmp_path / "a.csv", lot(range(40), 35)))
        table = Bench(archive).table(allowed)
        assert await counted(table, first(40)) == [40]
        assert await is_refused(table, first(30))  # Nine, and nobody.
        assert await counted(table, first(29)) == [29]
        ingest(archive, write(tmp_path / "b.csv", lot(range(40, 50), 45)))
        assert await counted(table, first(50)) == [40]  # Nine more: the state has to wait.


async def test_a_restart_forgets_nothing(homes: Bench) -> None:
    assert await counted(homes.table(TENANT), ALL_BUT_ONE) == [79]
    assert await counted(homes.table(TENANT), ask(group=BY_GRADE, date=until(59))) == [20] * 2

    later = reopened(homes)
    try:
        assert await is_refused(later.table(TENANT), ask())
        assert await counted(later.table(TENANT), ALL_BUT_ONE) == [79]
        assert await is_refused(later.table(TENANT), ask(date=until(58)))
    finally:
        later.archive.close()


async def test_what_could_not_be_remembered_is_not_said_and_not_counted(
    homes: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = homes.table(TENANT)
    with monkeypatch.context() as broken:
        broken.setattr(HistoryFile, "add", full_disk)
        with pytest.raises(ArchiveError, match="disk is full"):
            await told(table, ask())

        with pytest.raises(ArchiveError, match="disk is full"):
            await told(table, ask())

    assert await counted(table, ALL_BUT_ONE) == [79]


async def test_the_same_question_is_remembered_after_the_disk_was_full(
    homes: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(HistoryFile, "add", full_disk)
        with pytest.raises(ArchiveError, match="disk is full"):
            await told(homes.table(TENANT), ask())
    assert await counted(homes.table(TENANT), ask()) == [80]

    later = reopened(homes)
    try:
        assert await is_refused(later.table(TENANT), ALL_BUT_ONE)
    finally:
        later.archive.close()


async def test_a_least_value_alone_is_answered_where_an_owner_has_named_it(homes: Bench) -> None:
    table = homes.table(replace(TENANT, operations=TENANT.operations | {Operation.MIN}))

    assert await counted(table, ask(Measure(Operation.MIN, "price"))) == [Decimal("1000.00")]


async def test_a_state_with_the_very_same_rows_may_be_asked_for_by_its_own_number(
    homes: Bench,
) -> None:
    table = homes.table(TENANT)
    first = (await told(table, ask()))["as_of"]
    homes.archive.pair("another", machine().certificate_pem, "USER")

    assert homes.archive.ledger.checkpoint.tree_size > first
    assert (await told(table, replace(ask(), as_of=first)))["as_of"] == first


def full_disk(*_: object) -> None:
    raise ArchiveError("the disk is full")


async def test_a_group_is_hidden_for_what_was_said_before_and_its_rule_is_named(
    homes: Bench,
) -> None:
    """Grade 4 without one home was told: so grade 4 is hidden, and one more that it mixes with."""
    table = homes.table(TENANT)
    by_grade = ask(group=BY_GRADE)
    assert await counted(table, ask(grade=one_of([4]), date=until(78))) == [19]

    answer = await told(table, by_grade)
    assert [key for [key], _ in answer["cells"]] == [2, 3]
    assert answer["hidden"] == [[1, "history"], [4, "history"]]
    assert (answer["hidden_count"], answer["other"][0]) == (2, 40)

    later = reopened(homes)
    try:
        again = await told(later.table(TENANT), by_grade)
        assert (again["cells"], again["other"]) == (answer["cells"], answer["other"])
    finally:
        later.archive.close()


async def test_new_rows_are_seen_when_enough_subjects_have_come(
    homes: Bench, tmp_path: Path
) -> None:
    table = homes.table(TENANT)
    before = await told(table, ask())
    add(homes, tmp_path, range(80, 85))
    assert {**await told(table, ask()), "read": 0} == {**before, "read": 0}
    add(homes, tmp_path, range(60, 70), price=5000)  # Corrections bring no new subject.
    assert await counted(table, ask()) == [80]
    add(homes, tmp_path, range(85, 90))

    after = await told(table, ask())
    assert after["cells"][0][1][0] == 90
    assert after["as_of"] > before["as_of"]


async def test_rows_of_another_table_or_none_do_not_hold_a_state_back(
    homes: Bench, tmp_path: Path
) -> None:
    table = homes.table(TENANT)
    before = await told(table, ask())
    homes.archive.pair("third", homes.user.certificate_pem, "INPUT")

    after = await told(table, ask())
    assert after["as_of"] > before["as_of"]
    assert after["cells"] == before["cells"]
    assert await is_refused(table, ALL_BUT_ONE)


async def test_where_a_floor_stands_no_other_state_can_be_named(
    homes: Bench, tmp_path: Path
) -> None:
    table = homes.table(TENANT)
    before = await told(table, ask())
    add(homes, tmp_path, range(80, 85))

    assert await counted(table, replace(ask(), as_of=before["as_of"])) == [80]
    with pytest.raises(Denied, match="earlier states are not shown"):
        await told(table, replace(ask(), as_of=before["as_of"] - 1))


async def test_beyond_what_can_be_kept_account_of_only_repeats_are_answered(
    homes: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = homes.table(TENANT)
    assert await counted(table, ask(group=BY_GRADE)) == [20] * 4
    monkeypatch.setattr(query_sets, "ATOMS_MAX", 4)

    with pytest.raises(Suppressed, match="so many different questions"):
        await told(table, ask(date=until(49)))
    assert await counted(table, ask(group=BY_GRADE)) == [20] * 4
    assert await counted(table, ask()) == [80]
    assert await counted(table, ask(grade=one_of([1, 2]))) == [40]


async def test_a_floor_of_one_is_not_remembered(tmp_path: Path) -> None:
    """The owner's own office is not held back, and needs no numpy."""
    archive = OWNER.found(tmp_path / "box", HOMES, floor=1)
    with archive:
        ingest(archive, write(tmp_path / "homes.csv", lines(range(30))))
        table = Bench(archive).table(TENANT)
        assert await counted(table, ask()) == [30]
        assert await counted(table, ask(date=until(28))) == [29]
        assert archive.memory.state().execute("SELECT count(*) FROM answered") == [(0,)]


async def test_an_owner_can_have_each_answer_looked_at_alone(tmp_path: Path) -> None:
    """For a table too large to keep account of; the manifest says so."""
    made = bench(tmp_path)
    with made.archive:
        made.archive.manifest = replace(made.archive.manifest, remembers=False)
        table = made.table(TENANT)
        assert await counted(table, ask()) == [80]
        assert await counted(table, ALL_BUT_ONE) == [79]
        assert made.archive.memory.state().execute("SELECT count(*) FROM answered") == [(0,)]
    text = write_manifest(made.archive.manifest)
    assert "history = false" in text
    assert read_manifest(text) == made.archive.manifest


async def test_an_engine_that_counts_other_rows_is_not_believed(
    homes: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(self: Answers, as_of: int | None = None) -> Any:
        engine = opened(self, as_of)
        engine._floor = 10
        engine._connection.authorizer = None
        engine._connection.execute(f"DROP VIEW {engine._view}")
        engine._connection.execute(
            f"CREATE TEMP VIEW {engine._view} AS SELECT *, id AS psp_subject FROM main.sales"
            " WHERE grade <> 4"
        )
        return engine

    opened = Answers.open_engine
    monkeypatch.setattr(Answers, "open_engine", blind)
    with pytest.raises(RowsDisagree):
        await told(homes.table(TENANT), ask())


FILTERS: list[dict[str, RowDomain]] = [
    {},
    {"id": starts_with("h0")},
    {"id": one_of([f"h{number:03}" for number in range(20)])},
    {"date": between(date(2014, 5, 10), date(2014, 7, 1))},
    {"date": one_of([date(2014, 5, 10)])},
    {"price": between(1010, None, low_open=True)},
    {"price": one_of([1001, 1002])},
    {"rooms": between(None, 3)},
    {"rooms": one_of([1, 2]), "sea": one_of([False])},
    {"sea": one_of([True, False])},
    {"area": between(1, 8)},
    {"grade": between(1, 3, low_open=True), "id": starts_with("h")},
]
GROUPS = [
    (),
    *((GroupKey(name),) for name in ("rooms", "grade", "sea", "area", "price")),
    *((GroupKey("date", bucket),) for bucket in Bucket),
    (GroupKey("sea"), GroupKey("rooms")),
]


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
async def test_the_audit_counts_the_rows_that_the_engine_counts(
    tmp_path: Path, engine: str
) -> None:
    """For every kind of condition and group, and for the domains of a grant; nulls as well."""
    made = bench(tmp_path, engine=engine)
    asked = refused = 0
    with made.archive:
        for where in FILTERS:
            table = made.table(replace(TENANT, rows=where))
            # Each condition with some groups, and so each group with some conditions.
            for group in GROUPS[asked % 3 :: 3]:
                for plan in (
                    ask(group=group),
                    ask(Measure(Operation.MEAN, "rooms"), group=group, **where),
                ):
                    asked += 1
                    try:
                        await told(table, plan)
                    except Suppressed:
                        refused += 1
    assert refused < asked


EVERY_FIGURE = replace(
    TENANT,
    operations=TENANT.operations | {Operation.VARIANCE, Operation.DISTINCT, Operation.HISTOGRAM},
)


@pytest.mark.parametrize(
    "measure",
    [Measure(Operation.VARIANCE, "price"), Measure(Operation.DISTINCT, "price")],
    ids=["variance", "distinct"],
)
async def test_every_figure_of_a_set_of_rows_counts_for_every_other(
    homes: Bench, measure: Measure
) -> None:
    table = homes.table(EVERY_FIGURE)
    assert await counted(table, ask()) == [80]

    assert await is_refused(table, ask(measure, date=until(78)))
    assert (await told(table, ask(measure)))["cells"], "the same rows give nothing new away"


async def test_the_bins_of_a_histogram_are_sets_of_rows_as_any_groups_are(homes: Bench) -> None:
    table = homes.table(EVERY_FIGURE)
    bins = Measure(Operation.HISTOGRAM, "area", (Decimal("2.5"), 5))
    answer = await told(table, ask(bins))
    assert answer["cells"] == [[[], [[20, 20, 40, 0]]]]

    # One home more than the first bin has.
    assert await is_refused(table, ask(area=between(None, Decimal("2.5"))))
    assert (await told(reopened(homes).table(EVERY_FIGURE), ask(bins)))["cells"] == answer["cells"]


async def test_a_histogram_folds_a_bin_for_what_was_told_before(homes: Bench) -> None:
    table = homes.table(EVERY_FIGURE)
    assert await counted(table, ask(area=between(None, Decimal("2.5")))) == [21]

    answer = await told(table, ask(Measure(Operation.HISTOGRAM, "area", (Decimal("2.5"), 5))))
    # The first two together: beside one alone, the home that is 2.5 wide could be subtracted.
    assert answer["hidden_count"] == 2
    assert answer["cells"] == [[[], [[None, None, 40, 0]]]]


async def test_rows_are_read_while_the_engine_counts_and_what_fails_there_is_said_by_the_answer(
    homes: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = homes.table(TENANT)
    with monkeypatch.context() as broken:
        broken.setattr(RowVersions, "follow", full_disk)
        with pytest.raises(ArchiveError, match="disk is full"):
            await told(table, ask())

    threads: list[str] = []
    follow = RowVersions.follow

    def seen(self: RowVersions, *arguments: Any) -> None:
        threads.append(threading.current_thread().name)
        follow(self, *arguments)

    monkeypatch.setattr(RowVersions, "follow", seen)
    assert await counted(table, ask(group=BY_GRADE)) == [20] * 4
    assert len(set(threads)) == 2
    assert await counted(table, ask()) == [80]
    assert len(set(threads)) <= 3, "the second question has nothing to read ahead"


async def test_another_spelling_of_a_question_is_the_same_question(homes: Bench) -> None:
    table = homes.table(TENANT)
    by_grade = ask(group=BY_GRADE, grade=one_of([4, 3, 2]))
    assert await counted(table, ask(grade=one_of([4]), date=until(78))) == [19]
    first = await told(table, by_grade)

    spelled = ask(group=BY_GRADE, grade=between(1, 4, low_open=True))
    granted = replace(TENANT, rows={"grade": between(2, 4)})
    for again, plan in ((table, spelled), (homes.table(granted), ask(group=BY_GRADE))):
        answer = await told(again, plan)
        assert (answer["cells"], answer["other"]) == (first["cells"], first["other"])
    assert homes.archive.memory.state().execute("SELECT count(*) FROM answered") == [(2,)]


async def test_questions_remembered_in_an_older_form_are_known_again(homes: Bench) -> None:
    """A file of an earlier release has the conditions as they were asked."""
    where = (Filter("grade", one_of([2, 3, 4])), Filter("grade", between(1, 3)))
    size = homes.archive.ledger.checkpoint.tree_size
    plan = replace(ask(Measure(Operation.COUNT), group=BY_GRADE), filters=where, as_of=size)
    file = HistoryFile(homes.archive.memory.state, "sales")
    file.add(Asked(plan, ()).encode(), [])

    table = homes.table(TENANT)
    assert await is_refused(table, ask(grade=one_of([2]), date=until(38)))
    assert await counted(table, ask(group=BY_GRADE, grade=between(2, 3))) == [20] * 2
    assert homes.archive.memory.state().execute("SELECT count(*) FROM answered") == [(1,)]
