"""What a view shows: exceptions first, totals of what came, and why a figure is what it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from psp.aggregator import Answer, TrioFleet, View, show, why
from psp.errors import QuestionError

from .virtual import Estate, estate, fleet, named

T = TypeVar("T")
TEXT = """\
title = "Rows"
table = "rows"
[measures]
n = "count(*)"
amount = "sum(amount)"
[derived]
mean = "amount / n"
[[thresholds]]
when = "mean > 2"
sentence = "dear"
"""


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    file = tmp_path_factory.mktemp("show") / "view.toml"
    file.write_text(TEXT)
    return View.load(file)


def within(of: Estate, use: Callable[[TrioFleet], Awaitable[T]]) -> T:
    async def main() -> T:
        async with fleet(of) as opened:
            return await use(opened)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_view_has_its_total_its_members_and_its_exceptions(view: View, tmp_path: Path) -> None:
    of = estate(tmp_path, named("a", "b", "gone"))
    of.boxes["b"].count, of.boxes["b"].amount, of.boxes["b"].hidden = 4, Decimal("20.00"), 2
    of.host("gone").is_down = True
    shown = show(view, within(of, lambda it: it.view(view)))
    assert shown["total"] == {"n": 5, "amount": "21.25", "mean": "4.25"}
    assert shown["over"] == {"members": 2, "of": 3}
    assert [(it["member"], it["figures"]["mean"]) for it in shown["members"]] == [
        ("a", "1.25"),
        ("b", "5.00"),
    ]
    assert [it["severity"] for it in shown["exceptions"]] == ["high", "medium"]
    assert "gone is unreachable" in shown["exceptions"][0]["sentence"]
    assert shown["exceptions"][1]["sentence"] == "b: dear (mean 5.00)"
    assert shown["withheld"][0]["cells"] == 2
    assert shown["partial"]


def test_since_an_earlier_state_each_member_has_both_figures(view: View, tmp_path: Path) -> None:
    of = estate(tmp_path, named("a"))

    async def twice(it: TrioFleet) -> dict[str, Any]:
        before = await it.view(view)
        of.boxes["a"].count = 5
        return show(view, await it.view(view), before=before)

    shown = within(of, twice)
    assert (shown["total_before"]["n"], shown["total"]["n"]) == (1, 5)
    assert shown["members"][0]["before"]["n"] == 1


def test_members_are_asked_at_the_states_of_an_earlier_answer(view: View, tmp_path: Path) -> None:
    of = estate(tmp_path, named("a", "new"))
    answer = within(of, lambda it: it.view(view, as_of={"a": 7}))
    assert of.boxes["a"].plans[-1][-1] == [7]
    assert {leaf.member: leaf.state.value for leaf in answer.leaves} == {
        "a": "answered",
        "new": "refused",
    }
    assert "had not answered then" in answer.absent[0].cause


def test_why_says_what_a_figure_is_made_of(view: View, tmp_path: Path) -> None:
    of = estate(tmp_path, named("a", "b"))
    answer = within(of, lambda it: it.view(view))
    found = why(view, answer, "mean", [])
    assert found["figure"] == "1.25"
    assert [(part["member"], part["figure"]) for part in found["parts"]] == [
        ("a", "1.25"),
        ("b", "1.25"),
    ]
    with pytest.raises(QuestionError, match="no figure 'median'"):
        why(view, answer, "median", [])
    with pytest.raises(QuestionError, match="no group 2014-05"):
        why(view, answer, "mean", ["2014-05"])


def test_the_same_states_give_the_same_view(view: View, tmp_path: Path) -> None:
    of = estate(tmp_path, named("a", "b"))

    async def twice(it: TrioFleet) -> list[Answer]:
        return [await it.view(view, as_of={"a": 1, "b": 1}) for _ in range(2)]

    one, other = (show(view, answer) for answer in within(of, twice))
    assert one | {"asked_at": ""} == other | {"asked_at": ""}
