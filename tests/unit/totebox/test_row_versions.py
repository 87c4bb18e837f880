"""The rows as the audit sees them, against rows read one by one and compared value by value.

Each limit is lowered until it is met, so that few rows go through what millions would: files, not
memory; pieces; texts kept whole, subjects numbered part by part.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psp.capability import Operation, RowDomain
from psp.errors import ArchiveError, Suppressed
from psp.plan import Filter, GroupKey, Measure, Plan
from psp.totebox import Archive
from psp.totebox import _row_batches as row_batches
from psp.totebox import _row_columns as row_columns
from psp.totebox import _spool as spool
from psp.totebox import _subjects as subjects
from psp.totebox._engines import reading
from psp.totebox._groups import StoredKey
from psp.totebox._index import PAST_PREFIX
from psp.totebox._listed import bucket_text
from psp.totebox._manifest import Table
from psp.totebox._row_versions import RowVersions
from psp.totebox._storage import from_storage

from .conftest import ingest, write
from .test_history import (
    FILTERS,
    GROUPS,
    HOMES,
    TENANT,
    ask,
    bench,
    lines,
    reopened,
    told,
)
from .test_service import Bench

Version = tuple[int, int]


def meet_every_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SPOOL_MEMORY_BYTES", 16)
    monkeypatch.setattr(spool, "SPOOL_CHUNK_ROWS", 13)
    monkeypatch.setattr(row_batches, "ROWS_READ_AT_ONCE", 29)
    monkeypatch.setattr(row_batches, "OBJECTS_AT_ONCE", 29)
    monkeypatch.setattr(row_columns, "WORDS_MAX", 3)
    monkeypatch.setattr(subjects, "NUMBERED_AT_ONCE", 37)
    monkeypatch.setattr(subjects, "_TABLE_MAX", 0)


@pytest.fixture(params=["sqlite", "sqlite, every limit met", "duckdb, every limit met"])
def archive(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Archive]:
    engine, _, limits = request.param.partition(",")
    made = bench(tmp_path, engine=engine)
    if limits:
        meet_every_limit(monkeypatch)
    yield made.archive
    made.archive.close()


def opened(archive: Archive, table: Table = HOMES) -> RowVersions:
    path = archive.index_path
    return RowVersions(table, partial(reading, archive.index, path), path.parent)


class Reference:
    """All versions of all rows, as Python's own objects."""

    def __init__(self, archive: Archive) -> None:
        columns = ", ".join(f'"{name}"' for name in HOMES.column_names)
        sql = f"SELECT psp_entry, psp_line, {{}}, {columns} FROM {{}}"
        self.rows: dict[Version, tuple[int, dict[str, Any]]] = {}
        for end, source in ((str(2**62), "sales"), ("psp_end", f"{PAST_PREFIX}sales")):
            for entry, line, ended, *values in rows_of(archive, sql.format(end, source)):
                self.rows[entry, line] = ended, dict(zip(HOMES.column_names, values, strict=True))

    def groups(
        self, size: int, where: dict[str, RowDomain], keys: Sequence[GroupKey]
    ) -> dict[StoredKey, set[Version]]:
        found = defaultdict(set)
        for version, (end, row) in self.rows.items():
            if not version[0] < size <= end:
                continue
            values = {name: from_storage(HOMES.column(name), row[name]) for name in row}
            if all(domain.contains(values[name]) for name, domain in where.items()):
                found[tuple(_key(key, row[key.column], values) for key in keys)].add(version)
        return dict(found)


def _key(key: GroupKey, stored: Any, values: dict[str, Any]) -> Any:
    return stored if key.bucket is None else bucket_text(values[key.column], key.bucket)


def rows_of(archive: Archive, sql: str) -> list[tuple[Any, ...]]:
    if archive.manifest.engine == "sqlite":
        return list(archive.index._connection.execute(sql))
    with closing(archive.index.cursor()) as cursor:  # type: ignore[attr-defined]
        found: list[tuple[Any, ...]] = cursor.execute(sql).fetchall()
        return found


def versions(rows: RowVersions) -> list[Version]:
    count = len(rows)
    entries, its_lines = (it.read(0, count).tolist() for it in (rows._entries, rows._lines))
    return list(zip(entries, its_lines, strict=True))


