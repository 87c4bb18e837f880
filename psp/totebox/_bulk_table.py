"""The half of a table that answers with streams."""

from __future__ import annotations

from abc import abstractmethod

from psp.capability import Command, TableRule
from psp.endpoint import Stream, method
from psp.plan import Listing
from psp.values import Value

from ._answers import Answers
from ._budgets import Spend
from ._bulk import Bulk, stream_rows
from ._granted import Granted
from ._reader import Reader


class BulkTable(Granted):
    """What a table gives that is too large for one RETURN."""

    _reader: Reader
    _rule: TableRule
    _spend: Spend | None
    _answers: Answers

    @method
    async def rows(self, listing: list[Value], is_local: bool = False) -> Stream:
        """Stream rows in columns; read them with `land(...)` and `columns()`.

        Args:
            is_local: The caller is on this machine, and would rather have them handed over.
        """
        parsed = Listing.from_wire_untrusted(listing)
        commands: list[Command] = [self._command, ("rows", [listing, is_local])]
        return await stream_rows(
            self._bulk(commands), parsed, self._answers.open_engine, is_local=is_local
        )

    def _bulk(self, commands: list[Command]) -> Bulk:
        desk = self._desk
        return Bulk(
            desk, self._reader, self._rule, commands, desk.data, self._spend, self.check_open
        )

    @property
    @abstractmethod
    def _command(self) -> Command:
        """What led from the grant to this table."""
