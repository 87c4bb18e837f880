from __future__ import annotations

import pytest

from psp.capability import Operation, TableRule, one_of
from psp.errors import Denied, Invalid, LimitExceeded
from psp.plan import Bucket, Filter, GroupKey, Measure, Plan
from psp.totebox._compile import compile_query, compile_view
from psp.totebox._manifest import Column, ColumnType, Table

TABLE = Table(
    name="staff",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="born", type=ColumnType.DATE),
        Column(name="town", type=ColumnType.TEXT),
        Column(name="wage", type=ColumnType.DECIMAL, scale=2),
        Column(name="left", type=ColumnType.BOOLEAN),
        *(Column(name=f"q{at}", type=ColumnType.INTEGER, nullable=True) for at in range(9)),
    ),
    key=("id",),
)
RULE = TableRule(
    operations=frozenset({Operation.COUNT, Operation.SUM, Operation.MIN}),
    output=frozenset({"town", "left", "born", *(f"q{at}" for at in range(9))}),
    filters=frozenset({"town"}),
    groups=frozenset({"town"}),
)
COUNT = (Measure(Operation.COUNT),)


def refusal(**fields: object) -> str:
    plan = Plan(**{"table": "staff", "measures": COUNT, **fields})  # type: ignore[arg-type]
    with pytest.raises((Invalid, Denied, LimitExceeded)) as caught:
        compile_query(plan, TABLE, RULE, view="v", floor=1)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_a_hidden_column_is_refused_in_the_words_of_one_that_is_not_there() -> None:
    """`wage` is in the table and not in the grant; nobody may learn that from an error."""
    hidden = refusal(measures=(Measure(Operation.SUM, "wage"),))
    missing = refusal(measures=(Measure(Operation.SUM, "wagf"),))

    assert hidden.replace("wage", "?") == missing.replace("wagf", "?")
    assert hidden.startswith("Invalid: 'staff' has no column 'wage'; ")


def test_a_misspelt_column_is_guessed_among_the_visible_ones() -> None:
    assert refusal(group=(GroupKey("twon"),)).endswith("did you mean 'town'?")
    assert "wage" not in refusal(group=(GroupKey("wagee"),)).replace("'wagee'", "")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"filters": (Filter("born", one_of(["2014-05-01"])),)},
            "Invalid: this grant does not filter on 'born'; it does filter on: town.",
        ),
        (
            {"group": (GroupKey("left"),)},
            "Invalid: this grant does not group by 'left'; it does group by: town.",
        ),
        (
            {"measures": (Measure(Operation.MAX, "q1"),)},
            "Denied: this grant does not allow max; it allows: count, min, sum.",
        ),
        (
            {"measures": (Measure(Operation.SUM, "town"),)},
            "Invalid: sum does not take 'town', which is text; it takes: integer, decimal, float.",
        ),
        (
            {"measures": (Measure(Operation.MIN, "left"),)},
            "Invalid: min does not take 'left', which is boolean;"
            " it takes: integer, decimal, float, date, text.",
        ),
        (
            {"group": (GroupKey("town", Bucket.MONTH),)},
            "Invalid: month(town) needs a date, and 'town' is text; group by 'town' itself.",
        ),
        (
            {"measures": tuple(Measure(Operation.SUM, f"q{at}") for at in range(9))},
            "LimitExceeded: figures of 9 columns that may be empty; one question can have 8."
            " Ask in two.",
        ),
    ],
)
def test_what_the_scope_does_not_allow_is_said_with_what_it_does(
    fields: dict[str, object], message: str
) -> None:
    assert refusal(**fields) == message


def test_nothing_of_a_request_is_in_the_sql() -> None:
    canary = "x' OR 1=1; --"
    plan = Plan(table="staff", measures=COUNT, filters=(Filter("town", one_of([canary])),))
    compiled = compile_query(plan, TABLE, RULE, view="v", floor=10)

    assert "OR 1=1" not in compiled.cells + "".join(compiled.parts)
    assert compiled.parameters == (canary,)


def test_the_view_holds_only_what_the_scope_shows() -> None:
    sql = compile_view(TABLE, RULE, "v")

    assert '"town"' in sql
    assert '"wage"' not in sql


def test_a_name_with_a_quote_stays_one_name() -> None:
    assert compile_view(TABLE, RULE, 'v" AS SELECT 1 --').startswith(
        'CREATE TEMP VIEW "v"" AS SELECT 1 --" AS SELECT'
    )
