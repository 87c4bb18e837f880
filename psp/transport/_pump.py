"""The sending side of a connection: one owner of the bytes that have not left yet.

A frame that was begun must be finished, whoever began it and whatever became of him. So whoever
sends hands over here, and never waits here: a cancelled caller cannot cut a frame, because the
unfinished write was never his.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import trio

from ._flush import flusher
from ._limits import BULK_BYTES_SHARED, BULK_BYTES_TOGETHER, UNREAD_S_MAX, UNSENT_BYTES_MAX
from ._local import PeerStream

Tap: TypeAlias = Callable[[Literal["in", "out"], bytes], None]
"""Sees every byte in the clear: before encryption, after decryption. For a recorder."""


_NOTHING: Final = memoryview(b"")
"""The head while all that is ours was accepted, and has not left the stream."""


class Sender:
    """Carries a core's bytes into a stream. Made and used in one trio run.

    Attributes:
        sent_bytes: Bytes taken from the core, in the clear.
        sends: How many joined pieces they left in.
    """

    def __init__(
        self,
        stream: PeerStream,
        take: Callable[[], bytes],
        *,
        take_bulk: Callable[[], Sequence[bytes | memoryview]] = tuple,
        tap: Tap | None = None,
    ) -> None:
        """Make the sender; `run` must run for it to finish what it begins.

        Args:
            take: Gives all frames that wait to be sent, joined, and forgets them.
            take_bulk: Gives one piece of what is less urgent, in parts that follow each other and
                are sent from where they lie. Asked by the writer alone, when nothing else waits
                and the last piece has left whole. Nothing small waits for more than one of them,
                or for `BULK_BYTES_TOGETHER` on a line that takes them at once.
        """
        self._stream = stream
        self._take = take
        self._take_bulk = take_bulk
        self._tap = tap
        self._flusher = flusher()
        # What the socket did not accept whole. None when the kernel has everything; while it is
        # set nothing else may be offered. `run` alone clears it.
        self._head: memoryview | None = None
        # The further parts of the piece that the head is of: nothing may stand between them.
        self._parts: deque[bytes | memoryview] = deque()
        # The writer's task while it waits for work; None while it runs.
        self._parked: trio.lowlevel.Task | None = None
        self._is_asked = False
        # Somebody asked to send while the head was waiting: the core may hold more.
        self._is_behind = False
        self._has_bulk = False
        # What has left in pieces since others had a turn.
        self._bulk_bytes = 0
        self._is_broken = False
        # What a tap has raised, where no task could hear it; the writer raises it.
        self._fault: BaseException | None = None
        self._room = trio.lowlevel.ParkingLot()
        # Taken from the core while the head waits, so that they can be counted.
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self.sent_bytes = 0
        self.sends = 0

    @property
    def is_idle(self) -> bool:
        """Whether the kernel has accepted everything that was handed over."""
        return self._head is None and not self._queue

    @property
    def is_broken(self) -> bool:
        """Whether sending has failed: nothing will ever leave again."""
        return self._is_broken

    @property
    def unsent_bytes(self) -> int:
        """How much of our own waits for the kernel."""
        parts = sum(map(len, self._parts)) if self._parts else 0
        head = 0 if self._head is None else len(self._head) + self._stream.unsent_bytes
        return self._queued_bytes + head + parts

    def send_now(self) -> None:
        """Send what waits, with exactly one attempt and no checkpoint.

        What the socket does not take becomes the writer's.
        """
        self._is_asked = False
        if self._head is not None:
            self._is_behind = True
        elif not self._is_broken:
            self._offer_next()
        if self._head is not None or self._is_broken or self._room:
            self._tell_tasks()

    def wake(self) -> None:
        """Send what waits when this turn of the loop ends, joined with all that others add."""
        if not self._is_asked:
            self._is_asked = True
            self._flusher.ask(self._flush)

    def wake_bulk(self) -> None:
        """Let the writer look for less urgent pieces, until there are none."""
        self._has_bulk = True
        self._wake_writer()

    def keep_unsent(self) -> None:
        """Copy what was begun and is not yet encrypted: whoever lent it wants its memory back."""
        if self._head is not None:
            self._head = memoryview(bytes(self._head))
            self._parts = deque(map(bytes, self._parts))

    async def run(self) -> None:
        """Be the writer, until sending fails or this is cancelled."""
        fd = self._stream.fileno()
        if fd == -1:
            return  # Closed before it began.
        self._flusher.join(fd)
        try:
            while not self._is_broken:
                if self._head is not None:
                    await self._wait_for_kernel()
                    if not self._is_broken:
                        self._offer_head()
                        self._tell_tasks()
                elif self._queue or self._is_behind:
                    self._is_behind = False
                    self._offer_next()
                elif self._has_bulk:
                    await self._send_bulk()
                else:
                    await self._park()
            if self._fault is not None:
                raise self._fault
        finally:
            self._flusher.leave(fd)
            self._room.unpark_all()
            if self._head is not None:
                # Half a record has left: nothing that follows could be understood.
                self._stream.close()

    @property
    def is_full(self) -> bool:
        """Whether so much lies unsent that no more may be read from the peer."""
        self._collect()
        return self.unsent_bytes > UNSENT_BYTES_MAX

    async def wait_for_room(self) -> None:
        """Wait while too much of our own lies unsent: called before reading more from the peer."""
        while self.is_full and not self._is_broken:
            await self._room.park()

    async def wait_until_idle(self) -> None:
        """Wait until the kernel has everything that was handed over, or nothing can leave."""
        while not self.is_idle and not self._is_broken:
            await self._room.park()

    async def _send_bulk(self) -> None:
        self._offer_next()
        if self._head is None:
            piece = self._take_bulk()
            self._has_bulk = bool(piece)
            if piece:
                before = self.sent_bytes
                self._offer(*piece)
                if self._is_their_turn(self.sent_bytes - before):
                    await trio.lowlevel.checkpoint()

    def _is_their_turn(self, size: int) -> bool:
        """On a fast line the kernel takes everything: then others must have a turn.

        Not after each piece if they are large: pieces are while nobody asks anything, and a turn
        of the loop costs a sixth of what a piece does. Where the kernel is full, whoever waits for
        it gives them theirs.
        """
        self._bulk_bytes += size
        is_time = size <= BULK_BYTES_SHARED or self._bulk_bytes >= BULK_BYTES_TOGETHER
        if not is_time or self._head is not None:
            return False
        self._bulk_bytes = 0
        return True

    def _flush(self) -> None:
        """Called before the loop waits, outside of any task; see `Flusher`."""
        if not self._is_asked:
            return  # It has been sent since.
        self._is_asked = False
        if self._head is not None:
            self._is_behind = True
        elif not self._is_broken:
            try:
                self._offer_next()
            except BaseException as exc:
                self._fault, self._is_broken = exc, True
        if self._head is not None or self._is_broken or self._room:
            self._flusher.soon(self._tell_tasks)

    def _tell_tasks(self) -> None:
        """Wake whoever an offer concerns: the writer to finish it, or those who wait for room."""
        if self._room and (self._is_broken or self.unsent_bytes <= UNSENT_BYTES_MAX):
            self._room.unpark_all()
        if self._head is not None or self._is_broken:
            self._wake_writer()

    def _wake_writer(self) -> None:
        task, self._parked = self._parked, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _collect(self) -> None:
        """Move what the core holds to where it can be counted."""
        if self._head is not None and (data := self._take()):
            self._queue.append(data)
            self._queued_bytes += len(data)

    def _offer_next(self) -> None:
        """Start the next piece, if there is one."""
        data = self._take()
        if self._queue:
            data = b"".join((*self._queue, data))
            self._queue.clear()
            self._queued_bytes = 0
        if data:
            self._offer(data)

    def _offer(self, data: bytes | memoryview, *parts: bytes | memoryview) -> None:
        self.sent_bytes += len(data)
        self.sends += 1
        if parts:
            self.sent_bytes += sum(map(len, parts))
            self._parts.extend(parts)
        if self._tap is not None:
            self._tap("out", b"".join((data, *parts)))
        self._head = memoryview(data)
        self._offer_head()

    def _offer_head(self) -> None:
        """Offer the head and what follows it, until the stream accepts no more."""
        assert self._head is not None
        try:
            accepted = self._stream.send_nonblocking(self._head, is_more=bool(self._parts))
        except trio.BrokenResourceError:
            self._give_up()
            return
        if accepted < len(self._head):
            self._head = self._head[accepted:]
        elif self._parts:
            self._head = memoryview(self._parts.popleft())
            self._offer_head()
        else:
            self._head = _NOTHING if self._stream.unsent_bytes else None

    async def _wait_for_kernel(self) -> None:
        self._bulk_bytes = 0
        fd = self._stream.fileno()
        self._flusher.look_for_room(fd, True)
        with trio.move_on_after(UNREAD_S_MAX) as scope:
            try:
                await self._stream.wait_writable()
            except trio.ClosedResourceError:
                self._give_up()
        self._flusher.look_for_room(fd, False)
        if scope.cancelled_caught:
            self._give_up()

    def _give_up(self) -> None:
        # Only the sending half ends: the reader may yet find an alert that says why.
        self._is_broken = True
        self._head = None
        self._parts.clear()
        self._queue.clear()
        self._queued_bytes = 0
        self._stream.stop_sending()

    async def _park(self) -> None:
        self._parked = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
