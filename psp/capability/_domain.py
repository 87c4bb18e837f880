"""Row domains: which values of one column a grant or a filter lets through.

Three forms, chosen so that the meet of any two is again one of the three: a finite set, an interval
of numbers or dates, a text prefix. That is why there is no negation, no pattern and no interval of
text: with them some meets could not be written down, and a meet that cannot be written down is
where narrowing schemes have failed before (SPKI's `*`-forms).

Numbers are one kind: an integer and a decimal compare by value, exactly. Nothing else mixes: text
is never compared with a number, and a bool is not a number. Null is in no domain.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Final, TypeAlias, cast

from psp.values import DECIMAL_SCALE_MAX, EXACT

from ._limits import DOMAIN_TEXT_BYTES_MAX, MEMBERS_MAX
from ._wire import Wire, take_int, take_list, take_text

DomainValue: TypeAlias = "bool | int | Decimal | date | str"
Bound: TypeAlias = "int | Decimal | date"

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_DAY: Final = timedelta(days=1)
_EPOCH: Final = date(1970, 1, 1)


class Kind(IntEnum):
    """What a domain's values are; the number is its code on the wire."""

    NUMBER = 1
    DATE = 2
    TEXT = 3
    TRUTH = 4


class _Form(IntEnum):
    ONE_OF = 1
    BETWEEN = 2
    STARTS_WITH = 3


def kind_of(value: object) -> Kind | None:
    """Say which kind a column's value is; None if no domain can hold it (null, bytes, NaN)."""
    if isinstance(value, bool):  # Before int: a bool is an int to Python.
        return Kind.TRUTH
    if isinstance(value, int):
        return Kind.NUMBER
    if isinstance(value, float):
        return Kind.NUMBER if abs(value) < float("inf") else None
    if isinstance(value, Decimal):
        return Kind.NUMBER if value.is_finite() else None
    if isinstance(value, str):
        return Kind.TEXT
    if isinstance(value, date) and not isinstance(value, datetime):
        return Kind.DATE
    return None


def as_written(value: float) -> Decimal:
    """Give the number that a finite float counts as: the shortest decimal that writes it.

    So 0.1 is in {0.1}, as everybody who writes it expects, although the float is a little more.
    """
    return Decimal(repr(value))


def _exact(value: object) -> object:
    return as_written(value) if isinstance(value, float) else value


