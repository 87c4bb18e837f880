"""The lattice laws: why the order of links does not matter, and why a chain only ever narrows."""

from __future__ import annotations

from dataclasses import fields
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.capability import Operation, RowDomain, Scope, TableRule
from psp.capability._wire import decode_untrusted, encode

from .scopes import VALUES, columns, domains, rows, rules, scopes


@given(domains, domains, VALUES | st.none())
def test_a_met_domain_contains_exactly_what_both_contain(
    left: RowDomain, right: RowDomain, value: object
) -> None:
    both = left.contains(value) and right.contains(value)

    assert left.meet(right).contains(value) == both


@given(domains, domains, domains)
def test_domains_form_a_lattice(one: RowDomain, two: RowDomain, three: RowDomain) -> None:
    assert one.meet(one) == one
    assert one.meet(two) == two.meet(one)
    assert one.meet(two).meet(three) == one.meet(two.meet(three))


@given(scopes, scopes, scopes)
def test_scopes_form_a_lattice(one: Scope, two: Scope, three: Scope) -> None:
    assert one.meet(one) == one
    assert one.meet(two) == two.meet(one)
    assert one.meet(two).meet(three) == one.meet(two.meet(three))
    assert one.meet(Scope()) == Scope()


@given(scopes, scopes)
def test_a_scope_contains_every_meet_with_it(one: Scope, two: Scope) -> None:
    assert one.contains(one.meet(two))
    assert one.contains(two) == (one.meet(two) == two)


@given(rules, rules, st.sampled_from(Operation), columns, columns, columns)
def test_a_met_rule_allows_exactly_the_questions_that_both_allow(
    left: TableRule,
    right: TableRule,
    operation: Operation,
    output: frozenset[str],
    filters: frozenset[str],
    groups: frozenset[str],
) -> None:
    met = left.meet(right)

    def asks(rule: TableRule) -> bool:
        return rule.allows(operation, output=output, filters=filters, groups=groups)

    # Two rules whose rows have nothing in common may refuse a question that each allows alone.
    assert asks(met) == (asks(left) and asks(right) and not met.is_empty)


@given(rules, rules, rows)
def test_a_met_rule_admits_exactly_the_rows_that_both_admit(
    left: TableRule, right: TableRule, row: dict[str, object]
) -> None:
    assert left.meet(right).admits(row) == (left.admits(row) and right.admits(row))


@given(rules, rules)
def test_every_number_and_switch_of_a_met_rule_is_the_stricter_one(
    left: TableRule, right: TableRule
) -> None:
    met = left.meet(right)

    for word in ("floor", "rounding"):
        assert getattr(met, word) == max(getattr(left, word), getattr(right, word))
    for word in (
        *("rows_max", "groups_max", "bytes_max"),
        *("uses_total", "rows_total", "bytes_total"),
    ):
        assert getattr(met, word) == min(getattr(left, word), getattr(right, word))
    assert met.aggregates_only >= max(left.aggregates_only, right.aggregates_only)
    assert met.local <= min(left.local, right.local)


@given(rules, rules)
def test_a_met_rule_is_one_that_could_have_been_written(left: TableRule, right: TableRule) -> None:
    """A meet does not go through the constructor, whose checks each of the two has passed."""
    met = left.meet(right)
    written = TableRule(**{it.name: getattr(met, it.name) for it in fields(TableRule)})

    assert (met, hash(met), list(met.rows)) == (written, hash(written), list(written.rows))


NUMBERS = [it.name for it in fields(TableRule) if it.name.endswith(("_max", "_total"))]


def assert_no_wider(before: TableRule, after: TableRule) -> None:
    """Compare two rules in every dimension there is; a new one must be added here."""
    for name in ("operations", "allowed_operations", "output", "filters", "groups"):
        assert getattr(after, name) <= getattr(before, name)
    assert after.rows.keys() >= before.rows.keys()
    assert all(domain.meet(after.rows[it]) == after.rows[it] for it, domain in before.rows.items())
    assert after.aggregates_only >= before.aggregates_only
    assert after.local <= before.local
    for name in ("floor", "rounding"):
        assert getattr(after, name) >= getattr(before, name)
    for name in NUMBERS:
        assert getattr(after, name) <= getattr(before, name)


@given(st.lists(scopes, min_size=2, max_size=5), rows)
def test_no_link_of_a_chain_widens_anything(links: list[Scope], row: dict[str, object]) -> None:
    allowed = list(accumulate(links, Scope.meet))
    for before, after in pairwise(allowed):
        assert before.contains(after)
        assert after.tables.keys() <= before.tables.keys()
        assert after.objects.keys() <= before.objects.keys()
        for name, methods in after.objects.items():
            assert methods <= before.objects[name]
        for name, rule in after.tables.items():
            assert_no_wider(before.tables[name], rule)
            assert before.tables[name].admits(row) or not rule.admits(row)


@given(rules)
def test_every_dimension_of_a_rule_is_compared_along_a_chain(rule: TableRule) -> None:
    """The control: a dimension that `assert_no_wider` does not look at would pass unseen."""
    looked_at = {
        *("operations", "output", "filters", "groups", "rows", "aggregates_only", "floor"),
        *("rounding", "local", *NUMBERS),
    }
    assert {it.name for it in fields(TableRule)} == looked_at
    assert_no_wider(rule, rule)


@given(scopes, scopes)
def test_objects_keep_only_the_methods_of_both(one: Scope, two: Scope) -> None:
    met = one.meet(two)
    for name in ("ledger", "service"):
        for method in ("prove", "audit"):
            both = one.allows_method(name, method) and two.allows_method(name, method)
            assert met.allows_method(name, method) == both


@given(domains)
def test_a_domain_comes_back_from_its_bytes(domain: RowDomain) -> None:
    wire = decode_untrusted(encode(domain.to_wire()))

    assert RowDomain.from_wire_untrusted(wire) == domain


@given(scopes)
def test_a_scope_comes_back_from_its_bytes_and_prints(scope: Scope) -> None:
    data = encode(scope.to_wire())
    again = Scope.from_wire_untrusted(decode_untrusted(data))

    assert again == scope
    assert encode(again.to_wire()) == data
    assert str(again) == str(scope)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
)
junk: st.SearchStrategy[object] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(scalars, inner, max_size=2),
    max_leaves=20,
)


@given(junk)
def test_whatever_is_accepted_as_a_domain_is_its_one_encoding(wire: object) -> None:
    try:
        domain = RowDomain.from_wire_untrusted(wire)
    except ValueError:
        return
    assert encode(domain.to_wire()) == encode(wire)  # type: ignore[arg-type]


@given(junk)
def test_a_scope_of_junk_is_a_value_error_and_nothing_else(wire: object) -> None:
    try:
        Scope.from_wire_untrusted(wire)
    except ValueError:
        return


@pytest.mark.parametrize("other", [1, None, "a"])
def test_a_scope_equals_only_scopes(other: object) -> None:
    assert Scope() != other
