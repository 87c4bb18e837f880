"""Attacks with questions that are all allowed: what one record says, computed from totals.

Each is asked of an archive's shadow: its own rows and rules, with a history that nobody else has.
So the archive is not asked, records nothing, and remembers nothing of it.

Sources: Denning, Denning and Schwartz, "The Tracker: A Threat to Statistical Database Security"
(1979); Denning, "Cryptography and Data Security" (1982), chapter 6. A plan joins conditions with
"and" alone; the unions that trackers need are sets of values of one column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Final, TypeAlias

from psp.capability import Operation, RowDomain, TableRule, between, one_of
from psp.errors import ArchiveError, CallFailed
from psp.plan import Filter, GroupKey, Measure, Plan
from psp.totebox import ColumnType, Shadow, Withheld

from ._limits import VALUES_MAX
from ._report import Attempt, Verdict

FLOOR: Final = 10
"""The floor under which it is tried, where nobody has set a higher one."""

Number: TypeAlias = int | Decimal

_COUNT: Final = Measure(Operation.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One record, and what everybody knows of it.

    Attributes:
        odd: A column of which this record alone has the greatest value.
        values: All values of that column, in order.
        wide: Another column and the record's value there, which many have.
        learnt: The column whose value is to be found out.
    """

    odd: str
    values: tuple[int, ...]
    wide: str
    wide_value: int
    learnt: str

    @property
    def others(self) -> RowDomain:
        """All values of the odd column but the record's."""
        return between(None, self.values[-2])


class Asker:
    """Somebody who is answered sums and counts of one table, by any column."""

    def __init__(self, shadow: Shadow, target: Target | None = None, floor: int = 1) -> None:
        columns = frozenset(shadow.table.column_names)
        self._shadow = shadow
        self._rule = TableRule(
            operations=frozenset({Operation.COUNT, Operation.SUM}),
            output=columns,
            filters=columns,
            groups=columns,
            aggregates_only=True,
            floor=floor,
        )
        self._learnt = target.learnt if target else ""

    @property
    def size(self) -> int:
        """The size that the ledger has now."""
        return self._shadow.size

    def total(self, **where: RowDomain) -> Number:
        """Ask for the sum of the column that is to be learnt."""
        return self._total(where, None)

    def total_at(self, size: int) -> Number:
        """Ask for the sum of all when the ledger had some size."""
        return self._total({}, size)

    def _total(self, where: Mapping[str, RowDomain], size: int | None) -> Number:
        plan = Plan(
            table=self._shadow.table.name,
            measures=(Measure(Operation.SUM, self._learnt),),
            filters=tuple(Filter(name, domain) for name, domain in sorted(where.items())),
        )
        cells = self._shadow.ask(plan, self._rule, tree_size=size)["cells"]
        assert isinstance(cells, list)
        total = cells[0][1][0] if cells else None
        return total if isinstance(total, int | Decimal) else 0

    def counts(self, column: str, **where: RowDomain) -> list[tuple[int, int]]:
        """Ask how many records have each value of a column of whole numbers."""
        plan = Plan(
            table=self._shadow.table.name,
            measures=(_COUNT,),
            filters=tuple(Filter(name, domain) for name, domain in where.items()),
            group=(GroupKey(column),),
        )
        cells = self._shadow.ask(plan, self._rule)["cells"]
        assert isinstance(cells, list)
        return [(key, count) for [key], [count] in cells]


class _StoodStill(Exception):
    """Answers show the state from before the record came."""


_Attack: TypeAlias = Callable[[Asker, Asker, Target], Number]


def subtraction(ask: Asker, other: Asker, it: Target) -> Number:
    return ask.total() - ask.total(**{it.odd: it.others})


def colluding_tenants(ask: Asker, other: Asker, it: Target) -> Number:
    return ask.total() - other.total(**{it.odd: it.others})


def individual_tracker(ask: Asker, other: Asker, it: Target) -> Number:
    wide = one_of([it.wide_value])
    return ask.total(**{it.wide: wide}) - ask.total(**{it.wide: wide, it.odd: it.others})


def general_tracker(ask: Asker, other: Asker, it: Target) -> Number:
    """q(C) = q(C ∪ T) + q(C ∪ T̄) − (q(T) + q(T̄)); here T̄ holds C already."""
    middle = len(it.values) // 2
    tracker, rest = it.values[:middle], between(it.values[middle], None)
    padded = ask.total(**{it.odd: one_of([*tracker, it.values[-1]])})
    everybody = ask.total(**{it.odd: one_of(tracker)}) + ask.total(**{it.odd: rest})
    return padded + ask.total(**{it.odd: rest}) - everybody


def three_sets(ask: Asker, other: Asker, it: Target) -> Number:
    halves = ask.total(**{it.wide: between(None, it.wide_value)}) + ask.total(
        **{it.wide: between(it.wide_value, None, low_open=True)}
    )
    return halves - ask.total(**{it.odd: it.others})


