"""The audit of released sets against linear algebra over fractions, which knows no shortcut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from psp.totebox._query_sets import NOWHERE, QuerySets, Reveals
from psp.totebox._spool import Given
from psp.totebox._subjects import Subjects

Vector = list[Fraction]


def reduced(vectors: Sequence[Vector]) -> list[Vector]:
    basis: list[Vector] = []
    for vector in vectors:
        row = list(vector)
        for known in basis:
            at = next(i for i, entry in enumerate(known) if entry)
            row = [a - row[at] * b for a, b in zip(row, known, strict=True)]
        lead = next((entry for entry in row if entry), None)
        if lead is not None:
            row = [entry / lead for entry in row]
            at = next(i for i, entry in enumerate(row) if entry)
            basis = [
                [a - known[at] * b for a, b in zip(known, row, strict=True)] for known in basis
            ]
            basis.append(row)
    return basis


def vectors_of(partitions: Sequence[Sequence[int]]) -> Iterator[Vector]:
    for partition in partitions:
        for label in set(partition) - {NOWHERE}:
            yield [Fraction(entry == label) for entry in partition]


def spans_total_of(basis: Sequence[Vector], part: Sequence[int], rows: int) -> bool:
    total = [Fraction(row in part) for row in range(rows)]
    return len(reduced([*basis, total])) == len(basis)


def spans_anything_within(basis: Sequence[Vector], part: Sequence[int], rows: int) -> bool:
    """Whether some vector of the span is zero outside of `part`: rank outside is smaller."""
    outside = [[entry for row, entry in enumerate(v) if row not in part] for v in basis]
    return len(reduced(outside)) < len(basis)


def small_parts(subjects: Sequence[int], floor: int, nobody: int | None) -> Iterator[list[int]]:
    """All sets of rows that stand for less than floor subjects, each subject whole or in part; with
    rows of nobody or without."""
    names = sorted({*subjects} - {nobody})
    for size in range(floor):
        for chosen in combinations(names, size):
            rows = [row for row, subject in enumerate(subjects) if subject in (*chosen, nobody)]
            for count in range(1, len(rows) + 1):
                yield from map(list, combinations(rows, count))


@st.composite
def releases(draw: st.DrawFn) -> tuple[list[int], int, list[list[list[int]]]]:
    count = draw(st.integers(2, 8))
    subjects = draw(
        st.one_of(
            st.just(list(range(count))),
            st.lists(st.integers(0, 4), min_size=count, max_size=count),
        )
    )
    partition = st.lists(st.integers(NOWHERE, 2), min_size=count, max_size=count)
    answers = draw(st.lists(st.lists(partition, min_size=1, max_size=2), min_size=1, max_size=6))
    return subjects, draw(st.integers(2, 4)), answers


def attempt(audit: QuerySets, answer: list[list[int]], floor: int) -> QuerySets | list[int]:
    """Release an answer; if it may not be, give the rows of the part that it reveals."""
    try:
        return audit.with_sets([np.array(each) for each in answer], floor)
    except Reveals as exc:
        rows: list[int] = exc.rows.tolist()
        return rows


@given(releases(), st.sampled_from([None, 0, 4]))
@example(([0, 1, 2, 3], 2, [[[0, 0, 0, 0]], [[0, 0, NOWHERE, NOWHERE]]]), 3)
def test_it_refuses_what_would_give_a_small_part_away_and_nothing_else(
    case: tuple[list[int], int, list[list[list[int]]]], nobody: int | None
) -> None:
    subjects, floor, answers = case
    audit = QuerySets.over(Subjects(Given(np.array(subjects)), nobody))
    released: list[Vector] = []
    for answer in answers:
        asked = [*released, *vectors_of(answer)]
        basis = reduced(asked)
        outcome = attempt(audit, answer, floor)
        if isinstance(outcome, QuerySets):
            audit, released = outcome, asked
            for part in small_parts(subjects, floor, nobody):
                assert not spans_total_of(basis, part, len(subjects)), part
        else:
            assert outcome
            assert len({subjects[row] for row in outcome} - {nobody}) < floor
            assert spans_anything_within(basis, outcome, len(subjects))


@given(releases(), st.data())
def test_rows_that_come_later_are_told_apart_by_asking_again(
    case: tuple[list[int], int, list[list[list[int]]]], data: st.DataObject
) -> None:
    subjects, floor, _ = case
    late = data.draw(st.integers(1, len(subjects)))
    everybody = np.zeros(len(subjects), np.int64)
    audit = QuerySets.over(np.array(subjects))
    if len(set(subjects)) < floor:
        with pytest.raises(Reveals):
            audit.with_sets([everybody], floor)
        return
    audit = audit.with_sets([everybody], floor)
    new = np.array([100 + number for number in range(late)])
    audit = audit.with_rows(np.concatenate([subjects, new]))
    again = [np.zeros(len(subjects) + late, np.int64)]
    if late < floor:
        with pytest.raises(Reveals) as caught:
            audit.with_sets(again, floor)
        assert caught.value.rows.tolist() == list(range(len(subjects), len(subjects) + late))
    else:
        audit.with_sets(again, floor)