class RowDomain(ABC):
    """A set of values of one column. Make one with `one_of`, `between` or `starts_with`."""

    __slots__ = ()

    @property
    def is_empty(self) -> bool:
        return False

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Whether a row with this value in the column passes. Exact; any object may be asked."""

    def meet(self, other: RowDomain) -> RowDomain:
        """Return exactly the values that are in both."""
        if isinstance(self, OneOf):
            return one_of(value for value in self.values if other.contains(value))
        if isinstance(other, OneOf):
            return other.meet(self)
        if isinstance(self, Between) and isinstance(other, Between) and self.kind is other.kind:
            return _tightest(self, other)
        if isinstance(self, StartsWith) and isinstance(other, StartsWith):
            longer, shorter = sorted((self, other), key=lambda it: len(it.prefix), reverse=True)
            return longer if longer.prefix.startswith(shorter.prefix) else NOTHING
        return NOTHING  # Different kinds have no value in common.

    @abstractmethod
    def to_wire(self) -> Wire:
        """Give the positional array of docs/capabilities.md, "Row domains"."""

    @staticmethod
    def from_wire_untrusted(wire: object) -> RowDomain:
        """Read a domain that somebody else wrote. Exactly one array is accepted per domain.

        Raises:
            ValueError: Whatever is wrong with it. Nothing else is raised.
        """
        parts = take_list(wire)
        form = take_int(parts[0] if parts else None, 1, len(_Form))
        return _READERS[_Form(form)](parts)


@dataclass(frozen=True, slots=True)
class OneOf(RowDomain):
    """A finite set, at most 64 values of one kind. Made by `one_of`, which checks.

    Attributes:
        kind: None only for the empty set. Kept because Python takes {True} and {1} for equal.
    """

    kind: Kind | None
    values: frozenset[DomainValue]

    @property
    def is_empty(self) -> bool:
        return not self.values

    def contains(self, value: object) -> bool:
        # The empty set first: a value of no kind, like a list, cannot even be looked up.
        return bool(self.values) and kind_of(value) is self.kind and _exact(value) in self.values

    def in_order(self) -> list[DomainValue]:
        """The values, rising; text by code point."""
        return sorted(self.values)  # All of one kind: they compare.

    def to_wire(self) -> Wire:
        kind = 0 if self.kind is None else int(self.kind)
        return [int(_Form.ONE_OF), kind, [_value_to_wire(value) for value in self.in_order()]]


@dataclass(frozen=True, slots=True)
class Between(RowDomain):
    """An interval of numbers or dates. Made by `between`, which brings it into its one form.

    Attributes:
        low: None where the interval has no lower end; never None together with `high`.
        low_open: The end itself is outside. Only for numbers: an open date is the next day.
    """

    kind: Kind
    low: Bound | None
    high: Bound | None
    low_open: bool = field(default=False, kw_only=True)
    high_open: bool = field(default=False, kw_only=True)

    def contains(self, value: object) -> bool:
        if kind_of(value) is not self.kind:
            return False
        bound = cast("int", _exact(value))  # A number or a date, as the ends are; they compare.
        low, high = cast("int | None", self.low), cast("int | None", self.high)
        if low is not None and (bound < low or (self.low_open and bound == low)):
            return False
        return high is None or bound < high or (bound == high and not self.high_open)

    def to_wire(self) -> Wire:
        low = [] if self.low is None else [_value_to_wire(self.low)]
        high = [] if self.high is None else [_value_to_wire(self.high)]
        return [int(_Form.BETWEEN), int(self.kind), low, high, self.low_open + 2 * self.high_open]


@dataclass(frozen=True, slots=True)
class StartsWith(RowDomain):
    """Texts that begin with a prefix, compared code point by code point. Made by `starts_with`."""

    prefix: str

    def contains(self, value: object) -> bool:
        return isinstance(value, str) and value.startswith(self.prefix)

    def to_wire(self) -> Wire:
        return [int(_Form.STARTS_WITH), self.prefix]


NOTHING: Final = OneOf(None, frozenset())
"""The empty domain: no row passes."""


def one_of(values: Iterable[DomainValue]) -> RowDomain:
    """Make the domain of exactly these values: at most 64, all numbers, or all dates, and so on.

    Raises:
        ValueError: Too many, of several kinds, or a value that no domain can hold.
    """
    canonical = [_canonical(value) for value in values]
    if len(kinds := {kind_of(value) for value in canonical}) > 1:
        raise ValueError("one set holds one kind of value: numbers, dates, texts or truths")
    members = frozenset(canonical)
    if len(members) > MEMBERS_MAX:
        raise ValueError(
            f"{len(members)} values in one set; the limit is {MEMBERS_MAX}. Use an interval or a"
            " prefix, or split the question."
        )
    return OneOf(kinds.pop(), members) if members else NOTHING


def between(
    low: Bound | None, high: Bound | None, *, low_open: bool = False, high_open: bool = False
) -> RowDomain:
    """Make an interval of numbers or of dates; `None` is "no end here".

    The ends belong to the interval unless they are open. An interval of one value becomes that set,
    an impossible one becomes `NOTHING`, so that equal domains are equal objects.

    Raises:
        ValueError: No end at all, ends of two kinds, or an end that is neither number nor date.
    """
    ends = [_canonical(end) for end in (low, high) if end is not None]
    kinds = {kind_of(end) for end in ends}
    if len(kinds) != 1 or not kinds <= {Kind.NUMBER, Kind.DATE}:
        raise ValueError(f"an interval needs one or two numbers, or dates; {low!r}, {high!r} given")
    kind = Kind.NUMBER if Kind.NUMBER in kinds else Kind.DATE
    low = None if low is None else cast("Bound", _canonical(low))
    high = None if high is None else cast("Bound", _canonical(high))
    if kind is Kind.DATE:
        try:
            low = low + _DAY if low_open and isinstance(low, date) else low
            high = high - _DAY if high_open and isinstance(high, date) else high
        except OverflowError:  # After 9999-12-31, or before 0001-01-01, there is no date.
            return NOTHING
        low_open = high_open = False
    low_open, high_open = low_open and low is not None, high_open and high is not None
    if low is not None and high is not None:
        if low > high or (low == high and (low_open or high_open)):  # type: ignore[operator]
            return NOTHING
        if low == high:
            return one_of([low])
    return Between(kind, low, high, low_open=low_open, high_open=high_open)


def starts_with(prefix: str) -> RowDomain:
    """Make the domain of texts that begin with `prefix`, which is brought into the form NFC.

    Raises:
        ValueError: An empty prefix (that is "every text": leave the column out), or a long one.
    """
    if not prefix:
        raise ValueError("an empty prefix lets everything through; leave the column out instead")
    return StartsWith(cast("str", _canonical(prefix)))


def _tightest(left: Between, right: Between) -> RowDomain:
    # Where two ends are equal, the open one is tighter; True sorts after False.
    lows = [(it.low, it.low_open) for it in (left, right) if it.low is not None]
    highs = [(it.high, not it.high_open) for it in (left, right) if it.high is not None]
    low, low_open = max(lows, default=(None, False))
    high, high_closed = min(highs, default=(None, True))
    return between(low, high, low_open=low_open, high_open=not high_closed)


def _canonical(value: DomainValue) -> DomainValue:
    """Bring a value into its one form: 1.0 is 1, 1.50 is 1.5, text is NFC."""
    if isinstance(value, str):
        return _canonical_text(value)
    if isinstance(value, Decimal) and value.is_finite():
        return _canonical_decimal(value)
    if kind_of(value) is None or isinstance(value, float):
        raise ValueError(f"{value!r} cannot stand in a row domain; use exact numbers, dates, text")
    if isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        raise ValueError(f"the integer {value} has more than 64 bits")
    return value


def _canonical_text(value: str) -> str:
    text = unicodedata.normalize("NFC", value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} has half a surrogate pair, which is not text") from None
    if size > DOMAIN_TEXT_BYTES_MAX:
        raise ValueError(f"a text of {size} bytes; the limit is {DOMAIN_TEXT_BYTES_MAX}")
    return text


def _canonical_decimal(value: Decimal) -> int | Decimal:
    # Looked at before it is expanded: Decimal("1E+999999999") is twelve characters long.
    long = len(value.as_tuple().digits) > EXACT.prec
    if long or (value and not -DECIMAL_SCALE_MAX <= value.adjusted() <= 18):
        raise ValueError(f"the decimal {value} is outside what 64 bits can hold")
    short = EXACT.normalize(value)
    if short == short.to_integral_value():
        return cast("int", _canonical(int(short)))
    scale, unscaled = _split(short)
    if scale > DECIMAL_SCALE_MAX or not _INT_MIN <= unscaled <= _INT_MAX:
        raise ValueError(f"the decimal {value} is outside what 64 bits can hold")
    return short


def _split(value: Decimal) -> tuple[int, int]:
    """Give scale and unscaled integer of a decimal in its one form, which has a fraction."""
    scale = -cast("int", value.as_tuple().exponent)
    return scale, int(EXACT.scaleb(value, scale))


def _value_to_wire(value: DomainValue) -> Wire:
    if isinstance(value, Decimal):
        return list(_split(value))
    if isinstance(value, date):
        return (value - _EPOCH).days
    return value


def _value_from_wire(wire: object, kind: Kind) -> DomainValue:
    if kind is Kind.TEXT:
        value: DomainValue = take_text(wire)
    elif kind is Kind.TRUTH:
        if not isinstance(wire, bool):
            raise ValueError(f"a truth was expected, not {type(wire).__name__}")
        value = wire
    elif kind is Kind.DATE:
        value = _EPOCH + take_int(wire, (date.min - _EPOCH).days, (date.max - _EPOCH).days) * _DAY
    elif isinstance(wire, list | tuple):
        scale, unscaled = take_list(wire, 2)
        exponent = -take_int(scale, 1, DECIMAL_SCALE_MAX)
        value = EXACT.scaleb(Decimal(take_int(unscaled, _INT_MIN, _INT_MAX)), exponent)
    else:
        value = take_int(wire, _INT_MIN, _INT_MAX)
    # 1.50 for 1.5 and 2.0 for 2 are equal and not the same array: only the short one is accepted.
    if _value_to_wire(_canonical(value)) != (list(wire) if isinstance(wire, tuple) else wire):
        raise ValueError(f"{value!r} is not in its shortest form")
    return value


def _read_one_of(parts: list[object]) -> RowDomain:
    _, code, wires = take_list(parts, 3)
    wires = take_list(wires)
    kind = take_int(code, 1 if wires else 0, len(Kind) if wires else 0)
    values = [_value_from_wire(wire, Kind(kind)) for wire in wires]
    domain = one_of(values)
    if isinstance(domain, OneOf) and domain.in_order() != values:
        raise ValueError("the values of a set must stand in rising order, each once")
    return domain


def _read_between(parts: list[object]) -> RowDomain:
    _, code, low, high, flags = take_list(parts, 5)
    kind = Kind(take_int(code, Kind.NUMBER, Kind.DATE))
    ends = [
        cast("Bound", _value_from_wire(take_list(end, 1)[0], kind)) if take_list(end) else None
        for end in (low, high)
    ]
    open_ends = take_int(flags, 0, 3)
    domain = between(*ends, low_open=bool(open_ends & 1), high_open=bool(open_ends & 2))
    expected = Between(kind, *ends, low_open=bool(open_ends & 1), high_open=bool(open_ends & 2))
    if domain != expected:
        raise ValueError("the interval is not in its one form")
    return domain


def _read_starts_with(parts: list[object]) -> RowDomain:
    _, prefix = take_list(parts, 2)
    domain = starts_with(text := take_text(prefix))
    if domain != StartsWith(text):
        raise ValueError("the prefix is not in the composed form NFC")
    return domain


_READERS: Final = {
    _Form.ONE_OF: _read_one_of,
    _Form.BETWEEN: _read_between,
    _Form.STARTS_WITH: _read_starts_with,
}
