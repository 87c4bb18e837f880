"""Leases, releases and ends of connections in any order: never stale bytes, never a lost byte."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule

from psp.buffers import Account, Buffers, Lease, ResultBuffer, Share
from psp.errors import ConnectionLost, LimitExceeded, LocalProtocolError

KIB = 1024
LIMIT = 1024 * KIB


def setup_module() -> None:
    """Set aside what other tests left, or each example would walk over half a million objects."""
    gc.collect()
    gc.freeze()


class Stamped:
    """A buffer, and the byte that all of it is filled with."""

    def __init__(self, buffer: ResultBuffer, stamp: int) -> None:
        self.buffer = buffer
        self.stamp = stamp
        self.leases: list[Lease] = []


class Lending(RuleBasedStateMachine):
    shares: Bundle[Share] = Bundle("shares")
    results: Bundle[Stamped] = Bundle("results")
    # Slices that outlive their lease, each with the byte that it must show.
    kept: Bundle[list[tuple[memoryview, int]]] = Bundle("kept")

    def __init__(self) -> None:
        super().__init__()
        self.process = Account("process", LIMIT)
        self.tenant = self.process.tenant("a", LIMIT)
        self.buffers = Buffers(self.tenant, kept_bytes_max=LIMIT // 4)
        self.stamp = 0
        self.shown: list[list[tuple[memoryview, int]]] = []

    @initialize(target=shares)
    def first(self) -> Share:
        return self.buffers.share("first")

    @rule(target=shares)
    def connect(self) -> Share:
        return self.buffers.share("another")

    @rule(target=results, share=shares, size=st.integers(1, 300 * KIB))
    def take(self, share: Share, size: int) -> Any:
        try:
            buffer = share.take(size)
        except (LimitExceeded, ConnectionLost):
            return Stamped(self._spent(), 0)
        self.stamp = self.stamp % 255 + 1
        room = buffer.room()
        room[:] = bytes([self.stamp]) * size
        room.release()
        buffer.advance(size)
        return Stamped(buffer, self.stamp)

    def _spent(self) -> ResultBuffer:
        spare = Buffers(Account("spare", LIMIT)).share("spare").take(1)
        spare.release()
        return spare

    @rule(result=results)
    def finish(self, result: Stamped) -> None:
        if not result.buffer.is_released:
            result.buffer.finish()

    @rule(target=kept, result=results)
    def lease(self, result: Stamped) -> Any:
        try:
            lease = result.buffer.lease()
        except LocalProtocolError:
            assert result.buffer.is_released or not result.buffer.is_finished
            return []
        result.leases.append(lease)
        shown = [(lease.view[-1:], result.stamp)]
        self.shown.append(shown)
        return shown

    @rule(result=results)
    def end_leases(self, result: Stamped) -> None:
        for lease in result.leases:
            view = None if lease.is_over else lease.view
            lease.release()
            with pytest.raises(LocalProtocolError, match="lease is over"):
                lease.view
            if view is not None:
                with pytest.raises(ValueError, match="released"):
                    view[0]

    @rule(result=consumes(results))
    def release(self, result: Stamped) -> None:
        result.buffer.release()

    @rule(result=consumes(results))
    def drop(self, result: Stamped) -> None:
        """Its owner forgets it; nothing is said."""

    @rule(shown=consumes(kept))
    def let_go(self, shown: list[tuple[memoryview, int]]) -> None:
        shown.clear()

    @rule(share=shares)
    def end(self, share: Share) -> None:
        share.end()
        with pytest.raises(ConnectionLost):
            share.take(1)

    @rule()
    def look(self) -> None:
        for shown in self.shown:
            for view, stamp in shown:
                assert view[0] == stamp, "a view shows bytes of another result"
        assert self.buffers.idle_bytes <= LIMIT // 4
        assert self.buffers.idle_bytes <= self.process.held_bytes <= LIMIT

    def teardown(self) -> None:
        self.look()
        self.shown.clear()
        # hypothesis itself holds the bundles until the machine is gone.
        for values in getattr(self, "names_to_values", {}).values():
            if isinstance(values, Stamped):
                values.buffer.release()
                for lease in values.leases:
                    lease.release()
            elif isinstance(values, list):
                values.clear()
        gc.collect()
        self.buffers.trim()
        assert self.process.held_bytes == self.tenant.held_bytes == 0


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=10, stateful_step_count=25, deadline=None)
