"""What happens in the moment before trio's loop waits."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.lowlevel

from psp.transport._flush import Flusher, flusher
from psp.transport._limits import (
    LOOK_S_MAX,
    PAUSE_S,
    SHORT_WAIT_S,
    SHORT_WAITS_MAX,
    SHORT_WAITS_MIN,
)


class Clock:
    """Time that passes when it is looked at."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.step_s = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        self.now_s += self.step_s
        return self.now_s


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def wait_often(flush: Flusher, clock: Clock, times: int, apart_s: float) -> None:
    """Come to the moment before a wait so many times, so far apart."""
    for _ in range(times):
        clock.now_s += apart_s
        flush.before_io_wait(10.0)


async def test_what_was_asked_for_is_called_once_before_the_next_wait() -> None:
    flush, calls = Flusher(), list[str]()
    flush.ask(lambda: calls.append("a"))
    flush.ask(lambda: calls.append("b"))
    flush.before_io_wait(0)
    flush.before_io_wait(0)
    assert calls == ["a", "b"]
    assert flush.turn == 2


async def test_a_loop_whose_waits_are_long_never_looks(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    clock = Clock()
    flush = Flusher(clock=clock)
    flush.join(ends[0].fileno())
    wait_often(flush, clock, 100, apart_s=SHORT_WAIT_S * 2)
    flush.leave(ends[0].fileno())
    assert clock.looks == 100  # One for each wait, none to look for bytes.


async def test_a_loop_whose_waits_are_short_looks_and_finds(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    clock = Clock()
    flush = Flusher(clock=clock)
    flush.join(ends[0].fileno())
    ends[1].send(b"x")
    wait_often(flush, clock, SHORT_WAITS_MIN * 3, apart_s=SHORT_WAIT_S / 2)
    flush.leave(ends[0].fileno())
    assert flush._short_waits_needed == SHORT_WAITS_MIN
    assert flush._short_waits > SHORT_WAITS_MIN


async def test_who_waits_for_room_is_looked_for_too(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    clock = Clock()
    clock.step_s = LOOK_S_MAX / 100  # So a look in vain is a hundred looks at the clock.
    flush = Flusher(clock=clock)
    fd = ends[0].fileno()  # It has room, and nothing to read.
    flush.join(fd)
    flush.look_for_room(fd, True)
    wait_often(flush, clock, SHORT_WAITS_MIN + 20, apart_s=SHORT_WAIT_S / 4)
    found = clock.looks
    flush.look_for_room(fd, False)
    wait_often(flush, clock, SHORT_WAITS_MIN, apart_s=SHORT_WAIT_S / 4)
    flush.leave(fd)
    assert found == SHORT_WAITS_MIN + 20
    assert clock.looks > found + 100


async def test_a_socket_that_was_closed_is_not_looked_for(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    flush = Flusher()
    fd = ends[0].fileno()
    flush.join(fd)
    ends[0].close()
    flush.look_for_room(fd, True)
    flush.look_for_room(-1, True)
    flush.leave(fd)
    assert flush.turn == 0


async def test_each_look_in_vain_makes_the_next_one_half_as_likely(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """A program whose waits are not what they seem looks at most once in thousands."""
    clock = Clock()
    flush = Flusher(clock=clock)
    flush.join(ends[0].fileno())
    clock.step_s = LOOK_S_MAX  # One look at the clock, and the time is over.
    waits = 20_000
    wait_often(flush, clock, waits, apart_s=0)
    flush.leave(ends[0].fileno())
    in_vain = clock.looks - waits
    assert flush._short_waits_needed == SHORT_WAITS_MAX
    assert 0 < in_vain < 20


async def test_a_pause_lets_the_loop_look_again(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    clock = Clock()
    flush = Flusher(clock=clock)
    flush.join(ends[0].fileno())
    clock.step_s = LOOK_S_MAX  # Each look is in vain.
    wait_often(flush, clock, 20_000, apart_s=0)
    assert flush._short_waits_needed == SHORT_WAITS_MAX
    clock.step_s = 0.0
    ends[1].send(b"x")
    wait_often(flush, clock, 1, apart_s=PAUSE_S / 2)
    assert flush._short_waits_needed == SHORT_WAITS_MAX
    wait_often(flush, clock, 1, apart_s=2 * PAUSE_S)
    wait_often(flush, clock, SHORT_WAITS_MIN, apart_s=SHORT_WAIT_S / 2)
    flush.leave(ends[0].fileno())
    assert flush._short_waits_needed == SHORT_WAITS_MIN


async def test_nothing_is_looked_for_while_a_task_is_ready(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    clock = Clock()
    flush = Flusher(clock=clock)
    flush.join(ends[0].fileno())
    for _ in range(100):
        flush.before_io_wait(0)
    flush.leave(ends[0].fileno())
    assert clock.looks == 0


async def test_each_trio_run_has_one_and_it_is_gone_with_its_last_user(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    flush = flusher()
    assert flusher() is flush
    for end in ends:
        flush.join(end.fileno())
    flush.leave(ends[0].fileno())
    turn = flush.turn
    await trio.lowlevel.checkpoint()
    assert flush.turn > turn
    flush.leave(ends[1].fileno())
    turn = flush.turn
    await trio.lowlevel.checkpoint()
    assert flush.turn == turn
