"""The record of reads: no answer without an entry, and no more syncs than there are batches.

A second ledger, in `ledger/read-audit/`, under the archive's ledger key and a name of its own. All
answers that become ready while one batch is being synced share the next: the first of them to get
its turn writes for all. So one reader waits for one sync, and a thousand wait for two.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, NoReturn

import trio

from psp.capability import Grant
from psp.durable import sync_directory
from psp.errors import ArchiveError, Denied, HandlerFailed, LedgerError, Overloaded
from psp.ledger import Ledger, Signer
from psp.transport import MachineKey, flusher
from psp.values import Value

from ._disk_wait import DiskWait
from ._limits import (
    FREE_BYTES_MIN,
    READS_BATCH_MAX,
    READS_WAITING_MAX,
    SEAL_AFTER_S,
    UNSEALED_S_MAX,
)
from ._manifest import ReadPolicy
from ._rates import Rates
from ._receipts import decode_read_untrusted

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
        # Taken for every use of the ledger, one at a time. Taking it lets all who are ready have a
        # turn, and so join the batch.
        self._turn = trio.Lock()
        self._disk = DiskWait()
        self._last_turn = -1
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

    @property
    def is_prompt(self) -> bool:
        """Whether `record_now` would do now, and keep nobody waiting for long."""
        if self.policy is ReadPolicy.WITHIN_1S:
            return True
        # One in each turn of the loop: those that come with it share a batch, and so one sync.
        is_first = self._last_turn != flusher().turn
        is_busy = self._waiting or self._turn.locked() or self._ledger.fills_soon
        return is_first and not is_busy and self._disk.is_quick

    def record_now(self, entry: bytes, now_s: float) -> int:
        """Do as `record`, where `is_prompt`: the loop itself waits for the disk.

        Raises:
            HandlerFailed: It could not be written. The answer must not leave.
        """
        if self.policy is ReadPolicy.WITHIN_1S:
            return self.put(entry, now_s)
        self._raise_failure()
        self._last_turn = flusher().turn
        try:
            self._disk.run_now(partial(self._append, [entry]))
        except (LedgerError, OSError) as exc:
            self._fail(exc)
        self._sealed += 1
        return self._sealed - 1

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
                batch = self._next_batch()
                self._append(batch)
                self._drop_sealed(len(batch))
        finally:
            self._ledger.close()

    async def _seal_batch(self) -> None:
        # All who wait for a batch are woken at once. A lock would wake them one after the other,
        # and the disk would have nothing to do meanwhile.
        done = self._sealing = trio.Event()
        try:
            async with self._turn:
                batch = self._next_batch()
                # Under `within-1s` no answer waits for it, and a batch is long.
                is_long = self._ledger.fills_soon or self.policy is ReadPolicy.WITHIN_1S
                await self._disk.run(partial(self._append, batch), is_long=is_long)
                self._drop_sealed(len(batch))
        except (LedgerError, OSError) as exc:
            self._fail(exc)
        finally:
            self._sealing = None
            done.set()

    def _next_batch(self) -> list[bytes]:
        return [entry for entry, _ in islice(self._waiting, READS_BATCH_MAX)]

    def _append(self, batch: Sequence[bytes]) -> None:
        if self._ledger.fills_soon:
            self._ledger.write_tiles()
        self._ledger.append(batch)

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
