"""What an archive shows on the wire: health to a paired machine, tables to the holder of a grant.

    Bootstrap ── health, describe           follows from the pairing alone
    GrantObject ── describe, table, run     what one verified grant shows
      │            reads, receipt           what it has read, and the proof that it is on record
      │            do                       commands, each once for its key (_commanded.py)
      TableObject ── describe, query, rows, row, sketch, behind, asset
        AssetObject ── range, stream        needs `asset`
        RowObject ── values, original       needs `read`
          OriginalObject ── info, proof     needs the object `ledger`, method `prove`

Whatever shows data is a read: it is let in, and on record before its answer leaves (auditing.md).
A row that is not there, a table that is not there and a table that is not granted are refused in
the same words. Under an interactive grant no object but the grant's own is ever given out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import WeakSet

import trio

from psp.capability import (
    ROLLBACK,
    UNLIMITED,
    Command,
    Grant,
    Operation,
    Scope,
    TableRule,
)
from psp.endpoint import Pins, method
from psp.errors import ArchiveError, Denied, GrantRefused, Invalid, Overloaded
from psp.plan import Plan
from psp.rpc import CallReady
from psp.transport import Peer
from psp.values import Value

from ._answer_size import check_size, groups_in
from ._answers import Answers
from ._asset_object import AssetObject, find_document
from ._bootstrap import Bootstrap
from ._budgets import Spend
from ._bulk_table import BulkTable
from ._clocks import Clocks, instant
from ._commanded import Commanded
from ._commands import commands_of, read_commands_untrusted, run_commands
from ._described import describe_table, describe_tables
from ._engine import Engine
from ._granted import Shared
from ._invocations import Invocations
from ._limits import TABLES_OPEN_MAX
from ._live import LiveGrant
from ._manifest import Table
from ._named import NamedObject, ceilings_of, check_names
from ._pairing import Pairing
from ._reader import Reader
from ._reconciled import Reconciled
from ._refusals import Refusals
from ._rows import OriginalObject, RowObject, RowReads
from ._shown import Shown

_PROVE: Final = ("ledger", "prove")

_PROOFS: Final = frozenset({"reads", "receipt"})
_ANY_STATE: Final = _PROOFS | {"do"}  # Whether a command may be done, its own check decides.
_SIGNED_METHODS: Final = frozenset({"describe", "run", "reads", "receipt", "do"})
"""What may be called on an interactive grant: what gives a value. All else goes through `run`."""


@dataclass(slots=True)
class Desk(Shared):
    """Where peers of one served archive come to, and are let in."""

    shown: Shown = field(init=False)
    _invocations: Invocations = field(init=False)
    _refusals: Refusals = field(init=False)
    # All three by the key that the handshake proves, never by a name.
    pins: Pins = field(init=False)
    _pairings: dict[bytes, Pairing] = field(init=False)
    _ceilings: dict[bytes, Scope] = field(init=False)
    # By the same key, too. A table is closed when nobody refers to it any more, and so leaves its
    # set.
    _open: defaultdict[bytes, WeakSet[TableObject]] = field(
        init=False, default_factory=lambda: defaultdict(WeakSet)
    )

    def __post_init__(self) -> None:
        check_names(self.objects)
        super(Desk, self).__post_init__()
        self.shown = Shown(self.archive, self.memory)
        self._invocations = Invocations(self.archive.manifest.archive_id, int(self.clocks().wall_s))
        self._refusals = Refusals(self.log)
        self._pairings = {one.pin.certificate.spki_hash: one for one in self.archive.pairings()}
        self.pins = Pins([one.pin for one in self._pairings.values()])
        self._set_ceilings()

    def follow_pairings(self) -> None:
        """Take over the pairings and tables as they are now. Who is out is disconnected.

        Raises:
            ArchiveError: A pairing's file is damaged; nothing was taken over.
        """
        before = self._pairings
        self._pairings = {one.pin.certificate.spki_hash: one for one in self.archive.pairings()}
        self._set_ceilings()
        # A machine that was paired anew may hold what its former ceiling has opened.
        ended = [key for key, one in before.items() if self._pairings.get(key) != one]
        if before != self._pairings:
            self.pins.replace([one.pin for one in self._pairings.values()], ended=ended)

    def _set_ceilings(self) -> None:
        self._ceilings = ceilings_of(self.archive.manifest, self._pairings.values(), self.objects)

    async def keep(self) -> None:
        """Do what serving needs beside the answers, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.reads.run)
            nursery.start_soon(self._refusals.keep, self.clocks)
            nursery.start_soon(self.memory.keep, self.clocks)

    def bootstrap(self, peer: Peer) -> Bootstrap:
        """Make what a peer can call by its pairing alone: once for each connection."""
        return Bootstrap(self, self._ceilings[peer.spki_hash], self.shown.begin(peer))

    def present(self, peer: Peer, token: bytes) -> GrantObject:
        """Verify a token and make what it grants.

        Raises:
            Denied: Whatever is wrong with it; the reason goes to the owner's log.
        """
        ceiling = self._ceilings[peer.spki_hash]
        try:
            known = self.shown.verify(peer, token, ceiling, self.clocks())
        except GrantRefused as exc:
            line = f"a token of {peer.name} was refused at the check {exc.step!r}"
            self._refusals.note(peer.spki_hash, line, self.clocks().boot_s)
            if exc.step == ROLLBACK:
                self._stop_grants(str(exc))
            raise Denied from None
        return GrantObject(self, known.grant, known.live, self._open[peer.spki_hash], peer.name)

    def _stop_grants(self, why: str) -> None:
        """Accept no grant any more: the owner's own people have seen a newer copy of this."""
        self.log(f"this archive accepts no grants until its owner has looked at it: {why}")
        try:
            self.memory.raise_alarm(why)
        except ArchiveError as exc:
            self.log(f"that could not be remembered for the next start: {exc}")

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
            line = f"a call under grant {grant.grant_id.hex()} was not let through: {exc}"
            self._refusals.note(grant.leaf_presenter, line, self.clocks().boot_s)
            raise Denied from None


