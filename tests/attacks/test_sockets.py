"""Attacks on a listening archive, over real TLS: what time, sockets and tasks have to do with.

Limits of time are set to a few milliseconds where a test would wait for them.
"""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest
import trio

from psp.endpoint import Exposed, connect, method
from psp.errors import CallFailed, Denied, Expired, Invalid, Overloaded
from psp.rpc import CallReady
from psp.testing import Hear, ScriptedPeer, frame_bytes
from psp.wire import END, FINISH, INITIAL_LIMITS, RETURN, SUBJECT_ABORT, Chunk, Return

from .house import AGGREGATOR, HELLO, Archive, Intruder, Room, archive, intruder, until
from .test_questions import PLAIN, call, promised


async def test_a_machine_that_never_says_hello_is_told_and_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("psp.endpoint._vigil.HELLO_S_MAX", 0.02)
    async with archive() as house, intruder(house, greets=False) as mute:
        with trio.fail_after(5):
            await mute.peer.hear_to_the_end(mute.stream)

    assert [frame[0] for frame in mute.peer.heard] == [SUBJECT_ABORT]


async def test_a_frame_of_one_byte_a_minute_is_cut_although_something_always_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("psp.endpoint._vigil.HELLO_S_MAX", 0.0)
    monkeypatch.setattr("psp.endpoint._vigil.FRAME_S_MAX", 0.03)
    async with archive() as house, intruder(house) as slow, trio.open_nursery() as nursery:

        async def drip() -> None:
            for index in range(len(frame)):
                await slow.stream.send_all(frame[index : index + 1])
                await trio.sleep(0.002)

        frame = frame_bytes(call(1, 0, "take", ["x" * 5_000]))
        nursery.start_soon(drip)
        with trio.fail_after(5):
            await slow.peer.hear_to_the_end(slow.stream)
        nursery.cancel_scope.cancel()

    assert slow.peer.heard[-1][0] == SUBJECT_ABORT
    assert house.events == []


async def test_silence_ends_a_connection_and_a_call_that_runs_does_not_count_as_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in (("HELLO_S_MAX", 0.0), ("FRAME_S_MAX", 0.01), ("IDLE_S_MAX", 0.02)):
        monkeypatch.setattr(f"psp.endpoint._vigil.{name}", seconds)
    async with archive() as house, intruder(house) as silent, intruder(house) as waiting:
        await waiting.peer.play_on(waiting.stream, [call(1, 0, "wait", flags=PLAIN)])
        with trio.fail_after(5):
            await silent.peer.hear_to_the_end(silent.stream)
        house.gate.set()
        await waiting.peer.hear_on(waiting.stream, RETURN)

    assert silent.peer.heard[-1][0] == SUBJECT_ABORT
    assert not waiting.peer.has_heard_end


async def test_results_that_are_never_read_stop_the_reading_and_then_end_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("psp.transport._pump.UNREAD_S_MAX", 0.2)
    async with archive() as house, intruder(house) as greedy:
        with trio.fail_after(10):
            sent = await ask_until_cut(greedy)
        async with connect(house.address, key=AGGREGATOR) as honest:
            assert await honest.bootstrap.call("add", 1, 1) == 2

    # The kernel's buffers on both sides, ours, and what was read before ours were full.
    assert sent < 64 * 2**20


async def ask_until_cut(greedy: Intruder) -> int:
    """Ask for large answers and read none; give how many bytes went in before the end."""
    sent = 0
    try:
        for question in range(1, 100_000):
            data = frame_bytes(call(question, 0, "echo", ["x" * 200_000], flags=PLAIN))
            await greedy.stream.send_all(data)
            sent += len(data)
    except trio.BrokenResourceError:
        return sent
    raise AssertionError("20 GB of answers were taken in")


async def test_a_stream_that_is_never_read_holds_one_piece_and_ends_with_its_reader() -> None:
    async with archive() as house:
        async with intruder(house) as greedy:
            await greedy.peer.play_on(
                greedy.stream, [call(1, 0, "stream", [100_000], accept_bytes=2**40, flags=PLAIN)]
            )
            await greedy.peer.hear_on(greedy.stream, RETURN)
            async with connect(house.address, key=AGGREGATOR) as honest:
                assert await honest.bootstrap.call("add", 1, 1) == 2
        await until(lambda: "stream left" in house.events)


