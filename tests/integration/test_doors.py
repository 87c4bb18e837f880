"""The blocking and the asyncio door, over real TLS to a subject in another thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
import trio

import psp
from psp import aio, blocking, endpoint
from psp.endpoint import CallSeen, Exposed, Portal, Result, Stub, method, remote
from psp.errors import DeadlineExceeded, HandlerFailed, LocalProtocolError, Unreachable
from psp.testing import Loopback, loopback

T = TypeVar("T")


@dataclass
class House:
    """What happened inside, for the test to look at; the subject's thread alone writes."""

    events: list[str] = field(default_factory=list)
    gate: trio.Event = field(default_factory=trio.Event)


class Room(Exposed):
    def __init__(self, house: House, number: int = 0) -> None:
        self.house = house
        self.number = number

    @method
    def add(self, left: int, right: int) -> int:
        return left + right

    @method
    def total(self, numbers: list[int]) -> int:
        return sum(numbers)

    @method
    def next(self) -> Room:
        return Room(self.house, self.number + 1)

    @method
    def read_number(self) -> int:
        return self.number

    @method
    def number_of(self, other: Exposed) -> int:
        assert isinstance(other, Room)
        return other.number

    @method
    def describe(self) -> dict[str, list[int]]:
        return {"numbers": [self.number, 7]}

    @method
    async def wait(self) -> Room:
        self.house.events.append("waiting")
        try:
            await self.house.gate.wait()
        except trio.Cancelled:
            self.house.events.append("cancelled")
            raise
        return Room(self.house, 10)

    @method
    def open(self) -> None:
        self.house.gate.set()

    @method
    async def interrupt(self) -> None:
        """Press Ctrl-C in the middle of the call."""
        os.kill(os.getpid(), signal.SIGINT)
        await self.wait()

    @method
    async def chunks(self, count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield b"%d," % number

    @method
    def fail(self) -> None:
        raise ValueError("not for the peer")


class RoomStub(Stub):
    @remote
    def next(self) -> RoomStub: ...

    @remote
    def read_number(self) -> Result[int]: ...

    @remote
    def number_of(self, other: RoomStub) -> Result[int]: ...


@dataclass
class Served:
    house: House
    near: Loopback


@pytest.fixture
def served() -> Iterator[Served]:
    house = House()
    with Portal() as portal, portal.enter(loopback(lambda: Room(house))) as near:
        yield Served(house, near)
    gc.collect()  # What was not closed says so now, as an error of this test.


@contextmanager
def connected(served: Served) -> Iterator[blocking.Connection]:
    with blocking.connect(served.near.address, key=served.near.key) as connection:
        yield connection


def in_asyncio(served: Served, ask: Callable[[aio.Connection], Any]) -> Any:
    async def main() -> Any:
        async with aio.connect(served.near.address, key=served.near.key) as connection:
            return await ask(connection)

    return asyncio.run(main())


def portal_threads() -> int:
    return sum(thread.name == "psp-portal" for thread in threading.enumerate())


# Blocking.


def test_a_blocking_program_asks_and_waits(served: Served) -> None:
    with connected(served) as connection:
        assert connection.bootstrap.call("add", 20, 22).result() == 42
        assert connection.bootstrap.call("add", 20, 22, is_last=True).result() == 42
        assert connection.peer_hello is not None


def test_blocking_calls_leave_without_waiting(served: Served) -> None:
    """The first call cannot end before the second has arrived."""
    with connected(served) as connection:
        waiting = connection.bootstrap.call("wait")
        number = waiting.call("next").call("next").call("read_number", is_last=True)
        connection.bootstrap.call("open")
        assert number.result() == 12


def test_a_reference_is_held_called_and_given_back(served: Served) -> None:
    with connected(served) as connection:
        with connection.bootstrap.call("next").result() as room:
            assert isinstance(room, blocking.Reference)
            assert room.call("read_number").result() == 1
        with pytest.raises(LocalProtocolError, match="was released"):
            room.call("read_number").result()
        connection.bootstrap.call("add", 1, 1).result()
        assert connection.inspect().held_references == 0
        assert connection.ping() >= 0


def test_a_step_into_a_blocking_promise_reads_and_names_the_part(served: Served) -> None:
    with connected(served) as connection:
        seven = connection.bootstrap.call("describe")["numbers"][1]
        assert connection.bootstrap.call("add", seven, 1).result() == 8
        assert seven.result() == 7


def test_promises_go_as_arguments_through_the_blocking_door(served: Served) -> None:
    with connected(served) as connection:
        room = connection.bootstrap
        three = room.call("add", 1, 2)
        assert room.call("total", [three, 4]).result() == 7
        assert room.call("number_of", room.call("next")).result() == 1


def test_a_stub_works_through_the_blocking_door(served: Served) -> None:
    with connected(served) as connection:
        room = RoomStub.of(connection.bootstrap)
        number: Any = room.next().next().read_number()
        assert number.result() == 2
        held = room.next().result()
        assert type(held) is RoomStub
        of_other: Any = room.number_of(held)
        assert of_other.result() == 1


def test_the_child_of_a_fork_dials_for_itself_and_the_parent_goes_on(served: Served) -> None:
    """The thread that carries the parent's connection does not come along."""
    with connected(served) as connection:
        assert connection.bootstrap.call("add", 1, 1).result() == 2
        child = os.fork()
        if child == 0:
            answer = 1
            try:
                signal.alarm(20)  # Waiting for a thread that is not there would last for ever.
                with connected(served) as own:
                    answer = 0 if own.bootstrap.call("add", 20, 22).result() == 42 else 2
            finally:
                os._exit(answer)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert connection.bootstrap.call("add", 2, 2).result() == 4


def test_a_failure_is_raised_by_result(served: Served) -> None:
    with connected(served) as connection, pytest.raises(HandlerFailed):
        connection.bootstrap.call("fail").result()


def until_cancelled(served: Served, connection: blocking.Connection) -> None:
    """Give the subject steps, not seconds, until it has heard of it."""
    while "cancelled" not in served.house.events:
        connection.bootstrap.call("add", 1, 1).result()


def test_a_result_that_is_not_there_in_time_is_given_up(served: Served) -> None:
    with connected(served) as connection:
        with pytest.raises(DeadlineExceeded, match=r"within 0\.01 seconds"):
            connection.bootstrap.call("wait").result(timeout_s=0.01)
        if "waiting" in served.house.events:
            until_cancelled(served, connection)


def test_ctrl_c_ends_the_wait_and_gives_the_question_up(served: Served) -> None:
    with connected(served) as connection:
        with pytest.raises(KeyboardInterrupt):
            connection.bootstrap.call("interrupt").result()
        until_cancelled(served, connection)


def test_a_result_that_is_there_is_read_without_crossing(served: Served) -> None:
    """So that awaiting thousands one by one costs one wait, not thousands of thread hops."""
    with connected(served) as connection:
        room = connection.bootstrap
        first = room.call("add", 1, 1, is_last=True)
        failed = room.call("fail", is_last=True)
        room.call("add", 1, 1).result()  # Answered after them: so they are there.
        crossings: list[object] = []
        connection.crossed.portal.run = crossings.append  # type: ignore[assignment,method-assign]
        try:
            assert first.result() == first.result() == 2
            with pytest.raises(HandlerFailed):
                failed.result()
        finally:
            del connection.crossed.portal.run
    assert crossings == []


def test_a_stream_is_read_with_for(served: Served) -> None:
    with connected(served) as connection:
        assert b"".join(connection.bootstrap.call("chunks", 3)) == b"0,1,2,"
        with connection.bootstrap.call("chunks", 1000).result() as stream:
            assert isinstance(stream, blocking.ByteStream)
            assert stream.header is None
            assert next(stream).startswith(b"0,")
        assert connection.bootstrap.call("add", 1, 1).result() == 2


def test_a_value_is_no_stream(served: Served) -> None:
    with connected(served) as connection, pytest.raises(LocalProtocolError, match="no stream"):
        list(connection.bootstrap.call("add", 1, 1))


def test_a_hundred_threads_share_a_blocking_connection(served: Served) -> None:
    with connected(served) as connection, ThreadPoolExecutor(100) as pool:

        def ask(number: int) -> object:
            return connection.bootstrap.call("add", number, 0).result()

        assert list(pool.map(ask, range(100))) == list(range(100))


def test_all_connections_share_one_background_thread_and_the_last_one_ends_it(
    served: Served,
) -> None:
    before = portal_threads()
    with connected(served) as one, connected(served) as two:
        assert one.bootstrap.call("add", 1, 1).result() == 2
        assert two.bootstrap.call("add", 1, 1).result() == 2
        assert portal_threads() == before + 1
    assert portal_threads() == before


def test_a_closed_connection_says_so(served: Served) -> None:
    with connected(served) as connection:
        bootstrap = connection.bootstrap
        connection.close()
        connection.wait_closed()
        assert connection.closed
    with pytest.raises(LocalProtocolError, match="portal is not open"):
        bootstrap.call("add", 1, 1)


def test_nobody_listening_is_unreachable_through_both_doors(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = replace(served.near.address, port=port)

    with pytest.raises(Unreachable), blocking.connect(nowhere, key=served.near.key):
        pass
    with pytest.raises(Unreachable):
        asyncio.run(enter_and_leave(Served(served.house, replace(served.near, address=nowhere))))


# asyncio.


async def enter_and_leave(served: Served) -> None:
    async with aio.connect(served.near.address, key=served.near.key):
        pass


def test_an_asyncio_program_asks_and_awaits(served: Served) -> None:
    async def ask(connection: aio.Connection) -> object:
        calls = [connection.bootstrap.call("add", number, 0) for number in range(100)]
        return await asyncio.gather(*calls)

    assert in_asyncio(served, ask) == list(range(100))


def test_asyncio_calls_leave_without_waiting(served: Served) -> None:
    async def ask(connection: aio.Connection) -> object:
        waiting = connection.bootstrap.call("wait")
        number = waiting.call("next").call("read_number")
        connection.bootstrap.call("open")
        return await number

    assert in_asyncio(served, ask) == 11


def test_cancelling_an_asyncio_task_cancels_the_question(served: Served) -> None:
    async def ask(connection: aio.Connection) -> None:
        async def wait() -> None:
            await connection.bootstrap.call("wait")

        task = asyncio.create_task(wait())
        while "waiting" not in served.house.events:
            await connection.bootstrap.call("add", 1, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while "cancelled" not in served.house.events:
            await connection.bootstrap.call("add", 1, 1)

    in_asyncio(served, ask)


def test_a_wait_for_a_chunk_that_is_cancelled_loses_no_chunk(served: Served) -> None:
    """`asyncio.wait_for` cancels, and the chunk may be on its way between two threads."""

    async def ask(connection: aio.Connection) -> bytes:
        stream = await connection.bootstrap.call("chunks", 200)
        received = b""
        with suppress(StopAsyncIteration):
            while True:
                waiting = asyncio.ensure_future(anext(stream))
                await asyncio.sleep(0)
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    received += await waiting
                received += await anext(stream)
        return received

    assert in_asyncio(served, ask) == b"".join(b"%d," % number for number in range(200))


def test_a_stub_a_reference_and_a_step_work_through_the_asyncio_door(served: Served) -> None:
    async def ask(connection: aio.Connection) -> None:
        room = RoomStub.of(connection.bootstrap)
        assert await room.next().read_number() == 1
        async with room.next() as promised:
            assert await room.number_of(promised) == 1
        held = await room.next()
        assert await held.read_number() == 1
        seven = connection.bootstrap.call("describe")["numbers"][1]
        assert await connection.bootstrap.call("add", seven, 1) == 8
        async with await connection.bootstrap.call("next") as reference:
            assert isinstance(reference, aio.Reference)
            assert await reference.call("read_number", is_last=True) == 1

        await connection.bootstrap.call("add", 1, 1)
        del promised, held, reference, room, seven
        inspection = await connection.inspect()
        assert (inspection.held_references, inspection.kept_answers) == (0, 0)
        assert await connection.ping() >= 0

    in_asyncio(served, ask)


def test_a_stream_is_read_with_async_for(served: Served) -> None:
    async def ask(connection: aio.Connection) -> None:
        chunks = [chunk async for chunk in connection.bootstrap.call("chunks", 3)]
        assert b"".join(chunks) == b"0,1,2,"
        async with await connection.bootstrap.call("chunks", 1000, is_last=True) as stream:
            assert isinstance(stream, aio.ByteStream)
            assert (await anext(stream)).startswith(b"0,")
        with pytest.raises(LocalProtocolError, match="no stream"):
            [chunk async for chunk in connection.bootstrap.call("add", 1, 1)]

    in_asyncio(served, ask)


def test_an_error_in_the_body_comes_out_of_both_doors_as_it_is(served: Served) -> None:
    async def ask(_connection: aio.Connection) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        in_asyncio(served, ask)
    with pytest.raises(ValueError, match="mine"), connected(served):
        raise ValueError("mine")


def test_connecting_does_not_hold_up_the_event_loop_and_can_be_cancelled(served: Served) -> None:
    async def main(silent: socket.socket) -> None:
        address = replace(served.near.address, port=silent.getsockname()[1])
        task = asyncio.create_task(
            enter_and_leave(Served(served.house, replace(served.near, address=address)))
        )
        for _ in range(100):  # Turns of the loop, while the other side stays silent.
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    before = portal_threads()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(main(silent))
    assert portal_threads() == before


def test_a_connection_that_is_cancelled_while_it_opens_is_closed(served: Served) -> None:
    """Even though another one keeps the background thread alive."""

    async def main(silent: socket.socket) -> None:
        address = replace(served.near.address, port=silent.getsockname()[1])
        task = asyncio.create_task(
            enter_and_leave(Served(served.house, replace(served.near, address=address)))
        )
        dialled, _ = await asyncio.to_thread(silent.accept)
        with dialled:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            dialled.settimeout(5)
            while await asyncio.to_thread(dialled.recv, 65_536):
                pass  # Its half of a handshake, then the end.

    with connected(served), socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(main(silent))


def test_a_middleware_runs_in_the_context_of_the_call(served: Served) -> None:
    """So that a span hangs on the caller's own, and not on whatever the connection's thread did."""
    request = contextvars.ContextVar("request", default="none")
    seen: list[tuple[str, str]] = []

    def note(call: CallSeen) -> contextlib.AbstractContextManager[None]:
        seen.append((call.method, request.get()))
        return contextlib.nullcontext()

    async def main() -> None:
        async with aio.connect(
            served.near.address, key=served.near.key, middleware=[note]
        ) as connection:
            request.set("of Mrs Example")
            await connection.bootstrap.call("add", 1, 1)

    asyncio.run(main())
    assert ("add", "of Mrs Example") in seen


def test_the_doors_are_there_after_import_psp() -> None:
    assert psp.aio is aio
    assert psp.blocking is blocking
    assert set(aio.__all__) == set(blocking.__all__)


@pytest.mark.parametrize("door", [aio, blocking])
def test_a_connection_has_the_same_names_through_every_door(door: Any) -> None:
    for name in ("close", "closed", "inspect", "peer_hello", "ping", "present", "statistics"):
        assert hasattr(endpoint.Connection, name)
        assert hasattr(door.Connection, name)
