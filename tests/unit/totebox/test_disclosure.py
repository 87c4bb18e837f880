from __future__ import annotations

import sys
from decimal import Decimal
from types import FrameType

import pytest

from psp.capability import Operation
from psp.errors import Suppressed
from psp.plan import Figure, Measure
from psp.totebox._disclosure import (
    Cell,
    Decision,
    Part,
    Published,
    Rule,
    decide,
    is_safe,
    merge_parts,
    round_figure,
)

COUNT = (Measure(Operation.COUNT),)
ALL_ROWS = Published(frozenset(), frozenset({None}))
WHOLE: frozenset[str] = frozenset()


def cell(key: str, first: int, last: int, floor: int = 10) -> Cell:
    """A group of the subjects first..last, with one row each."""
    who = frozenset(range(first, last + 1))
    part = Part(WHOLE, len(who), who if len(who) < floor else None)
    return Cell((key,), len(who), (len(who),), (part,))


def decided(*cells: Cell, floor: int = 10, listed: list[tuple[str]] | None = None) -> Decision:
    return decide(cells, floor=floor, measures=COUNT, published=ALL_ROWS, listed=listed)


def test_what_is_large_enough_is_shown() -> None:
    cells = (cell("a", 1, 10), cell("b", 11, 30))

    assert decided(*cells) == Decision(cells, None, (), 0)


def test_a_single_small_cell_takes_the_smallest_shown_one_with_it() -> None:
    large, small, middle = cell("large", 1, 30), cell("small", 31, 33), cell("middle", 40, 55)

    assert decided(large, small, middle) == Decision((large,), (19,), (), 2)


def test_small_cells_that_are_enough_together_need_nobody_else() -> None:
    shown, one, two = cell("shown", 1, 10), cell("one", 11, 15), cell("two", 16, 20)

    assert decided(shown, one, two) == Decision((shown,), (10,), (), 2)


def test_the_same_few_subjects_twice_are_still_few() -> None:
    shown, one, two = cell("shown", 1, 10), cell("one", 11, 16), cell("two", 11, 16)

    assert decided(shown, one, two) == Decision((), (22,), (), 3)


def test_everything_together_may_be_shown_where_no_cell_may() -> None:
    """A sum over the archives keeps every member whose total is large enough."""
    assert decided(cell("a", 1, 9), cell("b", 10, 18)) == Decision((), (18,), (), 2)


def test_too_few_in_all_is_suppressed() -> None:
    with pytest.raises(Suppressed, match="fewer than 10 subjects"):
        decided(cell("a", 1, 5), cell("b", 6, 9))


def test_keys_of_a_listed_domain_are_printed_with_their_rule() -> None:
    decision = decided(
        cell("a", 1, 30), cell("b", 31, 33), cell("c", 40, 55), listed=[("a",), ("b",), ("c",)]
    )

    assert decision.hidden == ((("b",), Rule.FLOOR), (("c",), Rule.COMPLEMENT))


def test_an_absent_cell_of_a_listed_domain_hides_like_a_small_one() -> None:
    shown, smallest = cell("a", 1, 30), cell("b", 31, 41)
    decision = decided(shown, smallest, listed=[("a",), ("b",), ("c",)])

    # Were `other` left out because nothing is in it, everybody would know that "c" is empty.
    assert decision == Decision(
        (shown,), (11,), ((("b",), Rule.COMPLEMENT), (("c",), Rule.FLOOR)), 2
    )


def test_a_floor_of_one_hides_nothing() -> None:
    cells = (cell("a", 1, 1),)

    assert decided(*cells, floor=1, listed=[("a",), ("b",)]) == Decision(cells, None, (), 0)


def nulls(**members: int) -> list[Part]:
    """Parts named by the columns that have a value; a number below 5 is that many subjects."""
    return [
        Part(
            frozenset(name.strip("_")),
            size,
            None if size >= 5 else frozenset(f"{name}{at}" for at in range(size)),
        )
        for name, size in members.items()
    ]


def test_the_difference_of_two_counts_must_not_be_small() -> None:
    parts = nulls(x=9, _=2)

    assert is_safe(parts, Published(frozenset("x"), frozenset({"x"})), 5)
    assert is_safe(parts, Published(frozenset("x"), frozenset({None})), 5)
    assert not is_safe(parts, Published(frozenset("x"), frozenset({None, "x"})), 5)


def test_three_counts_can_give_away_what_no_two_do() -> None:
    """Rows with x, rows with y, never both: all − x − y are the two with neither."""
    parts = nulls(x=9, y=9, _=2)

    for pair in ({None, "x"}, {None, "y"}, {"x", "y"}):
        assert is_safe(parts, Published(frozenset("xy"), frozenset(pair)), 5)
    assert not is_safe(parts, Published(frozenset("xy"), frozenset({None, "x", "y"})), 5)


def test_a_small_part_that_no_combination_isolates_does_no_harm() -> None:
    parts = nulls(xy=9, x=9, y=9, _=2)

    assert is_safe(parts, Published(frozenset("xy"), frozenset({None, "x", "y"})), 5)


def test_nesting_nulls_give_the_difference_of_two_columns_away() -> None:
    parts = nulls(xy=9, x=2)

    assert not is_safe(parts, Published(frozenset("xy"), frozenset({"x", "y"})), 5)


def test_eight_counted_columns_are_decided_in_time() -> None:
    names = "abcdefgh"
    parts = [Part(frozenset(names) - {name}, 1, frozenset({name})) for name in names]
    parts.append(Part(frozenset(names), 99, None))

    assert not is_safe(parts, Published(frozenset(names), frozenset({None, *names})), 5)


def test_every_pattern_of_eight_columns_is_decided_in_time() -> None:
    """A presenter chooses the columns, and an answer has thousands of cells like this one."""
    names = "abcdefgh"
    parts = [
        Part(
            frozenset(name for at, name in enumerate(names) if pattern >> at & 1),
            9,
            frozenset(range(9 * pattern, 9 * pattern + 9)),
        )
        for pattern in range(256)
    ]
    steps = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    # Steps and not seconds: they are the same on every machine.
    sys.setprofile(count)
    try:
        assert is_safe(parts, Published(frozenset(names), frozenset({None, *names})), 10)
    finally:
        sys.setprofile(None)
    assert steps < 300_000  # 111,000 today; a search sum by sum takes many times as many.


def test_merging_keeps_subjects_apart_and_counts_rows() -> None:
    one, two = Part(WHOLE, 2, frozenset({1, 2})), Part(WHOLE, 3, frozenset({2, 3}))

    assert merge_parts([one, two]) == (Part(WHOLE, 5, frozenset({1, 2, 3})),)
    assert merge_parts([one, Part(WHOLE, 50, None)]) == (Part(WHOLE, 52, None),)


@pytest.mark.parametrize(
    ("figure", "base", "rounded"),
    [
        (14, 10, 10),
        (15, 10, 20),
        (-15, 10, -20),
        (7, 1, 7),
        (Decimal("0.55"), 1, Decimal("0.55")),
        (Decimal("12.50"), 5, Decimal(15)),
        (Decimal(10**60 + 50), 100, Decimal(10**60 + 100)),
        (2.4, 5, 0.0),
        (1e300, 10, 1e300),
        ([Decimal(1234), 16], 10, [Decimal(1230), 20]),
        (None, 10, None),
        ("text", 10, "text"),
        (True, 10, True),
    ],
)
def test_figures_are_rounded_to_a_multiple(figure: Figure, base: int, rounded: Figure) -> None:
    result = round_figure(figure, base)

    assert (result, type(result)) == (rounded, type(rounded))
