"""The simulated world: several connections, what is done to them, and what must always hold.

Everything that happens is a step, and a step is a tuple of plain Python, such as
("call", 0, 0, "value", [], {}). The generator in `chance.py` chooses steps; a failing run prints
them; a test replays them. No step leaves anything to chance, so a replay needs no seed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from psp.errors import CallCancelled, DeadlineExceeded, Denied
from psp.rpc import CallReady, GrantRooms
from psp.testing import VirtualClock

from .line import SMALL, Line, Running

Step = tuple[Any, ...]

_HERE: Final = Path(__file__).parent


class Impossible(Exception):
    """A step names something that is not there. Only a shortened trace has such steps."""


class World:
    """Connections side by side on one clock.

    Attributes:
        lines: One for each connection, in the order that they were made.
    """

    def __init__(self, chance: Random | None = None) -> None:
        self.clock = VirtualClock()
        self.lines: list[Line] = []
        self.grants = GrantRooms()
        # Only for the delays of the links: a replay takes bytes by number and asks for no delay.
        self._chance = chance or Random(0)

    def run(self, step: Step) -> None:
        """Do one step, and check the laws of the connection that it touched."""
        name, *arguments = step
        try:
            STEPS[name](self, *arguments)
        except (KeyError, IndexError) as exc:
            if Path(traceback.extract_tb(exc.__traceback__)[-1].filename).parent != _HERE:
                raise  # A core that looks up what is not there is what we are after.
            raise Impossible(f"{step}: {exc!r}") from exc
        for held, limit in (
            (self.grants.calls, SMALL.grant_calls),
            (self.grants.exports, SMALL.grant_exports),
        ):
            # What the bootstrap gives belongs to no grant; its connection's limits hold.
            over = {tag: count for tag, count in held.items() if tag and count > limit}
            assert not over, f"{over}: the limit is {limit}"
        if arguments and name != "tick":
            self.lines[arguments[0]].check()

    # Steps of everybody.

    def connect(self) -> None:
        self.lines.append(Line(self.clock, self._chance, self.grants))

    def tick(self, ms: int) -> None:
        """Let time pass; handlers whose time is up end with `deadline`, as the shell sees to."""
        self.clock.advance(ms)
        for line in self.lines:
            for call in list(line.running.values()):
                if isinstance(call, CallReady) and call.deadline_ms <= self.clock.now_ms:
                    self._end(line, call, "deadline")

    # Steps of the controller.

    def present(self, c: int, token: bytes) -> None:
        self.lines[c].present(token)

    def call(
        self, c: int, target: Any, method: str, arguments: Sequence[Any], options: dict[str, Any]
    ) -> None:
        self.lines[c].call(target, method, arguments, options)

    def finish(self, c: int, question: int) -> None:
        self.lines[c].finish(question)

    def release(self, c: int, export: int) -> None:
        self.lines[c].release(export)

    def credit(self, c: int, question: int, size: int) -> None:
        self.lines[c].credit(question, size)

    def ping(self, c: int) -> None:
        self.lines[c].controller.ping()

    # Steps of the subject's handlers.

    def settle(self, c: int, answer_id: int, outcome: str) -> None:
        line = self.lines[c]
        self._end(line, line.running[answer_id], outcome)

    def offer(self, c: int, answer_id: int, size: int) -> None:
        line = self.lines[c]
        line.offer(line.streaming[answer_id], size)

    def end_stream(self, c: int, answer_id: int, is_cut_short: bool) -> None:
        line = self.lines[c]
        line.end_stream(line.streaming[answer_id], is_cut_short=is_cut_short)

    def _end(self, line: Line, call: Running, outcome: str) -> None:
        if call.answer_id in line.streaming:
            line.end_stream(call, is_cut_short=outcome != "value")
        elif outcome in FAILURES:
            line.fail(call, FAILURES[outcome]())
        else:
            line.settle(call, outcome)

    # Steps of the link, and of what is worse than a link.

    def flush(self, c: int) -> None:
        self.lines[c].flush()

    def to_subject(self, c: int, size: int) -> None:
        self.lines[c].to_subject(size)

    def to_controller(self, c: int, size: int) -> None:
        self.lines[c].to_controller(size)

    def inject(self, c: int, way: str, data: bytes) -> None:
        line = self.lines[c]
        line.is_honest = False
        line.way(way).send(data)

    def replace(self, c: int, way: str, start: int, end: int, data: bytes) -> None:
        line = self.lines[c]
        line.is_honest = False
        line.way(way).replace(start, end, data)

    def go_away(self, c: int) -> None:
        self.lines[c].go_away()

    def abort(self, c: int, who: str) -> None:
        self.lines[c].abort(who)

    def cut(self, c: int) -> None:
        self.lines[c].cut()

    def drain(self, c: int) -> None:
        self.lines[c].drain()
        if all(line.is_drained for line in self.lines):
            assert not self.grants.calls, "a grant holds slots of calls that are no more"
            assert not self.grants.exports, "a grant holds references that are no more"


FAILURES: Final = {"fail": Denied, "deadline": DeadlineExceeded, "cancelled": CallCancelled}

STEPS: Final[dict[str, Callable[..., None]]] = {
    step.__name__: step
    for step in (
        *(World.connect, World.tick, World.present, World.call, World.finish, World.release),
        *(World.credit, World.ping, World.settle, World.offer, World.end_stream, World.flush),
        *(World.to_subject, World.to_controller, World.inject, World.replace, World.go_away),
        *(World.abort, World.cut, World.drain),
    )
}


def replay(steps: Sequence[Step]) -> None:
    """Do the steps of a printed trace, one after the other."""
    world = World()
    for step in steps:
        world.run(step)
