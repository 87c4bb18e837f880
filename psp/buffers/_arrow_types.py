"""The types of columns that are taken, and how their bytes lie."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from psp.errors import MalformedFrame

from ._flatbuffer import Table

_UNITS: Final = ("s", "ms", "us", "ns")
_TIMEZONE: Final = re.compile(r"[A-Za-z0-9_+\-/:]{1,64}")
_TIMEZONE_BYTES_MAX: Final = 64

Parameters = tuple[int | str | None, ...]


class ColumnType(NamedTuple):
    """How one column lies in memory.

    Attributes:
        name: The function of pyarrow that makes the type.
        parameters: What it is called with.
        bits: Of one value; of one offset where values vary in length.
        is_variable: Whether there are offsets, and then the bytes.
    """

    name: str
    parameters: Parameters
    bits: int
    is_variable: bool = False


def _refused(what: str) -> MalformedFrame:
    return MalformedFrame(
        f"a column of type {what} came, which is not taken. Ask for a number, a text or a time"
    )


def _int(table: Table) -> ColumnType:
    bits = table.int32(0)
    if bits not in (8, 16, 32, 64):
        raise _refused(f"integer of {bits} bits")
    return ColumnType(f"{'int' if table.byte(1) else 'uint'}{bits}", (), bits)


def _float(table: Table) -> ColumnType:
    bits = {1: 32, 2: 64}.get(table.short(0))
    if bits is None:
        raise _refused(f"float of precision {table.short(0)}")
    return ColumnType(f"float{bits}", (), bits)


def _decimal(table: Table) -> ColumnType:
    precision, scale, bits = table.int32(0), table.int32(1), table.int32(2, 128)
    digits_max = {128: 38, 256: 76}.get(bits)
    if digits_max is None or not 0 <= scale <= precision <= digits_max or precision == 0:
        raise _refused(f"decimal of {bits} bits with {precision} digits, {scale} behind the point")
    return ColumnType(f"decimal{bits}", (precision, scale), bits)


def _date(table: Table) -> ColumnType:
    # In days alone: date64 counts milliseconds, and most of them are no date.
    if table.short(0, 1) != 0:
        raise _refused("date in milliseconds")
    return ColumnType("date32", (), 32)


def _unit(code: int) -> str:
    if not 0 <= code < len(_UNITS):
        raise _refused(f"time of unit {code}")
    return _UNITS[code]


def _time(table: Table) -> ColumnType:
    unit, bits = _unit(table.short(0, 1)), table.int32(1, 32)
    if bits != (32 if unit in ("s", "ms") else 64):
        raise _refused(f"time of {bits} bits in {unit}")
    return ColumnType(f"time{bits}", (unit,), bits)


def _timestamp(table: Table) -> ColumnType:
    zone = table.text(1, _TIMEZONE_BYTES_MAX)
    if zone and not _TIMEZONE.fullmatch(zone):
        raise _refused("timestamp in a time zone with a strange name")
    return ColumnType("timestamp", (_unit(table.short(0)), zone or None), 64)


def _duration(table: Table) -> ColumnType:
    return ColumnType("duration", (_unit(table.short(0, 1)),), 64)


def _plain(name: str, bits: int, *, is_variable: bool = False) -> Callable[[Table], ColumnType]:
    return lambda _table: ColumnType(name, (), bits, is_variable)


# By the number in the union `Type` of Arrow's Schema.fbs. What is not here is refused: null (2^40
# rows in no bytes), nested types, dictionaries, views (their buffers vary in number), intervals.
TYPES: Final[Mapping[int, Callable[[Table], ColumnType]]] = {
    2: _int,
    3: _float,
    4: _plain("binary", 32, is_variable=True),
    5: _plain("utf8", 32, is_variable=True),
    6: _plain("bool_", 1),
    7: _decimal,
    8: _date,
    9: _time,
    10: _timestamp,
    18: _duration,
    19: _plain("large_binary", 64, is_variable=True),
    20: _plain("large_utf8", 64, is_variable=True),
}


def column_type_untrusted(code: int, table: Table) -> ColumnType:
    """Give the type that a message names.

    Raises:
        MalformedFrame: It is not taken, or no type.
    """
    read = TYPES.get(code)
    if read is None:
        raise _refused(f"number {code} of Arrow's list")
    return read(table)