def told_apart(
    rows: RowVersions, size: int, where: dict[str, RowDomain], keys: Sequence[GroupKey]
) -> dict[StoredKey, set[Version]]:
    filters = [Filter(name, domain) for name, domain in where.items()]
    rows.follow(size, [*where, *(key.column for key in keys)])
    groups = rows.groups(size, filters, keys)
    found = defaultdict(set)
    for version, code in zip(versions(rows), groups.codes.read(0, len(rows)).tolist(), strict=True):
        if code >= 0:
            found[groups.keys[code]].add(version)
    assert groups.counts == [len(found[key]) for key in groups.keys]
    return dict(found)


def size_of(archive: Archive) -> int:
    return archive.ledger.checkpoint.tree_size


def test_every_condition_and_group_tells_the_rows_apart_that_a_loop_over_them_does(
    archive: Archive,
) -> None:
    rows, reference, size = opened(archive), Reference(archive), size_of(archive)
    for at, where in enumerate(FILTERS):
        for keys in GROUPS[at % 3 :: 3]:
            assert told_apart(rows, size, where, keys) == reference.groups(size, where, keys)


def change(archive: Archive, tmp_path: Path, step: int) -> None:
    """Append, correct, and end rows."""
    numbers = (range(80, 95), range(10, 20), range(90, 110), range(0, 30))[step]
    file = write(tmp_path / f"change{step}.csv", lines(numbers, price=2000 + step))
    ingest(archive, file)


@pytest.mark.parametrize("asked_early", [True, False])
def test_what_comes_later_is_added_and_every_earlier_state_stays(
    archive: Archive, tmp_path: Path, asked_early: bool
) -> None:
    rows, sizes = opened(archive), [size_of(archive)]
    names = HOMES.column_names if asked_early else ("id",)
    rows.follow(sizes[0], names)
    known = versions(rows), rows.subjects.read(0, len(rows)).tolist()
    for step in range(4):
        change(archive, tmp_path, step)
        sizes.append(size_of(archive))
        rows.follow(sizes[-1])
        assert versions(rows)[: len(known[0])] == known[0], "a version keeps its number"
        assert rows.subjects.read(0, len(known[0])).tolist() == known[1]
    reference = Reference(archive)
    for at, size in enumerate(sizes):
        for where in FILTERS[at::4]:
            for keys in GROUPS[at::4]:
                assert told_apart(rows, size, where, keys) == reference.groups(size, where, keys)
    assert rows.generation == 1 if asked_early else rows.generation <= 2
    assert_subjects(rows, reference)


def assert_subjects(rows: RowVersions, reference: Reference) -> None:
    numbers = rows.subjects.read(0, len(rows)).tolist()
    names = [reference.rows[version][1]["id"] for version in versions(rows)]
    assert len(set(zip(numbers, names, strict=True))) == len(set(names)) == len(set(numbers))
    weights = rows.subjects.weights(0, len(rows)).tolist()
    assert weights == [1 / names.count(name) for name in names]


def test_where_no_column_names_subjects_all_versions_of_a_key_are_one(
    archive: Archive, tmp_path: Path
) -> None:
    table = replace(HOMES, subject=None, key=("id",))
    rows = opened(archive, table)
    rows.follow(size_of(archive))
    assert rows.subjects.read(0, len(rows)).tolist() == list(range(80))
    for step in range(4):
        change(archive, tmp_path, step)
        rows.follow(size_of(archive))
    assert_subjects(rows, Reference(archive))
    fresh = opened(archive, table)
    fresh.follow(size_of(archive))
    assert_subjects(fresh, Reference(archive))


def test_keys_of_two_columns_are_told_apart_by_both(archive: Archive, tmp_path: Path) -> None:
    change(archive, tmp_path, 3)
    rows = opened(archive, replace(HOMES, subject=None, key=("id", "grade")))
    rows.follow(size_of(archive))
    assert_subjects(rows, Reference(archive))


def test_release_points_are_told_by_new_subjects(archive: Archive, tmp_path: Path) -> None:
    first = size_of(archive)
    change(archive, tmp_path, 1)
    second = size_of(archive)
    change(archive, tmp_path, 2)
    rows = opened(archive)
    rows.follow(size_of(archive))

    assert rows.changed_between(first, second)
    assert rows.new_subjects(first, second) == 0
    assert rows.new_subjects(first, size_of(archive)) == 20
    assert not rows.changed_between(size_of(archive), size_of(archive) + 1)


