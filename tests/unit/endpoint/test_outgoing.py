"""Whose a piece is: the writer's until its last byte has left, then its handler's again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from psp.endpoint import Exposed, Stream
from psp.endpoint._outgoing import Outgoing
from psp.errors import Expired
from psp.rpc import BOOTSTRAP, CallReady, Subject
from psp.testing import Pair
from psp.transport import Sender
from psp.wire import CHUNK_BYTES_SHARED


class Line:
    """A stream whose kernel takes nothing until it is told to, and keeps what it took."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.taken = bytearray()
        self.is_full = True

    def send_nonblocking(self, data: memoryview, *, is_more: bool = False) -> int:
        del is_more
        if self.is_full:
            return 0
        self.taken += data
        return len(data)


def streaming(size: int, exposed: Exposed | None = None) -> tuple[Pair, CallReady]:
    pair = Pair(subject=Subject(bytes(32), bootstrap=exposed or Exposed()))
    pair.greet()
    pair.controller.call(BOOTSTRAP, "m", remaining_ms=9, accept_bytes=size)
    [call] = pair.carry_to_subject()
    assert isinstance(call, CallReady)
    pair.subject.open_stream(call, None)
    pair.subject.frames_to_send()
    return pair, call


async def test_a_handler_is_asked_for_more_when_its_last_piece_has_left_and_not_before() -> None:
    pair, call = streaming(1000)
    outgoing, asked = Outgoing(pair.subject), list[int]()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(2):
            asked.append(number)
            yield b"piece"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outgoing.carry, call, Stream(None, pieces()), lambda: None, lambda: None)
        await wait_all_tasks_blocked()
        assert [bytes(part) for part in outgoing.take()][1:] == [b"piece"]
        await wait_all_tasks_blocked()
        assert asked == [0], "the writer still has the piece, and its handler may change it"
        assert outgoing.take() == ()
        await wait_all_tasks_blocked()
        assert asked == [0, 1]
        nursery.cancel_scope.cancel()


async def test_pieces_that_are_given_together_leave_one_after_the_other_at_once() -> None:
    pair, call = streaming(1000)
    outgoing, asked = Outgoing(pair.subject), list[int]()

    async def batches() -> AsyncIterator[list[bytes | memoryview]]:
        for number in range(2):
            asked.append(number)
            yield [b"one", b"", memoryview(b"two")]

    async with trio.open_nursery() as nursery:
        stream = Stream(None, batches())
        nursery.start_soon(outgoing.carry, call, stream, lambda: None, lambda: None)
        await wait_all_tasks_blocked()
        # Without a turn of the loop between them.
        left = [bytes(part[1]) for part in iter(outgoing.take, ())]
        assert left == [b"one", b"two"]
        assert asked == [0]
        await wait_all_tasks_blocked()
        assert asked == [0, 1]
        nursery.cancel_scope.cancel()
    assert not outgoing._further


async def test_what_is_cut_short_half_sent_is_copied_before_its_handler_ends() -> None:
    pair, call = streaming(1000)
    outgoing, line = Outgoing(pair.subject), Line()
    memory = bytearray(b"result")
    sender = Sender(cast(Any, line), bytes, take_bulk=outgoing.take)

    async def pieces() -> AsyncIterator[memoryview]:
        try:
            yield memoryview(memory)
        finally:
            memory[:] = b"SECRET"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            outgoing.carry, call, Stream(None, pieces()), lambda: None, sender.keep_unsent
        )
        await wait_all_tasks_blocked()
        sender._offer(*outgoing.take())
        assert sender.unsent_bytes == 13 + 6
        nursery.cancel_scope.cancel()
    assert memory == b"SECRET"
    line.is_full = False
    sender._offer_head()
    assert sender.is_idle
    assert bytes(line.taken[13:]) == b"result"


class Granted(Exposed):
    """An object whose grant ends after so many questions about it."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks

    def check(self, call: CallReady) -> None:
        self.chunks -= 1
        if self.chunks < 0:
            raise Expired


async def test_a_grant_that_ends_in_the_middle_of_a_piece_stops_its_next_chunk() -> None:
    pair, call = streaming(1_000_000, Granted(2))
    outgoing = Outgoing(pair.subject)

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(3 * CHUNK_BYTES_SHARED)

    with pytest.RaisesGroup(Expired):
        async with trio.open_nursery() as nursery:
            stream = Stream(None, pieces())
            nursery.start_soon(outgoing.carry, call, stream, lambda: None, lambda: None)
            await wait_all_tasks_blocked()
            sent = [len(part[1]) for part in iter(outgoing.take, ())]
            assert sent == [CHUNK_BYTES_SHARED] * 2
            assert call.unsent == 0, "what was withheld leaves later"
            assert outgoing.take() == ()
    assert not outgoing._checks
    assert not outgoing._refused
