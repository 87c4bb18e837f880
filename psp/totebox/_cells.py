"""One cell of a file becomes one stored value, or a reason why it cannot.

Strict on purpose: whatever is read here is what every later sum is made of. A cell that could mean
two things ("1,200", "007" in a number column, "3/4/2015") is refused, never guessed. The same cell
gives the same value for ever, because an index is rebuilt from sealed originals.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final, TypeAlias

from ._manifest import Column, ColumnType

Stored: TypeAlias = "int | float | str | bytes | None"
"""As SQLite keeps it. No column holds bytes yet; the type is the one of the engine."""
Converter: TypeAlias = "Callable[[object], Stored]"
"""Takes a text, or a typed value out of Parquet or XLSX. Raises `CellRefused`, and nothing else."""

TEXT_CHARACTERS_MAX: Final = 100_000
"""A text cell. csv stops at 131,072 characters; longer texts are documents."""

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

_SHOWN_MAX: Final = 40

# [0-9], not \d: \d also takes the digits of forty other scripts.
_INTEGER: Final = re.compile(r" *(-?(?:0|[1-9][0-9]{0,18})) *")
_DECIMAL: Final = re.compile(r" *(-?)(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,38}))? *")
_FLOAT: Final = re.compile(r" *-?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})? *")
_CODE: Final = re.compile(r" *-?0[0-9]+ *")
# Spreadsheets write a day as midnight of that day.
_DATE: Final = re.compile(r" *([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]00:00(?::00(?:\.0+)?)?Z?)? *")
TRUTHS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), 1),
    **dict.fromkeys(("false", "f", "no", "n", "0"), 0),
}


_REMEMBERED_MAX: Final = 16_384
_REMEMBERED_CHARACTERS_MAX: Final = 32
"""Cells of a column repeat: months, carriers, postal codes. Both limits bound the memory: some
2 MiB a column. A year has 8,760 hours."""


class CellRefused(ValueError):
    """A cell does not fit its column; the message completes "the cell …"."""


class Unreadable:
    """What a reader found where a value should be; every column refuses it, for this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __str__(self) -> str:
        return f"({self.reason})"  # In the quarantine file, where the cell would be.


def converter(column: Column, *, null: str | None) -> Converter:
    """Make the function that turns a column's cells into what the index stores.

    Args:
        null: The text that stands for "no value"; None where the file has nulls of its own.
    """
    convert, nullable = _CONVERTERS[column.type](column), column.nullable
    listed = frozenset(column.values)

    def checked(cell: object) -> Stored:
        # None first: inside a row of Parquet it is the one null.
        if cell is None or cell == null:
            if not nullable:
                raise CellRefused("is empty, and the column must have a value")
            return None
        stored = convert(cell if type(cell) is str else _text_of(cell))
        if listed and _as_listed(column, stored) not in listed:
            raise CellRefused(
                f"has the form {_form(cell)}, which is not among the column's listed values"
            )
        return stored

    # In Parquet True, 1 and 1.0 are three cells and one key of a dict; in a CSV all is text.
    return checked if null is None else _Remembering(checked).__getitem__


class _Remembering(dict[object, Stored]):
    """A converter that looks a cell up before it converts: a hit costs no Python call at all."""

    def __init__(self, convert: Converter) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, cell: object) -> Stored:
        stored = self._convert(cell)
        if len(self) < _REMEMBERED_MAX and len(str(cell)) <= _REMEMBERED_CHARACTERS_MAX:
            self[cell] = stored
        return stored


def _as_listed(column: Column, stored: Stored) -> Stored:
    return bool(stored) if column.type is ColumnType.BOOLEAN else stored


def _integer(_column: Column) -> Callable[[str], Stored]:
    def convert(text: str) -> Stored:
        if (match := _INTEGER.fullmatch(text)) is None:
            raise _no_number(text, "a whole number")
        return _in_range(int(match[1]), text)

    return convert


