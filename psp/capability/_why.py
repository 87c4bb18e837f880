"""Why not: which line of which link, or of the pairing, takes something away.

For owners, who may know. What a presenter hears is `denied`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ._limits import UNLIMITED
from ._scope import RECORD_OPERATIONS, Operation, Scope, TableRule
from ._sentence import domain_words, removed


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the scopes that are met: a pairing's ceiling, or a link.

    Attributes:
        name: As people call it: `link 0`, `pairing USER`.
    """

    name: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that a layer takes away.

    Attributes:
        line: The part of the rule that does it: `output`, `rows`, `floor`.
        words: What is missing there; completes "link 0, output: …".
    """

    layer: str
    line: str
    words: str

    def __str__(self) -> str:
        return f"{self.layer}, {self.line}: {self.words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a question needs of a rule.

    Attributes:
        row: Values of single columns, where one record is asked for.
    """

    table: str
    operations: frozenset[Operation] = frozenset()
    output: frozenset[str] = frozenset()
    filters: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    row: Mapping[str, object] | None = None


def effective_scope(layers: Sequence[Layer]) -> Scope:
    """Return what all layers allow together."""
    scope = layers[0].scope
    for layer in layers[1:]:
        scope = scope.meet(layer.scope)
    return scope


def why_not(layers: Iterable[Layer], need: Need) -> list[Removal]:
    """Name every line that stands against a question; empty if the rules allow its form.

    The numbers of an answer (floor, groups, bytes) depend on the rows: see `strictest`.
    """
    return [
        Removal(layer.name, line, words)
        for layer in layers
        for line, words in _against(layer.scope.tables.get(need.table), need)
    ]


def strictest(layers: Iterable[Layer], table: str, line: str) -> Removal | None:
    """Name the layer whose `floor`, `rounding`, `groups_max` or `bytes_max` counts in the end."""
    best: Removal | None = None
    chosen = 1 if line in ("floor", "rounding") else UNLIMITED
    for layer in layers:
        if (rule := layer.scope.tables.get(table)) is None:
            continue
        number: int = getattr(rule, line)
        if number > chosen if line in ("floor", "rounding") else number < chosen:
            best, chosen = Removal(layer.name, line, str(number)), number
    return best


def explain(layers: Sequence[Layer]) -> list[Removal]:
    """Say what each layer after the first took from what was left before it."""
    found = []
    allowed = layers[0].scope
    for layer in layers[1:]:
        met = allowed.meet(layer.scope)
        for phrase in removed(allowed, met):
            where, _, what = phrase.partition(": ")
            found.append(Removal(layer.name, where, what))
        allowed = met
    return found


def _against(rule: TableRule | None, need: Need) -> Iterable[tuple[str, str]]:
    if rule is None:
        yield "tables", f"{need.table} is not named"
        return
    if lost := need.operations - rule.operations:
        yield "operations", f"{_words(it.value for it in lost)} is not named"
    if rule.aggregates_only and (records := need.operations & RECORD_OPERATIONS):
        yield "aggregates_only", f"{_words(it.value for it in records)} is about one record"
    for line in ("output", "filters", "groups"):
        if missing := getattr(need, line) - getattr(rule, line):
            yield line, f"{_words(missing)} is not named"
    for column, value in (need.row or {}).items():
        if column in rule.rows and not rule.rows[column].contains(value):
            yield "rows", f"only where {column} {domain_words(rule.rows[column])}"


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
