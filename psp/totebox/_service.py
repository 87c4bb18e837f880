"""What an archive shows on the wire: health to a paired machine, tables to the holder of a grant.

    Bootstrap ── health, describe           follows from the pairing alone
    GrantObject ── describe, table, run     what one verified grant shows
      TableObject ── describe, query, row
        RowObject ── values, original       needs `read`
          OriginalObject ── info, proof     needs the object `ledger`, method `prove`

A row that is not there, a table that is not there and a table that is not granted are refused in
the same words. Under an interactive grant no object but the grant's own is ever given out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from weakref import WeakSet

import msgpack
import trio

from psp.capability import Grant, Operation, Scope, TableRule, ceiling, verify_untrusted
from psp.endpoint import Exposed, method
from psp.errors import Denied, GrantRefused, Invalid, Overloaded
from psp.plan import Plan
from psp.rpc import CallReady
from psp.transport import Peer
from psp.values import Value, to_ext

from ._archive import Archive
from ._clocks import Clocks, GrantTime, instant, read_clocks
from ._commands import commands_of, read_commands_untrusted, run_commands
from ._described import describe_table, describe_tables
from ._engine import Engine
from ._engine_thread import query_in_thread
from ._invocations import Invocations
from ._manifest import State, Table
from ._storage import to_storage

Log: TypeAlias = Callable[[str], None]
ReadClocks: TypeAlias = Callable[[], Clocks]

_PROVE: Final = ("ledger", "prove")

_SIGNED_METHODS: Final = frozenset({"describe", "run"})
"""What may be called on an interactive grant: what gives a value. All else goes through `run`."""

TABLES_OPEN_MAX: Final = 128
"""Tables that one peer may have open, over all its connections and grants. Each is one or two files
and 200 KiB; a process has 1,024 files, and where they are gone nobody can connect any more."""


@dataclass(slots=True)
class Counters:
    """Bytes that left since the archive was started: records, and what was computed about them."""

    record_bytes: int = 0
    result_bytes: int = 0


@dataclass(slots=True)
class Desk:
    """What all objects of one served archive share.

    Attributes:
        log: For the owner alone: it names the check at which a token was refused.
    """

    archive: Archive
    log: Log
    clocks: ReadClocks = read_clocks
    counters: Counters = field(default_factory=Counters)
    _invocations: Invocations = field(init=False)
    # By the key that the handshake proves, never by a name.
    _ceilings: dict[bytes, Scope] = field(init=False)
    # By the same key. A table is closed when nobody refers to it any more, and so leaves its set.
    _open: defaultdict[bytes, WeakSet[TableObject]] = field(
        init=False, default_factory=lambda: defaultdict(WeakSet)
    )

    def __post_init__(self) -> None:
        self._invocations = Invocations(self.archive.manifest.archive_id, int(self.clocks().wall_s))
        tables = {table.name: table.column_names for table in self.archive.manifest.tables}
        floor = self.archive.manifest.floor
        pairings = self.archive.pairings()
        self._ceilings = {
            one.pin.certificate.spki_hash: ceiling(one.ceiling, tables, floor) for one in pairings
        }

    def bootstrap(self, peer: Peer) -> Bootstrap:
        """Make what a peer can call by its pairing alone."""
        return Bootstrap(self, self._ceilings[peer.spki_hash])

    def present(self, peer: Peer, token: bytes) -> GrantObject:
        """Verify a token and make what it grants.

        Raises:
            Denied: Whatever is wrong with it; the reason goes to the owner's log.
        """
        now = self.clocks()
        try:
            grant = verify_untrusted(
                token,
                anchor=self.archive.anchor,
                presenter=peer.spki_hash,
                ceiling=self._ceilings[peer.spki_hash],
                now_s=int(now.wall_s),
            )
        except GrantRefused as exc:
            self.log(f"a token of {peer.name} was refused at the check {exc.step!r}")
            raise Denied from None
        return GrantObject(self, grant, GrantTime(grant, now), self._open[peer.spki_hash])

    def admit(self, grant: Grant, call: CallReady) -> None:
        """Let a signed call through, once.

        Raises:
            Denied: Whatever is wrong with its invocation; the reason goes to the owner's log.
            Invalid: It carries no commands, where it must.
            Overloaded: Too many were let through in the last minute.
        """
        commands = commands_of(call.method, call.arguments)
        try:
            self._invocations.admit(grant, commands, call.invocation, int(self.clocks().wall_s))
        except GrantRefused as exc:
            self.log(f"a call under grant {grant.grant_id.hex()} was not let through: {exc}")
            raise Denied from None


class Bootstrap(Exposed):
    """What a paired machine can ask without a grant: how the archive is, and what it is called."""

    def __init__(self, desk: Desk, scope: Scope) -> None:
        self._desk = desk
        self._scope = scope

    def check(self, call: CallReady) -> None:
        _refuse_signed(call)

    @method
    def health(self) -> Mapping[str, Value]:
        archive, counters = self._desk.archive, self._desk.counters
        checkpoint = archive.ledger.checkpoint
        return {
            "name": archive.manifest.name,
            "state": archive.manifest.state.value,
            "time": instant(self._desk.clocks()),
            "tree_size": checkpoint.tree_size,
            "root": checkpoint.root_hash,
            "checkpoint": archive.ledger.note,
            "record_bytes": counters.record_bytes,
            "result_bytes": counters.result_bytes,
        }

    @method
    def describe(self) -> Mapping[str, Value]:
        """Say what there is to be granted: the tables as far as the pairing shows them."""
        manifest = self._desk.archive.manifest
        return {
            "name": manifest.name,
            "title": manifest.title or manifest.name,
            "kind": manifest.kind,
            "module_id": manifest.module_id,
            "labels": dict(manifest.labels),
            "tables": describe_tables(manifest.tables, self._scope),
        }


class _Granted(Exposed):
    """An object under a grant: every call on it asks both clocks first."""

    def __init__(self, desk: Desk, time: GrantTime) -> None:
        self._desk = desk
        self._time = time

    def check(self, call: CallReady) -> None:
        self.check_open()
        _refuse_signed(call)

    def check_open(self) -> None:
        """Refuse when the grant is over, or the archive answers nobody."""
        self._time.check(self._desk.clocks())
        if (state := self._desk.archive.manifest.state) is not State.ACTIVE:
            raise Denied(f"this archive is {state.value}: it answers health only")


class GrantObject(_Granted):
    """What one grant shows. Each table's engine is made once, at the first call for it."""

    def __init__(
        self, desk: Desk, grant: Grant, time: GrantTime, peers_open: WeakSet[TableObject]
    ) -> None:
        super().__init__(desk, time)
        self._peers_open = peers_open
        self._grant = grant
        self._is_interactive = grant.is_interactive
        self._scope = grant.scope
        self._tables: dict[str, TableObject] = {}

    def check(self, call: CallReady) -> None:
        self.check_open()
        if self._is_interactive and call.method not in _SIGNED_METHODS:
            raise Invalid(
                f"{call.method[:40]!r} cannot be called here: under a grant whose calls are signed"
                " no reference is given out. Put it, and what follows it, into the commands of run"
            )
        # One that is not needed is verified all the same: a signature is never ignored.
        if self._is_interactive or call.invocation is not None:
            self._desk.admit(self._grant, call)

    @method
    def describe(self) -> Mapping[str, Value]:
        manifest = self._desk.archive.manifest
        return {
            "archive": manifest.name,
            "scope": str(self._scope),
            "not_after": instant(Clocks(self._grant.not_after_s, 0)),
            "tables": describe_tables(manifest.tables, self._scope),
        }

    @method
    def table(self, name: str) -> TableObject:
        if (found := self._tables.get(name)) is not None:
            return found
        rule = self._scope.tables.get(name)
        try:
            table = self._desk.archive.manifest.table(name)
        except KeyError:
            rule = None
        if rule is None:
            raise Denied
        if len(self._peers_open) >= TABLES_OPEN_MAX:
            raise Overloaded(f"{TABLES_OPEN_MAX} tables are open for this machine; release some")
        may_prove = self._scope.allows_method(*_PROVE)
        self._tables[name] = TableObject(self._desk, self._time, table, rule, may_prove)
        self._peers_open.add(self._tables[name])
        return self._tables[name]

    @method
    async def run(self, commands: list[Value]) -> Value:
        """Do several commands, each on what the one before gave; the last one's value is given."""
        return await run_commands(self, read_commands_untrusted(commands), self.check_open)


