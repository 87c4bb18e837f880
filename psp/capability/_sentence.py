"""A scope as one sentence that a person reads before signing, and what a link took away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal

from ._domain import Between, DomainValue, OneOf, RowDomain, StartsWith
from ._limits import UNLIMITED
from ._scope import Operation, Scope, TableRule


def scope_sentence(scope: Scope) -> str:
    """Say what a scope allows: tables in order of name, then objects."""
    parts = [f"table {name}: {rule_sentence(rule)}" for name, rule in scope.tables.items()]
    parts += [f"{name}: {_names(methods)}" for name, methods in scope.objects.items()]
    return ". ".join(parts) + "." if parts else "nothing."


def rule_sentence(rule: TableRule) -> str:
    """Say what a rule allows, restrictions last."""
    return "; ".join([_what(rule), *_restrictions(rule)])


def domain_words(domain: RowDomain) -> str:
    """Say which values a domain lets through."""
    match domain:
        case OneOf():
            return "in {" + ", ".join(_value(it) for it in domain.in_order()) + "}"
        case StartsWith():
            return f"starts with {domain.prefix!r}"
        case Between():
            return " and ".join(_ends(domain))
    raise TypeError(f"{type(domain).__name__} is not a row domain")


def removed(before: Scope, after: Scope) -> list[str]:
    """Say what is gone in `after`, one phrase per table or object that got narrower.

    `after` is the meet of `before` with something, so nothing can have been added.
    """
    phrases = [
        f"table {name}: " + ("all of it" if name not in after.tables else change)
        for name, rule in before.tables.items()
        if name not in after.tables or (change := _rule_change(rule, after.tables[name]))
    ]
    for name, methods in before.objects.items():
        if lost := methods - after.objects.get(name, frozenset()):
            phrases.append(f"{name}: {_names(lost)}")
    return phrases


def _what(rule: TableRule) -> str:
    words = _operations(rule.allowed_operations)
    if rule.output:
        words += f" of ({_names(rule.output)})"
    if rule.filters:
        words += f", filtered by ({_names(rule.filters)})"
    if rule.groups:
        words += f", grouped by ({_names(rule.groups)})"
    if rule.rows:
        pairs = (f"{column} {domain_words(it)}" for column, it in rule.rows.items())
        words += ", where " + ", ".join(pairs)
    return words


def _restrictions(rule: TableRule) -> Iterator[str]:
    if rule.aggregates_only:
        yield "aggregates only"
    if rule.floor > 1:
        yield f"about {rule.floor} subjects or more"
    if rule.rounding > 1:
        yield f"rounded to {rule.rounding}"
    for limit, noun in (
        (rule.rows_max, "records"),
        (rule.groups_max, "groups"),
        (rule.bytes_max, "bytes"),
    ):
        if limit < UNLIMITED:
            yield f"at most {limit} {noun} a call"
    for limit, noun in (
        (rule.uses_total, "uses"),
        (rule.rows_total, "records"),
        (rule.bytes_total, "bytes"),
    ):
        if limit < UNLIMITED:
            yield f"at most {limit} {noun} in all"
    if rule.local:
        yield "hand-over on the same machine allowed"


def _rule_change(before: TableRule, after: TableRule) -> str:
    changes = []
    if lost := before.allowed_operations - after.allowed_operations:
        changes.append(_operations(lost))
    for word in ("output", "filters", "groups"):
        lost_names: frozenset[str] = getattr(before, word) - getattr(after, word)
        if lost_names:
            changes.append(f"{word} ({_names(lost_names)})")
    for column, domain in after.rows.items():
        if before.rows.get(column) != domain:
            changes.append(f"rows unless {column} {domain_words(domain)}")
    kept = set(_restrictions(before))
    changes += [f"now {words}" for words in _restrictions(after) if words not in kept]
    if before.local and not after.local:
        changes.append("hand-over on the same machine")
    return ", ".join(changes)


def _ends(domain: Between) -> Iterator[str]:
    if domain.low is not None:
        yield f"{'>' if domain.low_open else '>='} {_value(domain.low)}"
    if domain.high is not None:
        yield f"{'<' if domain.high_open else '<='} {_value(domain.high)}"


def _value(value: DomainValue) -> str:
    if isinstance(value, str):
        return repr(value)  # Escapes what does not print: a value is data, and may be hostile.
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date) else str(value)


def _operations(operations: frozenset[Operation]) -> str:
    return ", ".join(it.value for it in Operation if it in operations) or "nothing"


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
