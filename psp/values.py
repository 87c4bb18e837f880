"""Exact values: what travels, in its wire form and in its text form.

Null, bool, 64-bit integer, float64, text, bytes, list and map are MessagePack's own. Decimal, date
and instant are three extension types, so that money never becomes a float on its way
(docs/protocol.md, "Values").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from math import isfinite
from typing import Any, Final, TypeAlias

import msgpack

Value: TypeAlias = (
    "bool | int | float | str | bytes | Decimal | date | datetime"
    " | Sequence[Value] | Mapping[str, Value] | None"
)

DECIMAL_EXT: Final = 1
DATE_EXT: Final = 2
INSTANT_EXT: Final = 3

DECIMAL_SCALE_MAX: Final = 38
"""Digits after the point. 38 is what SQL engines and Arrow's decimal128 allow."""
DECIMAL_BYTES_MAX: Final = 32
"""Two's complement bytes of the unscaled number: 76 digits, Arrow's decimal256, enough for the sum
of 10^38 amounts of 38 digits."""

# Python's default context rounds sums to 28 digits without a word. Money is added in this one,
# which raises instead of rounding.
EXACT: Final = Context(prec=160, traps=[Inexact, InvalidOperation])
_DIGITS_SURE: Final = 100
"""Fewer than `EXACT` has, and more than the wire carries: so many digits are never rounded."""

_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes, Decimal, date, datetime})

_SCALES: Final = [bytes([scale]) for scale in range(DECIMAL_SCALE_MAX + 1)]
_new_tuple: Final = tuple.__new__

_EPOCH_DATE: Final = date(1970, 1, 1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_ext(value: object) -> msgpack.ExtType:
    """Give the extension form of a decimal, a date or an instant.

    Raises:
        TypeError: The value has no wire form (a naive datetime, a NaN decimal, a set, an object).
    """
    if type(value) is Decimal:  # What answers are full of: without the checks that it passes.
        return _new_tuple(msgpack.ExtType, (DECIMAL_EXT, _decimal_to_bytes(value)))
    match value:
        case Decimal():
            return msgpack.ExtType(DECIMAL_EXT, _decimal_to_bytes(value))
        case datetime():  # Before `date`: a datetime is a date to Python.
            if value.tzinfo is None:
                raise TypeError("an instant needs a time zone; a naive datetime was given")
            micros = (value - _EPOCH) // timedelta(microseconds=1)
            return msgpack.ExtType(INSTANT_EXT, micros.to_bytes(8, "big", signed=True))
        case date():
            days = (value - _EPOCH_DATE).days
            return msgpack.ExtType(DATE_EXT, days.to_bytes(4, "big", signed=True))
    raise TypeError(f"a {type(value).__name__} has no form on the wire")


def from_ext(code: int, data: bytes) -> Value:
    """Read one extension value back.

    Raises:
        ValueError: An unknown code, a wrong length, or a number out of range. Nothing else.
    """
    if code == DECIMAL_EXT:
        return _decimal_from_bytes(data)
    try:
        if code == DATE_EXT and len(data) == 4:
            return _EPOCH_DATE + timedelta(days=int.from_bytes(data, "big", signed=True))
        if code == INSTANT_EXT and len(data) == 8:
            return _EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))
    except OverflowError:
        raise ValueError("a date outside the years 1 to 9999") from None
    raise ValueError(f"extension type {code} with {len(data)} bytes is not a value of PSP/1")


def to_text(value: Value) -> str:
    """Write a scalar as people and spreadsheets read it; null is the empty text."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
    return str(value)


def plain(value: Value) -> Any:
    """The JSON form of one value: exact numbers as text, so that no reader rounds them.

    A histogram is a list of its bins' counts; null is a hidden bin, and the last number counts what
    is in hidden ones.

    A float sum beyond all floats is text too: JSON has no infinity.
    """
    if isinstance(value, float) and not isfinite(value):
        return to_text(value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else to_text(value)


def pack_ordered(value: Value) -> bytes:
    """Give the one form of a value that is hashed: msgpack as on the wire, maps in key order.

    Raises:
        TypeError, ValueError, OverflowError, RecursionError: It is no value.
    """
    packed: bytes = msgpack.packb(ordered(value), default=to_ext, use_bin_type=True)
    return packed


def ordered(value: Value) -> Value:
    """Give the one form of a value: a map's keys by their bytes, since a map has no order."""
    kind = type(value)
    if kind in _SCALARS:  # First of all: to ask whether a text is a mapping takes longer.
        return value
    if kind is list or isinstance(value, (list, tuple)):
        items: Sequence[Value] = value  # type: ignore[assignment]  # As just asked.
        return [item if type(item) in _SCALARS else ordered(item) for item in items]
    if isinstance(value, Mapping):
        return {key: ordered(value[key]) for key in sorted(value, key=str.encode)}
    return value


def _decimal_to_bytes(value: Decimal) -> bytes:
    # By its text, where that is digits and a point: a quarter of the time of the way below.
    whole, _, fraction = str(value).partition(".")
    if len(fraction) <= DECIMAL_SCALE_MAX and len(whole) <= _DIGITS_SURE:
        try:
            return _unscaled_to_bytes(int(whole + fraction), len(fraction))
        except ValueError:
            pass  # An exponent, or not a number.
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise TypeError(f"the decimal {value} is not a number")
    if -exponent > DECIMAL_SCALE_MAX:
        raise TypeError(f"a decimal of scale {-exponent}; the wire carries {DECIMAL_SCALE_MAX}")
    if exponent <= 0 and len(digits) <= _DIGITS_SURE:
        scale, signed = -exponent, int(EXACT.scaleb(value, -exponent))
    else:  # Ten times slower, and right whatever its size.
        unscaled = int("".join(map(str, digits)) or "0") * 10 ** max(exponent, 0)
        scale, signed = max(-exponent, 0), -unscaled if sign else unscaled
    return _unscaled_to_bytes(signed, scale)


def _unscaled_to_bytes(signed: int, scale: int) -> bytes:
    size = signed.bit_length() // 8 + 1
    if size > DECIMAL_BYTES_MAX:
        raise TypeError(f"a decimal of {size} bytes; the wire carries {DECIMAL_BYTES_MAX}")
    return _SCALES[scale] + signed.to_bytes(size, "big", signed=True)


def _decimal_from_bytes(data: bytes) -> Decimal:
    if not 2 <= len(data) <= 1 + DECIMAL_BYTES_MAX or data[0] > DECIMAL_SCALE_MAX:
        raise ValueError(f"{len(data)} bytes are not a decimal of PSP/1")
    return EXACT.scaleb(Decimal(int.from_bytes(data[1:], "big", signed=True)), -data[0])