class TableObject(_Granted):
    """One table, as one grant shows it."""

    def __init__(
        self, desk: Desk, time: GrantTime, table: Table, rule: TableRule, may_prove: bool
    ) -> None:
        super().__init__(desk, time)
        self._table = table
        self._rule = rule
        self._may_prove = may_prove
        self._engine = self._open_engine()
        # Rows have a connection of their own: behind a scan on the same one, a keyed read would
        # hold up the reader of every other call.
        self._row_engine: Engine | None = None
        self._scanning = trio.Lock()

    @method
    def describe(self) -> Mapping[str, Value]:
        return describe_table(self._table, self._rule)

    @method
    async def query(self, plan: list[Value]) -> Mapping[str, Value]:
        """Answer a plan, in a thread: a scan must not stop the reader of other calls."""
        parsed = Plan.from_wire_untrusted(plan)
        checkpoint = self._desk.archive.ledger.checkpoint
        async with self._scanning:
            # Again: a call may wait behind others, and then scan, until its grant is over.
            self.check_open()
            figures = await query_in_thread(self._engine, parsed)
            self.check_open()
        answer = {
            **figures,
            "as_of": checkpoint.tree_size,
            "root": checkpoint.root_hash,
        }
        self._desk.counters.result_bytes += _wire_size(answer)
        return answer

    @method
    def row(self, key: list[Value]) -> RowObject:
        """Give the row of a key: a keyed read takes microseconds, so it runs in the reader."""
        # First of all: whether a row is there may be learnt only by those who may read it.
        if Operation.READ not in self._rule.allowed_operations:
            raise Denied
        if self._row_engine is None:
            self._row_engine = self._open_engine()
        values = self._row_engine.row(key)
        if values is None:
            raise Denied
        return RowObject(self, key, values)

    def original_of(self, key: Sequence[Value]) -> OriginalObject:
        """Find the sealed file that the row of a key stands in."""
        if not self._may_prove:
            raise Denied
        archive = self._desk.archive
        stored = [
            to_storage(self._table.column(name), value)
            for name, value in zip(self._table.key, key, strict=True)
        ]
        if (found := archive.index.locate(self._table, stored)) is None:
            raise Denied
        return OriginalObject(self._desk, self._time, *found)

    def count_record(self, values: Mapping[str, Value]) -> None:
        self._desk.counters.record_bytes += _wire_size(values)

    def _open_engine(self) -> Engine:
        archive = self._desk.archive
        return Engine(
            archive.index_path, self._table, self._rule, entity_floor=archive.manifest.floor
        )


