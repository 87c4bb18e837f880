"""The plan: the only query language on the wire.

One table, some filters that must all hold, some columns to group by, some measures. There is no
expression, no join and no text of SQL in it: an archive compiles it from the grant's scope, so what
a plan cannot say, nobody can make an archive run. Ratios, order and limit stay with the asker
(`Question`): a ratio of one archive says nothing about a ratio of seventy, and the ten largest
groups of one archive need not be among the ten largest of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Final, TypeVar

import msgpack

from psp.capability import Operation, RowDomain
from psp.errors import Invalid
from psp.values import EXACT, Value, to_ext

FILTERS_MAX: Final = 32
"""One scope has no more row domains than a link can carry, about twenty; a plan needs no more."""
EDGES_MAX: Final = 64
"""Edges of a histogram: 65 bins draw a curve, and each is a cell that needs enough subjects."""
GROUP_KEYS_MAX: Final = 8
"""Nine columns to group by leave almost no group with ten subjects."""
MEASURES_MAX: Final = 32
"""Two measures for each column of a wide report."""
NAME_CHARACTERS_MAX: Final = 64
"""As long as a manifest lets the name of a table or column be."""
TREE_SIZE_MAX: Final = 2**63 - 1
"""Tree sizes are unsigned 64-bit numbers in RFC 9162; MessagePack and SQLite share this much."""

COMMAND_TAG: Final = b"PSP1.command"

_Part = TypeVar("_Part")


class Bucket(StrEnum):
    """What a date is grouped into; every bucket has a text that sorts as time does."""

    YEAR = "year"  # 2014
    QUARTER = "quarter"  # 2014-Q2
    MONTH = "month"  # 2014-05
    WEEK = "week"  # 2014-W18, as ISO 8601 counts: its year may differ from the calendar's
    DAY = "day"  # 2014-05-02


MEASURE_OPERATIONS: Final = (
    Operation.COUNT,
    Operation.SUM,
    Operation.MEAN,
    Operation.MIN,
    Operation.MAX,
    Operation.VARIANCE,
    Operation.DISTINCT,
    Operation.HISTOGRAM,
    Operation.EXISTS,
)
"""The operations of a scope that a plan can ask for; each has an algebra in `_algebra.py`."""
_ROW_MEASURES: Final = (Operation.COUNT, Operation.EXISTS)
_ALONE: Final = (Operation.HISTOGRAM, Operation.EXISTS)
"""A histogram's bins are cells, and one answer has one kind of cells. What is said of one record is
no figure of a group."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Keep the rows whose value in `column` is in `domain`. Null is in no domain."""

    column: str
    domain: RowDomain

    def __post_init__(self) -> None:
        _check_name(self.column)


@dataclass(frozen=True, slots=True)
class GroupKey:
    """One column to group by; a date column may be grouped into buckets."""

    column: str
    bucket: Bucket | None = None

    def __post_init__(self) -> None:
        _check_name(self.column)

    @property
    def name(self) -> str:
        """As it stands in an answer's `group`: `zipcode`, `month(date)`."""
        return f"{self.bucket}({self.column})" if self.bucket else self.column


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure per group. `count` of no column counts rows; `exists` never has one.

    Attributes:
        edges: A histogram's, rising. Of n edges it makes n + 1 bins: below the first, from each to
            the next, and from the last up. An edge belongs to the bin above it.
    """

    operation: Operation
    column: str | None = None
    edges: tuple[int | Decimal, ...] = ()

    def __post_init__(self) -> None:
        if self.operation not in MEASURE_OPERATIONS:
            raise ValueError(
                f"a plan cannot ask for {_word(self.operation)}; it can for {_words()}"
            )
        if self.column is not None:
            _check_name(self.column)
        elif self.operation not in _ROW_MEASURES:
            raise ValueError(f"{_word(self.operation)} needs a column; only count goes without one")
        if self.operation is Operation.EXISTS and self.column is not None:
            raise ValueError("exists says whether there is a row, so it has no column")
        self._check_edges()

    @property
    def name(self) -> str:
        """As people write it: `count(*)`, `sum(price)`, `histogram(price, 0, 100)`."""
        return f"{_word(self.operation)}({', '.join([self.column or '*', *map(str, self.edges)])})"

    def _check_edges(self) -> None:
        is_histogram = self.operation is Operation.HISTOGRAM
        _check_count("edges", self.edges, int(is_histogram), EDGES_MAX if is_histogram else 0)
        for edge in self.edges:
            number = Decimal(edge)
            if isinstance(edge, bool) or not number.is_finite() or abs(number) >= 2**63:
                raise ValueError("an edge is a whole or decimal number of at most 64 bits")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("the edges of a histogram must rise; write the smaller first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One question to one table of one archive.

    Attributes:
        as_of: The tree size at which to answer; None for the archive's newest state.
    """

    table: str
    filters: tuple[Filter, ...] = ()
    group: tuple[GroupKey, ...] = ()
    measures: tuple[Measure, ...]
    as_of: int | None = None

    def __post_init__(self) -> None:
        _check_name(self.table)
        _check_count("filters", self.filters, 0, FILTERS_MAX)
        _check_count("group keys", self.group, 0, GROUP_KEYS_MAX)
        _check_count("measures", self.measures, 1, MEASURES_MAX)
        for what, parts in (("group key", self.group), ("measure", self.measures)):
            if len(set(parts)) != len(parts):
                raise ValueError(f"the plan names one {what} twice; name it once")
        for each in self.measures:
            if each.operation in _ALONE and len(self.measures) > 1:
                raise ValueError(f"{_word(each.operation)} is asked for alone; ask twice")
            if each.operation is Operation.EXISTS and self.group:
                raise ValueError("exists says whether there is a row, so it has no groups")
        if self.as_of is not None and not 0 <= self.as_of <= TREE_SIZE_MAX:
            raise ValueError(f"the tree size {self.as_of} is not in 0..{TREE_SIZE_MAX}")

    def to_wire(self) -> list[Value]:
        """Give the positional array of docs/answers.md, "What a plan can say".

        An absent part is `[]`.
        """
        return [
            self.table,
            [[each.column, _domain_to_wire(each.domain)] for each in self.filters],
            [[each.column, [str(each.bucket)] if each.bucket else []] for each in self.group],
            [_measure_to_wire(each) for each in self.measures],
            _optional(self.as_of),
        ]

    @classmethod
    def from_wire_untrusted(cls, wire: object) -> Plan:
        """Read a plan that somebody else wrote.

        Raises:
            Invalid: Whatever is wrong with it. Nothing else is raised.
        """
        try:
            return _plan_from(wire)
        except ValueError as exc:
            raise Invalid(f"the plan cannot be read: {exc}.") from None

    def to_bytes(self) -> bytes:
        """Give the canonical bytes: the shortest MessagePack form of `to_wire()`."""
        packed: bytes = msgpack.packb(self.to_wire(), default=to_ext, use_bin_type=True)
        return packed

    def command_hash(self) -> bytes:
        """Give the 32 bytes that name this plan in receipts. Hash-only tag: nobody signs them."""
        return hashlib.sha256(COMMAND_TAG + b"\0" + self.to_bytes()).digest()


