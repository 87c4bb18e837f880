"""Where result buffers come from: used mappings first, and every byte on somebody's account."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from psp.errors import ConnectionLost, LimitExceeded

from ._account import Account
from ._buffer import ResultBuffer, window_of
from ._limits import KEPT_BYTES_MAX, MEMORY_BYTES_MAX
from ._region import Region, region_size
from ._sealed import map_sealed_untrusted


class _Freed(NamedTuple):
    """Bytes that nothing shows any more, and the mapping that they lay in, if it is of use."""

    account: Account
    size: int
    region: Region | None = None
    buffers: Buffers | None = None


_freed: Final[deque[_Freed]] = deque()
"""Left by finalizers, in whatever thread and moment, even inside of a lock: `deque.append` is
atomic, and whoever needs bytes next does what they ask for."""

_lock: Final = threading.Lock()
"""One for all pools: a full account is a reason to look at every one of them."""

_pools: Final[weakref.WeakSet[Buffers]] = weakref.WeakSet()


class Buffers:
    """The result buffers of one tenant. A used mapping never goes to another one.

    A used mapping still holds what an earlier result left there. No reader sees it, because a
    lease ends where its own result does; that is one more reason to keep tenants apart.
    """

    def __init__(
        self,
        account: Account,
        *,
        spool: Path | None = None,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
        kept_bytes_max: int = KEPT_BYTES_MAX,
    ) -> None:
        """Make it.

        Args:
            account: The tenant's; mappings that wait to be used again are charged to it.
            spool: A directory on the disk for results larger than `memory_bytes_max`.
            memory_bytes_max: The largest result that is kept in memory, in bytes.
            kept_bytes_max: How much may wait to be used again; what lies on a disk never does.
        """
        self._account = account
        self._spool = spool
        self._memory_bytes_max = memory_bytes_max
        self._kept_bytes_max = kept_bytes_max
        self._idle: dict[int, list[Region]] = {}
        self._idle_bytes = 0
        with _lock:
            _pools.add(self)

    @property
    def idle_bytes(self) -> int:
        """What waits to be used again."""
        with _lock:
            _collect()
            return self._idle_bytes

    def share(self, name: str) -> Share:
        """Open what one connection takes its buffers through."""
        return Share(self, self._account.connection(name))

    def trim(self) -> None:
        """Give the mappings back to the machine that wait to be used again."""
        with _lock:
            _collect()
            self._drop_idle()

    def take(self, size: int, account: Account) -> ResultBuffer:
        """Give a buffer for so many bytes; for `Share`, which says on whose account."""
        if size <= 0:
            raise ValueError(f"a result of {size} bytes needs no buffer. Ask for one byte or more")
        length = region_size(size)
        with _lock:
            _collect()
            region = self._used(length)
            _charge(account, length)
        try:
            given = region or self._new(length)
        except BaseException:
            account.release(length)
            raise
        freed = _Freed(account, length, given, self)
        return ResultBuffer(window_of(given, size), size, lambda: _freed.append(freed))

    # As defaults: when the interpreter ends, names of a module go before some of its objects.
    def __del__(
        self,
        leave: Callable[[_Freed], None] = _freed.append,
        note: type[_Freed] = _Freed,
    ) -> None:
        leave(note(self._account, self._idle_bytes))

    def _new(self, length: int) -> Region:
        if length <= self._memory_bytes_max:
            return Region(length)
        if self._spool is None:
            raise LimitExceeded(
                f"a result of {length} bytes was to come, and {self._memory_bytes_max} is the most"
                " that is kept in memory. Choose a spool directory, or ask for less"
            )
        return Region(length, self._spool)

    def _used(self, length: int) -> Region | None:
        """Take a mapping out that waits to be used again."""
        waiting = self._idle.get(length)
        if not waiting:
            return None
        self._idle_bytes -= length
        self._account.release(length)
        return waiting.pop()

    def _keep(self, region: Region) -> None:
        if region.is_memory and self._idle_bytes + region.size <= self._kept_bytes_max:
            with suppress(LimitExceeded):
                self._account.charge(region.size)
                self._idle.setdefault(region.size, []).append(region)
                self._idle_bytes += region.size

    def _drop_idle(self) -> None:
        self._account.release(self._idle_bytes)
        self._idle.clear()
        self._idle_bytes = 0


def _charge(account: Account, size: int) -> None:
    try:
        account.charge(size)
    except LimitExceeded:
        # What only waits to be used again stands in nobody's way, whose ever it is.
        for each in list(_pools):
            each._drop_idle()
        account.charge(size)


def _collect() -> None:
    """Do what finalizers have asked for: release the bytes, keep what may be of use."""
    while _freed:
        _free(_freed.popleft())


def _free(freed: _Freed) -> None:
    freed.account.release(freed.size)
    if freed.buffers is not None and freed.region is not None:
        # This may be the last that is known of the pool: then it goes now, and leaves a note.
        freed.buffers._keep(freed.region)


class Share:
    """What one connection takes its buffers through.

    Attributes:
        account: What this connection holds.
    """

    def __init__(self, buffers: Buffers, account: Account) -> None:
        self.account = account
        self._buffers = buffers
        self._has_ended = False
        self._taken: weakref.WeakSet[ResultBuffer] = weakref.WeakSet()

    def take(self, size: int) -> ResultBuffer:
        """Give a buffer for a result of at most `size` bytes, one at least.

        Raises:
            LimitExceeded: The connection, its tenant or the process holds too much already, or the
                result is too large for memory and no disk was chosen, or the disk is full.
            ConnectionLost: The connection has ended.
        """
        if self._has_ended:
            raise ConnectionLost(
                "a buffer was asked for a connection that has ended. Connect again and ask"
            )
        buffer = self._buffers.take(size, self.account)
        self._taken.add(buffer)
        return buffer

    def adopt_untrusted(self, descriptor: int, size: int) -> ResultBuffer:
        """Give a complete result that another process of this machine has passed as a file.

        Raises:
            LocalRefused: It could still be changed, or is not `size` bytes long.
            LimitExceeded: The connection, its tenant or the process holds too much already.
        """
        with _lock:
            _collect()
            _charge(self.account, size)
        freed = _Freed(self.account, size)
        try:
            mapped = map_sealed_untrusted(descriptor, size)
        except BaseException:
            self.account.release(size)
            raise
        buffer = ResultBuffer(mapped, size, lambda: _freed.append(freed))
        buffer.advance(size)
        buffer.finish()
        return buffer

    def end(self) -> None:
        """The connection has ended: what is not complete never will be, and is released. Complete
        results stay with those who read them."""
        self._has_ended = True
        for buffer in list(self._taken):
            if not buffer.is_finished:
                buffer.release()
