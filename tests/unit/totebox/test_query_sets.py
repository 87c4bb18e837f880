"""The audit of released sets: cases with a name, and the limits."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pytest

from psp.totebox import _query_sets, _small_parts
from psp.totebox._query_sets import NOWHERE, HistoryFull, QuerySets, Reveals
from psp.totebox._spool import Given
from psp.totebox._subjects import Subjects

Numbers = npt.NDArray[np.int64]


def everyone(count: int) -> QuerySets:
    return QuerySets.over(np.arange(count))


def one(count: int, rows: Collection[int]) -> Numbers:
    return np.array([0 if row in rows else NOWHERE for row in range(count)])


def refused(audit: QuerySets, floor: int, *partitions: Numbers) -> list[int]:
    with pytest.raises(Reveals) as caught:
        audit.with_sets(partitions, floor)
    rows: list[int] = caught.value.rows.tolist()
    return rows


def test_two_sums_whose_difference_is_one_house() -> None:
    audit = everyone(602).with_sets([one(602, range(602))], 10)
    assert refused(audit, 10, one(602, range(601))) == [601]


def test_three_questions_of_which_no_two_differ_by_less_than_twenty() -> None:
    """{1..40}, {21..60} and the rest of both: their sum tells of 21..40 twice."""
    count, floor = 81, 10
    audit = everyone(count).with_sets([one(count, range(40))], floor)
    audit = audit.with_sets([one(count, range(40, 80))], floor)
    assert refused(audit, floor, one(count, range(81))) == [80]


def test_what_can_be_made_of_earlier_answers_adds_nothing() -> None:
    audit = everyone(60).with_sets([np.arange(60) // 20], 10)
    assert len(audit.basis) == 3
    assert len(audit.with_sets([one(60, range(60))], 10).basis) == 3
    assert len(audit.with_sets([one(60, range(40))], 10).basis) == 3


def test_a_part_is_found_although_each_row_that_makes_it_touches_enough() -> None:
    """With a, b, x, x' alone and y, y' two subjects each: {a,x,x'} + {b,y,y'} − {x,y} − {x',y'}."""
    a, b, x, x2, y, y2 = [0], [1], [2], [3], [4, 5], [6, 7]
    audit = everyone(8)
    for rows in ([*x, *y], [*x2, *y2], [*a, *x, *x2]):
        audit = audit.with_sets([one(8, rows)], 3)
    assert refused(audit, 3, one(8, [*b, *y, *y2])) == [0, 1]


def test_subjects_are_counted_and_not_rows() -> None:
    """Twelve sales of nine houses are nine; of ten they are ten."""
    houses = np.array([*range(9), 0, 1, 2])
    rows = np.zeros(12, np.int64)
    assert refused(QuerySets.over(houses), 10, rows) == list(range(12))
    QuerySets.over(np.array([*range(10), 0, 1])).with_sets([rows], 10)


def test_rows_of_nobody_help_nobody() -> None:
    """However many they are, whether they are told of alone or with nine houses."""
    who = Subjects(Given(np.array([*range(20), *[20] * 30])), nobody=20)
    audit = QuerySets.over(who).with_sets([one(50, range(50))], 10)
    audit = audit.with_sets([one(50, range(10))], 10)
    told = refused(audit, 10, one(50, range(19)))
    assert told in ([*range(10, 19)], [19, *range(20, 50)])
    assert refused(audit, 10, one(50, range(20))) == [*range(20, 50)]
    audit.with_sets([one(50, range(20))], 0)


def test_what_was_told_of_under_a_lower_floor_is_no_reason_to_refuse_what_follows() -> None:
    audit = everyone(80).with_sets([np.arange(80) // 10], 10)
    audit = audit.with_sets([one(80, range(20))], 11)
    assert audit.with_sets([one(80, range(5, 40))], 5) is not audit
    assert len(refused(audit, 11, one(80, range(5, 40)))) == 5


def test_many_tables_of_one_and_the_same_rows_do_not_hide_the_whole() -> None:
    """Margins by month, place and grade, with their totals, in any order."""
    rows = np.arange(21_600)
    month, place, grade = rows % 12, rows // 12 % 60, rows // 720 % 5
    audit = everyone(21_600)
    for partition in (month, place, grade, np.zeros_like(rows), month * 5 + grade):
        audit = audit.with_sets([partition], 10)
    assert len(audit.basis) == 60 + 60 - 1  # Month by grade holds both margins.


def test_beyond_the_atoms_that_are_kept_account_of_only_repeats_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_query_sets, "ATOMS_MAX", 4)
    rows = np.arange(100)
    audit = everyone(100).with_sets([rows % 4], 10)
    with pytest.raises(HistoryFull):
        audit.with_sets([rows // 50], 10)
    assert len(audit.with_sets([rows % 4], 10).basis) == 4


def test_beyond_its_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_query_sets, "BASIS_ENTRIES_MAX", 16)
    rows = np.arange(100)
    audit = everyone(100).with_sets([rows % 4], 10)
    with pytest.raises(HistoryFull):
        audit.with_sets([rows % 5], 10)


@pytest.mark.parametrize(("forms", "is_found"), [(64, True), (0, False)])
def test_what_the_search_has_no_time_for_is_looked_for_in_other_forms(
    monkeypatch: pytest.MonkeyPatch, forms: int, is_found: bool
) -> None:
    """Rows of which each touches enough, so that they have to be tried together."""
    a, b, x, x2, y, y2 = [0], [1], [2], [3], [4, 5], [6, 7]
    audit = everyone(8)
    for rows in ([*x, *y], [*x2, *y2], [*a, *x, *x2]):
        audit = audit.with_sets([one(8, rows)], 3)
    monkeypatch.setattr(_small_parts, "WORK_MAX", 10)
    monkeypatch.setattr(_small_parts, "FORMS", forms)
    if is_found:
        assert refused(audit, 3, one(8, [*b, *y, *y2])) == [0, 1]
    else:
        audit.with_sets([one(8, [*b, *y, *y2])], 3)


@pytest.mark.parametrize("seed", range(20))
def test_a_part_of_one_atom_is_found_without_any_search(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Sets of twenty houses or more, made so that all of them together tell of one house."""
    monkeypatch.setattr(_small_parts, "WORK_MAX", 0)
    monkeypatch.setattr(_small_parts, "FORMS", 0)
    chance = np.random.default_rng(seed)
    sets = [chance.permutation(60)[:30] for _ in range(6)]
    audit = everyone(60)
    for rows in sets:
        audit = audit.with_sets([one(60, rows.tolist())], 2)
    odd = int(sets[0][0])
    assert refused(audit, 2, one(60, [row for row in sets[0].tolist() if row != odd])) == [odd]


def test_no_two_audits_share_a_prime() -> None:
    primes = {everyone(1).prime for _ in range(8)}
    assert len(primes) > 1
    for prime in primes:
        assert 2**30 <= prime < 2**31
        assert all(prime % divisor for divisor in range(2, 46_342))
