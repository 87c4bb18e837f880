from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from psp.capability import (
    Layer,
    Need,
    Operation,
    Scope,
    TableRule,
    effective_scope,
    explain,
    one_of,
    strictest,
    why_not,
)
from tests.property.scopes import columns, scopes

READ = Need(
    table="sales",
    operations=frozenset({Operation.READ}),
    output=frozenset({"price"}),
    filters=frozenset({"id"}),
    row={"id": 17},
)
WIDE = TableRule(
    operations=frozenset({Operation.READ, Operation.COUNT}),
    output=frozenset({"price", "id"}),
    filters=frozenset({"id"}),
    rows_max=10,
)


def layers(*rules: TableRule | None) -> list[Layer]:
    return [
        Layer(f"link {at}", Scope({} if rule is None else {"sales": rule}))
        for at, rule in enumerate(rules)
    ]


def test_every_line_that_stands_against_a_question_is_named_with_its_link() -> None:
    narrow = TableRule(
        operations=frozenset({Operation.COUNT}), rows={"id": one_of([3])}, aggregates_only=True
    )

    assert list(map(str, why_not(layers(WIDE, narrow), READ))) == [
        "link 1, operations: read is not named",
        "link 1, aggregates_only: read is about one record",
        "link 1, output: price is not named",
        "link 1, filters: id is not named",
        "link 1, rows: only where id in {3}",
    ]
    assert [str(it) for it in why_not(layers(None, WIDE), READ)] == [
        "link 0, tables: sales is not named"
    ]
    assert why_not(layers(WIDE, WIDE), READ) == []


def test_the_strictest_number_is_named_with_its_link() -> None:
    floors = [
        TableRule(operations=frozenset({Operation.COUNT}), floor=floor, groups_max=floor)
        for floor in (2, 9, 5)
    ]

    assert str(strictest(layers(*floors), "sales", "floor")) == "link 1, floor: 9"
    assert str(strictest(layers(*floors), "sales", "groups_max")) == "link 0, groups_max: 2"
    assert strictest(layers(WIDE, None), "sales", "floor") is None


def test_what_a_link_took_is_said_once_and_under_its_name() -> None:
    narrow = TableRule(operations=frozenset({Operation.COUNT}), output=frozenset({"price"}))

    assert [str(it) for it in explain(layers(WIDE, WIDE, narrow))] == [
        "link 2, table sales: read, output (id), filters (id)"
    ]


@given(
    st.lists(scopes, min_size=1, max_size=4), st.sampled_from(Operation), columns, columns, columns
)
def test_there_is_a_reason_exactly_where_the_meet_allows_no_such_question(
    links: list[Scope],
    operation: Operation,
    output: frozenset[str],
    filters: frozenset[str],
    groups: frozenset[str],
) -> None:
    chain = [Layer(f"link {at}", scope) for at, scope in enumerate(links)]
    rule = effective_scope(chain).tables.get("sales")
    need = Need(
        table="sales",
        operations=frozenset({operation}),
        output=output,
        filters=filters,
        groups=groups,
    )
    # Rules may leave no row, or no operation at all, although each allows the question.
    assume(rule is not None or any("sales" not in link.tables for link in links))
    asked = {"output": output, "filters": filters, "groups": groups}

    assert (why_not(chain, need) == []) == (rule is not None and rule.allows(operation, **asked))
