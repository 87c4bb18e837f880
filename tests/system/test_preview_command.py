"""`psp totebox preview` as an owner types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.totebox.test_history import bench

from .conftest import Ran

pytestmark = pytest.mark.slow


def test_an_owner_sees_which_questions_spoil_each_other(
    psp: Callable[..., Ran], tmp_path: Path
) -> None:
    bench(tmp_path).archive.close()
    questions = [
        "select count(*), sum(price) from sales",
        "select count(*), sum(price) from sales where date <= '2014-07-18'",
        "select grade, count(*) from sales where date <= '2014-06-29' group by grade",
    ]
    ran = psp("totebox", "preview", "box", *questions, "--json")
    told = [json.loads(line) for line in ran.out.splitlines()]

    assert ran.status == 0
    assert [one.get("shown") for one in told] == [1, None, 2]
    assert [one["rules"] for one in told] == [[], ["history"], ["complement", "floor"]]
    assert "with earlier answers" in told[1]["refused"]
    assert "1 groups shown, 0 hidden" in psp("totebox", "preview", "box", questions[0]).out
    assert (
        "has no table 'sale'"
        in psp("totebox", "preview", "box", "select count(*) from sale").sentence
    )
