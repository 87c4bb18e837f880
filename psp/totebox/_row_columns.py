"""Columns of all versions of a table's rows, in the shortest numbers that tell their values apart.

Whole numbers, scaled decimals, truths and days are kept as numbers, floats as floats; of texts each
is kept once, and for each row its number. Where there are too many different texts for that, they
are kept one behind the other. So a condition is looked at by comparing numbers, many rows at once,
and what a column takes does not depend on how many Python objects it would be.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from psp.capability import Between, OneOf, RowDomain, between

from ._limits import WORDS_BYTES_MAX, WORDS_MAX
from ._manifest import Column, ColumnType
from ._row_texts import LongTexts
from ._spool import Array, Spool, chunks
from ._storage import SQLValue, holds_kind_of, plain_ends, stored_ends, stored_members

Flags: TypeAlias = "npt.NDArray[np.bool_]"
Test: TypeAlias = Callable[[int, int], Flags]
"""Says of the rows from one number up to another which pass."""

_TABLE_OF_NUMBERS: Final = 8
_SMALL_TABLE: Final = 1 << 16
"""Numbers are told apart by a table of all that there could be, while it is not longer than so many
times the numbers, or short anyway; else by sorting."""

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True, slots=True)
class Figures:
    """A column of some rows, as numbers; where one is null, any number stands."""

    numbers: Array
    nulls: Flags | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """A column of some rows, as texts: each once, and for each row the place of its own."""

    values: Sequence[str | None]
    codes: Array


Part: TypeAlias = Figures | Words


class RowColumn(ABC):
    """One column of all versions. Rows are asked for by their numbers, some at a time."""

    @abstractmethod
    def append(self, part: Part) -> None:
        """Put rows at the end."""

    @abstractmethod
    def present(self, start: int, stop: int) -> Flags:
        """Say which rows have a value."""

    @abstractmethod
    def test(self, domain: RowDomain) -> Test:
        """Make what says which rows are in a domain, exactly as the engine's SQL does."""

    @abstractmethod
    def told_apart(self, start: int, stop: int, inside: Flags) -> tuple[list[SQLValue], Array]:
        """Give the different values of some rows, as stored, and for each row the place of its."""

    @abstractmethod
    def bins(self, edges: Sequence[Any]) -> Callable[[int, int], Array]:
        """Make what gives each row's bin: how many edges are at or below its value."""

    def whole(self, start: int, stop: int) -> Array | None:
        """Give whole numbers that are equal where values are; None if there are none such."""
        return None

    @abstractmethod
    def mixed(self, start: int, stop: int) -> Array:
        """Give numbers that are equal where values are, and mostly different elsewhere."""

    def amounts(self, start: int, stop: int) -> Array:
        """Give the numbers to be added up; what they are where there is no value is not said."""
        raise TypeError("a column of texts is not added up")


def row_column(column: Column, directory: Path) -> RowColumn:
    """Begin a column of a type."""
    match column.type:
        case ColumnType.TEXT:
            return TextColumn(directory)
        case ColumnType.FLOAT:
            return FloatColumn(column, directory)
    return WholeColumn(column, directory)


