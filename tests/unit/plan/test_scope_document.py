from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from psp.capability import Operation, Scope, TableRule, between, one_of
from psp.errors import CapabilityError, QuestionError
from psp.plan import rows_from_sql, scope_from_document


def test_a_scope_is_read_from_its_document() -> None:
    scope = scope_from_document(
        {
            "tables": {
                "sales": {
                    "operations": ["count", "mean"],
                    "output": ["price"],
                    "rows": "price <= 500 and zip in ('98004')",
                    "aggregates_only": True,
                    "floor": 10,
                }
            },
            "objects": {"ledger": ["prove"]},
        }
    )

    assert scope == Scope(
        {
            "sales": TableRule(
                operations=frozenset({Operation.COUNT, Operation.MEAN}),
                output=frozenset({"price"}),
                rows={"price": between(None, 500), "zip": one_of(["98004"])},
                aggregates_only=True,
                floor=10,
            )
        },
        {"ledger": frozenset({"prove"})},
    )


def test_two_conditions_on_one_column_are_met() -> None:
    day = date(2014, 5, 2)

    assert rows_from_sql("a > 1 and a <= 5") == {"a": between(1, 5, low_open=True)}
    assert rows_from_sql("d >= '2014-05-02' and d = date '2014-05-02'") == {"d": one_of([day])}


@pytest.mark.parametrize(
    "text", ["a = 1 group by b", "a = 1 limit 3", "a = 1 or b = 2", "", "a = 1; select 1"]
)
def test_more_or_less_than_conditions_is_refused(text: str) -> None:
    with pytest.raises(QuestionError):
        rows_from_sql(text)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"table": {}}, "Did you mean 'tables'"),
        ({"tables": {"t": {"outputs": []}}}, "the rule of 't' has no 'outputs'.*'output'"),
        ({"tables": {"t": {"operations": ["look"]}}}, "'look' is not a valid Operation"),
        ({"tables": {"t": {"operations": ["read"]}}}, "must set rows_max"),
        ({"tables": {"t": {"operations": ["count"], "floor": "x"}}}, "cannot be read"),
        ({"tables": []}, "cannot be read"),
    ],
)
def test_a_wrong_word_is_named(document: dict[str, Any], says: str) -> None:
    with pytest.raises(CapabilityError, match=says):
        scope_from_document(document)