class RowObject(_Granted):
    """One row, as it was when it was asked for."""

    def __init__(
        self, table: TableObject, key: Sequence[Value], values: Mapping[str, Value]
    ) -> None:
        super().__init__(table._desk, table._time)
        self._table = table
        self._key = key
        self._values = values

    @method
    def values(self) -> Mapping[str, Value]:
        self._table.count_record(self._values)
        return self._values

    @method
    def original(self) -> OriginalObject:
        return self._table.original_of(self._key)


class OriginalObject(_Granted):
    """The sealed file that a row came with, and the proof that the ledger holds it."""

    def __init__(self, desk: Desk, time: GrantTime, entry_index: int, line: int) -> None:
        super().__init__(desk, time)
        self._entry_index = entry_index
        self._line = line

    @method
    def info(self) -> Mapping[str, Value]:
        ingest = self._desk.archive.original_of(self._entry_index)
        return {
            "sha256": ingest.asset,
            "file": ingest.file,
            "bytes": ingest.size_bytes,
            "sealed": ingest.time,
            "entry": self._entry_index,
            "line": self._line,
        }

    @method
    def proof(self) -> Mapping[str, Value]:
        """Prove the file's entry against the newest checkpoint; `verify_inclusion` checks it."""
        ledger, index = self._desk.archive.ledger, self._entry_index
        size = ledger.checkpoint.tree_size
        (entry,) = ledger.entries(index, index + 1)
        return {
            "index": index,
            "tree_size": size,
            "hashes": ledger.prove_inclusion(index, size),
            "checkpoint": ledger.note,
            "entry": entry,
        }


def _refuse_signed(call: CallReady) -> None:
    """Refuse an invocation where nothing asks for one: a signature is never ignored."""
    if call.invocation is not None:
        raise Invalid("an invocation is for a grant itself, and came with a call on another object")


def _wire_size(value: object) -> int:
    return len(msgpack.packb(value, default=to_ext))