async def test_a_finished_stream_closes_its_generator_while_the_connection_lives() -> None:
    async with archive() as house, intruder(house) as one:
        await one.peer.play_on(
            one.stream,
            [call(1, 0, "stream", [10], accept_bytes=0, flags=PLAIN), Hear(RETURN), [FINISH, [1]]],
        )
        await until(lambda: house.events == ["stream left"])
        await one.peer.play_on(one.stream, [call(2, 0, "add", [1, 1], flags=PLAIN), Hear(RETURN)])

    assert END not in {frame[0] for frame in one.peer.heard}


async def test_opening_and_cancelling_what_ignores_it_runs_no_more_than_there_are_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "psp.endpoint._served.Subject", small_subject(calls_in_flight=30, ungranted_bytes=2**24)
    )
    async with archive() as house, intruder(house) as flood:
        for first in range(1, 3_000, 100):
            frames = [
                frame
                for question in range(first, first + 100)
                for frame in (call(question, 0, "persist", flags=PLAIN), [FINISH, [question]])
            ]
            await flood.stream.send_all(b"".join(map(frame_bytes, frames)))
            await trio.lowlevel.checkpoint()
        await flood.peer.play_on(flood.stream, [call(9_999, 0, "add", [1, 1], flags=PLAIN)])
        await flood.peer.hear_on(flood.stream, RETURN)
        refused = places(flood.peer)
        assert len(house.events) <= 30
        house.gate.set()
        with trio.fail_after(5):
            for question in range(10_000, 20_000):
                await flood.peer.play_on(
                    flood.stream, [call(question, 0, "add", [1, 1], flags=PLAIN), Hear(RETURN)]
                )
                if places(flood.peer)[2:] == (0, 2):
                    break
    assert error_code(refused) == Overloaded.code


def places(peer: ScriptedPeer, index: int = -1) -> tuple[Any, ...]:
    return tuple(peer.heard[index])


def error_code(places: tuple[Any, ...]) -> int:
    _, _, status, payload = places
    assert status == 2, places
    code: int = payload[0]
    return code


def received(peer: ScriptedPeer, question: int) -> int:
    """Bytes of one stream that have come."""
    chunks = (frame for frame in peer.heard if isinstance(frame, Chunk))
    return sum(len(chunk.data) for chunk in chunks if chunk.question == question)


def small_subject(**limits: int) -> Any:
    from psp.rpc import Subject

    def make(*args: Any, **options: Any) -> Subject:
        return Subject(*args, limits=INITIAL_LIMITS._replace(**limits), **options)

    return make


async def test_all_slots_held_by_streams_whose_credit_comes_behind_a_call_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("psp.endpoint._served.Subject", small_subject(calls_in_flight=3, streams=3))
    async with archive() as house, intruder(house) as one:
        opening = [call(n, 0, "stream", [50], accept_bytes=10, flags=PLAIN) for n in (1, 2, 3)]
        await one.peer.play_on(one.stream, [*opening, Hear(RETURN, 3)])
        await one.peer.play_on(
            one.stream, [call(4, 0, "add", [1, 1], flags=PLAIN), [5, 1, 1_000], Hear(RETURN)]
        )
        with trio.fail_after(5):
            while received(one.peer, 1) < 1_010:
                await one.peer.hear_on(one.stream, 0xC1)
        await one.peer.play_on(
            one.stream, [[FINISH, [1]], [6, 1], Hear(21), call(5, 0, "add", [1, 1], flags=PLAIN)]
        )
        await one.peer.hear_on(one.stream, RETURN)
    answers = {frame[1]: tuple(frame) for frame in one.peer.heard if isinstance(frame, Return)}
    assert error_code(answers[4]) == Overloaded.code
    assert answers[5][2:] == (0, 2)


