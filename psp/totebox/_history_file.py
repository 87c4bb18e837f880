"""What was answered about one table, in the state file: questions, what was folded, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgpack

from psp.capability import RowDomain
from psp.errors import PSPError
from psp.plan import Filter, Plan
from psp.values import from_ext, to_ext

from ._state_file import StateFile

if TYPE_CHECKING:
    from ._groups import StoredKey

_POINT: Final = "release_point"


class RowsDisagree(PSPError):
    """The engine counted other rows than the audit: they read other states, or one is broken."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is remembered: the plan, at a state, and the domains of the grant."""

    plan: Plan
    rows: tuple[Filter, ...]

    def encode(self) -> bytes:
        rows = [[each.column, each.domain.to_wire()] for each in self.rows]
        packed: bytes = msgpack.packb([self.plan.to_wire(), rows], default=to_ext)
        return packed

    @classmethod
    def decode(cls, packed: bytes) -> Asked:
        plan, rows = msgpack.unpackb(packed, ext_hook=from_ext)
        filters = (Filter(column, RowDomain.from_wire_untrusted(domain)) for column, domain in rows)
        return cls(Plan.from_wire_untrusted(plan), tuple(filters))


class HistoryFile:
    """One table's part of the state file."""

    def __init__(self, state: Callable[[], StateFile], table: str) -> None:
        """Take what gives the file: it may be made anew while the archive is served."""
        self._state = state
        self._table = table

    def answered(self) -> Iterator[tuple[bytes, list[StoredKey]]]:
        """Give every question that was answered, in order, with the keys that were folded."""
        sql = "SELECT question, folded FROM answered WHERE of_table = ? ORDER BY number"
        for question, folded in self._state().execute(sql, (self._table,)):
            assert isinstance(question, bytes)
            assert isinstance(folded, bytes)
            yield question, [tuple(key) for key in msgpack.unpackb(folded)]

    def add(self, question: bytes, folded: list[StoredKey]) -> None:
        """Remember one more, durably.

        Raises:
            ArchiveError: The disk refused.
        """
        state = self._state()
        with state.writing():
            state.execute(
                "INSERT INTO answered (of_table, question, folded) VALUES (?, ?, ?)",
                (self._table, question, msgpack.packb(folded)),
            )

    def release_point(self, floor: int) -> int:
        """Give the tree size that answers under a floor show; 0 before the first."""
        point = self._state().facts().get(self._fact(floor), 0)
        assert isinstance(point, int)
        return point

    def set_release_point(self, floor: int, tree_size: int) -> None:
        """Move it on, durably.

        Raises:
            ArchiveError: The disk refused.
        """
        state = self._state()
        with state.writing():
            state.set_fact(self._fact(floor), tree_size)

    def _fact(self, floor: int) -> str:
        return f"{_POINT}:{floor}:{self._table}"