def test_sums_by_subject_are_exact(archive: Archive) -> None:
    rows, size = opened(archive), size_of(archive)
    rows.follow(size, ["price", "rooms", "grade", "area"])
    groups = rows.groups(size, [], [GroupKey("grade")])
    reference = Reference(archive)
    for name in ("price", "rooms", "area"):
        found = rows.contributions(groups, name)
        for key, its_rows in reference.groups(size, {}, [GroupKey("grade")]).items():
            values = [reference.rows[it][1][name] for it in its_rows]
            known = [value for value in values if value is not None]
            assert sorted(found[key].values()) == pytest.approx(sorted(known), abs=0)


def test_a_histogram_bins_values_as_its_edges_say(archive: Archive) -> None:
    rows, size = opened(archive), size_of(archive)
    rows.follow(size, ["price", "rooms", "area"])
    reference = Reference(archive)
    for name, edges in (
        ("price", (1010, Decimal("1020.005"), 1030, 2**62)),
        ("rooms", (-5, 1, 2, Decimal("2.5"))),
        ("area", (0, Decimal("0.1"), 5)),
    ):
        groups = rows.groups(size, [], [], Measure(Operation.HISTOGRAM, name, edges))
        expected: dict[StoredKey, int] = defaultdict(int)
        for _, row in reference.rows.values():
            if row[name] is not None:
                value: Any = from_storage(HOMES.column(name), row[name])
                exact = Decimal(repr(value)) if isinstance(value, float) else value
                expected[(sum(edge <= exact for edge in edges),)] += 1
        assert dict(zip(groups.keys, groups.counts, strict=True)) == expected


@pytest.mark.parametrize("archive", ["sqlite, every limit met"], indirect=True)
def test_a_full_disk_is_said_and_the_next_question_begins_anew(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, size = opened(archive), size_of(archive)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        with pytest.raises(ArchiveError, match="No space left"):
            rows.follow(size, ["grade"])
    assert told_apart(rows, size, {}, [GroupKey("grade")]).keys() == {(1,), (2,), (3,), (4,)}


@pytest.mark.parametrize("archive", ["sqlite, every limit met"], indirect=True)
def test_long_columns_leave_no_name_on_the_disk(archive: Archive) -> None:
    before = sorted(archive.index_path.parent.iterdir())
    rows = opened(archive)
    rows.follow(size_of(archive), HOMES.column_names)
    assert rows._entries._file >= 0
    assert sorted(archive.index_path.parent.iterdir()) == before


def test_numbers_take_as_many_bytes_as_the_longest_of_them(tmp_path: Path) -> None:
    numbers = spool.Spool(tmp_path)
    for longest, size in ((127, 1), (-129, 2), (40_000, 4), (2**31, 8), (-(2**63), 8)):
        numbers.append(np.array([longest, 1]))
        assert numbers.read(0, len(numbers)).itemsize == size
    assert numbers.read(0, 10).tolist()[::2] == [127, -129, 40_000, 2**31, -(2**63)]


def questions() -> list[Plan]:
    """Thirty, some of which are refused after others."""
    plans = []
    for at, where in enumerate(FILTERS):
        for group in GROUPS[at % 4 :: 4]:
            plans.append(ask(group=group, **where))
    return plans


async def answers(homes: Bench, plans: Sequence[Plan]) -> list[object]:
    found: list[object] = []
    for plan in plans:
        try:
            answer = await told(homes.table(TENANT), plan)
            found.append([answer[name] for name in ("cells", "other", "hidden", "hidden_count")])
        except Suppressed as exc:
            found.append(str(exc))
    return found


async def test_what_is_told_and_refused_does_not_depend_on_any_limit_nor_on_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans, outcomes = questions(), []
    for name in ("plain", "limited", "reopened"):
        (tmp_path / name).mkdir()
        homes = bench(tmp_path / name)
        with monkeypatch.context() as limited:
            if name == "limited":
                meet_every_limit(limited)
            found = await answers(homes, plans[:15])
            if name == "reopened":
                homes = reopened(homes)
            found += await answers(homes, plans[15:])
        homes.archive.close()
        outcomes.append(found)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert 0 < sum(isinstance(it, str) for it in outcomes[0]) < len(plans)
