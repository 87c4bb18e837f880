from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from psp.transport import MachineKey, Sender, TlsStream, receive_buffer

from .conftest import Meeting, meet


class Core:
    """Bytes that wait to be sent, as a protocol core holds them."""

    def __init__(self) -> None:
        self.waiting = b""
        self.taken = b""

    def take(self) -> bytes:
        data, self.waiting = self.waiting, b""
        self.taken += data
        return data


@pytest.fixture
async def meeting(aggregator: MachineKey, totebox: MachineKey) -> AsyncIterator[Meeting]:
    meeting = await meet(aggregator, totebox, pinned=[aggregator], small_buffers=True)
    yield meeting
    meeting.close()


@asynccontextmanager
async def running(sender: Sender) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        yield
        nursery.cancel_scope.cancel()


async def read_all(stream: TlsStream, count: int) -> bytes:
    received = bytearray()
    with trio.fail_after(10):  # Lost bytes would never come.
        while len(received) < count:
            buffer = receive_buffer()
            received += buffer[: await stream.receive_into(buffer)]
    return bytes(received)


def pattern(letter: bytes, count: int) -> bytes:
    return b"".join(letter + b"%07d" % index for index in range(count // 8))


async def test_a_cancelled_caller_cannot_corrupt_what_it_had_begun_to_send(
    meeting: Meeting,
) -> None:
    """Tried without the law: the peer reads 10,000 bytes of A, then 2,000 of B, and no error."""
    ours, theirs = meeting.streams
    core = Core()
    sender = Sender(ours, core.take)
    received = b""
    async with running(sender):
        with trio.CancelScope() as caller:
            while True:  # A caller that sends until the socket is full, and is cancelled there.
                core.waiting += pattern(b"A", 64 * 1024)
                sender.send_now()
                if not sender.is_idle:
                    caller.cancel()
                await trio.lowlevel.checkpoint()
        assert not sender.is_idle
        core.waiting += pattern(b"B", 12_000)
        sender.send_now()
        core.waiting += pattern(b"C", 800)
        sender.wake()
        total = len(core.taken) + len(core.waiting)
        received = await read_all(theirs, total)
        await trio.testing.wait_all_tasks_blocked()

    assert received == core.taken
    assert received.count(b"B") == 12_000 // 8
    assert sender.is_idle


async def test_what_is_encrypted_and_has_not_left_is_counted(meeting: Meeting) -> None:
    ours, _ = meeting.streams
    core = Core()
    sender = Sender(ours, core.take)
    while sender.is_idle:
        core.waiting = bytes(1024)
        sender.send_now()

    assert ours.unsent_bytes > 0
    assert sender.unsent_bytes == ours.unsent_bytes
    assert not sender.is_full


async def test_frames_that_wait_leave_joined(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    core = Core()
    seen: list[tuple[str, bytes]] = []
    sender = Sender(ours, core.take, tap=lambda way, data: seen.append((way, data)))
    async with running(sender):
        for letter in (b"a", b"b", b"c"):
            core.waiting += letter
            sender.wake()
        assert await read_all(theirs, 3) == b"abc"

    assert seen == [("out", b"abc")]
    assert (sender.sends, sender.sent_bytes) == (1, 3)


async def test_nothing_leaves_before_somebody_asks(meeting: Meeting) -> None:
    """The HELLO of a new connection waits for the calls of its first flight."""
    ours, _ = meeting.streams
    core = Core()
    core.waiting = b"HELLO"
    sender = Sender(ours, core.take)
    async with running(sender):
        await trio.testing.wait_all_tasks_blocked()

    assert sender.sends == 0


async def test_a_peer_that_asks_and_never_reads_stops_being_read(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    core = Core()
    sender = Sender(ours, core.take)
    there_is_room = trio.Event()

    async def reader() -> None:
        await sender.wait_for_room()
        there_is_room.set()

    async with running(sender), trio.open_nursery() as nursery:
        core.waiting = bytes(8 * 1024 * 1024)
        sender.send_now()
        core.waiting = bytes(2 * 1024 * 1024)
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        assert not there_is_room.is_set()
        await read_all(theirs, 10 * 1024 * 1024)
        await there_is_room.wait()

    assert sender.unsent_bytes == 0


async def test_a_peer_that_leaves_our_bytes_unread_is_given_up(
    meeting: Meeting, autojump_clock: Callable[[], float]
) -> None:
    ours, theirs = meeting.streams
    core = Core()
    core.waiting = bytes(8 * 1024 * 1024)
    sender = Sender(ours, core.take)
    sender.send_now()

    await sender.run()

    assert sender.is_broken
    assert trio.current_time() >= 30
    assert theirs.fileno() != -1


async def test_cancelling_the_writer_in_the_middle_of_a_record_ends_the_connection(
    meeting: Meeting,
) -> None:
    ours, _ = meeting.streams
    core = Core()
    core.waiting = bytes(8 * 1024 * 1024)
    sender = Sender(ours, core.take)
    async with running(sender):
        sender.send_now()
        await trio.testing.wait_all_tasks_blocked()

    assert ours.fileno() == -1


async def test_sending_to_a_peer_that_has_gone_is_noticed_and_raises_nowhere(
    meeting: Meeting,
) -> None:
    ours, theirs = meeting.streams
    core = Core()
    sender = Sender(ours, core.take)
    theirs.close()
    async with running(sender):
        for _ in range(100):
            core.waiting = bytes(1024)
            sender.send_now()
            await trio.lowlevel.checkpoint()
            if sender.is_broken:
                break

    assert sender.is_broken
    assert sender.unsent_bytes == 0