class WholeColumn(RowColumn):
    """Integers, unscaled decimals, truths; and dates, as days."""

    def __init__(self, column: Column, directory: Path) -> None:
        self._column = column
        self._directory = directory
        self._is_date = column.type is ColumnType.DATE
        self._numbers = Spool(directory)
        self._nulls: Spool | None = None

    def append(self, part: Part) -> None:
        numbers, nulls = _days(part) if isinstance(part, Words) else (part.numbers, part.nulls)
        if nulls is not None and nulls.any():
            numbers = np.where(nulls, numbers.dtype.type(0), numbers)
            if self._nulls is None:
                self._nulls = Spool(self._directory, np.bool_)
                for start, stop in chunks(len(self._numbers)):
                    self._nulls.append(np.zeros(stop - start, np.bool_))
        if self._nulls is not None:
            self._nulls.append(np.zeros(len(numbers), np.bool_) if nulls is None else nulls)
        self._numbers.append(numbers)

    def present(self, start: int, stop: int) -> Flags:
        if self._nulls is None:
            return np.ones(stop - start, np.bool_)
        found: Flags = ~self._nulls.read(start, stop)
        return found

    def test(self, domain: RowDomain) -> Test:
        if domain.is_empty or not holds_kind_of(self._column, domain):
            return _none
        if isinstance(domain, Between):
            low, high = self._ends(domain)
            if low > high:
                return _none
            return self._tested(lambda numbers: (numbers >= low) & (numbers <= high))
        assert isinstance(domain, OneOf)
        members = np.array(self._members(domain), np.int64)
        if len(members) == 1:
            return self._tested(lambda numbers: numbers == members[0])
        return self._tested(lambda numbers: np.isin(numbers, members))

    def _tested(self, passes: Callable[[Array], Any]) -> Test:
        def test(start: int, stop: int) -> Flags:
            found: Flags = passes(self._numbers.read(start, stop))
            return found if self._nulls is None else found & self.present(start, stop)

        return test

    def _ends(self, domain: Between) -> tuple[int, int]:
        if not self._is_date:
            low, high = stored_ends(self._column, domain)
            # What no number can reach is beyond the last, whichever side it is on.
            return (1, 0) if low > _INT64_MAX or high < _INT64_MIN else (low, high)
        ends = (domain.low or date.min, domain.high or date.max)
        low, high = (end.toordinal() for end in ends if isinstance(end, date))
        return low, high

    def _members(self, domain: OneOf) -> list[int]:
        if self._is_date:
            return [it.toordinal() for it in domain.values if isinstance(it, date)]
        return [int(it) for it in stored_members(self._column, domain) if isinstance(it, int)]

    def told_apart(self, start: int, stop: int, inside: Flags) -> tuple[list[SQLValue], Array]:
        numbers = self._numbers.read(start, stop)[inside]
        if self._nulls is None:
            found, codes = distinct(numbers)
            return self._stored(found), codes
        has_value = self.present(start, stop)[inside]
        found, some = distinct(numbers[has_value])
        codes = np.full(len(numbers), len(found), np.int64)
        codes[has_value] = some
        return [*self._stored(found), None], codes

    def _stored(self, numbers: Array) -> list[SQLValue]:
        if self._is_date:
            return [date.fromordinal(it).isoformat() for it in numbers.tolist()]
        stored: list[SQLValue] = numbers.tolist()
        return stored

    def bins(self, edges: Sequence[Any]) -> Callable[[int, int], Array]:
        lows = [stored_ends(self._column, _at_least(edge))[0] for edge in edges]
        ends = np.array([low for low in lows if low <= _INT64_MAX], np.int64)
        return lambda start, stop: np.searchsorted(
            ends, self._numbers.read(start, stop).astype(np.int64), "right"
        )

    def whole(self, start: int, stop: int) -> Array:
        numbers = self._numbers.read(start, stop).astype(np.int64)
        if self._nulls is None:
            return numbers
        return np.where(self._nulls.read(start, stop), _INT64_MIN, numbers)

    def mixed(self, start: int, stop: int) -> Array:
        return self.whole(start, stop)

    def amounts(self, start: int, stop: int) -> Array:
        return self._numbers.read(start, stop).astype(np.int64)


class FloatColumn(RowColumn):
    """Floats, all of them finite: what is none stands for null."""

    def __init__(self, column: Column, directory: Path) -> None:
        self._column = column
        self._numbers = Spool(directory, np.float64)

    def append(self, part: Part) -> None:
        assert isinstance(part, Figures)
        nulls = part.nulls
        self._numbers.append(
            part.numbers if nulls is None else np.where(nulls, np.nan, part.numbers)
        )

    def present(self, start: int, stop: int) -> Flags:
        found: Flags = ~np.isnan(self._numbers.read(start, stop))
        return found

    def test(self, domain: RowDomain) -> Test:
        if domain.is_empty or not holds_kind_of(self._column, domain):
            return _none
        if isinstance(domain, Between):
            ends = [(_COMPARISONS[sign], end) for sign, end in plain_ends(domain)]

            def within(start: int, stop: int) -> Flags:
                numbers = self._numbers.read(start, stop)
                found = np.ones(len(numbers), np.bool_)
                for compare, end in ends:
                    found &= compare(numbers, end)
                return found & ~np.isnan(numbers)

            return within
        assert isinstance(domain, OneOf)
        members = np.array(stored_members(self._column, domain), np.float64)
        return lambda start, stop: np.isin(self._numbers.read(start, stop), members)

    def told_apart(self, start: int, stop: int, inside: Flags) -> tuple[list[SQLValue], Array]:
        numbers = self._numbers.read(start, stop)[inside]
        found, codes = np.unique(numbers, return_inverse=True)
        return [None if it != it else it for it in found.tolist()], codes.reshape(-1)

    def bins(self, edges: Sequence[Any]) -> Callable[[int, int], Array]:
        ends = []
        for edge in edges:
            [(sign, end)] = plain_ends(_at_least(edge))
            assert isinstance(end, float)
            ends.append(end if sign == ">=" else float(np.nextafter(end, np.inf)))
        return lambda start, stop: np.searchsorted(
            np.array(ends), self._numbers.read(start, stop), "right"
        )

    def whole(self, start: int, stop: int) -> Array:
        return self._numbers.read(start, stop).view(np.int64)

    def mixed(self, start: int, stop: int) -> Array:
        return self.whole(start, stop)

    def amounts(self, start: int, stop: int) -> Array:
        return self._numbers.read(start, stop)


