"""A shadow answers as its archive would, and leaves no trace there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from psp.errors import ArchiveError, Suppressed
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


def test_an_index_that_lets_one_process_in_has_no_shadow(tmp_path: Path) -> None:
    made = bench(tmp_path, engine="duckdb")
    made.archive.close()
    with pytest.raises(ArchiveError, match="is duckdb's, which lets one process in"):
        Shadow(tmp_path / "box", "sales", floor=10)