def _decimal(column: Column) -> Callable[[str], Stored]:
    scale, unit = column.scale, 10**column.scale

    def convert(text: str) -> Stored:
        if (match := _DECIMAL.fullmatch(text)) is None:
            raise _no_number(text, "a decimal number such as 1234.50")
        sign, whole, fraction = match.groups()
        digits = (fraction or "").rstrip("0")
        if len(digits) > scale:
            raise CellRefused(
                f"has the form {_form(text)}, with {len(digits)} digits after the point;"
                f" the column keeps {scale}"
            )
        unscaled = int(whole) * unit + int(digits.ljust(scale, "0") or "0")
        return _in_range(-unscaled if sign else unscaled, text)

    return convert


def _float(_column: Column) -> Callable[[str], Stored]:
    def convert(text: str) -> Stored:
        if _FLOAT.fullmatch(text) is None or not math.isfinite(value := float(text)):
            raise _no_number(text, "a finite number")
        return value + 0.0  # -0.0 becomes 0.0: SQLite stores one zero, so every engine does.

    return convert


def _date(column: Column) -> Callable[[str], Stored]:
    def convert(text: str) -> Stored:
        match = _DATE.fullmatch(text)
        try:
            day = date.fromisoformat(match[1] if match else "")
        except ValueError:
            raise CellRefused(
                f"has the form {_form(text)}, which is not a date such as 2014-05-02"
            ) from None
        if column.from_ and column.to and not column.from_ <= day <= column.to:
            raise CellRefused(
                f"has the form {_form(text)}, and its day is outside the column's,"
                f" {column.from_} to {column.to}"
            )
        return day.isoformat()

    return convert


def _boolean(_column: Column) -> Callable[[str], Stored]:
    def convert(text: str) -> Stored:
        try:
            return TRUTHS[text.strip(" ").lower()]
        except KeyError:
            raise CellRefused(
                f"has the form {_form(text)}, which is neither true nor false"
            ) from None

    return convert


def _text(_column: Column) -> Callable[[str], Stored]:
    def convert(text: str) -> Stored:
        if len(text) > TEXT_CHARACTERS_MAX:
            raise CellRefused(f"holds {len(text)} characters; a text has {TEXT_CHARACTERS_MAX}")
        if "\0" in text:
            raise CellRefused("holds a NUL byte, which no text has")
        # One form for one text, or an equal filter would miss it. The original keeps its own.
        return text if text.isascii() else unicodedata.normalize("NFC", text)

    return convert


_CONVERTERS: Final[Mapping[ColumnType, Callable[[Column], Callable[[str], Stored]]]] = {
    ColumnType.INTEGER: _integer,
    ColumnType.DECIMAL: _decimal,
    ColumnType.FLOAT: _float,
    ColumnType.DATE: _date,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TEXT: _text,
}


def _text_of(value: object) -> str:
    """Write a typed value as a CSV of it would, so that all formats are judged alike."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case float():
            # repr is the shortest text of this float; 'f' keeps 1e-05 out of the decimal columns.
            return format(Decimal(repr(value)), "f") if math.isfinite(value) else repr(value)
        case Decimal():
            return format(value, "f")
        case datetime() | date():
            return value.isoformat()
        case int() | str():
            return str(value)
        case Unreadable():
            raise CellRefused(value.reason)
    raise CellRefused(f"holds a {type(value).__name__}, which has no place in a table here")


def is_code(cell: object) -> bool:
    """Say whether a cell looks like a number whose zeros count: 007 is not 7."""
    return isinstance(cell, str) and _CODE.fullmatch(cell) is not None


def _no_number(text: str, wanted: str) -> CellRefused:
    if is_code(text):
        return CellRefused(
            f"has the form {_form(text)}: leading zeros, so it is a code; make the column text"
        )
    return CellRefused(f"has the form {_form(text)}, which is not {wanted}")


def _in_range(value: int, text: str) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        raise CellRefused(f"has the form {_form(text)}, which is more than 64 bits can hold")
    return value


def _form(cell: object) -> str:
    """Describe a cell without telling it: letters become a, digits 9; a row is never in a message.

    `9,999.99` says what is wrong with an amount, and nothing about whose.
    """
    text = cell if type(cell) is str else _text_of(cell)
    form = "".join(map(_form_of, text[:_SHOWN_MAX]))
    return repr(form if len(text) <= _SHOWN_MAX else f"{form}…")


def _form_of(letter: str) -> str:
    if letter.isdigit():
        return "9"
    if letter.isalpha():
        return "a"
    return letter if letter.isascii() and letter.isprintable() else "?"