async def test_a_capability_that_expires_while_its_call_waits_is_refused_when_the_turn_comes() -> (
    None
):
    async with archive() as house, connect(house.address, key=AGGREGATOR) as connection:
        granted = connection.present(b"token")
        slow = granted.call("room")
        behind = slow.call("add", 1, 1)
        beside = granted.call("wait")
        await until(lambda: "waiting" in house.events)
        house.is_expired = True
        house.gate.set()
        with pytest.raises(Expired):
            await behind
        assert await beside == "done"  # It had started in time.

    assert "add" not in house.events


@pytest.mark.parametrize(
    "name",
    [
        *("__init__", "__class__", "__call__", "__getattribute__", "__reduce__", "__array__"),
        *("_room", "check", "archive", "psp_methods", "add.__func__", "add ", "Add", "\x00add"),
    ],
)
async def test_a_method_is_a_row_of_the_table_and_never_an_attribute(name: str) -> None:
    async with archive() as house, intruder(house) as one:
        await one.peer.play_on(one.stream, [call(1, 0, name, flags=PLAIN), Hear(RETURN)])
        await one.peer.play_on(one.stream, [call(2, 0, "add", [1, 1], flags=PLAIN), Hear(RETURN)])

    assert error_code(places(one.peer, -2)) in (Invalid.code, Denied.code)
    assert places(one.peer)[2:] == (0, 2)


async def test_cancelling_what_has_just_started_leaves_nothing_behind() -> None:
    """One FINISH gives up a call and the one that only waited for its turn behind it."""
    async with archive() as house, intruder(house) as one:
        await one.peer.play_on(one.stream, [call(1, 0, "wait"), [6, 1], Hear(21)])
        gc.collect()
        before = count_calls()
        for turn in range(200):
            first = 10 * turn + 2
            await one.peer.play_on(
                one.stream,
                [
                    call(first, 0, "take", [promised(1)]),
                    call(first + 1, 0, "add", [1, 1]),
                    [FINISH, [first, first + 1]],
                    [6, turn + 2],
                    Hear(21),
                ],
            )
        gc.collect()
        assert count_calls() - before == Counter()
        assert house.events == ["waiting"] + ["add"] * house.events.count("add")


def count_calls() -> Counter[str]:
    return Counter(type(found).__name__ for found in gc.get_objects() if type(found) is CallReady)


async def test_a_handler_that_gives_nonsense_costs_its_own_call_only() -> None:
    class Bad(Room):
        @method
        def give(self) -> Any:
            return [object()]

        @method
        async def large(self) -> str:
            return "x" * 300_000

    def bad(house: Archive) -> Exposed:
        return Bad(house)

    async with archive(bad) as house, connect(house.address, key=AGGREGATOR) as connection:
        granted = connection.present(b"token")
        for name in ("give", "large"):
            with pytest.raises(CallFailed):
                await granted.call(name)
            with pytest.raises(CallFailed):
                await granted.call(name, is_last=True)
        assert await granted.call("add", 1, 1) == 2


async def test_ten_thousand_questions_at_once_are_all_answered_and_others_served() -> None:
    async with archive() as house, intruder(house) as flood, trio.open_nursery() as nursery:
        await flood.peer.play_on(flood.stream, [[1, 1, b"token"], Hear(RETURN)])
        frames = b"".join(
            frame_bytes(call(question, 1, "add", [1, 1], flags=PLAIN))
            for question in range(2, 10_002)
        )
        nursery.start_soon(flood.stream.send_all, frames)
        with trio.fail_after(60):
            async with connect(house.address, key=AGGREGATOR) as honest:
                assert await honest.bootstrap.call("add", 1, 1) == 2
            await flood.peer.hear_on(flood.stream, RETURN, 10_000)

    assert sum(frame[0] == RETURN for frame in flood.peer.heard) == 10_001


async def test_a_second_hello_is_told_and_cut() -> None:
    async with archive() as house, intruder(house) as one:
        await one.peer.play_on(one.stream, [HELLO])
        with trio.fail_after(5):
            await one.peer.hear_to_the_end(one.stream)

    assert one.peer.heard[-1][0] == SUBJECT_ABORT
