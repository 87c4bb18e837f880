"""Results in pieces, promises as arguments, signs of life: over real sockets with real TLS."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.endpoint import (
    Address,
    ByteStream,
    Connection,
    Exposed,
    Promise,
    Stream,
    connect,
    method,
    serve,
)
from psp.errors import (
    CallCancelled,
    ConnectionLost,
    DeadlineExceeded,
    Denied,
    Expired,
    HandlerFailed,
    Invalid,
    LocalProtocolError,
    Overloaded,
)
from psp.rpc import CallReady
from psp.transport import MachineKey, Peer, Pin, Tap, check_certificate_untrusted
from psp.values import Value
from psp.wire import CALL, INITIAL_LIMITS, FrameReader, Role

AGGREGATOR = MachineKey(Ed25519PrivateKey.generate())
TOTEBOX = MachineKey(Ed25519PrivateKey.generate())
ARCHIVE_ID = bytes(range(32))
ROW = "a row of the archive"
PIECE = bytes(range(256)) * 256


@dataclass
class Ledger:
    """What happened inside the archive, for the test to look at."""

    pieces: int = 0
    ended: list[str] = field(default_factory=list)
    is_over: bool = False
    changed: trio.Event = field(default_factory=trio.Event)

    def note(self, what: str) -> None:
        self.ended.append(what)
        self.changed.set()


class Desk(Exposed):
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def check(self, call: CallReady) -> None:
        if self.ledger.is_over and call.method == "pieces":
            raise Expired

    @method
    async def pieces(self, count: int) -> AsyncIterator[bytes]:
        try:
            for _ in range(count):
                self.ledger.pieces += 1
                yield PIECE
        finally:
            self.ledger.note("pieces")

    @method
    async def break_off(self) -> AsyncIterator[bytes]:
        yield b"some"
        raise RuntimeError(ROW)

    @method
    def report(self, name: str) -> Stream:
        return Stream({"name": name, "bytes": 2}, _two())

    @method
    async def never_waits(self) -> AsyncIterator[bytes]:
        for _ in range(10**6):
            self.ledger.pieces += 1
            yield b"x"

    @method
    async def fall_apart(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_break_when_cancelled)

    @method
    async def nothing(self) -> AsyncIterator[bytes]:
        for piece in (b"", b""):
            yield piece

    @method
    def desk(self) -> Desk:
        return Desk(self.ledger)

    @method
    def figures(self) -> dict[str, Value]:
        return {"left": 20, "list": [1, 22]}

    @method
    def add(self, left: int, right: int) -> int:
        return left + right

    @method
    def is_desk(self, other: Desk) -> bool:
        return other.ledger is self.ledger

    @method
    def refuse(self) -> None:
        raise Denied


async def _break_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError(ROW)


async def _two() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


@asynccontextmanager
async def connected(tap: Tap | None = None) -> AsyncIterator[tuple[Ledger, Connection]]:
    ledger, log = Ledger(), list[str]()

    def present(_peer: Peer, _token: bytes) -> Exposed:
        return Desk(ledger)

    pin = Pin("aggregator", check_certificate_untrusted(AGGREGATOR.certificate_pem))
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            partial(
                serve,
                key=TOTEBOX,
                archive_id=ARCHIVE_ID,
                pins=[pin],
                bootstrap=lambda _peer: Desk(ledger),
                present=present,
                host="127.0.0.1",
                port=0,
                log=log.append,
            )
        )
        address = Address(ARCHIVE_ID, host, port, TOTEBOX.certificate_pem, "98004")
        async with connect(address, key=AGGREGATOR, tap=tap) as connection:
            yield ledger, connection
        nursery.cancel_scope.cancel()
    assert not any(ROW in line for line in log)


async def read(promise: Promise[Value]) -> bytes:
    return b"".join([chunk async for chunk in promise])


async def read_each(promise: Promise[Value], do: Callable[[bytes], None]) -> None:
    async for chunk in promise:
        do(chunk)


async def test_a_stream_far_larger_than_its_window_arrives_whole() -> None:
    async with connected() as (ledger, connection):
        assert await read(connection.bootstrap.call("pieces", 100)) == PIECE * 100
        assert connection.inspect().streams == {}
    assert ledger.ended == ["pieces"]


async def test_a_stream_has_a_header_and_may_come_from_a_plain_method() -> None:
    async with connected() as (_, connection):
        stream = await connection.bootstrap.call("report", "rents")
        assert isinstance(stream, ByteStream)
        assert stream.header == {"name": "rents", "bytes": 2}
        assert b"".join([chunk async for chunk in stream]) == b"ab"


async def test_a_stream_without_a_byte_is_complete() -> None:
    async with connected() as (_, connection):
        assert await read(connection.bootstrap.call("nothing")) == b""


async def test_a_reader_that_rests_holds_the_handler_up_and_nothing_else() -> None:
    """What lies unread is bounded by `accept_bytes`, on both sides together."""
    async with connected() as (ledger, connection):
        stream = await connection.bootstrap.call("pieces", 1_000, accept_bytes=256 * 1024)
        assert isinstance(stream, ByteStream)
        while stream.unread_bytes < 256 * 1024:  # noqa: ASYNC110  # It tells nobody.
            await trio.sleep(0.001)
        for _ in range(20):
            assert await connection.bootstrap.call("add", 1, 2) == 3
        assert stream.unread_bytes == 256 * 1024
        # Four have come, one is offered; the handler has not been asked for more.
        assert ledger.pieces == 5
        stream.release()
        await ledger.changed.wait()
    assert ledger.pieces == 5


async def test_two_streams_take_turns() -> None:
    async with connected() as (_, connection):
        order: list[str] = []

        async def read_named(name: str) -> None:
            async for _ in connection.bootstrap.call("pieces", 50):
                order.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_named, "a")
            nursery.start_soon(read_named, "b")
    # Neither waits until the other is done.
    assert "b" in order[: order.count("a")]
    assert "a" in order[: order.count("b")]


async def test_leaving_a_stream_stops_its_handler() -> None:
    async with connected() as (ledger, connection):
        async with await connection.bootstrap.call("pieces", 10**9) as stream:
            async for chunk in stream:
                assert chunk
                break
        await ledger.changed.wait()
        assert connection.inspect().streams == {}
        assert await connection.bootstrap.call("add", 1, 1) == 2


async def test_dropping_a_stream_stops_its_handler() -> None:
    async with connected() as (ledger, connection):
        await connection.bootstrap.call("pieces", 10**9)
        with trio.fail_after(20):
            while not ledger.changed.is_set():
                assert await connection.bootstrap.call("add", 1, 1) == 2


async def test_dropping_a_stream_after_its_promise_leaves_nothing_behind() -> None:
    async with connected() as (ledger, connection):
        stream = await connection.bootstrap.call("pieces", 10**9)
        assert await connection.bootstrap.call("add", 1, 1) == 2
        assert len(connection._read_on) == 1
        del stream
        with trio.fail_after(20):
            while not ledger.changed.is_set():
                assert await connection.bootstrap.call("add", 1, 1) == 2
        assert not connection._read_on


async def test_a_stream_that_breaks_off_says_so_after_what_had_come() -> None:
    async with connected() as (_, connection):
        received = list[bytes]()
        with pytest.raises(HandlerFailed):
            await read_each(connection.bootstrap.call("break_off"), received.append)
    assert received == [b"some"]


async def test_a_grant_that_ends_stops_its_streams_before_the_next_chunk() -> None:
    async with connected() as (ledger, connection):
        desk = connection.present(b"token")
        received = list[bytes]()

        def end(chunk: bytes) -> None:
            received.append(chunk)
            ledger.is_over = True

        with pytest.raises(Expired):
            await read_each(desk.call("pieces", 10**9, accept_bytes=65_536), end)
        # The window of one piece, and what was on its way.
        assert sum(map(len, received)) <= 3 * 65_536


async def test_a_stream_ends_with_its_deadline() -> None:
    async with connected() as (ledger, connection):
        with pytest.raises(DeadlineExceeded):
            async for _ in connection.bootstrap.call("pieces", 10**9, timeout_s=0.05):
                pass
        await ledger.changed.wait()


async def test_a_lost_connection_ends_a_stream() -> None:
    async with connected() as (_, connection):
        stream = connection.bootstrap.call("pieces", 10**9)
        with pytest.raises(ConnectionLost):
            await read_each(stream, lambda _: connection.close())


async def test_a_stream_is_read_to_its_end_after_its_promise_has_gone() -> None:
    async with connected() as (_, connection):
        stream = await connection.bootstrap.call("pieces", 50)
        assert isinstance(stream, ByteStream)
        # Other calls carry what was noted when the promise was dropped.
        assert await connection.bootstrap.call("add", 1, 1) == 2
        received = b"".join([chunk async for chunk in stream])
        assert len(received) == 50 * len(PIECE)
        assert connection.inspect().kept_answers == 0


async def test_a_stream_given_up_says_so_to_whoever_reads_on() -> None:
    async with connected() as (_, connection):
        async with connection.bootstrap.call("pieces", 10**9) as promise:
            stream = await promise
        with pytest.raises(CallCancelled, match="given up"):
            await anext(stream)


async def test_a_stream_that_nobody_wants_stops_a_generator_that_never_waits() -> None:
    async with connected() as (ledger, connection):
        stream = connection.bootstrap.call("never_waits")
        named = stream.call("add", 1, 1)
        stream.release()
        with pytest.raises(Invalid):
            await named
        assert await connection.bootstrap.call("add", 1, 1) == 2
    assert ledger.pieces < 100


async def test_a_stream_too_many_is_refused_and_the_connection_goes_on() -> None:
    async with connected() as (ledger, connection):
        ask = partial(connection.bootstrap.call, "pieces", 10**9, accept_bytes=1)
        streams = [await ask() for _ in range(INITIAL_LIMITS.streams)]
        begun = ledger.pieces
        with pytest.raises(Overloaded, match="being streamed"):
            await ask()
        assert ledger.pieces == begun
        streams.pop().release()
        assert isinstance(await ask(), ByteStream)
        assert await connection.bootstrap.call("add", 1, 1) == 2


async def test_a_handler_that_falls_apart_when_cancelled_takes_nobody_along() -> None:
    async with connected() as (_, connection):
        promise = connection.bootstrap.call("fall_apart")
        assert await connection.bootstrap.call("add", 1, 1) == 2
        promise.release()
        assert await connection.bootstrap.call("add", 1, 1) == 2
        assert await connection.bootstrap.call("add", 1, 1) == 2
        assert not connection.closed


async def test_a_deadline_that_was_moved_counts_from_where_it_is() -> None:
    given_ms: list[int] = []

    def tap(way: Literal["in", "out"], data: bytes) -> None:
        if way == "out":
            frames = FrameReader(Role.SUBJECT).receive_untrusted(data)
            given_ms.extend(frame[5] for frame in frames if frame[0] == CALL)

    async with connected(tap) as (_, connection):
        with trio.CancelScope() as scope:
            for left_s in (math.inf, 5, 15, math.inf, 10):
                scope.deadline = trio.current_time() + left_s
                assert await connection.bootstrap.call("add", 1, 1) == 2

    assert given_ms[0] == given_ms[3] == 30_000
    assert given_ms[1] <= 5_000 < given_ms[4] <= 10_000 < given_ms[2] <= 15_000


async def test_a_callers_slip_is_refused_here_and_ends_no_connection() -> None:
    async with connected() as (_, connection):
        figures = connection.bootstrap.call("figures")
        for wrong in (-1, 1.5, True, None):
            with pytest.raises(LocalProtocolError, match="path"):
                figures["list"][wrong].call("add", 1, 1)  # type: ignore[index]
        with pytest.raises(LocalProtocolError, match="path"):
            connection.bootstrap.call("add", figures["list"][-1], 1)
        with pytest.raises(LocalProtocolError, match="shorten"):
            connection.bootstrap.call("add", figures["x" * 2_000], 1)
        with pytest.raises(LocalProtocolError, match="method"):
            connection.bootstrap.call(b"add", 1, 1)  # type: ignore[call-overload]
        with pytest.raises(LocalProtocolError, match="accept_bytes"):
            connection.bootstrap.call("add", 1, 1, accept_bytes=1e6)  # type: ignore[call-overload]
        with pytest.raises(LocalProtocolError, match="token"):
            connection.present("token")  # type: ignore[arg-type]
        assert await connection.bootstrap.call("add", 1, 1) == 2


async def test_what_is_no_stream_cannot_be_read_as_one() -> None:
    async with connected() as (_, connection):
        with pytest.raises(LocalProtocolError, match="no stream"):
            await read(connection.bootstrap.call("add", 1, 1))


async def test_no_call_can_name_a_stream() -> None:
    async with connected() as (_, connection):
        stream = connection.bootstrap.call("pieces", 10**9)
        with pytest.raises(Invalid, match="stream"):
            await stream.call("add", 1, 1)
        stream.release()


# Promises as arguments.


async def test_promises_stand_for_what_they_will_be() -> None:
    async with connected() as (_, connection):
        ask = connection.bootstrap.call
        figures, desk = ask("figures"), ask("desk")
        before = connection.statistics().round_trips
        total = ask("add", figures["left"], figures["list"][1])
        same = ask("is_desk", desk)
        assert (await total, await same) == (42, True)
        assert connection.statistics().round_trips - before == 1
        assert await ask("is_desk", await desk) is True


async def test_the_method_checks_what_a_promise_has_become() -> None:
    async with connected() as (_, connection):
        ask = connection.bootstrap.call
        with pytest.raises(Invalid, match="needs int as left"):
            await ask("add", ask("desk"), 1)
        with pytest.raises(Denied):
            await ask("add", ask("refuse"), 1)


async def test_two_grants_never_meet_in_one_call() -> None:
    async with connected() as (_, connection):
        one, other = connection.present(b"one"), connection.present(b"other")
        assert await one.call("is_desk", one) is True
        for argument in (other, other.call("desk"), await other, other.call("figures")["left"]):
            with pytest.raises(Denied):
                await one.call("is_desk", argument)


# Signs of life.


async def test_a_ping_is_answered_and_counts_as_no_call() -> None:
    async with connected() as (_, connection):
        assert await connection.bootstrap.call("add", 1, 1) == 2
        assert await connection.ping() >= 0
        assert connection.statistics().calls == 1


async def test_a_ping_fails_with_its_connection() -> None:
    async with connected() as (_, connection):
        connection.close()
        with pytest.raises(ConnectionLost):
            await connection.ping()


async def test_inspection_shows_what_is_held() -> None:
    async with connected() as (_, connection):
        desk = await connection.bootstrap.call("desk")
        kept = connection.bootstrap.call("figures")
        await kept
        held = connection.inspect()
        assert (held.held_references, held.kept_answers, held.waiting) == (1, 1, ())
        desk.release()
        del kept
        assert connection.inspect().held_references == connection.inspect().kept_answers == 0
