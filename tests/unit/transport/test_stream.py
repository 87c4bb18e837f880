from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from psp.transport import MachineKey, TlsStream, receive_buffer

from .conftest import Meeting, meet


@pytest.fixture
async def meeting(aggregator: MachineKey, totebox: MachineKey) -> AsyncIterator[Meeting]:
    meeting = await meet(aggregator, totebox, pinned=[aggregator])
    yield meeting
    meeting.close()


async def test_bytes_arrive_whole_and_in_order(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    data = b"".join(b"%07d," % index for index in range(200_000))
    received = bytearray()

    async def read() -> None:
        buffer = receive_buffer()
        while size := await theirs.receive_into(buffer):
            received.extend(buffer[:size])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await ours.send_all(data)
        ours.stop_sending()

    assert received == data


async def test_one_receive_takes_all_records_that_have_come(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    for _ in range(4):
        await ours.send_all(bytes(16 * 1024))
    await trio.testing.wait_all_tasks_blocked(0.001)

    assert await theirs.receive_into(receive_buffer()) > 16 * 1024


async def test_a_small_buffer_gets_the_rest_of_a_record_without_waiting_for_the_socket(
    meeting: Meeting,
) -> None:
    ours, theirs = meeting.streams
    await ours.send_all(b"0123456789")

    assert await theirs.receive_some(4) == b"0123"
    assert await theirs.receive_some(100) == b"456789"


async def test_two_tasks_may_wait_for_one_socket_to_become_writable(meeting: Meeting) -> None:
    """A peer that asks for new keys makes the reader wait for what the writer waits for."""
    ours, theirs = meeting.streams
    while ours.send_nonblocking(bytes(16 * 1024)):
        pass
    passed: list[int] = []

    async def wait(number: int) -> None:
        await ours.wait_writable()
        passed.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(wait, number)
        await trio.testing.wait_all_tasks_blocked()
        assert passed == []
        buffer = receive_buffer()
        while len(passed) < 3:
            with trio.move_on_after(0.05):
                await theirs.receive_into(buffer)

    assert sorted(passed) == [0, 1, 2]


async def test_what_was_accepted_may_be_changed_and_leaves_as_it_was(meeting: Meeting) -> None:
    """Other bytes in the place of unfinished ones would leave unnoticed, if TLS read them again."""
    ours, theirs = meeting.streams
    accepted = bytearray()
    while not ours.unsent_bytes:  # Until the kernel is full.
        lent = bytearray(len(accepted).to_bytes(8, "big") * 8192)
        size = ours.send_nonblocking(memoryview(lent))
        accepted += lent[:size]
        lent[:] = bytes(len(lent))
    assert size > 0, "accepted, and not with the kernel"
    assert ours.send_nonblocking(b"other") == 0
    received, buffer = bytearray(), receive_buffer()
    with trio.fail_after(10):
        while len(received) < len(accepted):
            received += buffer[: await theirs.receive_into(buffer)]
            ours.send_nonblocking(b"")

    assert received == accepted
    assert ours.unsent_bytes == 0


async def test_an_answer_of_tls_itself_leaves_after_what_waits_and_before_more_is_read(
    meeting: Meeting,
) -> None:
    """A peer that asks for new keys, over and over, and reads nothing would fill our memory."""
    ours, theirs = meeting.streams
    buffer, sent, received = receive_buffer(), 0, 0
    while not ours.unsent_bytes:
        sent += ours.send_nonblocking(bytes(64 * 1024))
    ours._tls.write(b"answer")  # As OpenSSL writes one while it reads.
    await theirs.send_all(b"first")
    await ours.wait_received()
    assert ours.receive_now(buffer) == 5
    await theirs.send_all(b"second")
    assert ours.receive_now(buffer) is None, "the answer has not left"

    with trio.fail_after(10):
        while received < sent + 6:
            received += await theirs.receive_into(buffer)
            ours.send_nonblocking(b"")
        assert await ours.receive_some() == b"second"


async def test_a_small_piece_waits_for_what_follows_at_once(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    assert ours.send_nonblocking(b"head", is_more=True) == 4
    await trio.testing.wait_all_tasks_blocked(0.001)
    assert theirs.receive_now(receive_buffer()) is None
    assert ours.send_nonblocking(b"body") == 4

    assert await theirs.receive_some() == b"head"
    assert theirs.receive_now(receive_buffer()) == 4


async def test_what_came_before_the_end_is_given_first(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    await ours.send_all(b"last words")
    ours._sock.send(b"in the clear, past the encryption")

    assert await theirs.receive_some() == b"last words"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await theirs.receive_some()


async def test_a_peer_that_stops_in_the_middle_of_a_record_has_stopped(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    ours.send_nonblocking(b"whole")
    ours._tls.write(b"half")
    ours._sock.send(ours._outgoing.read()[:-1])
    ours.stop_sending()

    assert await theirs.receive_some() == b"whole"
    assert await theirs.receive_some() == b""
    assert await theirs.receive_some() == b""


async def test_a_broken_record_is_answered_with_an_alert(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    ours._tls.write(b"secret")
    record = bytearray(ours._outgoing.read())
    record[-1] ^= 1
    ours._sock.send(record)
    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive_some()

    with trio.fail_after(10), pytest.raises(trio.BrokenResourceError) as caught:
        await ours.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert caught.value.__cause__.reason == "SSLV3_ALERT_BAD_RECORD_MAC"


async def test_nothing_is_given_after_a_close(meeting: Meeting) -> None:
    ours, theirs = meeting.streams
    await ours.send_all(b"0123456789")
    assert await theirs.receive_some(4) == b"0123"
    theirs.close()

    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive_some(4)


async def test_closing_wakes_the_task_that_reads(meeting: Meeting) -> None:
    ours, _ = meeting.streams

    async def read() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        ours.close()


async def test_bytes_that_are_not_tls_break_the_connection_and_nothing_else(
    meeting: Meeting,
) -> None:
    ours, theirs = meeting.streams
    ours._sock.send(b"in the clear, past the encryption")

    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive_some()


async def test_a_cancelled_send_ends_the_connection_instead_of_cutting_a_record(
    meeting: Meeting,
) -> None:
    ours, _ = meeting.streams
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, bytes(32 * 1024 * 1024))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert ours.fileno() == -1
    assert isinstance(ours, TlsStream)