def presence(ask: Asker, other: Asker, it: Target) -> Number:
    """Whether somebody is there can be told if it is refused otherwise than for nobody."""
    told: list[Withheld | None] = []
    for value in (it.values[-1], it.values[-1] + 1):
        try:
            ask.total(**{it.odd: one_of([value])})
            told.append(None)
        except Withheld as exc:
            told.append(exc)
    if told[0] is not None and str(told[0]) == str(told[1]):
        raise told[0]
    return it.values[-1]


def ask_again(ask: Asker, other: Asker, it: Target) -> Number:
    """The record has come with the last entry, alone: ask before it, and again after."""
    before = ask.total_at(ask.size - 1)
    if (after := ask.total()) == before:
        raise _StoodStill(f"the same total before and after its coming: {after}")
    return after - before


_ATTACKS: Final[Mapping[str, tuple[_Attack, str]]] = {
    "subtraction": (subtraction, "the total, minus the total of all but one"),
    "individual tracker": (individual_tracker, "the same among those who share a value"),
    "general tracker": (general_tracker, "one padded with half of all, and with the other half"),
    "three-query set": (three_sets, "two halves minus all but one: no two differ by little"),
    "colluding tenants": (colluding_tenants, "the total for one tenant, all but one for another"),
    "presence probe": (presence, "one that is there, and one that is not"),
}
_AGAIN: Final = ("ask again", "the total before a record was sealed, and after")


def inference_attacks(
    open_shadow: Callable[[], Shadow], open_late: Callable[[Filter], Shadow], floor: int
) -> list[Attempt]:
    """Try each attack on a shadow of its own.

    Args:
        open_late: Opens one in which the rows that pass a filter have come with the last entry.
        floor: 1 shows what each would find if nothing were held back.

    Raises:
        ArchiveError: No record of this table stands out, so that nothing could be shown.
    """
    with open_shadow() as shadow:
        target = find_target(shadow)
    attempts = []
    for name, (attack, tried) in _ATTACKS.items():
        with open_shadow() as shadow:
            first, second = (Asker(shadow, target, floor=floor + at * (floor > 1)) for at in (0, 1))
            attempts.append(_tried(name, tried, partial(attack, first, second, target), target))
    with open_late(Filter(target.odd, one_of([target.values[-1]]))) as shadow:
        asker = Asker(shadow, target, floor=floor)
        attempts.append(_tried(*_AGAIN, partial(ask_again, asker, asker, target), target))
    return attempts


def find_target(shadow: Shadow) -> Target:
    """Find a record that stands out in one column and hides among many in another.

    Raises:
        ArchiveError: There is none.
    """
    # Everything may be known here: floor 1, and the shadow's own floor for this search alone.
    asker = Asker(shadow)
    table = shadow.table
    whole = [
        one.name for one in table.columns if one.type is ColumnType.INTEGER and not one.nullable
    ]
    money = [one.name for one in table.columns if one.currency and not one.nullable]
    tallies = {name: asker.counts(name) for name in whole}
    for odd in sorted(whole, key=lambda name: len(tallies[name])):
        tally = tallies[odd]
        if not 4 <= len(tally) <= VALUES_MAX or tally[-1][1] != 1:
            continue
        for wide in (it for it in whole if it != odd):
            learnt = [it for it in (*money, *whole) if it not in (odd, wide, *table.key)]
            [(value, _)] = asker.counts(wide, **{odd: one_of([tally[-1][0]])})
            if learnt and _hides_among(tallies[wide], value):
                values = tuple(each for each, _ in tally)
                return Target(odd=odd, values=values, wide=wide, wide_value=value, learnt=learnt[0])
    raise ArchiveError(
        f"no record of {table.name!r} stands out by the greatest value of a whole-number column, so"
        " these attacks have no target. Try another member."
    )


def _hides_among(tally: list[tuple[int, int]], value: int) -> bool:
    """Say whether many have this value, and many a greater one."""
    equal = sum(count for each, count in tally if each == value)
    greater = sum(count for each, count in tally if each > value)
    return min(equal, greater) >= 4 * FLOOR


def _tried(name: str, tried: str, attack: Callable[[], Number], target: Target) -> Attempt:
    try:
        found = attack()
    except Withheld as exc:
        return Attempt(
            attack=name,
            tried=tried,
            got=exc.word,
            verdict=Verdict.HELD,
            rule=str(exc.rule),
            rule_seen_from="owner",
        )
    except _StoodStill as exc:
        return Attempt(
            attack=name,
            tried=tried,
            got=str(exc),
            verdict=Verdict.HELD,
            rule="release point",
            rule_seen_from="owner",
        )
    except CallFailed as exc:
        return Attempt(attack=name, tried=tried, got=exc.word, verdict=Verdict.UNCLEAR)
    who = f"{target.odd} {target.values[-1]}"
    got = f"{target.learnt} of the one with {who}: {found}"
    if name == "presence probe":
        got = f"there is one with {who}"
    return Attempt(attack=name, tried=tried, got=got, verdict=Verdict.BREACH)
