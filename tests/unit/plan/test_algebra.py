from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from psp.capability import Operation
from psp.plan import Figure, Measure, combine, combine_rows

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
