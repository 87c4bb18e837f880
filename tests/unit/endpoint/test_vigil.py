from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from trio.testing import MockClock

from psp.endpoint._limits import FRAME_S_MAX
from psp.endpoint._vigil import Vigil
from psp.rpc import BOOTSTRAP, CallReady, Controller
from psp.testing import Pair
from psp.wire import AbortCode


@dataclass
class Watched:
    """A subject under watch, on a clock that jumps: no machine is too slow for it."""

    pair: Pair = field(default_factory=Pair)
    ends: list[int] = field(default_factory=list)

    async def end(self, code: int, text: str) -> None:
        self.ends.append(code)

    def receive(self, data: bytes) -> None:
        for event in self.pair.subject.receive(data):
            assert isinstance(event, CallReady)
            self.pair.subject.resolve_value(event, None)


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    found = Watched()
    found.pair.carry_to_subject()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Vigil(found.pair.subject, found.end).keep)
        yield found
        nursery.cancel_scope.cancel()


def a_call(controller: Controller) -> bytes:
    controller.call(BOOTSTRAP, "note", remaining_ms=1, no_pipelining=True)
    return controller.data_to_send()


async def test_many_frames_each_in_time_are_not_mistaken_for_one_that_is_slow(
    autojump_clock: MockClock,
) -> None:
    """At every look a frame has begun; it is never the same one."""
    async with watched() as under:
        left = b""
        for _ in range(20):
            frame = a_call(under.pair.controller)
            under.receive(left + frame[:7])
            left = frame[7:]
            await trio.sleep(FRAME_S_MAX * 0.6)
        assert under.ends == []


async def test_a_frame_that_comes_by_the_byte_ends_the_connection_after_two_looks(
    autojump_clock: MockClock,
) -> None:
    async with watched() as under:
        for byte in a_call(under.pair.controller):
            under.receive(bytes([byte]))
            await trio.sleep(FRAME_S_MAX / 4)
            if under.ends:
                break
    assert under.ends == [AbortCode.LIMIT]
