"""The record of reads: no answer without an entry, and no more syncs than there are batches.

A second ledger, in `ledger/read-audit/`, under the archive's ledger key and a name of its own. All
answers that become ready while one batch is being synced share the next: the first of them to get
its turn writes for all. So one reader waits for one sync, and a thousand wait for two.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NoReturn

import trio

from psp.capability import Command, Grant, hash_commands
from psp.durable import sync_directory
from psp.errors import ArchiveError, Denied, HandlerFailed, LedgerError, Overloaded
from psp.ledger import Checkpoint, Ledger, Signer
from psp.transport import MachineKey
from psp.values import Value

from ._budgets import Spend
from ._clocks import Clocks, ReadClocks, instant
from ._limits import (
    FREE_BYTES_MIN,
    READS_BATCH_MAX,
    READS_WAITING_MAX,
    RECENT_READS_MAX,
    RESULT_BYTES_MAX,
    SEAL_AFTER_S,
    UNSEALED_S_MAX,
)
from ._manifest import ReadPolicy
from ._rates import Rates
from ._receipts import Read, decode_read_untrusted, pack_result

READS_DIRECTORY: Final = "ledger/read-audit"


class ReadAudit:
    """The open record of one served archive, and whether more can be read now.

    Attributes:
        policy: When an entry is durable.
        failure: Why nothing is read any more; None while all is well. Only opening again helps:
            after a failed sync nobody knows what is on the disk.
        log: Takes the failure, once; for the owner alone.
    """

    def __init__(
        self,
        ledger: Ledger,
        policy: ReadPolicy,
        *,
        free_bytes: Callable[[], int],
    ) -> None:
        self.policy = policy
        self.failure: str | None = None
        self.log: Callable[[str], None] = lambda text: None
        self._ledger = ledger
        self.free_bytes = free_bytes
        self._rates = Rates()
        # Taken for every use of the ledger: it is written in a thread, one at a time.
        self._turn = trio.Lock()
        self._sealed = ledger.checkpoint.tree_size
        # Entries from `_sealed` on, and since when. A batch leaves it when it is durable, not
        # before: whoever is cancelled in between has lost nothing for the others.
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._has_waiting = trio.Event()
        self._sealing: trio.Event | None = None  # Set when the batch that is written is durable.

    @property
    def recorded(self) -> int:
        """How many reads are durable."""
        return self._sealed

    @property
    def waiting(self) -> int:
        """How many reads are not durable yet."""
        return len(self._waiting)

    @property
    def state(self) -> str:
        """How it is, in a word for health."""
        return "recording" if self.failure is None else "stopped"

    def admit(self, grant: Grant, now_s: float) -> None:
        """Let a read begin, while its entry can still be refused without loss.

        Args:
            now_s: Of the clock that nobody can set.

        Raises:
            Overloaded: Too many reads, or too little room on the disk.
            HandlerFailed: The record cannot be written.
        """
        self._raise_failure()
        if len(self._waiting) >= READS_WAITING_MAX:
            raise Overloaded(f"{READS_WAITING_MAX:,} reads wait for their record; ask again later")
        if self.policy is ReadPolicy.WITHIN_1S and self._is_late(now_s):
            raise Overloaded("the record of reads is behind by more than a second; ask again later")
        if self.free_bytes() < FREE_BYTES_MIN:
            raise Overloaded(
                "the archive's disk is nearly full, and a read needs room for its record. Tell its"
                " operator, and ask again later"
            )
        self._rates.spend(grant.ids[0], now_s)

    async def record(self, entry: bytes, now_s: float) -> int:
        """Put a read on record; return its place. What the policy promises holds on return.

        Raises:
            HandlerFailed: It could not be written. The answer must not leave.
        """
        index = self.put(entry, now_s)
        if self.policy is ReadPolicy.BEFORE_ANSWER:
            await self.seal_through(index)
        return index

    def put(self, entry: bytes, now_s: float) -> int:
        """Have a read written within a second, which is all that `within-1s` promises.

        Raises:
            HandlerFailed: Nothing can be written any more. The answer must not leave.
        """
        self._raise_failure()
        index = self._sealed + len(self._waiting)
        self._waiting.append((entry, now_s))
        self._has_waiting.set()
        return index

    async def seal_through(self, index: int) -> None:
        """Wait until an entry is durable, and write it, with all others, if nobody does.

        Raises:
            HandlerFailed: It could not be written.
        """
        while self._sealed <= index:
            self._raise_failure()
            if self._sealing is None:
                await self._seal_batch()
            else:
                await self._sealing.wait()

    async def prove(self, index: int, grant_id: bytes) -> dict[str, Value]:
        """Give the receipt of a read to the grant that made it.

        Raises:
            Denied: There is no such read, or another grant made it: in the same words.
            HandlerFailed: The record cannot be written, or has changed on the disk.
        """
        if not 0 <= index < self._sealed + len(self._waiting):
            raise Denied
        await self.seal_through(index)
        async with self._turn:
            try:
                receipt = await trio.to_thread.run_sync(_prove, self._ledger, index, grant_id)
            except LedgerError as exc:
                self._fail(exc)
        if receipt is None:
            raise Denied
        return receipt

    async def run(self) -> None:
        """Write what waits, for ever. Under `within-1s` this keeps the promise."""
        while True:
            await self._has_waiting.wait()
            await trio.sleep(SEAL_AFTER_S)
            try:
                await self.seal_through(self._sealed + len(self._waiting) - 1)
            except HandlerFailed:
                return  # It is in health, and whoever reads is told.

    def close(self) -> None:
        """Write what waits and let go of the files.

        Raises:
            LedgerError: The disk failed.
        """
        try:
            while self._waiting and self.failure is None:
                self._drop_sealed(len(self._append(self._next_batch())))
        finally:
            self._ledger.close()

    async def _seal_batch(self) -> None:
        # All who wait for a batch are woken at once. A lock would wake them one after the other,
        # and the disk would have nothing to do meanwhile.
        done = self._sealing = trio.Event()
        try:
            async with self._turn:
                batch = self._next_batch()
                await trio.to_thread.run_sync(self._append, batch)
                self._drop_sealed(len(batch))
        except (LedgerError, OSError) as exc:
            self._fail(exc)
        finally:
            self._sealing = None
            done.set()

    def _next_batch(self) -> list[bytes]:
        return [entry for entry, _ in islice(self._waiting, READS_BATCH_MAX)]

    def _append(self, batch: Sequence[bytes]) -> Sequence[bytes]:
        self._ledger.append(batch)
        return batch

    def _drop_sealed(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()
        self._sealed += count
        if not self._waiting:
            self._has_waiting = trio.Event()

    def _is_late(self, now_s: float) -> bool:
        return bool(self._waiting) and now_s - self._waiting[0][1] > UNSEALED_S_MAX

    def _fail(self, exc: Exception) -> NoReturn:
        self.failure = str(exc)
        self.log(f"reads are stopped, because their record cannot be written: {exc}")
        raise _stopped()

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise _stopped()


@dataclass(slots=True)
class Reader:
    """What one reference to a grant reads: it is let in, put on record, and told where.

    Attributes:
        recent: Places in the record, newest last.
    """

    audit: ReadAudit
    grant: Grant
    clocks: ReadClocks
    recent: list[int] = field(default_factory=list)

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

    def put(
        self, commands: Sequence[Command], result: Value, data: Checkpoint, *, rows: int
    ) -> int:
        """Do as `record`, under `within-1s` and without budgets: then nothing has to be waited for.

        Returns: The result's size.
        """
        packed, now = pack_result(result), self.clocks()
        entry = self._entry(commands, packed, data, now, rows, 0)
        self.keep(self.audit.put(entry, now.boot_s))
        return len(packed)

    def keep(self, place: int) -> None:
        """Tell `reads()` of one more."""
        self.recent.append(place)
        del self.recent[:-RECENT_READS_MAX]

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


def reads_origin(origin: str) -> str:
    """Name the record of reads beside a ledger of this name. Another name than the ledger's, so
    that under one key no checkpoint of the one can pass for one of the other."""
    return f"{origin}/reads"


def create_reads(directory: Path, origin: str, key: Signer) -> None:
    """Make an empty record of reads in an archive, whole or not at all."""
    final = directory / READS_DIRECTORY
    making = final.with_name(".read-audit.making")
    shutil.rmtree(making, ignore_errors=True)
    Ledger.create(making, origin=reads_origin(origin), key=key).close()
    making.rename(final)
    sync_directory(final.parent)


def open_reads(directory: Path, ledger: Ledger, public_key: bytes) -> Ledger:
    """Open the record of reads with the archive's ledger key.

    An archive that was made before there were records gets one now.

    Raises:
        ArchiveError: It is gone: the archive's first entry says that there was one.
        LedgerError: It is damaged or not signed by its key.
        KeyFileError: The ledger key cannot be read.
    """
    origin = ledger.checkpoint.origin
    key = MachineKey.load(directory / "keys" / "ledger.key")
    if not (directory / READS_DIRECTORY).is_dir():
        if has_reads(ledger):
            raise ArchiveError(
                f"the record of reads {directory / READS_DIRECTORY} is gone, and a new one would"
                " hide what was read. Restore it from a backup."
            )
        create_reads(directory, origin, key)
    return Ledger.open(
        directory / READS_DIRECTORY,
        origin=reads_origin(origin),
        public_key=public_key,
        key=key,
    )


def has_reads(ledger: Ledger) -> bool:
    """Say whether an archive was made with a record of reads: its first entry tells."""
    (created,) = ledger.entries(0, 1)
    return "reads" in json.loads(created)


def _prove(ledger: Ledger, index: int, grant_id: bytes) -> dict[str, Value] | None:
    """Give a receipt in the form of every proof here; None if another grant made the read."""
    (entry,) = ledger.entries(index, index + 1)
    if decode_read_untrusted(entry).grant_id != grant_id:
        return None
    size = ledger.checkpoint.tree_size
    return {
        "index": index,
        "tree_size": size,
        "hashes": [*ledger.prove_inclusion(index, size)],
        "checkpoint": ledger.note,
        "entry": entry,
    }


def _stopped() -> HandlerFailed:
    # The cause stays in `failure`: it names files of the owner's.
    return HandlerFailed(
        "this archive cannot record reads, so it answers none. Tell its operator: its health says"
        " so too"
    )
