"""The one form of a question: however its conditions are written, it is known again.

The domains of the grant and those of the plan are met, column by column: which of them let a row
through is nothing that an answer says. What is left stands in the order of the columns' names, and
each in one form: `x > 6`, `x >= 7` and a list without gaps are the same interval of whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Final

from psp.capability import Between, OneOf, RowDomain, between, one_of
from psp.plan import Filter

from ._history_file import Asked
from ._manifest import Column, ColumnType, Table
from ._storage import holds_kind_of, scaled_down, stored_ends, stored_members, to_typed_domain

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1


def canonical(asked: Asked, table: Table) -> Asked:
    """Bring a question into its one form; it is about the very same rows."""
    met: dict[str, RowDomain] = {}
    for each in (*_of_grant(asked.rows, table), *_of_plan(asked.plan.filters, table)):
        known = met.get(each.column)
        met[each.column] = each.domain if known is None else known.meet(each.domain)
    rows = tuple(
        Filter(name, _one_form(table, name, domain)) for name, domain in sorted(met.items())
    )
    return Asked(replace(asked.plan, filters=()), rows)


def _of_grant(filters: Sequence[Filter], table: Table) -> list[Filter]:
    """What a column cannot hold lets nothing through, as in the grant's view."""
    return [
        replace(each, domain=one_of(()))
        if each.column in table.column_names
        and not holds_kind_of(table.column(each.column), each.domain)
        else each
        for each in filters
    ]


def _of_plan(filters: Sequence[Filter], table: Table) -> list[Filter]:
    return [
        replace(each, domain=to_typed_domain(table.column(each.column), each.domain))
        for each in filters
    ]


def _one_form(table: Table, name: str, domain: RowDomain) -> RowDomain:
    if name not in table.column_names or domain.is_empty:
        return domain
    column = table.column(name)
    match column.type, domain:
        case ((ColumnType.INTEGER | ColumnType.DECIMAL), OneOf()):
            members = sorted(it for it in stored_members(column, domain) if isinstance(it, int))
            return _without_gaps(column, members) or _members(column, members)
        case ((ColumnType.INTEGER | ColumnType.DECIMAL), Between()):
            low, high = stored_ends(column, domain)
            return one_of(()) if low > high else _interval(column, low, high) or domain
        case ColumnType.DATE, OneOf(_, values):
            days = sorted(it for it in values if isinstance(it, date))
            if all((later - day).days == 1 for day, later in pairwise(days)):
                return between(days[0], days[-1])
    return domain


def _without_gaps(column: Column, members: Sequence[int]) -> RowDomain | None:
    if not members or members[-1] - members[0] != len(members) - 1:
        return None
    return _interval(column, members[0], members[-1])


def _members(column: Column, members: Sequence[int]) -> RowDomain:
    values = [scaled_down(column, it) for it in members]
    return one_of(values)  # type: ignore[arg-type]


def _interval(column: Column, low: int, high: int) -> RowDomain | None:
    """Write an interval of stored numbers, closed; None if it is all of them."""
    ends = [
        None if end in (_INT64_MIN, _INT64_MAX) else scaled_down(column, end) for end in (low, high)
    ]
    return None if ends == [None, None] else between(*ends)  # type: ignore[arg-type]
