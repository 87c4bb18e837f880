"""Typed stubs on trio, over a real connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from psp.endpoint import (
    ByteStream,
    Connection,
    Exposed,
    Promise,
    Result,
    Stub,
    check_implements,
    connect,
    method,
    remote,
)
from psp.errors import Invalid, LocalProtocolError
from psp.testing import loopback
from psp.wire import FINISH


class Room(Stub):
    @remote
    def next(self) -> Room: ...

    @remote
    def number(self) -> Promise[int]: ...

    @remote
    def name(self) -> Result[str]: ...

    @remote
    def add(self, left: int | Promise[int], right: int | Promise[int] = ...) -> Result[int]: ...

    @remote
    def number_of(self, other: Room) -> Result[int]: ...

    @remote
    def pages(self, count: int) -> Result[ByteStream]: ...


class WrongRoom(Stub):
    """A contract of another version: `number` was an object there."""

    @remote
    def number(self) -> Room: ...

    @remote
    def add(self, left: str) -> Result[int]: ...


class RoomService(Exposed):
    def __init__(self, number: int = 0) -> None:
        self._number = number

    @method
    def next(self) -> RoomService:
        return RoomService(self._number + 1)

    @method
    def number(self) -> int:
        return self._number

    @method
    def name(self) -> str:
        return f"room {self._number}"

    @method
    def add(self, left: int, right: int = 100) -> int:
        return left + right

    @method
    def number_of(self, other: Exposed) -> int:
        assert isinstance(other, RoomService)
        return other._number

    @method
    async def pages(self, count: int) -> AsyncIterator[bytes]:
        for page in range(count):
            yield b"%d," % page


check_implements(RoomService, Room)


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    async with (
        loopback(RoomService) as near,
        connect(near.address, key=near.key) as connection,
    ):
        yield connection


async def test_a_chain_of_stubs_costs_one_round_trip() -> None:
    async with connected() as connection:
        fifth = Room.of(connection.bootstrap).next().next().next().next()
        stream, name = fifth.pages(3), fifth.name()
        assert await name == "room 4"
        assert b"".join([page async for page in stream]) == b"0,1,2,"
        assert connection.statistics().round_trips == 1


@pytest.mark.parametrize(("call", "finishes"), [(Room.name, 0), (Room.number, 1)])
async def test_a_result_is_not_kept_and_a_promise_is_until_it_is_dropped(
    call: Callable[[Room], Awaitable[object]], finishes: int
) -> None:
    """No FINISH for the first, one for the second: read off the wire."""
    sent = bytearray()

    def tap(way: Literal["in", "out"], data: bytes) -> None:
        sent.extend(data if way == "out" else b"")

    async with (
        loopback(RoomService) as near,
        connect(near.address, key=near.key, tap=tap) as connection,
    ):
        room = Room.of(connection.bootstrap)
        await call(room)
        await room.name()  # A FINISH rides with the next call.
        assert connection.inspect().kept_answers == 0
    assert frame_kinds(bytes(sent)).count(FINISH) == finishes


def frame_kinds(data: bytes) -> list[int]:
    kinds = []
    while data:
        kinds.append(data[5])  # After the length, a MessagePack array header of one byte.
        data = data[4 + int.from_bytes(data[:4], "big") :]
    return kinds


async def test_an_awaited_stub_holds_its_object_and_no_answer() -> None:
    async with connected() as connection:
        room = await Room.of(connection.bootstrap).next()
        inspection = connection.inspect()
        assert (inspection.kept_answers, inspection.held_references) == (0, 1)
        assert await room.name() == "room 1"
        room.release()
        assert connection.inspect().held_references == 0


async def test_leaving_the_block_gives_back_a_stub_that_was_never_awaited() -> None:
    async with connected() as connection:
        async with Room.of(connection.bootstrap).next() as room:
            assert await room.name() == "room 1"
        inspection = connection.inspect()
        assert (inspection.kept_answers, inspection.held_references) == (0, 0)


async def test_promises_stubs_and_the_peers_own_defaults_are_arguments() -> None:
    async with connected() as connection:
        room = Room.of(connection.bootstrap)
        second = room.next().next()
        sums = room.add(second.number(), right=second.number()), room.add(7)
        other = room.number_of(second)
        assert [await each for each in (*sums, other)] == [4, 107, 2]
        assert connection.statistics().round_trips == 1


async def test_a_contract_of_another_version_is_told_from_the_first_call() -> None:
    async with connected() as connection:
        wrong = WrongRoom.of(connection.bootstrap)
        with pytest.raises(LocalProtocolError, match="Room stands for an object, and the peer"):
            await wrong.number()
        with pytest.raises(Invalid, match="add needs int as left, and the call has str"):
            await wrong.add("one")


async def test_a_stub_outside_of_a_blocking_program_is_awaited() -> None:
    async with connected() as connection:
        with pytest.raises(LocalProtocolError, match="Use `await` here"):
            Room.of(connection.bootstrap).next().result()
