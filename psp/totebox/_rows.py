"""What is shown of one row: its values, and the sealed file that it came with."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple

from psp.capability import Command, TableRule
from psp.endpoint import method
from psp.errors import Denied
from psp.ledger import Checkpoint
from psp.values import Value

from ._answer_size import check_size
from ._budgets import Spend
from ._granted import Granted, Shared
from ._live import LiveGrant
from ._manifest import Table
from ._reader import Reader
from ._storage import to_storage

_VALUES: Final[Command] = ("values", [])
_ORIGINAL: Final[Command] = ("original", [])


class RowReads(NamedTuple):
    """Puts on record what is read of one row.

    Attributes:
        rule: What the grant allows with the table, of which the size of an answer is checked here.
        commands: What led from the grant to the row.
        data: The state of the data when the row was found.
        spend: Takes what is shown from budgets; None where there are none.
    """

    desk: Shared
    time: LiveGrant
    reader: Reader
    rule: TableRule
    key: Sequence[Value]
    commands: Sequence[Command]
    data: Checkpoint
    spend: Spend | None

    def locate(self, table: Table) -> tuple[int, int]:
        """Find the ledger's entry that the row stands in, and its line there.

        Raises:
            Denied: There is none any more.
        """
        stored = [
            to_storage(table.column(name), value)
            for name, value in zip(table.key, self.key, strict=True)
        ]
        if (found := self.desk.archive.index.locate(table, stored)) is None:
            raise Denied
        return found

    async def on_record(
        self, steps: Sequence[Command], result: Mapping[str, Value]
    ) -> Mapping[str, Value]:
        """Give the result of these steps from the row once it is on record."""
        check_size(result, self.rule)
        _, size_bytes = await self.reader.record(
            [*self.commands, *steps], result, self.data, rows=1, spend=self.spend
        )
        self.desk.counters.record_bytes += size_bytes
        return result

    def recorded(
        self, step: Command, result: Mapping[str, Value]
    ) -> Mapping[str, Value] | Coroutine[Any, Any, Mapping[str, Value]]:
        """Do as `on_record`, and at once where nothing has to be waited for: no task is needed."""
        if self.spend is not None or not self.reader.audit.is_prompt:
            return self.on_record([step], result)
        check_size(result, self.rule)
        self.desk.counters.record_bytes += self.reader.record_now(
            [*self.commands, step], result, self.data, rows=1
        )
        return result


class RowObject(Granted):
    """One row, as it was when it was asked for."""

    def __init__(
        self,
        reads: RowReads,
        values: Mapping[str, Value],
        original_of: Callable[[Sequence[Value]], OriginalObject],
    ) -> None:
        super().__init__(reads.desk, reads.time)
        self._reads = reads
        self._values = values
        self._original_of = original_of

    @method
    def values(self) -> Mapping[str, Value] | Coroutine[Any, Any, Mapping[str, Value]]:
        self._reads.reader.admit()
        return self._reads.recorded(_VALUES, self._values)

    @method
    def original(self) -> OriginalObject:
        return self._original_of(self._reads.key)


class OriginalObject(Granted):
    """The sealed file that a row came with, and the proof that the ledger holds it."""

    def __init__(self, reads: RowReads, entry_index: int, line: int) -> None:
        super().__init__(reads.desk, reads.time)
        self._reads = reads
        self._entry_index = entry_index
        self._line = line

    @method
    async def info(self) -> Mapping[str, Value]:
        self._reads.reader.admit()
        ingest = self._desk.archive.original_of(self._entry_index)
        info: Mapping[str, Value] = {
            "sha256": ingest.asset,
            "file": ingest.file,
            "bytes": ingest.size_bytes,
            "sealed": ingest.time,
            "entry": self._entry_index,
            "line": self._line,
        }
        return await self._reads.on_record([_ORIGINAL, ("info", [])], info)

    @method
    async def proof(self) -> Mapping[str, Value]:
        """Prove the file's entry against the newest checkpoint; `verify_inclusion` checks it."""
        self._reads.reader.admit()
        ledger, index = self._desk.archive.ledger, self._entry_index
        size = ledger.checkpoint.tree_size
        (entry,) = ledger.entries(index, index + 1)
        proof: Mapping[str, Value] = {
            "index": index,
            "tree_size": size,
            "hashes": [*ledger.prove_inclusion(index, size)],
            "checkpoint": ledger.note,
            "entry": entry,
        }
        return await self._reads.on_record([_ORIGINAL, ("proof", [])], proof)
