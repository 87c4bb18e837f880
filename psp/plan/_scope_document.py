"""A scope as its owner writes it: names in lists, rows as the `where` of a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Final

from psp.capability import Operation, RowDomain, Scope, TableRule
from psp.errors import CapabilityError, QuestionError

from ._sql import plan_from_sql

_NAMES: Final = frozenset({"output", "filters", "groups"})
_FIELDS: Final = tuple(field.name for field in fields(TableRule))


def rows_from_sql(conditions: str) -> dict[str, RowDomain]:
    """Read row domains: `price <= 500000 and zipcode in ('98004', '98039')`.

    A date that is compared by `=` or `in` is written `date '2014-05-02'`: nobody here knows the
    columns, and a text is not a date.

    Raises:
        QuestionError: It is no list of conditions joined with `and`.
        MissingExtra: sqlglot is not installed.
    """
    question = plan_from_sql(f"select count(*) from t where {conditions}")
    if question.plan.group or question.order or question.limit is not None:
        raise QuestionError(
            f"{conditions[:80]!r} is more than conditions; write only what follows `where`."
        )
    rows: dict[str, RowDomain] = {}
    for each in question.plan.filters:
        known = rows.get(each.column)
        rows[each.column] = each.domain if known is None else known.meet(each.domain)
    return rows


def scope_from_document(document: Mapping[str, Any]) -> Scope:
    """Read a scope from TOML: `tables`, a rule each, and `objects`, a list of methods each.

    Raises:
        CapabilityError: A word of it does not exist, or has the wrong kind.
        QuestionError: The conditions of `rows` cannot be read.
    """
    _check_words(document, ("tables", "objects"), "a scope")
    try:
        return Scope(
            {name: _rule(name, rule) for name, rule in document.get("tables", {}).items()},
            {name: frozenset(it) for name, it in document.get("objects", {}).items()},
        )
    except (ValueError, TypeError, AttributeError) as exc:
        raise CapabilityError(f"the scope cannot be read: {exc}. Correct it.") from None


def _rule(table: str, document: Mapping[str, Any]) -> TableRule:
    _check_words(document, _FIELDS, f"the rule of {table!r}")
    parts: dict[str, Any] = {}
    for name, value in document.items():
        match name:
            case "operations":
                parts[name] = frozenset(Operation(word) for word in value)
            case "rows":
                parts[name] = rows_from_sql(value)
            case _ if name in _NAMES:
                parts[name] = frozenset(value)
            case _:
                parts[name] = value
    return TableRule(**{"operations": frozenset(), **parts})


def _check_words(document: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for word in document:
        if word not in known:
            close = get_close_matches(word, known, 1)
            hint = f"Did you mean {close[0]!r}?" if close else "Leave it out."
            raise CapabilityError(f"{what} has no {word!r}; it has {', '.join(known)}. {hint}")
