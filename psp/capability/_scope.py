"""What a grant allows: a product of small lattices, with one rule per table and no OR.

Every part of a rule has a meet that is again such a part (intersection, minimum, maximum, or), so
the meet of two scopes is one pass over their tables, always exists, and allows exactly what both
allow. An OR would multiply the rules at every meet; to say "this or that", hold two grants.

What is not named is not there: a table without a rule, a column in none of a rule's lists and an
object without methods look like things that do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from operator import and_, attrgetter, or_
from types import MappingProxyType
from typing import Any, Final, cast

from ._domain import RowDomain
from ._limits import UNLIMITED
from ._wire import Wire, check_name, take_int, take_list, take_sorted_names, take_text


class Operation(Enum):
    """What may be done with a table. The order is the format: the n-th is bit n on the wire."""

    META = "meta"
    EXISTS = "exists"
    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"
    VARIANCE = "variance"
    DISTINCT = "distinct"
    HISTOGRAM = "histogram"
    SKETCH = "sketch"
    READ = "read"
    APPEND = "append"
    ASSET = "asset"


_OPERATIONS: Final = tuple(Operation)

RECORD_OPERATIONS: Final = frozenset({Operation.EXISTS, Operation.READ, Operation.ASSET})
"""Operations that answer about one record: "aggregates only" takes them away. `min` and `max` also
reveal one record's value; they are aggregates, and given only where an owner names them."""

ROUNDING_LADDER: Final = (1, 5, 10, 100, 1000)
"""Each divides the next, so the coarser of two contains what the finer one hides."""


_CEILINGS: Final = (
    *("rows_max", "groups_max", "bytes_max"),
    *("uses_total", "rows_total", "bytes_total"),
)
"""The numbers of which the smaller is the stricter one. The order is the format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRule:
    """What may be done with one table.

    Attributes:
        output: Columns whose values or aggregates may appear in an answer.
        filters: Columns that a question may filter on. Apart from `output`, because `WHERE salary
            = 90000` tells a hidden salary without ever printing it.
        groups: Columns that a question may group by; their values become visible as group keys.
        rows: Only rows whose every named column lies in its domain are there at all.
        aggregates_only: Takes `exists`, `read` and `asset` away, whatever `operations` says.
        floor: Fewest subjects that an answer or a group may speak about.
        rounding: Numbers are rounded to a multiple of this.
        rows_max: Records per call. A rule that grants `read` must set it.
        groups_max: Groups per answer.
        bytes_max: Bytes per answer.
        uses_total: Questions and rows asked for, over the whole life of the link that says so. The
            archive counts on every link, so what was narrowed from one draws on it too.
        rows_total: Records, over that life.
        bytes_total: Bytes of answers, over that life.
        local: A result may be handed over by a mapped file on the same machine.
    """

    operations: frozenset[Operation]
    output: frozenset[str] = frozenset()
    filters: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    rows: Mapping[str, RowDomain] = field(default_factory=dict)
    aggregates_only: bool = False
    floor: int = 1
    rounding: int = 1
    rows_max: int = UNLIMITED
    groups_max: int = UNLIMITED
    bytes_max: int = UNLIMITED
    uses_total: int = UNLIMITED
    rows_total: int = UNLIMITED
    bytes_total: int = UNLIMITED
    local: bool = False

    def __post_init__(self) -> None:
        # Copied, so that nobody who kept the mapping can widen a rule that has been verified.
        object.__setattr__(self, "rows", MappingProxyType(dict(sorted(self.rows.items()))))
        for name in self.columns:
            check_name(name)
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.rounding not in ROUNDING_LADDER:
            raise ValueError(f"rounding to {self.rounding}; choose one of {ROUNDING_LADDER}")
        for word in ("floor", *_CEILINGS):
            if not 1 <= getattr(self, word) <= UNLIMITED:
                raise ValueError(f"{word} is {getattr(self, word)}; it is at least 1")
        if Operation.READ in self.operations and self.rows_max == UNLIMITED:
            raise ValueError("a rule that grants `read` must set rows_max: records per call")

    def __hash__(self) -> int:
        # All of it: grants of one table often differ in nothing but the rows, or a number.
        named = (self.operations, self.output, self.filters, self.groups, *self.rows.items())
        return hash((named, self.floor, self.rounding, *(getattr(self, it) for it in _CEILINGS)))

    @property
    def columns(self) -> frozenset[str]:
        """Every column that the rule names; the rest of the table does not exist under it."""
        return self.output | self.filters | self.groups | frozenset(self.rows)

    @property
    def allowed_operations(self) -> frozenset[Operation]:
        return self.operations - RECORD_OPERATIONS if self.aggregates_only else self.operations

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all can be done under this rule."""
        return not self.allowed_operations or any(it.is_empty for it in self.rows.values())

    def allows(
        self,
        operation: Operation,
        *,
        output: Iterable[str] = (),
        filters: Iterable[str] = (),
        groups: Iterable[str] = (),
    ) -> bool:
        """Whether a question of this shape may be asked. Rows and numbers are not looked at."""
        return (
            not self.is_empty
            and operation in self.allowed_operations
            and self.output.issuperset(output)
            and self.filters.issuperset(filters)
            and self.groups.issuperset(groups)
        )

    def admits(self, row: Mapping[str, object]) -> bool:
        """Whether a record is there at all for the holder; a missing column admits nothing."""
        return all(
            column in row and domain.contains(row[column]) for column, domain in self.rows.items()
        )

    def meet(self, other: TableRule) -> TableRule:
        """Return the rule that allows exactly what both allow."""
        # Not through the constructor: of two rules that were checked, every part of the meet is
        # one that was checked. tests/property/test_scope_laws.py checks that, too.
        met = object.__new__(TableRule)
        for get, place, met_of in _PLACES:
            place(met, met_of(get(self), get(other)))
        return met


