"""A plan as SQL, and how what comes back is read: many rows at a time, for answers are long."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from psp.plan import GroupKey, Measure
from psp.values import Value

from ._disclosure import Key, Part, Published
from ._figurings import Figuring, Group, Row, integer
from ._limits import NARROWED_MAX
from ._manifest import Column
from ._storage import SQLValue, from_storage, travels_as_stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One plan, ready to run on one view.

    Attributes:
        cells: One row for each group; `read_groups` reads them.
        parts: One row for each group and pattern of nulls, in two halves between which a condition
            on keys fits; `parts_of` joins them, what `part_reader` gives reads it.
        nullable: The measured columns that may be null, in the order of the pattern's bits.
        binned: The histogram whose bins are the last group key; None for all other plans.
    """

    cells: str
    parts: tuple[str, str]
    key_sql: tuple[str, ...]
    parameters: tuple[SQLValue, ...]
    keys: tuple[tuple[GroupKey, Column], ...]
    figurings: tuple[Figuring, ...]
    nullable: tuple[str, ...]
    published: Published
    listed: tuple[Key, ...] | None
    binned: Measure | None

    def read_groups(self, rows: Sequence[Row]) -> list[Group]:
        """Read (group key…, rows, subjects, values of each nullable column…, figures…)."""
        if not rows:
            return []
        width, nullable = len(self.key_sql), len(self.nullable)
        columns = [*zip(*rows, strict=True)]
        figures, begin = [], width + 2 + nullable
        for figuring in self.figurings:
            end = begin + len(figuring.expressions)
            figures.append(figuring.read(columns[begin:end]))
            begin = end
        none: list[tuple[int, ...]] = [()] * len(rows)
        values = [*zip(*columns[width + 2 : width + 2 + nullable], strict=True)] or none
        counted: list[Any] = [columns[width], columns[width + 1], values]
        keys = map(self._key_reader(), rows)
        stored = [row[:width] for row in rows]
        return [*map(Group, keys, stored, *counted, zip(*figures, strict=True))]

    def parts_of(self, groups: Sequence[Group]) -> tuple[str, tuple[SQLValue, ...]]:
        """Make the query for the parts of these groups, and perhaps of some others.

        Where they are few this spares a second scan of everything for the sake of what is hidden.
        """
        begin, end = self.parts
        if not self.key_sql or len(groups) > NARROWED_MAX:
            return begin + end, self.parameters
        conditions, parameters = [], list(self.parameters)
        # Key by key: of (1, a) and (2, b) this lets (1, b) through as well, and whole.
        for at, sql in enumerate(self.key_sql):
            values = dict.fromkeys(group.stored[at] for group in groups)
            known = [value for value in values if value is not None]
            either = [f"{sql} IN ({', '.join('?' * len(known))})"] if known else []
            conditions.append(
                " OR ".join([*either, *([f"{sql} IS NULL"] if None in values else [])])
            )
            parameters += known
        return f"{begin} AND ({') AND ('.join(conditions)}){end}", tuple(parameters)

    def part_reader(self) -> Callable[[Row], tuple[Key, Part]]:
        """Give what reads (group key…, pattern of nulls, rows, subjects if they are few)."""
        read_key, at = self._key_reader(), len(self.key_sql)

        def read(row: Row) -> tuple[Key, Part]:
            pattern, rows, few = integer(row[at]), integer(row[at + 1]), row[at + 2]
            present = frozenset(name for at, name in enumerate(self.nullable) if pattern >> at & 1)
            if isinstance(few, str):
                few = json.loads(few)  # SQLite has no lists.
            # Rows of nobody, where a subject may be empty, are nobody's more.
            members = None if few is None else frozenset(cast("list[Value]", few)) - {None}
            return read_key(row), Part(present, rows, members)

        return read

    def _key_reader(self) -> Callable[[Row], Key]:
        width = len(self.keys)
        if self.binned is None and all(
            key.bucket is None and travels_as_stored(column) for key, column in self.keys
        ):
            return lambda row: tuple(row[:width])

        def read(row: Row) -> Key:
            key = tuple(key_value(*it, stored) for it, stored in zip(self.keys, row, strict=False))
            return key if self.binned is None else (*key, integer(row[width]))

        return read


def key_value(key: GroupKey, column: Column, stored: SQLValue) -> Value:
    return str(stored) if key.bucket and stored is not None else from_storage(column, stored)
