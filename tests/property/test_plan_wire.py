from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from psp.capability import Operation, RowDomain, between, one_of, starts_with
from psp.errors import Invalid, QuestionError
from psp.plan import (
    MEASURE_OPERATIONS,
    Bucket,
    Figure,
    Filter,
    GroupKey,
    Measure,
    Plan,
    combine,
    plan_from_sql,
)
from psp.values import from_ext

names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
numbers = st.integers(-(2**63), 2**63 - 1) | st.decimals(
    -1000, 1000, places=2, allow_nan=False, allow_infinity=False
)
domains: st.SearchStrategy[RowDomain] = st.one_of(
    st.lists(numbers, max_size=5).map(one_of),
    st.lists(st.dates(), max_size=5).map(one_of),
    st.lists(st.booleans(), max_size=2).map(one_of),
    st.text(st.characters(categories=["L"]), min_size=1, max_size=9).map(starts_with),
    st.builds(between, numbers, numbers | st.none(), low_open=st.booleans()),
    st.builds(between, st.dates(), st.dates(), high_open=st.booleans()),
)
ALONE = (Operation.HISTOGRAM, Operation.EXISTS)
measures = st.one_of(
    st.builds(
        Measure, st.sampled_from([it for it in MEASURE_OPERATIONS if it not in ALONE]), names
    ),
    st.just(Measure(Operation.COUNT)),
)
edges = st.lists(numbers.map(lambda it: max(it, 1 - 2**63)), min_size=1, max_size=5, unique=True)
histograms = st.builds(
    lambda name, found: Measure(Operation.HISTOGRAM, name, tuple(sorted(found))), names, edges
)
plans = st.builds(
    Plan,
    table=names,
    filters=st.lists(st.builds(Filter, names, domains), max_size=3).map(tuple),
    group=st.lists(
        st.builds(GroupKey, names, st.none() | st.sampled_from(Bucket)), max_size=3, unique=True
    ).map(tuple),
    measures=st.lists(measures, min_size=1, max_size=4, unique=True).map(tuple)
    | histograms.map(lambda it: (it,)),
    as_of=st.none() | st.integers(0, 2**63 - 1),
)
# What a decoder of frames can hand over, and shapes close to a plan's.
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=3)
    | st.sampled_from(["sales", "count", "sum", "month", "", "\x1b"])
    | st.dates()
    | st.decimals(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@given(plans)
def test_a_plan_survives_the_wire_and_its_bytes(plan: Plan) -> None:
    assert Plan.from_wire_untrusted(plan.to_wire()) == plan
    assert Plan.from_wire_untrusted(msgpack.unpackb(plan.to_bytes(), ext_hook=from_ext)) == plan


@given(plans, plans)
def test_two_plans_share_their_bytes_only_if_they_are_equal(one: Plan, other: Plan) -> None:
    assert (one.to_bytes() == other.to_bytes()) == (one == other)


@given(anything, plans, st.data())
def test_any_value_is_a_plan_or_invalid(value: object, plan: Plan, data: st.DataObject) -> None:
    damaged = plan.to_wire()
    damaged[data.draw(st.integers(0, 4))] = value  # type: ignore[call-overload]
    for wire in (value, damaged):
        with suppress(Invalid):
            Plan.from_wire_untrusted(wire)


words = (
    "select from where group by order limit count ( ) * , sum price and or in like ' % = < 5 -"
    " distinct stddev histogram exists"
)
texts = st.lists(
    st.sampled_from([*words.split(), "s", "'a%'", "having", "join", "--"]), max_size=14
)


@given(texts.map(" ".join) | texts.map(lambda it: "select " + " ".join(it)) | st.text(max_size=30))
def test_any_text_is_a_question_or_a_question_error(text: str) -> None:
    with suppress(QuestionError):
        plan_from_sql(text)


exact = st.integers(-(10**20), 10**20) | st.decimals(-(10**20), 10**20, places=3)
figures: dict[Operation, st.SearchStrategy[Figure]] = {
    Operation.COUNT: st.integers(0, 10**9),
    Operation.SUM: st.none() | exact,
    Operation.MEAN: st.none() | st.tuples(st.none() | exact, st.integers(0, 99)).map(list),
    Operation.MIN: st.none() | st.dates(date(1900, 1, 1)),
    Operation.MAX: st.none() | exact,
    Operation.VARIANCE: st.tuples(st.integers(0, 99), st.none() | exact, st.none() | exact).map(
        list
    ),
    Operation.HISTOGRAM: st.lists(st.none() | st.integers(0, 99), min_size=3, max_size=3),
    Operation.EXISTS: st.booleans(),
}


@given(st.sampled_from(list(figures)), st.data())
def test_parts_combine_in_any_order_and_any_tree(operation: Operation, data: st.DataObject) -> None:
    """So a tree of aggregators says what a single one does."""
    a, b, c = (data.draw(figures[operation]) for _ in range(3))

    assert combine(operation, a, b) == combine(operation, b, a)
    left = combine(operation, combine(operation, a, b), c)
    assert left == combine(operation, a, combine(operation, b, c))


def test_decimals_are_added_without_rounding() -> None:
    tiny, huge = Decimal("1E-30"), Decimal("1E+60")

    assert combine(Operation.SUM, huge, tiny) == Decimal("1" + "0" * 60 + "." + "0" * 29 + "1")
