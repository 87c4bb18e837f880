"""Whatever an answer says, no total of one to floor − 1 subjects follows from it.

The attacker here knows everything an answer holds, which rows are in which cell, and which columns
are null where; linear algebra over the finest parts is then the best there is. The check is written
without a look at the code it checks: a plain rank computation over every small set of rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import apsw
from hypothesis import event, given, settings
from hypothesis import strategies as st

from psp.capability import Operation, TableRule
from psp.errors import Suppressed
from psp.plan import GroupKey, Measure, Plan
from psp.totebox._engine import Engine
from psp.totebox._manifest import Column, ColumnType, Table

PLACES = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Visit:
    """One row: who, where, and three figures of which two may be missing."""

    who: int
    where: str
    cost: int
    days: int | None
    tests: int | None


visits = st.lists(
    st.builds(
        Visit,
        who=st.integers(1, 9),
        where=st.sampled_from(PLACES),
        cost=st.integers(-9, 9),
        days=st.none() | st.integers(0, 9),
        tests=st.none() | st.integers(0, 9),
    ),
    max_size=24,
)
MEASURES = [
    Measure(Operation.COUNT),
    Measure(Operation.COUNT, "days"),
    Measure(Operation.COUNT, "tests"),
    Measure(Operation.SUM, "cost"),
    Measure(Operation.SUM, "days"),
    Measure(Operation.MEAN, "cost"),
    Measure(Operation.MEAN, "days"),
    Measure(Operation.MEAN, "tests"),
]
measure_lists = st.lists(st.sampled_from(MEASURES), min_size=1, max_size=5, unique=True)


def visits_table(*, listed: bool) -> Table:
    integer = ColumnType.INTEGER
    return Table(
        name="visits",
        columns=(
            Column(name="id", type=integer),
            Column(name="who", type=integer),
            Column(name="where", type=ColumnType.TEXT, values=PLACES if listed else ()),
            Column(name="cost", type=integer),
            Column(name="days", type=integer, nullable=True),
            Column(name="tests", type=integer, nullable=True),
        ),
        key=("id",),
        subject="who",
    )


def answer_of(
    rows: Sequence[Visit], measures: Sequence[Measure], floor: int, *, listed: bool
) -> dict[str, object] | None:
    """Ask for the measures by place; None if the answer was suppressed."""
    table = visits_table(listed=listed)
    names = frozenset(table.column_names)
    rule = TableRule(
        operations=frozenset({Operation.COUNT, Operation.SUM, Operation.MEAN}),
        output=names,
        filters=names,
        groups=names,
        floor=floor,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        connection = apsw.Connection(str(path))
        connection.execute('CREATE TABLE visits (id, who, "where", cost, days, tests)')
        with connection:
            connection.executemany(
                "INSERT INTO visits VALUES (?, ?, ?, ?, ?, ?)",
                [(at, it.who, it.where, it.cost, it.days, it.tests) for at, it in enumerate(rows)],
            )
        connection.close()
        engine = Engine(path, table, rule)
        try:
            plan = Plan(table="visits", group=(GroupKey("where"),), measures=tuple(measures))
            return dict(engine.query(plan))
        except Suppressed:
            return None
        finally:
            engine.close()


def figures_of(rows: Sequence[Visit], measures: Sequence[Measure]) -> list[object]:
    """Compute the measures over rows as a person would."""
    figures: list[object] = []
    for measure in measures:
        values = [1 if measure.column is None else getattr(it, measure.column) for it in rows]
        known = [value for value in values if value is not None]
        total = sum(known) if known else None
        by_operation: dict[Operation, object] = {
            Operation.COUNT: len(known),
            Operation.SUM: total,
            Operation.MEAN: [total, len(known)],
        }
        figures.append(by_operation[measure.operation])
    return figures


def published_sets(
    published: Sequence[Sequence[Visit]], measures: Sequence[Measure]
) -> Iterator[list[list[Visit]]]:
    """Give, for each quantity that is summed, the row sets over which its totals are published.

    Counts of rows and of values are totals of the same quantity, one per row.
    """
    counts: list[list[Visit]] = []
    sums: dict[str, list[list[Visit]]] = {}
    for rows in published:
        for measure in measures:
            column = measure.column
            inside = [it for it in rows if column is None or getattr(it, column) is not None]
            if measure.operation in (Operation.COUNT, Operation.MEAN):
                counts.append(inside)
            if column is not None and measure.operation in (Operation.SUM, Operation.MEAN):
                sums.setdefault(column, []).append(inside)
    yield counts
    yield from sums.values()


def rank(vectors: Sequence[Sequence[int]]) -> int:
    rows = [[Fraction(entry) for entry in vector] for vector in vectors]
    found = 0
    for at in range(len(rows[0]) if rows else 0):
        pivot = next((row for row in rows[found:] if row[at]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(found, pivot)
        for row in rows[found + 1 :]:
            factor = row[at] / pivot[at]
            row[:] = [left - factor * right for left, right in zip(row, pivot, strict=True)]
        found += 1
    return found


def small_totals(
    rows: Sequence[Visit], sets: Sequence[Sequence[Visit]], floor: int
) -> list[list[str]]:
    """Name every union of atoms that is too small and whose total is in the span of the sets."""
    atoms: dict[tuple[str, bool, bool], set[int]] = {}
    for it in rows:
        atoms.setdefault((it.where, it.days is None, it.tests is None), set()).add(it.who)
    kinds = list(atoms)
    vectors = []
    for one in sets:
        inside = {(it.where, it.days is None, it.tests is None) for it in one}
        vectors.append([int(kind in inside) for kind in kinds])
    full = rank(vectors)
    small = [at for at, kind in enumerate(kinds) if len(atoms[kind]) < floor]
    found = []
    for size in range(1, len(small) + 1):
        for chosen in combinations(small, size):
            who = set().union(*(atoms[kinds[at]] for at in chosen))
            indicator = [int(at in chosen) for at in range(len(kinds))]
            if len(who) < floor and rank([*vectors, indicator]) == full:
                found.append([str(kinds[at]) for at in chosen])
    return found


def places_of(answer: dict[str, object]) -> tuple[set[str], set[str]]:
    """Split the places that have rows into those shown and the rest."""
    cells = answer["cells"]
    assert isinstance(cells, list)
    shown = {key[0] for key, _ in cells}
    return shown, set(PLACES) - shown


@given(visits, measure_lists, st.integers(1, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_total_of_too_few_subjects_follows_from_an_answer(
    rows: list[Visit], measures: list[Measure], floor: int, listed: bool
) -> None:
    answer = answer_of(rows, measures, floor, listed=listed)
    event("suppressed" if answer is None else "hidden" if answer["hidden_count"] else "shown")
    if answer is None or floor <= 1:
        return
    shown, hidden = places_of(answer)
    published = [[it for it in rows if it.where == place] for place in sorted(shown)]
    if answer["other"] is not None:
        published.append([it for it in rows if it.where in hidden])

    for sets in published_sets(published, measures):
        assert small_totals(rows, sets, floor) == []


@given(visits, measure_lists, st.integers(1, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_shown_figure_is_the_one_computed_directly(
    rows: list[Visit], measures: list[Measure], floor: int, listed: bool
) -> None:
    answer = answer_of(rows, measures, floor, listed=listed)
    if answer is None:
        return
    shown, hidden = places_of(answer)

    assert answer["cells"] == [
        [[place], figures_of([it for it in rows if it.where == place], measures)]
        for place in sorted(shown)
    ]
    if answer["hidden_count"]:
        assert answer["other"] == figures_of([it for it in rows if it.where in hidden], measures)
    else:
        assert answer["other"] is None
        assert not {it.where for it in rows} - shown


def alone_is_safe(rows: Sequence[Visit], measures: Sequence[Measure], floor: int) -> bool:
    """Whether these rows' figures, published as one cell, would give nothing small away."""
    if len({it.who for it in rows}) < floor:
        return False
    everywhere = [Visit(it.who, "a", it.cost, it.days, it.tests) for it in rows]
    return not any(
        small_totals(everywhere, sets, floor) for sets in published_sets([everywhere], measures)
    )


@given(visits, measure_lists, st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_every_hidden_cell_had_to_be_hidden(
    rows: list[Visit], measures: list[Measure], floor: int
) -> None:
    answer = answer_of(rows, measures, floor, listed=True)
    by_place = {place: [it for it in rows if it.where == place] for place in PLACES}
    if answer is None:
        assert not rows or not alone_is_safe(rows, measures, floor)
        return
    if not rows:
        return
    hidden = answer["hidden"]
    assert isinstance(hidden, list)
    by_rule: dict[str, list[str]] = {"floor": [], "complement": []}
    for place, rule in hidden:
        by_rule[rule].append(place)

    for place in by_rule["floor"]:
        assert not alone_is_safe(by_place[place], measures, floor)
    # Smallest first, and none after it was enough: without the last one it was not.
    folded = sorted(by_rule["complement"], key=lambda it: (len({v.who for v in by_place[it]}), it))
    for place in folded:
        assert alone_is_safe(by_place[place], measures, floor)
    if folded:
        before = [v for place in [*by_rule["floor"], *folded[:-1]] for v in by_place[place]]
        assert not alone_is_safe(before, measures, floor)
