"""What one reference to a grant reads, and how that comes on record."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from psp.capability import Command, Grant, hash_commands
from psp.ledger import Checkpoint
from psp.values import Value

from ._budgets import Spend
from ._clocks import Clocks, ReadClocks, instant
from ._limits import RECENT_READS_MAX, RESULT_BYTES_MAX
from ._read_audit import ReadAudit
from ._receipts import Read, pack_result


@dataclass(slots=True)
class Reader:
    """What one reference to a grant reads: it is let in, put on record, and told where.

    Attributes:
        recent: Places in the record, newest last.
    """

    audit: ReadAudit
    grant: Grant
    clocks: ReadClocks
    recent: deque[int] = field(default_factory=partial(deque, maxlen=RECENT_READS_MAX))

    def admit(self) -> None:
        """Let a read begin; see `ReadAudit.admit`."""
        self.audit.admit(self.grant, self.clocks().boot_s)

    async def record(
        self,
        commands: Sequence[Command],
        result: Value,
        data: Checkpoint,
        *,
        rows: int = 0,
        groups: int = 0,
        spend: Spend | None = None,
    ) -> tuple[int, int]:
        """Put a read on record before its result leaves; return its place and the result's size.

        Args:
            commands: What was done on the grant, in the form in which its holder would sign it.
            data: The state of the data that was read.
            spend: Takes the result's bytes from budgets, or refuses it.

        Raises:
            HandlerFailed: It could not be written. The result must not leave.
        """
        packed = pack_result(result)
        if spend is not None:
            await spend(bytes=len(packed))
        now = self.clocks()
        entry = self._entry(commands, packed, data, now, rows, groups)
        index = await self.audit.record(entry, now.boot_s)
        self.keep(index)
        return index, len(packed)

    def record_now(
        self, commands: Sequence[Command], result: Value, data: Checkpoint, *, rows: int
    ) -> int:
        """Do as `record`, where the audit `is_prompt` and there are no budgets.

        Returns: The result's size.

        Raises:
            HandlerFailed: It could not be written. The result must not leave.
        """
        packed, now = pack_result(result), self.clocks()
        entry = self._entry(commands, packed, data, now, rows, 0)
        self.keep(self.audit.record_now(entry, now.boot_s))
        return len(packed)

    def keep(self, place: int) -> None:
        """Tell `reads()` of one more."""
        self.recent.append(place)

    def _entry(
        self,
        commands: Sequence[Command],
        packed: bytes,
        data: Checkpoint,
        now: Clocks,
        rows: int,
        groups: int,
    ) -> bytes:
        fits = len(packed) <= RESULT_BYTES_MAX
        return Read(
            grant_id=self.grant.grant_id,
            command=hash_commands(commands),
            tree_size=data.tree_size,
            root_hash=data.root_hash,
            rows=rows,
            groups=groups,
            size_bytes=len(packed),
            time=instant(now),
            result=hashlib.sha256(packed).digest() if fits else None,
        ).encode()

    async def receipt(self, index: int) -> dict[str, Value]:
        """Give the receipt of a read of this grant; see `ReadAudit.prove`."""
        return await self.audit.prove(index, self.grant.grant_id)
