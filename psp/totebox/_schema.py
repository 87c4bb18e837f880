"""A table proposed from a file: types, key, subject. A person approves it once.

The proposal looks at every row, because a late cell may decide. It never guesses wider than what it
saw: a column without a blank must keep having a value. One word among a thousand numbers does not
make a column text: it is a mistake in the file, and intake will say in which line.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, islice
from pathlib import Path
from typing import Final, NoReturn

from psp.errors import IntakeRefused

from ._assets import open_input
from ._cells import CellRefused, Converter, Unreadable, converter, is_code
from ._intake import why_not
from ._manifest import DECIMAL_SCALE_MAX, Column, ColumnType, Table
from ._readers import open_source
from ._source import Numbered, Source

KEY_COLUMNS_MAX: Final = 16
"""Columns looked at for a key: 120 pairs. Keys stand at the left of real tables."""
KEY_ROWS_MAX: Final = 1_000_000
"""Rows looked at for a key: 8 bytes each per column. Intake itself checks every row."""

STRAYS_PER_CELL: Final = 0.001
"""Cells that may disagree with all others before a column is text. Typing mistakes are rarer than
one in a thousand; codes and remarks in a column are not."""

STRAYS_MAX: Final = 1_000
"""More than these are not typing mistakes, however long the file; and each costs a closer look."""

_FITTED_MAX: Final = 4_096
"""Cells remembered per column, so that a month is looked at twelve times and not once a row."""

_NO_CELLS: Final = (Unreadable, list, dict)

_FIRST_ROWS: Final = 4_096
"""Most columns repeat within these; a set of all rows is made only of the others."""

# From the narrowest to the widest; a column moves right until every cell fits.
_WIDER: Final[Mapping[ColumnType, ColumnType]] = {
    ColumnType.INTEGER: ColumnType.DECIMAL,
    ColumnType.DECIMAL: ColumnType.FLOAT,
    ColumnType.FLOAT: ColumnType.TEXT,
    ColumnType.DATE: ColumnType.TEXT,
    ColumnType.BOOLEAN: ColumnType.TEXT,
}
_CENTS: Final = 2
_TENS_OF_CENTS: Final = re.compile(r"\.[1-9]0$")
_FIRST_TRIES: Final = (ColumnType.INTEGER, ColumnType.DATE, ColumnType.BOOLEAN)

_IDENTIFIER: Final = re.compile(
    r"(.*_)?(id|key|code|number|no|nr|uuid|guid|sku|iban|isbn|vin)", re.IGNORECASE
)
_MONEY: Final = re.compile(
    r"(.*_)?(price|amount|cost|value|rent|fee|total|balance|salary|revenue|paid|due|tax)(_.*)?",
    re.IGNORECASE,
)
# A date and a truth are never numbers, so no number in these columns is an identifier either.
_KEY_TYPES: Final = (ColumnType.INTEGER, ColumnType.TEXT, ColumnType.DATE)


def propose_table(
    path: Path, name: str, *, null: str = "", currency: str | None = None, sheet: str = ""
) -> Table:
    """Read a whole file and propose the table it could be.

    Args:
        null: The text that stands for "no value" in a CSV.
        sheet: Which sheet of a workbook that has several.
        currency: Marks columns named like money; without it no column is money.

    Raises:
        IntakeRefused: The file cannot be read as a table, has no rows, or no columns identify one.
        MissingExtra: What reads it is not installed.
    """
    with open_input(path) as file:
        source = open_source(file, shown_name=path.name, sheet=sheet)
        guesses = [_Guess(column, None if source.has_nulls else null) for column in source.header]
        rows = _look_at(source, guesses)
    if not rows:
        raise IntakeRefused(
            f"{path.name} has no rows; a table is proposed from its rows. Add some."
        )
    columns = tuple(guess.column(currency) for guess in guesses)
    key = _propose_key(columns, guesses)
    if not key:
        raise IntakeRefused(
            f"no columns of {path.name} identify a row: some rows are the same in every column that"
            " always has a value. Remove the repeated rows, or add a column that numbers them."
        )
    subject = key[0] if _looks_like_id(key[0], columns) else None
    return Table(name=name, columns=columns, key=key, subject=subject)


def _look_at(source: Source, guesses: Sequence[_Guess]) -> int:
    rows = 0
    for lines, batch in source.batches:
        if not _are_readable(batch, len(guesses)):
            _refuse_first(source.shown_name, zip(lines, batch, strict=True), guesses)
        rows += len(batch)
        for guess, cells in zip(guesses, zip(*batch, strict=True), strict=True):
            guess.look_at(cells)
    return rows


def _are_readable(batch: Sequence[Sequence[object]], width: int) -> bool:
    if {len(cells) for cells in batch} != {width}:
        return False
    kinds = set(map(type, chain.from_iterable(batch)))
    return not any(issubclass(kind, _NO_CELLS) for kind in kinds)


def _refuse_first(name: str, rows: Iterable[Numbered], guesses: Sequence[_Guess]) -> NoReturn:
    for line, cells in rows:
        if len(cells) != len(guesses):
            raise IntakeRefused(
                f"{name}, line {line}: the row {why_not(cells, len(guesses))}. Correct the line."
            )
        for guess, cell in zip(guesses, cells, strict=True):
            if isinstance(cell, Unreadable):
                raise IntakeRefused(f"{name}, row {line}: the column {guess.name!r} {cell.reason}.")
            if isinstance(cell, _NO_CELLS):
                raise IntakeRefused(
                    f"{name}, row {line}: the column {guess.name!r} holds lists or maps; a table"
                    " holds one value in a cell. Flatten the column."
                )
    raise AssertionError("a row that is refused was among these")


class _Guess:
    """What one column can still be, after the cells seen so far."""

    def __init__(self, name: str, null: str | None) -> None:
        self.name = name
        self._null = null
        self._type: ColumnType | None = None
        self._nullable = False
        self._scale = 0
        self._cells = 0
        self._strays = 0
        self._fits: Converter | None = None
        self._fitted: set[object] = set()
        self.hashes: array[int] | None = array("q")

    def look_at(self, cells: Sequence[object]) -> None:
        """Look at the next cells of the column: at each that is new, once."""
        nulls = cells.count(None) + (0 if self._null is None else cells.count(self._null))
        if nulls:
            self._nullable, self.hashes = True, None
        if self.hashes is not None:
            self.hashes.extend(map(hash, cells[: KEY_ROWS_MAX - len(self.hashes)]))
        self._cells += len(cells) - nulls
        for cell in dict.fromkeys(cells):
            # What fitted once fits for ever: types only widen.
            if cell is not None and cell != self._null and cell not in self._fitted:
                self._look_closer(cell, cells)

    def _look_closer(self, cell: object, cells: Sequence[object]) -> None:
        while not self._accepts(cell):
            if self._is_stray(cell):
                self._strays += cells.count(cell)
                return
            self._move_on(cell)
        if len(self._fitted) < _FITTED_MAX:
            self._fitted.add(cell)

    def column(self, currency: str | None) -> Column:
        """Give the column as it stands now; one without a single value is text."""
        kind = self._type or ColumnType.TEXT
        if self._strays > self._cells * STRAYS_PER_CELL:
            kind = ColumnType.TEXT
        money = currency is not None and _MONEY.fullmatch(self.name) is not None
        if money and kind is ColumnType.INTEGER:
            kind = ColumnType.DECIMAL
        return Column(
            name=self.name,
            type=kind,
            scale=self._scale if kind is ColumnType.DECIMAL else 0,
            currency=currency if money and kind is ColumnType.DECIMAL else None,
            nullable=self._nullable,
        )

    def _accepts(self, cell: object) -> bool:
        if self._fits is None:
            return False
        if self._type is ColumnType.TEXT:
            return True  # Text takes what nothing else did; intake refuses what is no text.
        try:
            self._fits(cell)
        except CellRefused:
            return False
        return True

    def _is_stray(self, cell: object) -> bool:
        """Whether this cell would make text of a column that holds numbers, dates or truths."""
        if not self._fitted or self._strays >= STRAYS_MAX or not isinstance(cell, str):
            return False  # Nothing to stray from, or too many to be mistakes.
        if is_code(cell):
            return False  # "007" among numbers says that none of them is one.
        assert self._type is not None
        return not any(
            _fits(kind, _scale_of(cell) or 0, cell)
            for kind in (ColumnType.DECIMAL, ColumnType.FLOAT, self._type)
        )

    def _move_on(self, cell: object) -> None:
        """Take the next type that could hold everything seen so far and this cell."""
        if self._type is None:
            tries = [kind for kind in _FIRST_TRIES if _fits(kind, 0, cell)]
            self._become(tries[0] if tries else _WIDER[ColumnType.INTEGER], 0)
            return
        if self._type is ColumnType.DECIMAL and (scale := _scale_of(cell)) is not None:
            self._become(ColumnType.DECIMAL, max(scale, self._scale))
            return
        # "007" is no number of any kind: a code whose zeros count.
        wider = ColumnType.TEXT if is_code(cell) else _WIDER[self._type]
        self._become(wider, 0)

    def _become(self, kind: ColumnType, scale: int) -> None:
        self._type, self._scale = kind, scale
        self._fits = _converter_of(kind, scale)


def _converter_of(kind: ColumnType, scale: int) -> Converter:
    return converter(Column(name="x", type=kind, scale=scale), null=None)


def _fits(kind: ColumnType, scale: int, cell: object) -> bool:
    if kind is ColumnType.BOOLEAN and isinstance(cell, str) and len(cell.strip()) == 1:
        return False  # Y and N may be two of several codes: only whole words are truths.
    try:
        _converter_of(kind, scale)(cell)
    except CellRefused:
        return False
    return True


def _scale_of(cell: object) -> int | None:
    """How many digits after the point a decimal needs for this cell; None if none will do.

    12.50 is an amount in cents, though one digit would hold it: the next file has 12.55.
    """
    if is_code(cell):
        return None
    least = _CENTS if isinstance(cell, str) and _TENS_OF_CENTS.search(cell.strip()) else 0
    return next(
        (n for n in range(least, DECIMAL_SCALE_MAX + 1) if _fits(ColumnType.DECIMAL, n, cell)), None
    )


def _propose_key(columns: Sequence[Column], guesses: Sequence[_Guess]) -> tuple[str, ...]:
    """Find the fewest columns that tell all rows apart, names like identifiers first."""
    usable = [
        (column.name, guess.hashes)
        for column, guess in zip(columns, guesses, strict=True)
        if guess.hashes is not None and column.type in _KEY_TYPES
    ]
    usable.sort(key=lambda one: _IDENTIFIER.fullmatch(one[0]) is None)  # Stable: else in order.
    hashes = dict(usable[:KEY_COLUMNS_MAX])
    few = chain(combinations(hashes, 1), combinations(hashes, 2))
    found = next((names for names in few if _tells_apart(names, hashes)), None)
    found = found or _narrowed(tuple(hashes), hashes)
    return tuple(column.name for column in columns if column.name in found)


def _narrowed(names: tuple[str, ...], hashes: Mapping[str, array[int]]) -> tuple[str, ...]:
    """Drop columns from the right as long as the rest still tells all rows apart."""
    if not names or not _tells_apart(names, hashes):
        return ()
    for name in reversed(names):
        fewer = tuple(other for other in names if other != name)
        if fewer and _tells_apart(fewer, hashes):
            names = fewer
    return names


def _tells_apart(names: Sequence[str], hashes: Mapping[str, array[int]]) -> bool:
    rows = len(hashes[names[0]])
    return all(
        len(set(islice(_hashed(names, hashes), looked_at))) == looked_at
        for looked_at in (min(rows, _FIRST_ROWS), rows)
    )


def _hashed(names: Sequence[str], hashes: Mapping[str, array[int]]) -> Iterator[int]:
    return map(hash, zip(*(hashes[name] for name in names), strict=True))


def _looks_like_id(name: str, columns: Sequence[Column]) -> bool:
    kind = next(column.type for column in columns if column.name == name)
    return kind is not ColumnType.DATE and _IDENTIFIER.fullmatch(name) is not None