@dataclass(frozen=True, slots=True)
class Scope:
    """Two finite maps: tables to rules, and objects (a ledger, a service) to method names.

    Rules and objects that allow nothing are left out, so that equal scopes are equal objects and a
    scope is empty exactly when both maps are.
    """

    tables: Mapping[str, TableRule] = field(default_factory=dict)
    objects: Mapping[str, frozenset[str]] = field(default_factory=dict)
    # Asked for at every meet, and long to say: kept from the first time on.
    _hash: int | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        tables = {check_name(k): it for k, it in sorted(self.tables.items()) if not it.is_empty}
        objects = {check_name(k): frozenset(it) for k, it in sorted(self.objects.items()) if it}
        for method in frozenset().union(*objects.values()):
            check_name(method)
        object.__setattr__(self, "tables", MappingProxyType(tables))
        object.__setattr__(self, "objects", MappingProxyType(objects))

    def __hash__(self) -> int:
        if self._hash is None:
            named = hash((*self.tables.items(), *self.objects.items()))
            object.__setattr__(self, "_hash", named)
        return cast("int", self._hash)

    def __str__(self) -> str:
        from ._sentence import scope_sentence  # Printing knows scopes; scopes need no printing.

        return scope_sentence(self)

    @property
    def is_empty(self) -> bool:
        return not self.tables and not self.objects

    def allows_method(self, name: str, method: str) -> bool:
        """Whether a method of a named object may be called."""
        return method in self.objects.get(name, ())

    def meet(self, other: Scope) -> Scope:
        """Return the scope that allows exactly what both allow.

        Commutative, associative and idempotent, so the order of the links and of the pairing
        ceiling does not matter: tests/property/test_scope_laws.py.
        """
        return Scope(
            {k: it.meet(other.tables[k]) for k, it in self.tables.items() if k in other.tables},
            {k: it & other.objects[k] for k, it in self.objects.items() if k in other.objects},
        )

    def contains(self, other: Scope) -> bool:
        """Whether `other` allows nothing that this scope does not.

        It can say no where a set of dates and an interval list the same days: the refusing side of
        wrong.
        """
        return self.meet(other) == other

    def to_wire(self) -> Wire:
        """Give the positional array of docs/capabilities.md, "Scope"."""
        return [
            [_rule_to_wire(name, rule) for name, rule in self.tables.items()],
            [[name, sorted(methods)] for name, methods in self.objects.items()],
        ]

    @staticmethod
    def from_wire_untrusted(wire: object) -> Scope:
        """Read a scope that somebody else wrote.

        The caller compares `encode(scope.to_wire())` with the bytes it read: that proves the form
        canonical (order, no rule that allows nothing, no column listed without use).

        Raises:
            ValueError: Whatever is wrong with it. Nothing else is raised.
        """
        table_wires, object_wires = take_list(wire, 2)
        rules = [_rule_from_wire(it) for it in take_list(table_wires)]
        pairs = [take_list(it, 2) for it in take_list(object_wires)]
        objects = [(take_text(name), frozenset(take_sorted_names(ms))) for name, ms in pairs]
        return Scope(dict(rules), dict(objects))


