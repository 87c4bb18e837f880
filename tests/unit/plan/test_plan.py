from __future__ import annotations

import pytest

from psp.capability import Operation, between, one_of, starts_with
from psp.errors import Invalid
from psp.plan import Bucket, Filter, GroupKey, Measure, Plan

PLAN = Plan(
    table="sales",
    filters=(
        Filter("price", between(1, None, low_open=True)),
        Filter("zip", one_of(["98004", "98039"])),
        Filter("city", starts_with("Bell")),
    ),
    group=(GroupKey("zip"), GroupKey("date", Bucket.MONTH)),
    measures=(Measure(Operation.COUNT), Measure(Operation.MEAN, "price")),
    as_of=7,
)
COUNT = ["count", []]


def test_a_plan_survives_the_wire() -> None:
    assert Plan.from_wire_untrusted(PLAN.to_wire()) == PLAN


def test_the_wire_form_is_positional() -> None:
    assert PLAN.to_wire()[2:] == [
        [["zip", []], ["date", ["month"]]],
        [["count", []], ["mean", ["price"]]],
        [7],
    ]


def test_the_command_hash_depends_on_every_part() -> None:
    other = Plan(table="sales", measures=(Measure(Operation.COUNT),))
    later = Plan(table="sales", measures=(Measure(Operation.COUNT),), as_of=8)

    assert len({PLAN.command_hash(), other.command_hash(), later.command_hash()}) == 3
    assert len(PLAN.command_hash()) == 32


def test_group_keys_and_measures_have_names_that_people_write() -> None:
    assert [key.name for key in PLAN.group] == ["zip", "month(date)"]
    assert [measure.name for measure in PLAN.measures] == ["count(*)", "mean(price)"]


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (None, "an array of 5 elements"),
        (["sales"], "an array of 5 elements"),
        ([b"sales", [], [], [COUNT], []], "text was expected, not bytes"),
        (["", [], [], [COUNT], []], "is not a name"),
        (["a\x1b[0m", [], [], [COUNT], []], "is not a name"),
        (["s" * 65, [], [], [COUNT], []], "is not a name"),
        (["sales", {}, [], [COUNT], []], "at most 32 elements"),
        (["sales", [["zip", [1, 3, []]]] * 33, [], [COUNT], []], "at most 32 elements"),
        (["sales", [["zip", "98004"]], [], [COUNT], []], "an array was expected"),
        (["sales", [], [["date", ["decade"]]], [COUNT], []], "'decade' is not a valid Bucket"),
        (["sales", [], [["date", [1]]], [COUNT], []], "text was expected, not int"),
        (["sales", [], [["zip", []]] * 2, [COUNT], []], "one group key twice"),
        (["sales", [], [], [], []], "0 measures; a plan has 1 to 32"),
        (["sales", [], [], [COUNT, COUNT], []], "one measure twice"),
        (["sales", [], [], [["sum", []]], []], "sum needs a column"),
        (["sales", [], [], [["read", ["id"]]], []], "'read' is not a measure"),
        (["sales", [], [], [["count", ["a", "b"]]], []], "no or one element"),
        (["sales", [], [], [COUNT], [True]], "the tree size is not an integer"),
        (["sales", [], [], [COUNT], [-1]], "tree size -1"),
        (["sales", [], [], [COUNT], [2**63]], "is not in 0"),
    ],
)
def test_what_is_not_a_plan_is_invalid(wire: object, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        Plan.from_wire_untrusted(wire)


def test_an_operation_that_is_no_measure_is_refused_here_too() -> None:
    with pytest.raises(ValueError, match="cannot ask for read"):
        Measure(Operation.READ, "id")
