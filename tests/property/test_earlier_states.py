"""Every state that an archive ever had is still answered as it was then."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psp.capability import Operation, TableRule
from psp.errors import Denied, Invalid
from psp.plan import GroupKey, Measure, Plan
from psp.totebox import Archive, retract
from psp.totebox._earlier import check_as_of
from psp.totebox._engine import Engine
from tests.unit.totebox.conftest import NOW, OWNER, SALES, ingest, write

RULE = TableRule(
    operations=frozenset(Operation),
    output=frozenset({"id", "price"}),
    filters=frozenset({"id"}),
    groups=frozenset({"id"}),
    rows_max=1,
)

States = list[dict[str, int]]
ids = st.sampled_from("abcd")
# Each step is a file of prices by id, or the ids that are retracted.
steps = st.lists(
    st.dictionaries(ids, st.integers(1, 99), min_size=1) | st.sets(ids, min_size=1), max_size=6
)


def plan(as_of: int | None) -> Plan:
    return Plan(
        table="sales",
        measures=(Measure(Operation.SUM, "price"),),
        group=(GroupKey("id"),),
        as_of=as_of,
    )


def answered(archive: Archive, as_of: int | None) -> dict[str, int]:
    engine = Engine(archive.index_path, SALES, RULE, as_of=as_of)
    try:
        cells = engine.query(plan(as_of))["cells"]
    finally:
        engine.close()
    assert isinstance(cells, list)
    return {key[0]: int(figures[0]) for key, figures in cells}


def live(archive: Archive, todo: list[dict[str, int] | set[str]], files: Path) -> States:
    """Do the steps; give the state at each tree size from 1."""
    state: dict[str, int] = {}
    states = [state]
    for at, step in enumerate(todo):
        if isinstance(step, dict):
            lines = "".join(f"{key},2014-05-02,{price},{at}\n" for key, price in step.items())
            ingest(archive, write(files / f"{at}.csv", f"id,date,price,rooms\n{lines}"))
            state = {**state, **step}
        elif known := sorted(step & state.keys()):
            retract(archive, "sales", [[k] for k in known], operator="j", now=NOW, reason="x")
            state = {key: price for key, price in state.items() if key not in known}
        else:
            continue
        states.append(state)
    return states


@settings(max_examples=25, deadline=None)
@given(steps)
def test_each_state_is_answered_as_it_was_also_from_an_index_made_anew(
    todo: list[dict[str, int] | set[str]],
) -> None:
    with tempfile.TemporaryDirectory() as made:
        with OWNER.found(Path(made, "box")) as archive:
            states = live(archive, todo, Path(made))
            roots = [archive.ledger.root_hash(size) for size in range(1, len(states) + 1)]
            assert [answered(archive, size) for size in range(1, len(states) + 1)] == states
            assert answered(archive, None) == states[-1]
        archive.index_path.unlink()
        with Archive.open(Path(made, "box")) as archive:
            assert [answered(archive, size) for size in range(1, len(states) + 1)] == states
            assert roots[-1] == archive.ledger.checkpoint.root_hash
            assert [archive.ledger.root_hash(size + 1) for size in range(len(states))] == roots


@pytest.mark.parametrize("subject", ["id", None])
def test_rows_of_an_earlier_state_are_counted(tmp_path: Path, subject: str | None) -> None:
    """A count alone reads no column; the lock around the view must let it through all the same."""
    table = replace(SALES, subject=subject)
    counted = []
    with OWNER.found(tmp_path / "box", table) as archive:
        live(archive, [{"a": 1, "b": 2}, {"a"}], tmp_path)
        for as_of in (1, 2, 3):
            engine = Engine(archive.index_path, table, RULE, as_of=as_of)
            counting = Plan(table="sales", measures=(Measure(Operation.COUNT),), as_of=as_of)
            counted.append(engine.query(counting)["cells"])
            engine.close()
    assert counted == [[], [[[], [2]]], [[[], [1]]]]


def test_a_state_that_never_was_is_no_question() -> None:
    for size in (0, 4):
        with pytest.raises(Invalid, match="it has 1 to 3"):
            check_as_of(plan(size), 3, 1, 3)


def test_under_a_floor_only_the_newest_state_is_shown() -> None:
    assert check_as_of(plan(None), 3, 10, 2) == 3
    assert check_as_of(plan(3), 3, 10, 2) == 3
    assert check_as_of(plan(2), 3, 10, 2) == 2, "the very same rows"
    with pytest.raises(Denied, match="difference of two states"):
        check_as_of(plan(1), 3, 10, 2)
