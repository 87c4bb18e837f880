"""What a paired machine can ask without a grant."""

from __future__ import annotations

from collections.abc import Mapping

from psp.capability import Scope
from psp.endpoint import Exposed, method
from psp.rpc import CallReady
from psp.values import Value

from ._clocks import instant
from ._described import describe_tables
from ._granted import Shared, refuse_signed


class Bootstrap(Exposed):
    """What a paired machine can ask without a grant: how the archive is, and what it is called."""

    def __init__(self, desk: Shared, scope: Scope, kept: object) -> None:
        """Take what is to be held as long as the connection lasts, too: `kept`."""
        self._desk = desk
        self._scope = scope
        self._kept = kept

    def check(self, call: CallReady) -> None:
        refuse_signed(call)

    @method
    def health(self) -> Mapping[str, Value]:
        archive, counters = self._desk.archive, self._desk.counters
        checkpoint, reads = archive.ledger.checkpoint, self._desk.reads
        memory, now = self._desk.memory, self._desk.clocks()
        # In the words that every overview shows: one that answers nobody is not active.
        state = [
            archive.manifest.state.value,
            *(["reads stopped"] if reads.failure is not None else []),
            *(["grants stopped"] if memory.alarm else []),
            *(["clock behind"] if memory.is_behind(now.wall_s) else []),
        ]
        return {
            "name": archive.manifest.name,
            "state": ", ".join(state),
            "time": instant(now),
            "tree_size": checkpoint.tree_size,
            "root": checkpoint.root_hash,
            "checkpoint": archive.ledger.note,
            "record_bytes": counters.record_bytes,
            "result_bytes": counters.result_bytes,
            "reads": {
                "policy": reads.policy.value,
                "state": reads.state,
                "recorded": reads.recorded,
            },
            "epoch": memory.epoch,
            "confinement": self._desk.confinement,
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
