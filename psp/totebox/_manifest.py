"""What an archive says about itself: names, tables, policy. `_manifest_file` keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final, TypeAlias

from psp.errors import ArchiveError

from ._concentration import Concentration

COLUMNS_MAX: Final = 512
"""A table wider than this is a matrix, and SQLite stops at 2,000 columns."""
NAME_CHARACTERS_MAX: Final = 64
"""Names stand in table headings and in error sentences."""
DECIMAL_SCALE_MAX: Final = 18
"""A decimal is kept as a scaled 64-bit integer, which holds 18 whole digits."""

ENGINES: Final = ("sqlite", "duckdb")

RESERVED_PREFIX: Final = "psp_"
"""Ours, inside the index: a column of this name would shadow the index's own."""

_TABLE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")

ListedValue: TypeAlias = "str | int | bool"


class ColumnType(StrEnum):
    """What a column holds. Money is a decimal with a currency."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    TEXT = "text"
    BOOLEAN = "boolean"
    FLOAT = "float"


class State(StrEnum):
    """Where an archive is in its life."""

    ACTIVE = "active"  # Answers.
    SUSPENDED = "suspended"  # Answers what needs no grant, and takes no files.
    ARCHIVED = "archived"  # Sealed for ever; answers like suspended.


class ReadPolicy(StrEnum):
    """When a read is on record; see docs/auditing.md."""

    BEFORE_ANSWER = "before-answer"  # Durable before the answer leaves.
    WITHIN_1S = "within-1s"  # Durable a second later at the latest.


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        scale: Digits after the point of a decimal; 0 for every other type.
        currency: Three letters (ISO 4217) if the decimal is money.
        values: Every value the column may ever hold, in order, if its owner lists them. A listed
            domain may be printed whole even where its cells are hidden.
        from_: With `to`, the first and last day a date column may hold: that domain is listed too.
    """

    name: str
    type: ColumnType
    scale: int = 0
    currency: str | None = None
    values: tuple[ListedValue, ...] = ()
    from_: date | None = None
    to: date | None = None
    nullable: bool = False

    def __post_init__(self) -> None:
        _check_column_name(self.name)
        if self.type is not ColumnType.DECIMAL and (self.scale or self.currency):
            raise ArchiveError(
                f"the column {self.name!r} is {self.type} and has a scale or a currency;"
                " only a decimal has them. Make it a decimal, or take them out."
            )
        if not 0 <= self.scale <= DECIMAL_SCALE_MAX:
            raise ArchiveError(
                f"the column {self.name!r} has the scale {self.scale};"
                f" choose one from 0 to {DECIMAL_SCALE_MAX}."
            )
        if self.currency is not None and not _CURRENCY.fullmatch(self.currency):
            raise ArchiveError(
                f"the column {self.name!r} has the currency {self.currency!r};"
                " write three capital letters, as in USD."
            )
        self._check_domain()

    def _check_domain(self) -> None:
        if (self.from_ is None) != (self.to is None):
            raise ArchiveError(f"the column {self.name!r} has only one of from and to; give both.")
        if (
            self.from_ is not None
            and self.to is not None
            and (self.type is not ColumnType.DATE or self.from_ > self.to)
        ):
            raise ArchiveError(
                f"the column {self.name!r} is {self.type} from {self.from_} to {self.to};"
                " from and to belong to a date column, the earlier day first."
            )
        if len(set(self.values)) != len(self.values):
            raise ArchiveError(f"the column {self.name!r} lists a value twice; list it once.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: its columns in order, what identifies a row, and whom a row is about.

    Attributes:
        key: The columns that together identify a row; never null.
        subject: The column that names whom a row is about: disclosure control counts distinct
            subjects. None: each key is a subject of its own.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    subject: str | None = None

    def __post_init__(self) -> None:
        if not _TABLE_NAME.fullmatch(self.name) or self.name.lower().startswith(RESERVED_PREFIX):
            raise ArchiveError(
                f"{self.name!r} cannot name a table; use up to 64 letters, digits and underscores,"
                f" a letter first, not beginning with {RESERVED_PREFIX}."
            )
        if not 1 <= len(self.columns) <= COLUMNS_MAX:
            raise ArchiveError(
                f"the table {self.name!r} has {len(self.columns)} columns;"
                f" a table has 1 to {COLUMNS_MAX}. Split it."
            )
        # SQLite compares names without case, so `Price` and `price` would be one column there.
        _check_unique((column.name for column in self.columns), f"column of {self.name!r}")
        self._check_key()

    def _check_key(self) -> None:
        if not self.key or len(set(self.key)) != len(self.key):
            raise ArchiveError(
                f"the table {self.name!r} has the key {list(self.key)};"
                " name the columns that identify a row, each once."
            )
        for name in (*self.key, *([self.subject] if self.subject else [])):
            if name not in self.column_names:
                raise ArchiveError(
                    f"the table {self.name!r} has no column {name!r} for its key or subject;"
                    f" its columns are {', '.join(self.column_names)}."
                )
        if nullable := [name for name in self.key if self.column(name).nullable]:
            raise ArchiveError(
                f"the key column {nullable[0]!r} of {self.name!r} may be empty;"
                " a key always has a value. Choose another key."
            )

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column of that name.

        Raises:
            KeyError: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole of `manifest.toml`.

    Attributes:
        name: As in `cluster-totebox-98004-1`.
        archive_id: 32 bytes, committed to the owner's root key.
        module_id: Which part of the owner's business the archive belongs to.
        kind: What sort of node this is; an archive is a `totebox`.
        floor: The owner's least number of subjects behind any published cell.
        title: What people call the archive; the name if empty.
        labels: The owner's own marks, by which a view picks its members.
        engine: What keeps its index and answers from it; see docs/archive.md.
        reads: When the record of a read is durable.
        transitions: How often its state has changed.
        remembers: Whether earlier answers count for later ones. Without, each is looked at alone,
            and whoever asks twice can subtract.
        concentration: The owner's rules for sums that are nearly one subject's.
    """

    name: str
    archive_id: bytes
    module_id: str
    tables: tuple[Table, ...]
    floor: int
    kind: str = "totebox"
    state: State = State.ACTIVE
    engine: str = "sqlite"
    title: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    reads: ReadPolicy = ReadPolicy.BEFORE_ANSWER
    transitions: int = 0
    remembers: bool = True
    concentration: Concentration = field(default_factory=Concentration)

    def __post_init__(self) -> None:
        if len(self.archive_id) != 32:
            raise ArchiveError(
                f"the archive id of {self.name!r} has {len(self.archive_id)} bytes; it has 32."
            )
        if self.floor < 1:
            raise ArchiveError(
                f"the floor of {self.name!r} is {self.floor}; 1 publishes every cell that holds"
                " a subject, 10 is usual where other firms look on."
            )
        if self.concentration.is_set and (self.floor == 1 or not self.remembers):
            raise ArchiveError(
                f"{self.name!r} has a rule for concentrated sums and the floor {self.floor}"
                f"{'' if self.remembers else ', without a history'}. Set a floor of 2 or more, with"
                " the history."
            )
        if self.engine not in ENGINES:
            raise ArchiveError(
                f"{self.name!r} asks for the engine {self.engine!r}; this release has"
                f" {' and '.join(ENGINES)}. Name one of them."
            )
        _check_unique((table.name for table in self.tables), f"table of {self.name!r}")

    def table(self, name: str) -> Table:
        """Return the table of that name.

        Raises:
            KeyError: There is none.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)


def _check_column_name(name: str) -> None:
    # A double quote would end a quoted name in SQL; whoever forgets to double it gets no chance.
    if (
        not 1 <= len(name) <= NAME_CHARACTERS_MAX
        or not name.isprintable()
        or '"' in name
        or name != name.strip()
        or name.lower().startswith(RESERVED_PREFIX)
    ):
        raise ArchiveError(
            f"{name[:NAME_CHARACTERS_MAX]!r} cannot name a column; use 1 to {NAME_CHARACTERS_MAX}"
            f" printable characters without quotes, not beginning with {RESERVED_PREFIX}."
        )


def _check_unique(names: Iterable[str], what: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.get(name.lower())) is not None:
            raise ArchiveError(
                f"two names for one {what}: {other!r} and {name!r}; rename one of them."
            )
        seen[name.lower()] = name
