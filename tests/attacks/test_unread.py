"""A peer that asks for much at once and reads nothing of it."""

from __future__ import annotations

import trio.testing

from psp.endpoint import Exposed, method
from psp.testing import frame_bytes, loopback
from psp.transport import UNSENT_BYTES_MAX, dial_peer

ANSWER = b"x" * 200_000


class Library(Exposed):
    def __init__(self) -> None:
        self.asked = 0

    @method
    def volume(self) -> bytes:
        self.asked += 1
        return ANSWER


async def test_answers_that_nobody_reads_stop_the_handlers_within_one_flight() -> None:
    """6,000 calls in one buffer: before, all of them ran, and their answers took 1.2 GB."""
    library = Library()
    async with loopback(lambda: library) as near:
        peer = near.address
        stream = await dial_peer(
            peer.host,
            peer.port,
            key=near.key,
            expected=peer.certificate,
            archive_id=peer.archive_id,
        )
        flight = [frame_bytes([0, [1], {}, []])]
        for question in range(1, 6_001):
            flight.append(frame_bytes([2, question, 0, "volume", [], 30_000, 2**20, 2, None]))
        await stream.send_all(b"".join(flight))
        while library.asked == 0:
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked(0.1)
        stream.close()

    # What the kernel takes on both sides, what waits for it, and the answer that went beyond.
    assert 1 <= library.asked < 20 * UNSENT_BYTES_MAX / len(ANSWER)
