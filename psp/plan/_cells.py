"""The cells of an archive's answer: from whatever a stranger sent to values, in one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeAlias, TypeGuard

from psp.capability import Operation
from psp.errors import RemoteProtocolError
from psp.values import Value

from ._algebra import Figure
from ._plan import Measure, Plan

ANSWER_CELLS_MAX: Final = 100_000
"""Cells of one archive's answer. An archive's own limit on groups is lower; this one protects us
from an archive that has none."""

Key: TypeAlias = "tuple[Value, ...]"
"""The values of one group, one for each key of the plan."""


@dataclass(frozen=True, slots=True)
class Part:
    """One cell of one member.

    Attributes:
        key: The group's values; None for the cell that holds what is hidden one by one.
    """

    member: str
    key: Key | None
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Withheld:
    """What one member hid, and by which rule.

    Attributes:
        key: Which cell, where the archive's owner lists that domain in full; else None.
        cells: How many cells this stands for.
    """

    member: str
    key: Key | None
    cells: int
    rule: str
    floor: int

    def words_for(self, subjects: str = "subjects") -> str:
        """The reason in words for people, who know what the subjects are called."""
        return RULE_WORDS[self.rule].format(floor=self.floor, subjects=subjects)


# The rules of docs/answers.md, in words for people.
RULE_WORDS: Final = {
    "floor": "hidden: fewer than {floor} {subjects}",
    "complement": "hidden: or the cells beside it could be found by subtraction",
    "dominance": "hidden: nearly all of it is one of the {subjects}",
    "history": "hidden: with earlier answers it would tell of fewer than {floor} {subjects}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """What one archive answered to one plan.

    Attributes:
        as_of: The size of its ledger at which it answered.
    """

    as_of: int
    parts: tuple[Part, ...]
    withheld: tuple[Withheld, ...]


def read_cells_untrusted(member: str, plan: Plan, answer: object) -> Cells:
    """Read the wire answer of docs/answers.md.

    Raises:
        RemoteProtocolError: It is not one. Nothing else is raised.
    """
    if not isinstance(answer, Mapping):
        refuse_answer(member, f"a {type(answer).__name__} where a table was due")
    cells, other = answer.get("cells"), answer.get("other")
    hidden, hidden_count = answer.get("hidden"), answer.get("hidden_count")
    as_of, floor = answer.get("as_of"), answer.get("floor")
    if not _is_list(cells) or not _is_list(hidden) or len(cells) + len(hidden) > ANSWER_CELLS_MAX:
        refuse_answer(member, "its cells are not a list of a size that can be")
    if not (_is_count(as_of) and _is_count(floor) and _is_count(hidden_count)):
        refuse_answer(member, "a count in it is not a count")
    parts = read_parts_untrusted(member, plan, cells, other)
    named = tuple(_withheld(member, plan, entry, floor) for entry in hidden)
    unnamed = hidden_count - len(named)
    if unnamed > 0:
        named += (Withheld(member, None, unnamed, "floor", floor),)
    return Cells(as_of=as_of, parts=parts, withheld=named)


def read_parts_untrusted(
    member: str, plan: Plan, cells: Sequence[object], other: object
) -> tuple[Part, ...]:
    """Read the cells of an answer; the last part is what is hidden cell by cell, if anything is.

    Raises:
        RemoteProtocolError: They are not the cells of an answer to this plan.
    """
    parts = [_part(member, plan, cell) for cell in cells]
    if other is not None:
        parts.append(_part(member, plan, [None, other]))
    if len({part.key for part in parts}) != len(parts):
        refuse_answer(member, "one group came twice")
    return tuple(parts)


def _part(member: str, plan: Plan, cell: object) -> Part:
    if not _is_list(cell) or len(cell) != 2:
        refuse_answer(member, "a cell is not a key and its figures")
    key, figures = cell
    if not _is_list(figures) or len(figures) != len(plan.measures):
        refuse_answer(
            member, f"a cell has not the {len(plan.measures)} figures that were asked for"
        )
    for measure, figure in zip(plan.measures, figures, strict=True):
        if not _FIGURE_IS[measure.operation](figure, measure):
            refuse_answer(member, f"{measure.name} came as a {type(figure).__name__}")
    return Part(member, None if key is None else key_of_untrusted(member, plan, key), figures)


def key_of_untrusted(member: str, plan: Plan, key: object) -> Key:
    """Read the name of one group.

    Raises:
        RemoteProtocolError: It is not one plain value for each key of the plan.
    """
    if not _is_list(key) or len(key) != len(plan.group) or not all(map(_is_scalar, key)):
        refuse_answer(member, f"a group is not named by {len(plan.group)} plain values")
    return tuple(key)


def _withheld(member: str, plan: Plan, entry: object, floor: int) -> Withheld:
    if not _is_list(entry) or not entry:
        refuse_answer(member, "a hidden cell has no rule")
    *key, rule = entry
    if not isinstance(rule, str) or rule not in RULE_WORDS:
        refuse_answer(member, "a hidden cell has no rule that we know")
    return Withheld(member, key_of_untrusted(member, plan, key), 1, rule, floor)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _is_sum(value: object) -> bool:
    return value is None or type(value) in (int, float, Decimal)


def _is_mean(value: object) -> bool:
    return value is None or (
        _is_list(value) and len(value) == 2 and _is_sum(value[0]) and _is_count(value[1])
    )


def _is_variance(value: object) -> bool:
    return (
        _is_list(value) and len(value) == 3 and _is_count(value[0]) and all(map(_is_sum, value[1:]))
    )


def _is_histogram(value: object, bins: int) -> bool:
    # A bin is null where it is hidden; behind the bins stands what is hidden, as one count.
    return (
        _is_list(value)
        and len(value) == bins + 1
        and all(count is None or _is_count(count) for count in value[:-1])
        and _is_count(value[-1])
    )


def _is_scalar(value: object) -> bool:
    # No column holds an instant, which Python takes for a date and cannot compare with one.
    return value is None or type(value) in (bool, int, float, str, Decimal, date)


def _is_extreme(value: object) -> bool:
    return _is_scalar(value) and type(value) is not bool


_FIGURE_IS: Final[Mapping[Operation, Callable[[object, Measure], bool]]] = {
    Operation.COUNT: lambda value, _: _is_count(value),
    Operation.SUM: lambda value, _: _is_sum(value),
    Operation.MEAN: lambda value, _: _is_mean(value),
    Operation.MIN: lambda value, _: _is_extreme(value),
    Operation.MAX: lambda value, _: _is_extreme(value),
    Operation.VARIANCE: lambda value, _: _is_variance(value),
    # Null in the cell of what is hidden: its parts' numbers cannot be added.
    Operation.DISTINCT: lambda value, _: value is None or _is_count(value),
    Operation.HISTOGRAM: lambda value, asked: _is_histogram(value, len(asked.edges) + 1),
    Operation.EXISTS: lambda value, _: type(value) is bool,
}


def refuse_answer(member: str, what: str) -> NoReturn:
    """Say that what a member sent is no answer.

    Raises:
        RemoteProtocolError: Always.
    """
    raise RemoteProtocolError(
        f"member {member!r} sent an answer that is not one: {what}. It was left out; ask its"
        " operator which release it runs"
    )
