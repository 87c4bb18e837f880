"""Values between a manifest's types and SQLite's storage, and domains as SQL conditions.

Decimals are scaled integers, dates ISO text, truths 0 and 1. SQLite compares a text with a number
without complaint, and always the same way round; so every literal is brought to the column's type
here, before it can meet a column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeAlias

from psp.capability import Between, Kind, OneOf, RowDomain, StartsWith, as_written, one_of
from psp.errors import Invalid
from psp.values import EXACT, Value

from ._index import quoted as quoted
from ._manifest import Column, ColumnType

SQLValue: TypeAlias = "int | float | str | bytes | None"

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1

_KINDS: Final = {
    ColumnType.INTEGER: Kind.NUMBER,
    ColumnType.DECIMAL: Kind.NUMBER,
    ColumnType.FLOAT: Kind.NUMBER,
    ColumnType.DATE: Kind.DATE,
    ColumnType.TEXT: Kind.TEXT,
    ColumnType.BOOLEAN: Kind.TRUTH,
}
_EXAMPLES: Final = {
    Kind.NUMBER: "a number such as 12.5, without quotes",
    Kind.DATE: "a date such as '2014-05-02'",
    Kind.TEXT: "a text in quotes",
    Kind.TRUTH: "true or false",
}


def nothing(name: str) -> str:
    """Give a condition that no row passes, and that still reads a column: see `compile_view`."""
    return f"{quoted(name)} <> {quoted(name)}"


def travels_as_stored(column: Column) -> bool:
    """Say whether `from_storage` changes nothing of a column's values."""
    return column.type in (ColumnType.INTEGER, ColumnType.TEXT)


def from_storage(column: Column, stored: SQLValue) -> Value:
    """Give a column's value as it travels."""
    if stored is None:
        return None
    match column.type:
        case ColumnType.DECIMAL:
            assert isinstance(stored, int)
            return scaled_down(column, stored)
        case ColumnType.DATE:
            return date.fromisoformat(str(stored))
        case ColumnType.BOOLEAN:
            return bool(stored)
        case ColumnType.FLOAT:
            assert isinstance(stored, int | float)
            return float(stored)
    return stored


def scaled_down(column: Column, unscaled: int) -> Value:
    """Give a sum of a column's stored integers as it travels; beyond 64 bits that is a decimal."""
    if column.type is ColumnType.DECIMAL:
        return EXACT.scaleb(Decimal(unscaled), -column.scale)
    return unscaled if _INT64_MIN <= unscaled <= _INT64_MAX else Decimal(unscaled)


def to_storage(column: Column, value: Value) -> SQLValue:
    """Give one value of a key as it is stored; None if no stored value can equal it."""
    match column.type, value:
        case ColumnType.BOOLEAN, bool():
            return int(value)
        case _, bool():
            return None
        case ColumnType.INTEGER, int():  # As below, and what most keys are.
            return value if _INT64_MIN <= value <= _INT64_MAX else None
        case ((ColumnType.INTEGER | ColumnType.DECIMAL), (int() | Decimal())):
            return next(iter(_whole_numbers(column, [value])), None)
        case ColumnType.FLOAT, (int() | float() | Decimal()):
            return float(value)
        case ColumnType.DATE, date():
            return value.isoformat()
        case ((ColumnType.TEXT | ColumnType.DATE), str()):
            return value
    return None


def to_typed_domain(column: Column, domain: RowDomain) -> RowDomain:
    """Bring an asker's domain to the column's type: a quoted date becomes a date.

    Raises:
        Invalid: Its values are of a kind that the column does not hold.
    """
    kind = _KINDS[column.type]
    if isinstance(domain, OneOf) and domain.kind is Kind.TEXT and kind is Kind.DATE:
        try:
            return one_of(date.fromisoformat(str(value)) for value in domain.values)
        except ValueError:
            pass  # Not dates: said below.
    if domain.is_empty or _kind_of(domain) is kind:
        return domain
    raise Invalid(f"{column.name!r} holds {column.type} values; compare it with {_EXAMPLES[kind]}.")


def holds_kind_of(column: Column, domain: RowDomain) -> bool:
    """Say whether a column's values can be in a domain at all."""
    return domain.is_empty or _kind_of(domain) is _KINDS[column.type]


