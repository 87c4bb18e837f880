"""A shadow answers as its archive would, and leaves no trace there."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from psp.capability import one_of
from psp.errors import ArchiveError, Suppressed
from psp.plan import Filter
from psp.totebox import Shadow, Withheld

from .conftest import ingest, write
from .test_history import ALL_BUT_ONE, BY_GRADE, TENANT, ask, bench, lines, told, until

RULE = replace(TENANT, aggregates_only=True)


async def test_a_shadow_answers_as_the_archive_does_and_leaves_no_trace(tmp_path: Path) -> None:
    served = bench(tmp_path)
    with served.archive, Shadow(tmp_path / "box", "sales", floor=10) as shadow:
        theirs = shadow.ask(ask(group=BY_GRADE), RULE)
        with pytest.raises(Withheld) as caught:
            shadow.ask(ALL_BUT_ONE, RULE)
        assert caught.value.rule == "history"
        assert served.archive.memory.state().execute("SELECT count(*) FROM answered") == [(0,)]

        ours = await told(served.table(TENANT), ask(group=BY_GRADE))
        assert {key: ours[key] for key in theirs} == theirs


async def test_a_shadow_follows_what_its_archive_takes_in_meanwhile(tmp_path: Path) -> None:
    served = bench(tmp_path)
    with served.archive, Shadow(tmp_path / "box", "sales", floor=10) as shadow:
        before = shadow.ask(ask(), RULE)
        ingest(served.archive, write(tmp_path / "more.csv", lines(range(80, 100))))

        assert before["cells"][0][1][0] == 80  # type: ignore[index]
        assert shadow.ask(ask(), RULE)["cells"][0][1][0] == 100  # type: ignore[index]


async def test_one_that_does_not_remember_decides_on_each_answer_alone(tmp_path: Path) -> None:
    with (
        bench(tmp_path).archive,
        Shadow(tmp_path / "box", "sales", floor=10, remembers=False) as shadow,
    ):
        shadow.ask(ask(), RULE)
        shadow.ask(ALL_BUT_ONE, RULE)
        with pytest.raises(Suppressed, match="fewer than 10 subjects stand behind"):
            shadow.ask(ask(date=until(3)), RULE)


async def test_an_index_that_lets_one_process_in_has_a_shadow_of_a_copy(tmp_path: Path) -> None:
    served = bench(tmp_path, engine="duckdb")
    with served.archive, Shadow(tmp_path / "box", "sales", floor=10) as shadow:
        theirs = shadow.ask(ask(group=BY_GRADE), RULE)
        with pytest.raises(Withheld):
            shadow.ask(ALL_BUT_ONE, RULE)
        ours = await told(served.table(TENANT), ask(group=BY_GRADE))
        assert {key: ours[key] for key in theirs} == theirs


def test_a_copy_is_made_when_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench(tmp_path, engine="duckdb").archive.close()
    index = tmp_path / "box" / "index" / "index.duckdb"
    copies = []

    def copied(source: Path, target: Path) -> None:
        copies.append(source)
        target.write_bytes(source.read_bytes())
        if len(copies) < written:
            os.utime(source, ns=(len(copies), len(copies)))

    monkeypatch.setattr(shutil, "copyfile", copied)
    written = 3
    with Shadow(tmp_path / "box", "sales", floor=10) as shadow:
        assert shadow.ask(ask(), RULE)["cells"]
    assert copies == [index] * 3
    written = 10**6
    with pytest.raises(ArchiveError, match="is being written all the time"):
        Shadow(tmp_path / "box", "sales", floor=10)


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_rows_can_count_as_sealed_last(tmp_path: Path, engine: str) -> None:
    bench(tmp_path, engine=engine).archive.close()
    last = Filter("id", one_of(["h079"]))
    with Shadow(tmp_path / "box", "sales", floor=1, last=last) as shadow:
        before, after = (
            shadow.ask(ask(), replace(RULE, floor=1), tree_size=size)["cells"][0][1][0]  # type: ignore[index]
            for size in (shadow.size - 1, shadow.size)
        )
    assert (before, after) == (79, 80)
    with Shadow(tmp_path / "box", "sales", floor=1) as shadow:
        assert shadow.ask(ask(), RULE, tree_size=shadow.size)["cells"][0][1][0] == 80  # type: ignore[index]
