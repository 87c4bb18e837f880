"""Whose turn it is while a stream leaves on a line that takes everything at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
import trio

from psp.transport import Sender
from psp.transport._limits import BULK_BYTES_SHARED, BULK_BYTES_TOGETHER

KIB = 1024


class Wide:
    """A stream whose kernel takes whatever it is offered."""

    unsent_bytes = 0

    def __init__(self, sock: socket.socket) -> None:
        self.fileno = sock.fileno
        self.taken_bytes = 0
        self.heard = b""

    def send_nonblocking(self, data: memoryview, *, is_more: bool = False) -> int:
        del is_more
        self.taken_bytes += len(data)
        self.heard += bytes(data[:1])
        return len(data)

    def close(self) -> None:
        """Nothing waits here."""


@pytest.fixture
def line() -> Iterator[Wide]:
    left, right = socket.socketpair()
    with left, right:
        yield Wide(left)


@pytest.mark.parametrize(
    ("piece_bytes", "most"),
    [
        (64 * KIB, 64 * KIB),
        (BULK_BYTES_SHARED, BULK_BYTES_SHARED),
        (256 * KIB, BULK_BYTES_TOGETHER),
    ],
)
async def test_others_have_a_turn_after_each_small_piece_and_some_large_ones(
    line: Wide, piece_bytes: int, most: int
) -> None:
    pieces = [b"p" * piece_bytes] * 24
    asked = [b""]

    def take() -> bytes:
        return asked.pop() if asked else b""

    def take_bulk() -> tuple[bytes, ...]:
        return (pieces.pop(),) if pieces else ()

    sender = Sender(cast(Any, line), take, take_bulk=take_bulk)
    longest = before = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        sender.wake_bulk()
        while pieces:
            await trio.lowlevel.checkpoint()
            longest, before = max(longest, line.taken_bytes - before), line.taken_bytes
        nursery.cancel_scope.cancel()
    # trio runs ready tasks in a random order, so the writer may come twice between two looks.
    assert most <= longest <= 2 * most


async def test_a_small_frame_leaves_before_the_next_piece(line: Wide) -> None:
    pieces, frames = [b"p" * 256 * KIB] * 3, [b"f"]

    def take() -> bytes:
        # Asked for by another task while the second piece is on its way.
        return frames.pop() if len(pieces) == 1 and frames else b""

    sender = Sender(cast(Any, line), take, take_bulk=lambda: (pieces.pop(),) if pieces else ())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.run)
        sender.wake_bulk()
        while pieces:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert line.heard == b"ppfp"
