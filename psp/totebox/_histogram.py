"""A histogram is a question by groups whose last group key is the bin.

So every rule about cells holds for bins: the floor, the folding, the limit on groups. Between bins
the archive cuts where the asker says, which is what a filter does; so a histogram of a column needs
a grant that filters on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

from psp.capability import Operation, between
from psp.errors import LimitExceeded
from psp.plan import Figure, Measure, Plan
from psp.values import Value

from ._disclosure import Cell, Decision, Key
from ._listed import LISTED_KEYS_MAX
from ._manifest import Column
from ._storage import SQLValue, condition


def histogram_in(plan: Plan) -> Measure | None:
    """Give the histogram that a plan asks for; it is then the only measure."""
    first = plan.measures[0]
    return first if first.operation is Operation.HISTOGRAM else None


def counting(plan: Plan) -> Plan:
    """Give the plan that counts what the histogram's bins hold: the values of its column."""
    asked = histogram_in(plan)
    if asked is None:
        return plan
    return replace(plan, measures=(Measure(Operation.COUNT, asked.column),))


def bin_sql(column: Column, measure: Measure) -> str:
    """Give the number of a value's bin, from 0 up.

    The edges are literals: they are numbers that the type of `Measure` has let through, brought to
    the column's own kind, and GROUP BY needs the very expression.
    """

    def literal(value: SQLValue) -> str:
        return f"CAST('{value!r}' AS DOUBLE)" if isinstance(value, float) else repr(value)

    # An edge belongs to the bin above it: the bin is the number of edges at or below the value.
    steps = " + ".join(
        f"CAST({condition(column, between(edge, None), literal)} AS INTEGER)"
        for edge in measure.edges
    )
    return f"({steps})"


def with_bins(cells: Sequence[Cell], listed: Sequence[Key] | None, measure: Measure) -> list[Key]:
    """List the cells of a histogram that anybody may know of: the asker made the bins.

    An empty bin is hidden like a small one, or its zero would be an answer about few.

    Raises:
        LimitExceeded: They are too many.
    """
    keys: Iterable[Key] = dict.fromkeys(cell.key[:-1] for cell in cells)
    if listed is not None:
        keys = listed
    every = list(product(keys, range(len(measure.edges) + 1)))
    if len(every) > LISTED_KEYS_MAX:
        raise LimitExceeded(
            f"histograms of {len(every)} bins in all; one answer has {LISTED_KEYS_MAX}. Give fewer"
            " edges, or group by less."
        )
    return [(*key, at) for key, at in every]


def gather(
    decision: Decision, measure: Measure
) -> tuple[list[tuple[Key, tuple[Figure, ...]]], tuple[Figure, ...] | None]:
    """Put the shown bins of each group side by side.

    Returns: The groups with a histogram each: a count or null for each bin, then 0. And that of
        what is hidden: no bin is told, and then how many values there are; None if nothing is.
    """
    # Where nothing is hidden, what did not come is empty; else nobody is to tell the two apart.
    absent = None if decision.hidden_count else 0
    bins = len(measure.edges) + 1
    groups: dict[Key, list[Value]] = {}
    for cell in decision.shown:
        *key, at = cell.key
        histogram = groups.setdefault(tuple(key), [*[absent] * bins, 0])
        assert isinstance(at, int)
        histogram[at] = cell.figures[0]
    shown: list[tuple[Key, tuple[Figure, ...]]] = [
        (key, (histogram,)) for key, histogram in groups.items()
    ]
    if decision.other is None:
        return shown, None
    hidden: list[Value] = [None] * bins
    return shown, ([*hidden, decision.other[0]],)
