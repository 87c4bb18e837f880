"""One member's answer: whatever a stranger sends is a reply, or refused in one way."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.aggregator import MemberState
from psp.aggregator._reply import Part, Reply, Withheld, read_reply_untrusted
from psp.capability import Operation
from psp.errors import RemoteProtocolError
from psp.plan import Bucket, GroupKey, Measure, Plan

PLAN = Plan(
    table="sales",
    group=(GroupKey("date", Bucket.MONTH),),
    measures=(
        Measure(Operation.COUNT),
        Measure(Operation.SUM, "price"),
        Measure(Operation.MEAN, "area"),
    ),
)


def answer(**changed: object) -> dict[str, Any]:
    return {
        "as_of": 3,
        "root": bytes(32),
        "group": ["month(date)"],
        "cells": [[["2014-05"], [12, Decimal("7.50"), [90, 12]]]],
        "other": [11, None, None],
        "hidden": [["2014-06", "floor"], ["2014-07", "complement"]],
        "hidden_count": 3,
        "floor": 10,
        **changed,
    }


def test_an_answer_becomes_parts_and_what_is_withheld() -> None:
    assert read_reply_untrusted("a", PLAN, answer()) == Reply(
        as_of=3,
        parts=(
            Part("a", ("2014-05",), [12, Decimal("7.50"), [90, 12]]),
            Part("a", None, [11, None, None]),
        ),
        withheld=(
            Withheld("a", ("2014-06",), 1, "floor", 10),
            Withheld("a", ("2014-07",), 1, "complement", 10),
            Withheld("a", None, 1, "floor", 10),
        ),
    )


def test_a_member_that_hid_everything_in_one_sum_is_not_empty() -> None:
    assert read_reply_untrusted("a", PLAN, answer(cells=[])).member_state is MemberState.ANSWERED
    nothing = answer(cells=[], other=None, hidden=[], hidden_count=0)
    assert read_reply_untrusted("a", PLAN, nothing).member_state is MemberState.EMPTY


@pytest.mark.parametrize(
    "wrong",
    [
        "rows",
        None,
        answer(cells=None),
        answer(cells=[[["2014-05"], [12, 1]]]),
        answer(cells=[[["2014-05", "x"], [12, 1, None]]]),
        answer(cells=[[[["2014"]], [12, 1, None]]]),
        answer(cells=[[["2014-05"], [-1, 1, None]]]),
        answer(cells=[[["2014-05"], [True, 1, None]]]),
        answer(cells=[[["2014-05"], [12, "1", None]]]),
        answer(cells=[[["2014-05"], [12, 1, [1, 2, 3]]]]),
        answer(cells=[[["2014-05"], [12, 1, [1, -2]]]]),
        answer(cells=[[["m"], [1, 1, None]], [["m"], [2, 2, None]]]),
        answer(other=[1]),
        answer(hidden=[["2014-06", "whim"]]),
        answer(hidden=[[]]),
        answer(hidden=[["2014-06", ["floor"]]]),
        answer(cells=[[[datetime.now(UTC)], [12, 1, None]]]),
        answer(hidden_count="3"),
        answer(floor=None),
        answer(as_of=-1),
    ],
)
def test_anything_else_is_refused_and_names_the_member(wrong: object) -> None:
    with pytest.raises(RemoteProtocolError, match="'a'"):
        read_reply_untrusted("a", PLAN, wrong)


@pytest.mark.parametrize("figure", [True, datetime.now(UTC), b"x", [1]])
def test_a_least_value_is_one_that_has_an_order(figure: object) -> None:
    plan = Plan(table="sales", measures=(Measure(Operation.MIN, "price"),))
    with pytest.raises(RemoteProtocolError, match="min"):
        read_reply_untrusted("a", plan, answer(cells=[[[], [figure]]], other=None, hidden=[]))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(sorted(answer())), values))
def test_no_answer_raises_anything_else(changed: dict[str, object]) -> None:
    try:
        reply = read_reply_untrusted("a", PLAN, answer(**changed))
    except RemoteProtocolError:
        return
    assert all(len(part.figures) == 3 for part in reply.parts)


VARIANCE, DISTINCT = Measure(Operation.VARIANCE, "a"), Measure(Operation.DISTINCT, "a")
HISTOGRAM, EXISTS = Measure(Operation.HISTOGRAM, "a", (0, 10)), Measure(Operation.EXISTS)


@pytest.mark.parametrize(
    ("measure", "figure", "is_one"),
    [
        (VARIANCE, [2, 3, Decimal("4.5")], True),
        (VARIANCE, [0, None, None], True),
        (VARIANCE, [2, 3], False),
        (VARIANCE, ["2", 3, 5], False),
        (DISTINCT, 3, True),
        (DISTINCT, None, True),
        (DISTINCT, -1, False),
        (HISTOGRAM, [None, 4, 5, 0], True),
        (HISTOGRAM, [1, 4, 5], False),
        (HISTOGRAM, [1, 4, 5, None], False),
        (HISTOGRAM, [1, -4, 5, 0], False),
        (EXISTS, True, True),
        (EXISTS, 1, False),
    ],
)
def test_a_figure_has_the_form_of_its_measure(
    measure: Measure, figure: object, is_one: bool
) -> None:
    plan = Plan(table="sales", measures=(measure,))
    sent = answer(group=[], cells=[[[], [figure]]], other=None, hidden=[], hidden_count=0)

    with nullcontext() if is_one else pytest.raises(RemoteProtocolError, match="came as a"):
        read_reply_untrusted("a", plan, sent)