class GrantObject(Commanded):
    """What one grant shows. Each table's engine is made once, at the first call for it."""

    _desk: Desk

    def __init__(
        self,
        desk: Desk,
        grant: Grant,
        time: LiveGrant,
        peers_open: WeakSet[TableObject],
        peer_name: str,
    ) -> None:
        super().__init__(desk, time, grant, Reader(desk.reads, grant, desk.clocks), peer_name)
        self._peers_open = peers_open
        self._is_interactive = grant.is_interactive
        self._tables: dict[str, TableObject] = {}

    def check(self, call: CallReady) -> None:
        self._check_of(commands_of(call.method, call.arguments))()
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
        spend = self._desk.memory.spender(self._grant, name)
        kind = TableObject if spend is None else CountedTable
        self._tables[name] = kind(
            self._desk, self._time, self._reader, table, rule, may_prove, spend
        )
        self._peers_open.add(self._tables[name])
        return self._tables[name]

    @method
    def object(self, name: str) -> NamedObject:
        """Give what the program that serves this archive exposes under a name."""
        target, methods = self._desk.objects.get(name), self._scope.objects.get(name)
        if target is None or not methods:
            raise Denied
        return NamedObject(self._desk, self._time, target, methods)

    @method
    def reads(self) -> list[Value]:
        """Tell the places in the record of what was read over this reference, newest last."""
        return [*self._reader.recent]

    @method
    async def receipt(self, index: int) -> Mapping[str, Value]:
        """Prove that a read of this grant is on record, as soon as it is sealed."""
        return await self._reader.receipt(index)

    @method
    async def run(self, commands: list[Value]) -> Value:
        """Do several commands, each on what the one before gave; the last one's value is given."""
        to_run = read_commands_untrusted(commands)
        return await run_commands(self, to_run, self._check_of(to_run))

    def _check_of(self, commands: Sequence[Command]) -> Callable[[], None]:
        """Give what refuses commands: whatever its state, an archive proves what it has answered,
        and may be told to resume."""
        return self.check_time if commands[0][0] in _ANY_STATE else self.check_open