def _plan_from(wire: object) -> Plan:
    table, filters, group, measures, as_of = _take_list(wire, 5)
    size = _take_optional(as_of)
    if size is not None and type(size) is not int:  # A bool is an int to isinstance.
        raise ValueError("the tree size is not an integer")
    return Plan(
        table=_take_text(table),
        filters=_take_each(filters, FILTERS_MAX, _filter_from),
        group=_take_each(group, GROUP_KEYS_MAX, _group_key_from),
        measures=_take_each(measures, MEASURES_MAX, _measure_from),
        as_of=size,
    )


def _filter_from(wire: object) -> Filter:
    column, domain = _take_list(wire, 2)
    return Filter(_take_text(column), RowDomain.from_wire_untrusted(domain))


def _group_key_from(wire: object) -> GroupKey:
    column, bucket = _take_list(wire, 2)
    word = _take_optional(bucket)
    return GroupKey(_take_text(column), None if word is None else Bucket(_take_text(word)))


def _measure_to_wire(measure: Measure) -> list[Value]:
    # The edges stand there only where there are any: other measures keep the form, and so the
    # command hash, that they have had from the first release on.
    edges: list[Value] = [[*map(_shortest, measure.edges)]] if measure.edges else []
    return [_word(measure.operation), _optional(measure.column), *edges]


def _measure_from(wire: object) -> Measure:
    with_edges = isinstance(wire, list | tuple) and len(wire) == 3
    operation, column, *edges = _take_list(wire, 3 if with_edges else 2)
    word, name = _take_text(operation), _take_optional(column)
    numbers = _take_each(edges[0], EDGES_MAX, _take_edge) if edges else ()
    if edges and not numbers:
        raise ValueError("a list of no edges was expected to be left out")
    for known in MEASURE_OPERATIONS:
        if _word(known) == word:
            return Measure(known, None if name is None else _take_text(name), numbers)
    raise ValueError(f"{word[:NAME_CHARACTERS_MAX]!r} is not a measure; it can be {_words()}")


def _take_list(wire: object, length: int) -> Sequence[object]:
    if not isinstance(wire, list | tuple) or len(wire) != length:
        raise ValueError(f"an array of {length} elements was expected")
    return wire


def _take_each(wire: object, most: int, read: Callable[[object], _Part]) -> tuple[_Part, ...]:
    # The count is looked at before anything is read: reading is what costs.
    if not isinstance(wire, list | tuple) or len(wire) > most:
        raise ValueError(f"an array of at most {most} elements was expected")
    return tuple(read(part) for part in wire)


def _take_optional(wire: object) -> object:
    if not isinstance(wire, list | tuple) or len(wire) > 1:
        raise ValueError("an array of no or one element was expected")
    return wire[0] if wire else None


def _take_text(wire: object) -> str:
    if type(wire) is not str:
        raise ValueError(f"text was expected, not {type(wire).__name__}")
    return wire


def _shortest(edge: int | Decimal) -> Value:
    # 1, 1.0 and 1.00 are one edge, and one plan has one hash.
    return int(edge) if edge == int(edge) else EXACT.normalize(Decimal(edge))


def _take_edge(wire: object) -> int | Decimal:
    if isinstance(wire, Decimal) or type(wire) is int:
        return wire
    raise ValueError(f"a number was expected, not {type(wire).__name__}")


def _optional(value: str | int | None) -> list[Value]:
    return [] if value is None else [value]


def _domain_to_wire(domain: RowDomain) -> Value:
    wire: Value = domain.to_wire()
    return wire


def _word(operation: Operation) -> str:
    return operation.value


def _words() -> str:
    return ", ".join(map(_word, MEASURE_OPERATIONS))


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise ValueError(
            f"{name[:NAME_CHARACTERS_MAX]!r} is not a name: 1 to {NAME_CHARACTERS_MAX}"
            " printable characters"
        )


def _check_count(what: str, parts: Sequence[object], least: int, most: int) -> None:
    if not least <= len(parts) <= most:
        raise ValueError(f"{len(parts)} {what}; a plan has {least} to {most}")
