"""An archive with the right key that lies: what becomes of those who ask it, over real TLS."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio

from psp.endpoint import ByteStream, connect
from psp.errors import ConnectionLost, Disconnected, PSPError
from psp.testing import Hear, ScriptedPeer, frame_bytes
from psp.transport import TlsStream
from psp.wire import CALL, CONTROLLER_ABORT, FINISH, PING, RELEASE
from tests.fuzz.mutation import chunk_bytes

from .house import AGGREGATOR, ARCHIVE_ID, liar, until

ARCHIVE_TIME = datetime(2026, 1, 2, tzinfo=UTC)
GREETING = [16, 1, {}, [], ARCHIVE_ID, ARCHIVE_TIME]


async def test_an_archive_that_greets_as_another_is_left_before_anything_is_believed() -> None:
    heard: list[int] = []

    async def script(stream: TlsStream, peer: ScriptedPeer) -> None:
        other = [16, 1, {}, [], bytes(32), ARCHIVE_TIME]
        await peer.play_on(stream, [Hear(CALL), other, [17, 1, 0, "forged"]])
        await peer.hear_to_the_end(stream)
        heard.extend(frame[0] for frame in peer.heard)

    async with liar(script) as address:
        async with connect(address, key=AGGREGATOR) as connection:
            with pytest.raises(Disconnected, match="archive"):
                await connection.bootstrap.call("read")
        await until(lambda: bool(heard))

    assert CONTROLLER_ABORT in heard


async def test_references_for_a_question_that_was_given_up_are_given_back_and_not_collected() -> (
    None
):
    """Nobody asks anything more, so nothing else would carry the RELEASE."""
    released: list[int] = []
    asking = trio.CancelScope()

    async def script(stream: TlsStream, peer: ScriptedPeer) -> None:
        await peer.play_on(stream, [Hear(CALL), GREETING])
        asking.cancel()
        await peer.play_on(stream, [Hear(FINISH)])
        for first in range(1, 6_001, 1_000):
            flood = [[17, 1, 1, export] for export in range(first, first + 1_000)]
            await stream.send_all(b"".join(map(frame_bytes, flood)))
        while len(released) < 5_000:
            await peer.hear_on(stream, RELEASE)
            released.extend(peer.heard[-1][1])  # type: ignore[arg-type]

    async with liar(script) as address, connect(address, key=AGGREGATOR) as connection:
        with asking:
            await connection.bootstrap.call("read")
        await until(lambda: len(released) >= 5_000)
        assert connection.inspect().held_references == 0


@pytest.mark.parametrize("leaves", [False, True], ids=["stays silent", "leaves instead of a pong"])
async def test_a_silent_archive_is_given_up_after_a_sign_of_life_was_asked_for(
    leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("HELLO_S_MAX", 0.0), ("PING_S", 0.01), ("PONG_S_MAX", 0.02)):
        monkeypatch.setattr(f"psp.endpoint._hearing.{name}", seconds)
    asked: list[int] = []

    async def script(stream: TlsStream, peer: ScriptedPeer) -> None:
        await peer.play_on(stream, [Hear(CALL), GREETING, Hear(PING)])
        if not leaves:
            await peer.hear_to_the_end(stream)
        asked.extend(frame[0] for frame in peer.heard)

    # Which task wakes first is chance: the end must be quiet in either order.
    for _ in range(10):
        async with liar(script) as address, connect(address, key=AGGREGATOR) as connection:
            with pytest.raises(ConnectionLost), trio.fail_after(5):
                await connection.bootstrap.call("read")
            with pytest.raises(ConnectionLost):
                await connection.bootstrap.call("read")

    assert asked.count(PING) >= 10


async def test_a_stream_that_nobody_reads_is_held_up_to_its_credit_and_not_beyond() -> None:
    async def script(stream: TlsStream, peer: ScriptedPeer) -> None:
        await peer.play_on(stream, [Hear(CALL), GREETING, [17, 1, 3, None]])
        while not peer.has_heard_end:
            await peer.play_on(stream, [chunk_bytes(1, b"x" * 1_000)])
            await trio.lowlevel.checkpoint()

    async with liar(script) as address, connect(address, key=AGGREGATOR) as connection:
        stream = await connection.bootstrap.call("read", accept_bytes=10_000)
        assert isinstance(stream, ByteStream)
        with trio.fail_after(5):
            await connection.wait_closed()
        assert stream.unread_bytes == 10_000
        with pytest.raises(PSPError):
            await read_all(stream)
        assert stream.unread_bytes == 0


async def read_all(stream: ByteStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize(
    "said",
    [
        frame_bytes([2, 1, 0, "m", [], 1, 1, 0, None]),
        frame_bytes([17, 1, 0, {"__class__": "x"}]) * 2,
        frame_bytes([17, 99, 0, None]),
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff" * 100,
        chunk_bytes(1, b"x"),
        frame_bytes([18, 0]) + frame_bytes([19, 3, "\x1b]0;owned\x07"]),
    ],
    ids=["CALL", "twice", "never asked", "http", "noise", "no stream", "abort"],
)
async def test_whatever_an_archive_says_every_await_ends_and_nothing_is_run(said: bytes) -> None:
    heard: list[int] = []

    async def script(stream: TlsStream, peer: ScriptedPeer) -> None:
        await peer.play_on(stream, [Hear(CALL, 3), GREETING, said])
        await peer.hear_to_the_end(stream)
        heard.extend(frame[0] for frame in peer.heard)

    failures: list[str] = []
    async with liar(script) as address, connect(address, key=AGGREGATOR) as connection:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    try:
                        await connection.bootstrap.call("read")
                    except PSPError as exc:
                        failures.append(str(exc))

                for _ in range(3):
                    nursery.start_soon(ask)
        await until(lambda: bool(heard))

    assert 2 <= len(failures) <= 3
    assert not any("\x1b" in text for text in failures)
    assert set(heard) <= {0, CALL, FINISH, RELEASE, CONTROLLER_ABORT}
    assert heard.count(CALL) == 3
