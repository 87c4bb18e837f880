"""Combining members: totals are sums of what is shown, and every state is told apart."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.aggregator import Answer, MemberState, Outcome, Part, Reply, plain
from psp.aggregator._outcome import count_states, state_of
from psp.errors import (
    CALL_FAILURES,
    Denied,
    Disconnected,
    EstateError,
    NotPaired,
    QuestionError,
    RemoteProtocolError,
    Unreachable,
)
from psp.plan import plan_from_sql

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
QUESTION = plan_from_sql(
    "select date_trunc('month', date) as month, count(*) as n, sum(price) as volume,"
    " sum(price) / sum(area) as ratio, avg(area) as area from sales group by month"
)
# The plan's measures, in the order in which the question names them first.
MEASURES = [measure.name for measure in QUESTION.plan.measures]

rows = st.lists(
    st.tuples(
        st.sampled_from(["2014-05", "2014-06", "2014-07"]),
        st.decimals(0, 10**12, places=2),
        st.integers(1, 10_000),
    ),
    max_size=12,
)


def figures(sales: list[tuple[str, Decimal, int]]) -> list[object]:
    by_name: dict[str, object] = {
        "count(*)": len(sales),
        "sum(price)": sum((price for _, price, _ in sales), Decimal(0)),
        "sum(area)": sum(area for _, _, area in sales),
        "mean(area)": [sum(area for _, _, area in sales), len(sales)],
    }
    return [by_name[name] for name in MEASURES]


def answered(member: str, sales: list[tuple[str, Decimal, int]], *, folded: bool) -> Outcome[Reply]:
    """What an archive answers that shows every month but, if folded, the last one it has."""
    months = sorted({month for month, _, _ in sales})
    hidden = months[-1] if folded and months else None
    parts = [
        Part(
            member,
            None if month == hidden else (month,),
            figures([sale for sale in sales if sale[0] == month]),  # type: ignore[arg-type]
        )
        for month in months
    ]
    return Outcome(
        member=member,
        state=MemberState.ANSWERED if parts else MemberState.EMPTY,
        reply=Reply(as_of=1, parts=tuple(parts), withheld=()),
    )


@given(st.lists(rows, min_size=1, max_size=4), st.booleans())
def test_the_total_is_the_measure_over_the_union_of_all_rows(
    members: list[list[tuple[str, Decimal, int]]], folded: bool
) -> None:
    answer = Answer(
        question=QUESTION,
        outcomes=tuple(
            answered(f"m{index}", sales, folded=folded) for index, sales in enumerate(members)
        ),
        asked_at=NOW,
    )
    union = [sale for sales in members for sale in sales]
    total = answer.total()
    if not union:
        assert total == dict.fromkeys(answer.columns)
        return
    assert total["n"] == len(union)
    assert total["volume"] == sum(price for _, price, _ in union)
    area = sum(area for _, _, area in union)
    assert isinstance(total["ratio"], Decimal)
    expected = Fraction(sum(price for _, price, _ in union)) / area
    assert abs(Fraction(total["ratio"]) - expected) <= abs(expected) * Fraction(1, 10**30)


@given(st.lists(rows, min_size=1, max_size=4))
def test_each_row_is_the_measure_over_the_members_that_show_it(
    members: list[list[tuple[str, Decimal, int]]],
) -> None:
    answer = Answer(
        question=QUESTION,
        outcomes=tuple(
            answered(f"m{index}", sales, folded=False) for index, sales in enumerate(members)
        ),
        asked_at=NOW,
    )
    union = [sale for sales in members for sale in sales]
    assert [(row[0], row[1], row[2]) for row in answer.rows] == [
        (
            month,
            len(chosen := [sale for sale in union if sale[0] == month]),
            sum(price for _, price, _ in chosen),
        )
        for month in sorted({month for month, _, _ in union})
    ]


def test_states_sum_to_the_members_and_absent_is_never_zero() -> None:
    outcomes: tuple[Outcome[Reply], ...] = (
        answered("a", [("2014-05", Decimal(5), 1)], folded=False),
        answered("b", [], folded=False),
        Outcome(member="c", state=MemberState.UNREACHABLE, error=Unreachable("gone"), since=NOW),
        Outcome(member="d", state=MemberState.LATE),
    )
    answer = Answer(question=QUESTION, outcomes=outcomes, asked_at=NOW)
    assert answer.states == {"answered": 1, "empty": 1, "unreachable": 1, "late": 1}
    assert sum(count_states(outcomes).values()) == 4
    document = answer.to_dict()
    assert document["partial"] is True
    assert document["absent"] == [
        {
            "member": "c",
            "state": "unreachable",
            "cause": "gone",
            "since": "2026-01-02T03:04:05.000000Z",
        },
        {"member": "d", "state": "late", "cause": "no answer within the deadline", "since": ""},
    ]
    assert "totals are partial" in str(answer)


def test_a_members_text_reaches_a_print_only_neutralised() -> None:
    question = plan_from_sql("select town, count(*) from sales group by town")
    reply = Reply(as_of=1, parts=(Part("a", ("\x1b[2J\u202eevil",), [3]),), withheld=())
    outcome = Outcome(member="a", state=MemberState.ANSWERED, reply=reply)
    printed = str(Answer(question=question, outcomes=(outcome,), asked_at=NOW))
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "evil" in printed


def test_a_members_text_cannot_begin_a_line_of_its_own() -> None:
    """Or one captured archive writes rows, and the line on who answered, in others' names."""
    question = plan_from_sql("select town, count(*) from sales group by town")
    reply = Reply(as_of=1, parts=(Part("a", ("Ayr\n9 answered",), [3]),), withheld=())
    outcome = Outcome(member="a", state=MemberState.ANSWERED, reply=reply)
    printed = str(Answer(question=question, outcomes=(outcome,), asked_at=NOW))
    assert len(printed.splitlines()) == 3
    assert printed.endswith("\n1 answered")


def test_values_of_two_kinds_end_in_a_sentence_and_not_in_a_traceback() -> None:
    """A captured archive that sends a text as its least price must not end the asker's program."""
    question = plan_from_sql("select min(price) from sales")
    outcomes = tuple(
        Outcome(
            member=member,
            state=MemberState.ANSWERED,
            reply=Reply(as_of=1, parts=(Part(member, (), [least]),), withheld=()),
        )
        for member, least in (("a", "x"), ("b", 3))
    )
    with pytest.raises(QuestionError, match="group by member"):
        Answer(question=question, outcomes=outcomes, asked_at=NOW).to_dict()


def test_a_float_beyond_all_floats_is_still_json() -> None:
    assert plain(1e308 * 10) == "inf"


def test_every_error_has_a_state() -> None:
    for failure in CALL_FAILURES.values():
        assert state_of(failure()) in MemberState
    assert state_of(CALL_FAILURES[5]()) is MemberState.SUPPRESSED
    assert state_of(CALL_FAILURES[9]()) is MemberState.LATE
    assert state_of(CALL_FAILURES[11]()) is MemberState.UNREACHABLE
    assert state_of(Denied()) is MemberState.REFUSED
    assert state_of(NotPaired("")) is MemberState.REFUSED
    assert state_of(Unreachable("")) is MemberState.UNREACHABLE
    assert state_of(Disconnected("")) is MemberState.UNREACHABLE
    assert state_of(RemoteProtocolError("")) is MemberState.REFUSED
    assert state_of(EstateError("")) is MemberState.REFUSED