def condition(column: Column, domain: RowDomain, write: Callable[[SQLValue], str]) -> str:
    """Give the SQL that says a column's value is in a domain. Null is in none.

    A domain of another kind than the column's lets nothing through, as `RowDomain.contains` says.

    Args:
        write: Puts one value into the SQL, as a literal or as a parameter.
    """
    name = quoted(column.name)
    if _kind_of(domain) is not _KINDS[column.type]:
        return nothing(column.name)
    match domain:
        case OneOf():
            members = ", ".join(map(write, stored_members(column, domain)))
            return f"{name} IN ({members})" if members else nothing(column.name)
        case StartsWith(prefix):
            # LIKE ignores case in SQLite and has wildcards to escape; this is exact.
            return f"substr({name}, 1, {len(prefix)}) = {write(prefix)}"
        case Between() if column.type in (ColumnType.INTEGER, ColumnType.DECIMAL):
            low, high = stored_ends(column, domain)
            return f"{name} BETWEEN {write(low)} AND {write(high)}"
        case Between():
            ends = plain_ends(domain)
            return " AND ".join(f"{name} {sign} {write(end)}" for sign, end in ends)
    return nothing(column.name)


def _kind_of(domain: RowDomain) -> Kind | None:
    match domain:
        case OneOf(kind) | Between(kind):
            return kind
        case StartsWith():
            return Kind.TEXT
    return None


def stored_members(column: Column, domain: OneOf) -> list[SQLValue]:
    """Give what is stored for the values of a set, as far as anything is."""
    if column.type in (ColumnType.INTEGER, ColumnType.DECIMAL):
        return list(_whole_numbers(column, domain.in_order()))
    if column.type is ColumnType.FLOAT:
        return [_plain(value) for value in domain.in_order() if _side(value) == 0]
    return [_plain(value) for value in domain.in_order()]


def _whole_numbers(column: Column, values: Sequence[object]) -> Iterator[int]:
    """Scale numbers to stored integers; 12.345 equals no amount of two digits, 10^30 no integer."""
    for value in values:
        # Looked at before it is expanded: Decimal("1E+999999999") is twelve characters long.
        if isinstance(value, Decimal) and not abs(value) < 2**63:
            continue
        scaled = _scaled(column, value)
        if scaled.denominator == 1 and _INT64_MIN <= scaled <= _INT64_MAX:
            yield int(scaled)


def stored_ends(column: Column, domain: Between) -> tuple[int, int]:
    """Give the first and the last stored integer inside an interval, which may hold none."""
    low, high = _INT64_MIN, _INT64_MAX
    if domain.low is not None:
        end = _scaled(column, domain.low)
        low = max(low, math.floor(end) + 1 if domain.low_open else math.ceil(end))
    if domain.high is not None:
        end = _scaled(column, domain.high)
        high = min(high, math.ceil(end) - 1 if domain.high_open else math.floor(end))
    return low, high


def plain_ends(domain: Between) -> list[tuple[str, SQLValue]]:
    """Give the ends of an interval of floats or dates as comparisons with what is stored."""
    ends = []
    if domain.low is not None:
        side = _side(domain.low)
        outside = side < 0 or (side == 0 and domain.low_open)
        ends.append((">" if outside else ">=", _plain(domain.low)))
    if domain.high is not None:
        side = _side(domain.high)
        outside = side > 0 or (side == 0 and domain.high_open)
        ends.append(("<" if outside else "<=", _plain(domain.high)))
    return ends


def _side(value: object) -> int:
    """Say on which side of a number the float nearest to it lies: -1 below, 1 above, 0 on it.

    Floats count as `RowDomain.contains` says. Where SQLite compared with a rounded end, a narrower
    interval could show a row that a wider one hides.
    """
    if not isinstance(value, int | Decimal):
        return 0
    nearest = as_written(float(value))
    return (nearest > value) - (nearest < value)


def _scaled(column: Column, value: object) -> Fraction:
    assert isinstance(value, int | Decimal)
    return Fraction(value) * Fraction(10**column.scale)


def _plain(value: object) -> SQLValue:
    match value:
        case bool():
            return int(value)
        case date():
            return value.isoformat()
        case int() | Decimal():  # Only float columns get here: the others are scaled.
            return float(value)
        case str():
            return value
    raise AssertionError(f"a {type(value).__name__} in a row domain")
