from __future__ import annotations

from datetime import date
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.capability import Operation
from psp.plan import Figure, Measure, combine, combine_all, combine_rows, convert, weigh

BIG = Decimal("9" * 40 + ".99")


@pytest.mark.parametrize(
    ("operation", "left", "right", "both"),
    [
        (Operation.COUNT, 2, 3, 5),
        (Operation.SUM, BIG, BIG, Decimal("19999999999999999999999999999999999999999.98")),
        (Operation.SUM, Decimal("0.10"), 1, Decimal("1.10")),
        (Operation.SUM, 0.5, Decimal("0.25"), 0.75),
        (Operation.SUM, None, 4, 4),
        (Operation.SUM, 4, None, 4),
        (Operation.SUM, None, None, None),
        (Operation.MEAN, [10, 4], [None, 0], [10, 4]),
        (Operation.MEAN, [10, 4], [Decimal("0.5"), 1], [Decimal("10.5"), 5]),
        (Operation.MIN, 3, Decimal("2.5"), Decimal("2.5")),
        (Operation.MAX, date(2014, 5, 1), date(2014, 5, 2), date(2014, 5, 2)),
        (Operation.MIN, "b", "a", "a"),
        (Operation.VARIANCE, [2, 3, 5], [0, None, None], [2, 3, 5]),
        (
            Operation.VARIANCE,
            [2, 3, 5],
            [1, Decimal("0.5"), Decimal("0.25")],
            [3, Decimal("3.5"), Decimal("5.25")],
        ),
        (Operation.HISTOGRAM, [None, 4, 0], [3, None, 7], [3, 4, 7]),
        (Operation.EXISTS, False, True, True),
    ],
)
def test_two_parts_make_one_figure(
    operation: Operation, left: Figure, right: Figure, both: Figure
) -> None:
    assert combine(operation, left, right) == both


@pytest.mark.parametrize(
    ("operation", "left", "right"),
    [
        (Operation.SUM, "1", 1),
        (Operation.COUNT, True, 1),
        (Operation.MIN, "a", 1),
        (Operation.MAX, date(2014, 5, 1), "2014-05-01"),
        (Operation.MEAN, 3, [3, 1]),
        (Operation.MEAN, [3, 1, 1], [3, 1]),
        (Operation.VARIANCE, 3, [1, 3, 9]),
        (Operation.HISTOGRAM, [1, 2], [1, 2, 3]),
        (Operation.DISTINCT, 3, 4),
        (Operation.DISTINCT, None, 4),
    ],
)
def test_kinds_that_do_not_mix_are_refused(
    operation: Operation, left: Figure, right: Figure
) -> None:
    """A member chooses what it sends; it must not be able to turn a total into nonsense."""
    with pytest.raises(TypeError):
        combine(operation, left, right)


def test_rows_combine_measure_by_measure() -> None:
    measures = [Measure(Operation.COUNT), Measure(Operation.MAX, "price")]

    assert combine_rows(measures, [1, 5], [2, 3]) == [3, 5]


numbers = st.none() | st.integers(-(10**30), 10**30) | st.decimals(-(10**20), 10**20, places=4)


@given(st.sampled_from([Operation.SUM, Operation.MIN, Operation.MAX]), st.lists(numbers))
def test_all_parts_at_once_give_what_one_by_one_gives(
    operation: Operation, figures: list[Figure]
) -> None:
    one_by_one: Figure = None
    for figure in figures:
        one_by_one = combine(operation, one_by_one, figure)

    assert combine_all(operation, figures) == one_by_one


@given(st.lists(st.floats(-1e300, 1e300), min_size=1), st.randoms())
def test_the_order_of_parts_does_not_show_in_a_sum_of_floats(
    figures: list[float], chance: Random
) -> None:
    mixed = [*figures]
    chance.shuffle(mixed)

    assert combine_all(Operation.SUM, figures) == combine_all(Operation.SUM, mixed)


def test_a_sum_beyond_all_floats_is_infinite() -> None:
    assert combine_all(Operation.SUM, [1.7e308, 1.7e308]) == float("inf")


@pytest.mark.parametrize("wrong", [True, "1", [1]])
def test_what_is_no_number_is_in_no_sum(wrong: Figure) -> None:
    with pytest.raises(TypeError):
        combine_all(Operation.SUM, [1, wrong])


@pytest.mark.parametrize(
    ("operation", "figure", "weighed", "converted"),
    [
        (Operation.COUNT, 10, Decimal(5), 10),
        (Operation.SUM, Decimal("0.30"), Decimal("0.15"), Decimal("0.60")),
        (Operation.SUM, 1.5, 0.75, 3.0),
        (Operation.SUM, None, None, None),
        (Operation.MEAN, [Decimal(8), 4], [Decimal(4), Decimal(2)], [Decimal(16), 4]),
        (Operation.MEAN, [None, 0], [None, 0], [None, 0]),
        (Operation.MIN, Decimal(3), Decimal(3), Decimal(6)),
    ],
)
def test_a_figure_is_counted_at_a_share_or_expressed_in_another_currency(
    operation: Operation, figure: Figure, weighed: Figure, converted: Figure
) -> None:
    assert weigh(operation, figure, Decimal("0.5")) == weighed
    assert convert(operation, figure, Decimal(2)) == converted


def test_a_variance_is_converted_by_the_square_and_has_no_share() -> None:
    assert convert(Operation.VARIANCE, [2, 3, 5], Decimal(10)) == [2, 30, 500]
    with pytest.raises(TypeError, match="a variance has no share"):
        weigh(Operation.VARIANCE, [2, 3, 5], Decimal("0.5"))
