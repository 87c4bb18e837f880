"""One archive asked directly: the picture is that of an estate of one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from psp.aggregator import Answer, MemberState, Outcome
from psp.aggregator._reply import read_reply_untrusted
from psp.cli._direct import answer_to_dict, status_to_dict
from psp.errors import RemoteProtocolError
from psp.plan import plan_from_sql, read_cells_untrusted

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def wire(cells: list[Any], **changed: object) -> dict[str, Any]:
    return {
        "as_of": 3,
        "root": bytes(32),
        "cells": cells,
        "other": None,
        "hidden": [],
        "hidden_count": 0,
        "floor": 10,
        **changed,
    }


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        (
            "select town, count(*) as n, avg(rent) as mean from flats group by town",
            wire(
                [[["west"], [12, [Decimal("90.50"), 4]]], [["east"], [11, [Decimal(7), 2]]]],
                other=[13, [Decimal(1), 1]],
                hidden_count=2,
            ),
        ),
        (
            "select member, town, sum(rent) / count(*) as each from flats group by member, town"
            " order by each desc limit 1",
            wire([[["west"], [Decimal("90.50"), 12]], [["east"], [Decimal(7), 11]]]),
        ),
        ("select count(*) from flats", wire([])),
    ],
)
def test_an_answer_is_that_of_a_fleet_of_one(sql: str, answer: dict[str, Any]) -> None:
    question = plan_from_sql(sql)
    shown = answer_to_dict("tower", question, read_cells_untrusted("tower", question.plan, answer))
    reply = read_reply_untrusted("tower", question.plan, answer)
    state = MemberState.ANSWERED if answer["cells"] else MemberState.EMPTY
    outcome = Outcome(member="tower", state=state, reply=reply)
    asked_at = shown.pop("asked_at")
    assert asked_at.endswith("Z")
    fleet = Answer(question=question, outcomes=(outcome,), asked_at=NOW).to_dict()
    del fleet["asked_at"]
    assert shown == fleet


@pytest.mark.parametrize("health", [None, {}, {"state": "active"}, {"state": 1, "tree_size": 2}])
def test_what_is_no_health_report_is_refused(health: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="tower sent a health report that is not one"):
        status_to_dict("tower", health)