def _meet_rows(
    left: Mapping[str, RowDomain], right: Mapping[str, RowDomain]
) -> Mapping[str, RowDomain]:
    if not left or not right:
        return left or right
    met = {**left, **right}  # A column named on one side only keeps that side's domain.
    for column in left.keys() & right.keys():
        met[column] = left[column].meet(right[column])
    return MappingProxyType(dict(sorted(met.items())))


_MEETS: Final[Mapping[str, Callable[[Any, Any], object]]] = {
    "operations": and_,
    "output": and_,
    "filters": and_,
    "groups": and_,
    "rows": _meet_rows,
    "aggregates_only": or_,
    "floor": max,
    "rounding": max,
    **dict.fromkeys(_CEILINGS, min),
    "local": and_,
}
"""How each part of a rule is met."""

# Where each stands in a rule. A rule is frozen for everybody else.
_PLACES: Final = tuple(
    (attrgetter(name), getattr(TableRule, name).__set__, met) for name, met in _MEETS.items()
)

_AGGREGATES_ONLY_BIT: Final = 1
_LOCAL_BIT: Final = 2


def _rule_to_wire(table: str, rule: TableRule) -> Wire:
    # Column names stand once and are then named by position: the same twenty names in three lists
    # would not fit a link of 1 KiB.
    columns = sorted(rule.columns)
    at = {name: index for index, name in enumerate(columns)}
    return [
        table,
        columns,
        sum(1 << bit for bit, op in enumerate(_OPERATIONS) if op in rule.operations),
        *(sorted(at[it] for it in names) for names in (rule.output, rule.filters, rule.groups)),
        [[at[column], domain.to_wire()] for column, domain in rule.rows.items()],
        _AGGREGATES_ONLY_BIT * rule.aggregates_only + _LOCAL_BIT * rule.local,
        *(rule.floor, rule.rounding, rule.rows_max, rule.groups_max, rule.bytes_max),
        *(rule.uses_total, rule.rows_total, rule.bytes_total),
    ]


def _rule_from_wire(wire: object) -> tuple[str, TableRule]:
    parts = take_list(wire, 16)
    table, columns = take_text(parts[0]), take_sorted_names(parts[1])
    mask = take_int(parts[2], 0, (1 << len(_OPERATIONS)) - 1)
    output, filters, groups = (_take_columns(it, columns) for it in parts[3:6])
    flags = take_int(parts[7], 0, _AGGREGATES_ONLY_BIT | _LOCAL_BIT)
    floor, rounding, *ceilings = (take_int(it, 1, UNLIMITED) for it in parts[8:])
    return table, TableRule(
        operations=frozenset(op for bit, op in enumerate(_OPERATIONS) if mask >> bit & 1),
        output=output,
        filters=filters,
        groups=groups,
        rows=dict(_take_row(it, columns) for it in take_list(parts[6])),
        aggregates_only=bool(flags & _AGGREGATES_ONLY_BIT),
        floor=floor,
        rounding=rounding,
        local=bool(flags & _LOCAL_BIT),
        **dict(zip(_CEILINGS, ceilings, strict=True)),
    )


def _take_columns(wire: object, columns: list[str]) -> frozenset[str]:
    return frozenset(columns[take_int(it, 0, len(columns) - 1)] for it in take_list(wire))


def _take_row(wire: object, columns: list[str]) -> tuple[str, RowDomain]:
    column, domain = take_list(wire, 2)
    return columns[take_int(column, 0, len(columns) - 1)], RowDomain.from_wire_untrusted(domain)