class TableObject(BulkTable, Reconciled):
    """One table, as one grant shows it."""

    def __init__(
        self,
        desk: Shared,
        time: LiveGrant,
        reader: Reader,
        table: Table,
        rule: TableRule,
        may_prove: bool,
        spend: Spend | None = None,
    ) -> None:
        super().__init__(desk, time)
        self._reader = reader
        self._table = table
        self._rule = rule
        self._may_prove = may_prove
        self._spend = spend
        self._answers = Answers(desk, table, rule)
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
        self._reader.admit()
        if self._spend is not None:
            await self._spend(uses=1)
        # The lock first: of each table that is open one question waits for its machine's turn.
        async with self._scanning, self._desk.scans.of(self._reader.grant.leaf_presenter):
            # Again: a call may wait behind others, and then scan, until its grant is over.
            self.check_open()
            data = self._desk.data
            as_of, figures = await self._answers.figures(parsed)
            self.check_open()
        root = self._desk.archive.ledger.root_hash(as_of)
        answer = {**figures, "as_of": as_of, "root": root}
        # With the largest place that its read can get: the whole of what leaves is counted.
        check_size({**answer, "read": UNLIMITED}, self._rule)
        data = replace(data, tree_size=as_of, root_hash=root)
        index, size_bytes = await self._reader.record(
            [self._command, ("query", [plan])],
            answer,
            data,
            groups=groups_in(figures),
            spend=self._spend,
        )
        self._desk.counters.result_bytes += size_bytes
        return {**answer, "read": index}

    @method
    def row(self, key: list[Value]) -> RowObject:
        """Give the row of a key: a keyed read takes microseconds, so it runs in the reader."""
        # First of all: whether a row is there may be learnt only by those who may read it.
        if Operation.READ not in self._rule.allowed_operations:
            raise Denied
        if self._row_engine is None:
            self._row_engine = self._answers.open_engine()
        if self._desk.settled is None:
            values = self._row_engine.row(key)
        else:
            with closing(self._answers.open_engine(self._desk.settled.tree_size)) as engine:
                values = engine.row(key)
        if values is None:
            raise Denied
        return RowObject(self._row_reads(key), values, self.original_of)

    @method
    async def asset(self, key: list[Value]) -> AssetObject:
        """Give the sealed document with this key, if the grant shows it and lets it be read."""
        return await find_document(
            self._row_reads(key, "asset"), self._table, self._answers.open_engine
        )

    def original_of(self, key: Sequence[Value]) -> OriginalObject:
        """Find the sealed file that the row of a key stands in."""
        if not self._may_prove:
            raise Denied
        reads = self._row_reads(key)
        return OriginalObject(reads, *reads.locate(self._table))

    @property
    def _command(self) -> Command:
        return "table", [self._table.name]

    def _row_reads(self, key: Sequence[Value], method: str = "row") -> RowReads:
        commands = [self._command, (method, [[*key]])]
        data = self._desk.data
        return RowReads(
            self._desk, self._time, self._reader, self._rule, key, commands, data, self._spend
        )


class CountedTable(TableObject):
    """A table under a budget: asking for a row waits until it is counted, even if it is not there.

    Another class and not a question at every row: whatever waits costs a task of its own.
    """

    @method
    async def row(self, key: list[Value]) -> RowObject:  # type: ignore[override]
        """Count, then give the row of a key."""
        if Operation.READ not in self._rule.allowed_operations:
            raise Denied
        assert self._spend is not None
        await self._spend(uses=1, rows=1)
        self.check_open()
        return super().row(key)