class TextColumn(RowColumn):
    """Texts: while different ones are few, each once; else as they are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str | None, int] = {}
        self._bytes = 0
        self._codes = Spool(directory)
        self._long: LongTexts | None = None

    def append(self, part: Part) -> None:
        assert isinstance(part, Words)
        if self._long is None:
            known = self._known
            for it in part.values:
                if it not in known:
                    known[it] = len(known)
                    self._bytes += 4 * len(it or "")
            codes = np.array([known[it] for it in part.values], np.int32)
            self._codes.append(codes[part.codes])
            if len(known) > WORDS_MAX or self._bytes > WORDS_BYTES_MAX:
                self._keep_whole()
            return
        self._long.append([part.values[code] for code in part.codes.tolist()])

    def _keep_whole(self) -> None:
        long, values = LongTexts(self._directory), list(self._known)
        for start, stop in chunks(len(self._codes), 1 << 14):
            long.append([values[code] for code in self._codes.read(start, stop).tolist()])
        self._long, self._known, self._codes = long, {}, Spool(self._directory)

    def present(self, start: int, stop: int) -> Flags:
        if self._long is not None:
            return self._long.present(start, stop)
        null = self._known.get(None, -1)
        found: Flags = self._codes.read(start, stop) != null
        return found

    def test(self, domain: RowDomain) -> Test:
        if self._long is not None:
            return self._long.test(domain)
        passing = np.array([domain.contains(it) for it in self._known], np.bool_)
        return lambda start, stop: passing[self._codes.read(start, stop)]

    def told_apart(self, start: int, stop: int, inside: Flags) -> tuple[list[SQLValue], Array]:
        if self._long is not None:
            return self._long.told_apart(start, stop, inside)
        found, codes = distinct(self._codes.read(start, stop)[inside])
        values = list(self._known)
        return [values[it] for it in found.tolist()], codes

    def bins(self, edges: Sequence[Any]) -> Callable[[int, int], Array]:
        raise TypeError("a column of texts has no bins")

    def whole(self, start: int, stop: int) -> Array | None:
        return None if self._long is not None else self._codes.read(start, stop).astype(np.int64)

    def mixed(self, start: int, stop: int) -> Array:
        if self._long is not None:
            return self._long.mixed(start, stop)
        return self._codes.read(start, stop).astype(np.int64)


def distinct(numbers: Array) -> tuple[Array, Array]:
    """Give the different numbers, rising, and for each number the place of its own."""
    if not len(numbers):
        return numbers, np.zeros(0, np.int64)
    low = int(numbers.min())
    width = int(numbers.max()) - low + 1
    if width > max(_TABLE_OF_NUMBERS * len(numbers), _SMALL_TABLE):
        found, codes = np.unique(numbers, return_inverse=True)
        return found, codes.reshape(-1)
    offsets = numbers.astype(np.int64) - low
    is_there = np.zeros(width, np.bool_)
    is_there[offsets] = True
    found = np.flatnonzero(is_there)
    places = np.empty(width, np.int64)
    places[found] = np.arange(len(found))
    return found + low, places[offsets]


def _none(start: int, stop: int) -> Flags:
    return np.zeros(stop - start, np.bool_)


def _at_least(edge: Any) -> Between:
    """Give the interval from an edge up."""
    above = between(edge, None)
    assert isinstance(above, Between)
    return above


def _days(part: Words) -> tuple[Array, Flags | None]:
    days = [0 if it is None else date.fromisoformat(it).toordinal() for it in part.values]
    nulls = np.array([it is None for it in part.values], np.bool_)
    numbers = np.array(days, np.int64)[part.codes]
    return numbers, nulls[part.codes] if nulls.any() else None
