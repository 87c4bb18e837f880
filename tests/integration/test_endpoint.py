"""Real TLS over real loopback sockets: a controller and a subject, as they will be used."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.endpoint import Address, Connection, Exposed, Portal, Reference, connect, method, serve
from psp.errors import (
    CallCancelled,
    CallFailed,
    ConnectionLost,
    DeadlineExceeded,
    Denied,
    EstateError,
    Expired,
    HandlerFailed,
    Invalid,
    LocalProtocolError,
    NotPaired,
    Processed,
    Unreachable,
)
from psp.rpc import CallReady
from psp.testing import Far
from psp.transport import MachineKey, Peer, Pin, check_certificate_untrusted
from psp.values import Value

ARCHIVE_ID = bytes(range(32))
ROW = "the row of Mrs Example"


@dataclass
class House:
    """What happened inside the archive, for the test to look at."""

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
    def next(self) -> Room:
        return Room(self.house, self.number + 1)

    @method
    def rooms(self) -> dict[str, Exposed]:
        return {"next": Room(self.house, self.number + 1)}

    @method
    def read_number(self) -> int:
        return self.number

    @method
    async def wait(self) -> str:
        self.house.events.append("waiting")
        try:
            await self.house.gate.wait()
        except trio.Cancelled:
            self.house.events.append("cancelled")
            raise
        return "done"

    @method
    async def note_later(self, number: int) -> None:
        self.house.events.append(f"async {number}")
        await trio.lowlevel.checkpoint()

    @method
    def note(self, number: int) -> None:
        self.house.events.append(f"inline {number}")

    @method(inline=False)
    def name_thread(self) -> str:
        return threading.current_thread().name

    @method
    def fail(self, row: str) -> None:
        raise ValueError(f"cannot read {row}")

    @method
    def give_nonsense(self) -> Value:
        return {1, 2}  # type: ignore[return-value]

    @method
    def refuse(self) -> None:
        raise Expired("the grant ended \x1b[31m yesterday")

    @method
    def echo(self, value: Value) -> Value:
        return value

    def check(self, call: CallReady) -> None:
        self.house.events.append(f"check {call.method}") if call.method == "note_checked" else None
        if self.number == 13:
            raise Denied


def machine() -> MachineKey:
    return MachineKey(Ed25519PrivateKey.generate())


def pin(key: MachineKey, name: str) -> Pin:
    return Pin(name, check_certificate_untrusted(key.certificate_pem))


AGGREGATOR, TOTEBOX, STRANGER = machine(), machine(), machine()


def present(house: House) -> Callable[[Peer, bytes], Exposed]:
    def check(peer: Peer, token: bytes) -> Exposed:
        assert peer.spki_hash == AGGREGATOR.spki_hash
        if not token.startswith(b"good"):
            raise Denied
        return Room(house, 100)

    return check


@dataclass
class Served:
    house: House
    address: Address
    log: list[str]
    scope: trio.CancelScope


@asynccontextmanager
async def archive() -> AsyncIterator[Served]:
    house, log, scope = House(), list[str](), trio.CancelScope()

    async def run(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        with scope:
            await serve(
                key=TOTEBOX,
                archive_id=ARCHIVE_ID,
                pins=[pin(AGGREGATOR, "aggregator")],
                bootstrap=lambda _peer: Room(house),
                present=present(house),
                host="127.0.0.1",
                port=0,
                log=log.append,
                task_status=task_status,
            )

    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(run)
        address = Address(ARCHIVE_ID, host, port, TOTEBOX.certificate_pem, "98004")
        yield Served(house, address, log, scope)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Served, Connection]]:
    async with archive() as served, connect(served.address, key=AGGREGATOR) as connection:
        yield served, connection


async def ask_for_ever(connection: Connection) -> None:
    while True:
        await connection.bootstrap.call("add", 1, 1)


async def wait_for_ever(connection: Connection) -> None:
    await connection.bootstrap.call("wait")


# Calls and promises.


async def test_a_call_returns_its_value() -> None:
    async with connected() as (_, connection):
        assert await connection.bootstrap.call("add", 20, 22) == 42


async def test_every_value_survives_the_way() -> None:
    values: list[Value] = [None, True, -(2**63), 0.5, "ключ", b"\x00", [1, [2]], {"a": {"b": 1}}]
    async with connected() as (_, connection):
        assert await connection.bootstrap.call("echo", values) == values


async def test_a_hundred_tasks_share_a_connection() -> None:
    results: list[object] = []

    async def ask(connection: Connection, number: int) -> None:
        results.append(await connection.bootstrap.call("add", number, 0))

    async with connected() as (_, connection):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, connection, number)
        statistics = connection.statistics()

    assert sorted(results) == list(range(100))  # type: ignore[type-var]
    assert statistics.calls == statistics.returns == 100
    assert statistics.sends <= 3


async def test_a_chain_of_ten_costs_one_round_trip_and_one_send() -> None:
    async with connected() as (_, connection):
        promise = connection.present(b"good token")
        for _ in range(9):
            promise = promise.call("next")
        assert await promise.call("read_number") == 109
        statistics = connection.statistics()

    assert (statistics.round_trips, statistics.sends) == (1, 1)


async def test_calls_that_wait_for_each_other_cost_a_round_trip_each() -> None:
    async with connected() as (_, connection):
        for _ in range(4):
            await connection.bootstrap.call("add", 1, 1)

        assert connection.statistics().round_trips == 4


async def test_the_first_flight_leaves_in_one_send_and_costs_three_round_trips_cold() -> None:
    """TCP, TLS, and one flight with HELLO, PRESENT and all calls. Counted, not timed."""
    seen: list[tuple[Literal["in", "out"], bytes]] = []
    far = Far(0.004)
    async with archive() as served, far.to(served.address.host, served.address.port) as near:
        address = replace(served.address, host=near[0], port=near[1])
        async with connect(
            address, key=AGGREGATOR, tap=lambda way, data: seen.append((way, data))
        ) as connection:
            grant = connection.present(b"good token")
            first, second = grant.call("next").call("read_number"), grant.call("add", 1, 2)
            assert (await first, await second) == (101, 3)
            round_trips = far.round_trips

    assert round_trips == 3
    assert [way for way, _ in seen].index("in") == 1
    kinds = _frame_kinds(seen[0][1])
    assert kinds == [0, 1, 2, 2, 2]  # HELLO, PRESENT, three CALLs.


def _frame_kinds(data: bytes) -> list[int]:
    kinds = []
    while data:
        size = int.from_bytes(data[:4], "big")
        kinds.append(data[5])  # After the length, a MessagePack array header of one byte.
        data = data[4 + size :]
    return kinds


async def test_a_dropped_intermediate_promise_does_not_cancel_what_hangs_on_it() -> None:
    async with connected() as (_, connection):
        assert await connection.bootstrap.call("next").call("next").call("read_number") == 2


async def test_a_step_into_a_map_of_objects_costs_no_round_trip_of_its_own() -> None:
    async with connected() as (_, connection):
        rooms = connection.bootstrap.call("rooms", is_step=True)
        assert await rooms["next"].call("rooms", is_step=True)["next"].call("read_number") == 2
        assert connection.statistics().round_trips == 1


async def test_a_map_of_objects_cannot_be_asked_for_itself() -> None:
    async with connected() as (_, connection):
        with pytest.raises(HandlerFailed):
            await connection.bootstrap.call("rooms")


async def test_a_reference_can_be_awaited_called_released_and_then_no_more() -> None:
    async with connected() as (_, connection):
        room = await connection.bootstrap.call("next")
        assert isinstance(room, Reference)
        assert await room.call("read_number") == 1
        room.release()
        room.release()
        with pytest.raises(LocalProtocolError, match="was released"):
            room.call("read_number")


async def test_everything_is_given_back_in_the_end() -> None:
    async with connected() as (_, connection):
        for _ in range(20):
            async with connection.bootstrap.call("next") as promise:
                await promise.call("read_number")
            await (await connection.bootstrap.call("next")).call("read_number")
        await connection.bootstrap.call("add", 1, 1)
        connection._drain_notes()

        assert connection._core.held_references == 0
        assert connection._core.kept_answers == 0


async def test_calls_enter_their_handlers_in_the_order_of_the_calls() -> None:
    """trio runs ready tasks in a random order, and inline calls are faster than tasks."""
    async with connected() as (served, connection):
        promises = [
            connection.bootstrap.call("note_later" if number % 3 else "note", number)
            for number in range(60)
        ]
        for promise in promises:
            await promise

    assert [int(event.split()[1]) for event in served.house.events] == list(range(60))


async def test_a_blocking_method_runs_in_a_worker_thread() -> None:
    async with connected() as (_, connection):
        name = await connection.bootstrap.call("name_thread")

    assert name != threading.current_thread().name


async def test_a_greedy_connection_does_not_starve_another() -> None:
    async with (
        archive() as served,
        connect(served.address, key=AGGREGATOR) as greedy,
        connect(served.address, key=AGGREGATOR) as modest,
    ):
        await modest.bootstrap.call("add", 0, 0)
        flood = [greedy.bootstrap.call("note", n, is_last=True) for n in range(3000)]
        modest_call = modest.bootstrap.call("add", 1, 1)
        await trio.lowlevel.checkpoint()
        assert await modest_call == 2
        done_before = len(served.house.events)
        await flood[-1]

    assert done_before < 3000
    assert len(served.house.events) == 3000


# Failures.


async def test_a_fault_of_a_handler_reaches_the_caller_as_an_id_and_the_log_without_values() -> (
    None
):
    async with connected() as (served, connection):
        with pytest.raises(HandlerFailed) as caught:
            await connection.bootstrap.call("fail", ROW)

    (entry,) = served.log
    assert caught.value.correlation_id in entry
    assert "ValueError" in entry
    assert "in fail" in entry
    assert ROW not in entry
    assert ROW not in str(caught.value)
    assert "ValueError" not in str(caught.value)


async def test_a_result_that_cannot_travel_is_the_handlers_fault() -> None:
    async with connected() as (served, connection):
        with pytest.raises(HandlerFailed):
            await connection.bootstrap.call("give_nonsense")
        assert await connection.bootstrap.call("add", 1, 1) == 2

    assert len(served.log) == 1


async def test_a_refusal_arrives_as_its_class_with_its_text_made_harmless() -> None:
    async with connected() as (_, connection):
        with pytest.raises(Expired, match="the grant ended �"):
            await connection.bootstrap.call("refuse")


@pytest.mark.parametrize("name", ["__init__", "house", "check", "psp_methods", "nothing", "add "])
async def test_no_attribute_can_be_reached_by_naming_it(name: str) -> None:
    async with connected() as (_, connection):
        with pytest.raises(Invalid, match="there is no method"):
            await connection.bootstrap.call(name)


async def test_wrong_arguments_are_refused_before_the_method_runs() -> None:
    async with connected() as (served, connection):
        with pytest.raises(Invalid, match="needs int as number, and the call has str"):
            await connection.bootstrap.call("note", "1")

    assert served.house.events == []


async def test_a_refused_token_fails_what_hangs_on_it() -> None:
    async with connected() as (_, connection):
        grant = connection.present(b"bad token")
        with pytest.raises(Denied):
            await grant.call("next").call("read_number")
        with pytest.raises(Denied):
            await grant


async def test_the_check_hook_is_asked_at_every_dispatch() -> None:
    async with connected() as (_, connection):
        room = connection.bootstrap.call("next")
        for _ in range(12):
            room = room.call("next")
        await room
        with pytest.raises(Denied):
            await room.call("read_number")


async def test_a_plain_value_has_no_methods() -> None:
    async with connected() as (_, connection):
        promise = connection.bootstrap.call("add", 1, 1)
        await promise
        with pytest.raises(LocalProtocolError, match="plain value"):
            promise.call("add", 1, 1)


async def test_a_step_into_a_value_reads_it_and_a_step_into_nothing_says_so() -> None:
    async with connected() as (_, connection):
        promise = connection.bootstrap.call("echo", {"a": [1, 2]})
        assert await promise["a"][1] == 2
        with pytest.raises(LocalProtocolError, match="nothing at"):
            await promise["b"]


# Time and cancellation.

LONGER_S = (0.02, 0.2, 2.0, 20.0)
"""Times to give a call in turn, until one was enough for it to start: a machine may be slow."""


async def test_cancelling_the_caller_cancels_the_handler_and_a_late_answer_is_ignored() -> None:
    async with connected() as (served, connection):
        # No deadline that would travel with the call: only FINISH can end it over there.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_ever, connection)
            while not served.house.events:
                await connection.bootstrap.call("add", 1, 1)
            nursery.cancel_scope.cancel()
        assert await connection.bootstrap.call("add", 1, 1) == 2
        with trio.fail_after(5):
            while "cancelled" not in served.house.events:
                await connection.bootstrap.call("add", 1, 1)
        assert connection.statistics().returns <= connection.statistics().calls

    assert served.house.events == ["waiting", "cancelled"]


async def test_a_caller_that_waits_with_others_can_leave_them_waiting() -> None:
    async with connected() as (served, connection):
        promise = connection.bootstrap.call("wait")
        leaving = trio.CancelScope()
        results: list[object] = []

        async def wait() -> None:
            results.append(await promise)

        async def leave() -> None:
            with leaving:
                await promise

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(leave)
            while not served.house.events:
                await connection.bootstrap.call("add", 1, 1)
            leaving.cancel()
            await connection.bootstrap.call("add", 1, 1)
            served.house.gate.set()

    assert leaving.cancelled_caught
    assert results == ["done"]


async def test_leaving_the_block_of_a_promise_cancels_the_call() -> None:
    async with connected() as (served, connection):
        async with connection.bootstrap.call("wait") as promise:
            while not served.house.events:
                await connection.bootstrap.call("add", 1, 1)
        with pytest.raises(CallCancelled, match="given up"):
            await promise
        with trio.fail_after(5):
            while "cancelled" not in served.house.events:
                await connection.bootstrap.call("add", 1, 1)


async def test_the_time_given_to_a_call_ends_it_on_both_sides() -> None:
    async with connected() as (served, connection):
        for timeout_s in LONGER_S:
            with pytest.raises(DeadlineExceeded) as caught:
                await connection.bootstrap.call("wait", timeout_s=timeout_s)
            # What has been read since was sent after the call.
            await connection.bootstrap.call("add", 1, 1)
            if served.house.events:
                break
        with trio.fail_after(5):
            while "cancelled" not in served.house.events:
                await connection.bootstrap.call("add", 1, 1)

    assert caught.value.processed is Processed.MAYBE


async def test_an_enclosing_deadline_travels_with_the_call() -> None:
    """The subject stops by itself: the handler ends though nobody here says FINISH."""
    async with connected() as (served, connection):
        for timeout_s in LONGER_S:
            with trio.move_on_after(timeout_s):
                promise = connection.bootstrap.call("wait")
                await trio.sleep_forever()
            with trio.fail_after(5), pytest.raises(DeadlineExceeded):
                await promise
            if served.house.events:
                break

    assert served.house.events == ["waiting", "cancelled"]


async def test_a_call_without_time_left_never_starts() -> None:
    async with connected() as (served, connection):
        with pytest.raises(DeadlineExceeded):
            await connection.bootstrap.call("note", 1, timeout_s=0.0)
        await connection.bootstrap.call("add", 1, 1)

    assert served.house.events == []


# Beginnings and ends.


async def test_an_unpaired_machine_hears_that_it_is_not_paired_and_what_to_do() -> None:
    async with archive() as served:
        with pytest.raises(NotPaired, match="Ask its owner to pair"):
            async with connect(served.address, key=STRANGER) as connection:
                await connection.present(b"good token").call("next")

    assert served.house.events == []
    assert "refused a connection" in served.log[0]


async def test_a_machine_that_is_not_the_pinned_one_is_never_spoken_to() -> None:
    async with archive() as served:
        address = replace(served.address, certificate_pem=STRANGER.certificate_pem)
        with pytest.raises(NotPaired, match="another key"):
            async with connect(address, key=AGGREGATOR):
                pass


async def test_nobody_listening_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    address = Address(ARCHIVE_ID, "127.0.0.1", port, TOTEBOX.certificate_pem, "98004")

    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
        async with connect(address, key=AGGREGATOR):
            pass


async def test_a_listener_that_stays_silent_is_unreachable_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address(
            ARCHIVE_ID, "127.0.0.1", silent.getsockname()[1], TOTEBOX.certificate_pem, "98004"
        )
        with pytest.raises(Unreachable, match=r"within 0\.05 seconds"):
            async with connect(address, key=AGGREGATOR, timeout_s=0.05):
                pass


def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


async def test_silent_strangers_cannot_keep_a_paired_machine_out() -> None:
    async with archive() as served:
        strangers = [
            socket.create_connection((served.address.host, served.address.port)) for _ in range(200)
        ]
        with trio.fail_after(5):
            async with connect(served.address, key=AGGREGATOR) as connection:
                assert await connection.bootstrap.call("add", 1, 1) == 2
        left = sum(is_open(stranger) for stranger in strangers)
        for stranger in strangers:
            stranger.close()

    assert left <= 64


async def test_a_stranger_that_resets_at_once_does_not_harm_the_listener() -> None:
    async with archive() as served:
        for _ in range(20):
            stranger = socket.create_connection((served.address.host, served.address.port))
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            stranger.close()
        async with connect(served.address, key=AGGREGATOR) as connection:
            assert await connection.bootstrap.call("add", 1, 1) == 2


async def test_a_used_port_is_an_estate_error_with_a_remedy() -> None:
    async with archive() as served:
        with pytest.raises(EstateError, match=r"in use.*choose another port"):
            await serve(
                key=TOTEBOX,
                archive_id=ARCHIVE_ID,
                pins=[],
                bootstrap=lambda _peer: Room(served.house),
                present=present(served.house),
                host="127.0.0.1",
                port=served.address.port,
                log=served.log.append,
            )


async def test_every_pending_await_ends_when_the_connection_ends() -> None:
    failures: list[CallFailed] = []

    async def wait(connection: Connection) -> None:
        try:
            await connection.bootstrap.call("wait")
        except CallFailed as exc:
            failures.append(exc)

    async with connected() as (served, connection):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(wait, connection)
            while served.house.events != ["waiting"] * 5:
                await connection.bootstrap.call("add", 1, 1)
            connection.close()
        with pytest.raises(ConnectionLost):
            await connection.bootstrap.call("add", 1, 1)

    assert [type(failure) for failure in failures] == [ConnectionLost] * 5
    assert {failure.processed for failure in failures} == {Processed.MAYBE}


async def test_an_archive_that_stops_in_any_turn_of_a_first_visit_leaves_nothing_behind() -> None:
    """No task that waits for ever, and no socket that nobody closes (a warning, so an error)."""

    async def visit(address: Address) -> None:
        # Cut off after his own handshake and without a word, he cannot know it was no refusal.
        with suppress(ConnectionLost, NotPaired, Unreachable):
            async with connect(address, key=AGGREGATOR) as connection:
                await connection.bootstrap.call("add", 1, 1)
                await connection.wait_closed()

    for turns in range(60):
        with trio.fail_after(20):
            async with archive() as served, trio.open_nursery() as nursery:
                nursery.start_soon(visit, served.address)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                served.scope.cancel()
    gc.collect()


async def test_a_stopping_archive_lets_started_calls_end_and_takes_no_new_ones() -> None:
    async with archive() as served, connect(served.address, key=AGGREGATOR) as connection:
        promise = connection.bootstrap.call("wait")
        while not served.house.events:
            await connection.bootstrap.call("add", 1, 1)
        served.scope.cancel()
        with trio.fail_after(5):
            with pytest.raises(ConnectionLost) as caught:
                await ask_for_ever(connection)
            served.house.gate.set()
            assert await promise == "done"

    assert caught.value.processed is Processed.NO


async def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    async with archive() as served:
        with pytest.raises(ValueError, match="mine"):
            async with connect(served.address, key=AGGREGATOR):
                raise ValueError("mine")


async def test_a_peer_that_speaks_nonsense_is_told_and_cut_off() -> None:
    async with connected() as (served, connection):
        await connection.bootstrap.call("add", 1, 1)
        await connection._stream.send_all(b"\x00\x00\x00\x01\xc1")
        with pytest.raises(ConnectionLost), trio.fail_after(5):
            await ask_for_ever(connection)
        with pytest.raises(ConnectionLost, match="the connection was ended"):
            connection.bootstrap.call("add", 1, 1)
        async with connect(served.address, key=AGGREGATOR) as another:
            assert await another.bootstrap.call("add", 1, 1) == 2


def test_a_blocking_program_asks_through_a_portal() -> None:
    async def serve_and_ask(connection: Connection) -> object:
        return await connection.bootstrap.call("add", 40, 2)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Connection]:
        async with connected() as (_, connection):
            yield connection

    with Portal() as portal, portal.enter(opened()) as connection:
        assert portal.run(serve_and_ask, connection) == 42
        assert portal.run(serve_and_ask, connection) == 42
