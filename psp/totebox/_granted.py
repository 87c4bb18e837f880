"""What the objects of a served archive share, and what every call under a grant is asked first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from psp.buffers import Account, process_account
from psp.endpoint import Exposed, Turns
from psp.errors import Denied, Invalid
from psp.ledger import Checkpoint
from psp.rpc import CallReady
from psp.transport import HandOver

from ._archive import Archive
from ._clocks import ReadClocks, read_clocks
from ._engines import reading
from ._history_file import HistoryFile
from ._limits import SCANS_AT_ONCE_MAX, SEALED_BYTES_MAX, TABLES_OPEN_MAX
from ._live import LiveGrant
from ._load_history import load_history
from ._manifest import State, Table
from ._memory import GrantMemory
from ._read_audit import ReadAudit

if TYPE_CHECKING:
    from ._changes import Changes
    from ._history import TableHistory

Log: TypeAlias = Callable[[str], None]


@dataclass(slots=True)
class Counters:
    """Bytes that left since the archive was started: records, and what was computed about them."""

    record_bytes: int = 0
    result_bytes: int = 0


@dataclass(slots=True)
class Shared:
    """What all objects of one served archive share.

    Attributes:
        log: For the owner alone: it names the check at which a token was refused.
        reads: The record of reads.
        memory: What the archive remembers about grants.
        objects: What a program exposes beside its archive, by name.
        confinement: What holds the process, in the words of health.
        hand_over: Passes results to readers on this machine; None if there is no place for that.
        sealing: What such results hold until they were taken.
        settled: The state that answers stay at while a change is ahead of it in the ledger.
        changes: Where it is changed; None where nobody takes commands.
        scans: Whose question is computed next, by the machine that asks: one that asks without end
            takes a share of the processor from the others, and not their turn.
    """

    archive: Archive
    log: Log
    clocks: ReadClocks = read_clocks
    counters: Counters = field(default_factory=Counters)
    hand_over: HandOver | None = None
    sealing: Account = field(init=False)
    reads: ReadAudit = field(init=False)
    memory: GrantMemory = field(init=False)
    objects: Mapping[str, Exposed] = field(default_factory=dict)
    confinement: str = "not confined (embedded in a program)"
    settled: Checkpoint | None = field(init=False, default=None)
    changes: Changes | None = field(init=False, default=None)
    scans: Turns = field(default_factory=lambda: Turns(SCANS_AT_ONCE_MAX, TABLES_OPEN_MAX))
    _histories: dict[str, TableHistory] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.sealing = process_account().tenant("archive", SEALED_BYTES_MAX)
        self.reads = self.archive.read_audit()
        self.reads.log = self.log
        self.memory = self.archive.memory

    @property
    def data(self) -> Checkpoint:
        """The newest state that the rows are at."""
        return self.settled or self.archive.ledger.checkpoint

    def history(self, table: Table) -> TableHistory:
        """Give what was answered about a table, over all grants."""
        if table.name not in self._histories:
            archive = self.archive
            self._histories[table.name] = load_history()(
                table,
                partial(reading, archive.index, archive.index_path),
                HistoryFile(self.memory.state, table.name),
                archive.manifest.concentration,
                archive.index_path.parent,
            )
        return self._histories[table.name]


class Granted(Exposed):
    """An object under a grant: every call on it asks first whether the grant still stands."""

    def __init__(self, desk: Shared, time: LiveGrant) -> None:
        self._desk = desk
        self._time = time

    def check(self, call: CallReady) -> None:
        self.check_open()
        refuse_signed(call)

    def check_time(self) -> None:
        """Refuse when the grant is over."""
        self._time.check(self._desk.clocks())

    def check_open(self) -> None:
        """Refuse when the grant is over, or the archive answers nobody."""
        self.check_time()
        if (state := self._desk.archive.manifest.state) is not State.ACTIVE:
            raise Denied(f"this archive is {state.value}: it answers health and proofs only")


def refuse_signed(call: CallReady) -> None:
    """Refuse an invocation where nothing asks for one: a signature is never ignored."""
    if call.invocation is not None:
        raise Invalid("an invocation is for a grant itself, and came with a call on another object")
