"""From one seed, a whole run: who connects, asks, answers, stalls, lies and leaves, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from psp.wire import Role
from tests.fuzz.mutation import new_frame

from .line import Line
from .world import Step, World

STEPS: Final = 220
METHODS: Final = (
    *("value", "value", "object", "object", "objects", "fail", "stream", "large"),
    *("later", "later", "later_2"),
)
OUTCOMES: Final = ("value", "object", "objects", "stream", "fail", "cancelled", "large")
PATHS: Final[tuple[tuple[str | int, ...], ...]] = (
    (),
    (),
    (),
    ("a",),
    ("list", 0),
    ("one",),
    ("no",),
)


def moves(seed: int, world: World) -> Iterator[Step]:
    """Choose the steps of a run, each after the one before it was done."""
    chance = Random(seed)
    count = chance.randint(2, 4)
    liars = {c for c in range(count) if chance.random() < 0.25}
    for c in range(count):
        yield ("connect",)
        # Most first flights are like this one.
        yield ("present", c, b"grant a")
    for _ in range(STEPS):
        c = chance.randrange(count)
        yield from _next_steps(chance, world, c, c in liars)
    for c in range(count):
        yield ("drain", c)


def _next_steps(chance: Random, world: World, c: int, is_liar: bool) -> Iterator[Step]:
    line = world.lines[c]
    if line.is_over and chance.random() < 0.7:
        return
    moment = chance.random()
    # The link first: without it nothing else can happen.
    if moment < 0.30:
        yield ("flush", c)
        yield from _arrivals(chance, line, c)
    elif moment < 0.36:
        yield ("tick", chance.choice((1, 20, 60, 400)))
    elif moment < 0.37:
        chance.choice((line.link.to_subject, line.link.to_controller)).stall(200)
    elif moment < 0.372:
        yield chance.choice((("cut", c), ("abort", c, "controller"), ("abort", c, "subject")))
    elif moment < 0.376:
        yield ("go_away", c)
    elif moment < 0.44 and is_liar:
        yield from _lie(chance, line, c)
    elif moment < 0.58:
        yield from _answer(chance, line, c)
    else:
        yield from chance.choice(ASKING)(chance, line, c)


def _arrivals(chance: Random, line: Line, c: int) -> Iterator[Step]:
    for name in chance.sample(("to_subject", "to_controller"), 2):
        size = line.way(name).choose_size()
        if size:
            yield (name, c, size)


# The caller.


def _targets(chance: Random, line: Line) -> Any:
    promises = sorted((line.open | line.kept) - line.last)
    # Mostly what was asked lately: chains are deep.
    recent = promises[-4:] or promises
    kind = chance.random()
    if promises and kind < 0.6:
        question = chance.choice(chance.choice((recent, promises)))
        return (question, chance.choice(PATHS))
    if line.held and kind < 0.85:
        return chance.choice(sorted(line.held))
    return 0


def _argument(chance: Random, line: Line) -> Any:
    if chance.random() < 0.5:
        return ("promise", _targets(chance, line))
    return chance.choice((1, "text", [1, 2]))


def _options(chance: Random, method: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if chance.random() < 0.15 or method == "objects":
        options["no_result"] = True
    if chance.random() < 0.15:
        options["no_pipelining"] = True
    if chance.random() < 0.3 or method == "stream":
        options["accept_bytes"] = chance.choice((0, 30, 500, 2**20))
    if chance.random() < 0.3:
        options["remaining_ms"] = chance.choice((0, 50, 500))
    return options


def _call(chance: Random, line: Line, c: int) -> Iterator[Step]:
    for _ in range(chance.choice((1, 1, 2, 5))):
        method = chance.choice(METHODS)
        arguments = [_argument(chance, line) for _ in range(chance.choice((0, 0, 1, 2)))]
        yield ("call", c, _targets(chance, line), method, arguments, _options(chance, method))


def _present(chance: Random, line: Line, c: int) -> Iterator[Step]:
    yield ("present", c, chance.choice((b"grant a", b"grant b", b"later", b"fail")))


def _finish(chance: Random, line: Line, c: int) -> Iterator[Step]:
    questions = sorted(line.open | line.kept | set(line.streams))
    for question in chance.sample(questions, min(len(questions), chance.choice((1, 1, 3)))):
        yield ("finish", c, question)


def _release(chance: Random, line: Line, c: int) -> Iterator[Step]:
    if line.held:
        yield ("release", c, chance.choice(sorted(line.held)))


def _credit(chance: Random, line: Line, c: int) -> Iterator[Step]:
    if line.streams:
        yield ("credit", c, chance.choice(sorted(line.streams)), chance.choice((1, 100, 3_000)))


def _ping(chance: Random, line: Line, c: int) -> Iterator[Step]:
    yield ("ping", c)


Asking = Callable[[Random, Line, int], Iterator[Step]]
ASKING: Final[tuple[Asking, ...]] = (
    *(_call, _call, _call, _call, _finish, _finish, _release, _credit, _credit, _present, _ping),
)

# The handlers.


def _answer(chance: Random, line: Line, c: int) -> Iterator[Step]:
    if line.streaming and chance.random() < 0.6:
        answer_id = chance.choice(sorted(line.streaming))
        if chance.random() < 0.75:
            yield ("offer", c, answer_id, chance.choice((1, 40, 2_000, 70_000)))
        else:
            yield ("end_stream", c, answer_id, chance.random() < 0.3)
    settling = sorted(set(line.running) - set(line.streaming))
    if settling:
        yield ("settle", c, chance.choice(settling), chance.choice(OUTCOMES))


# The liars.


def _lie(chance: Random, line: Line, c: int) -> Iterator[Step]:
    name = chance.choice(("to_subject", "to_controller"))
    if chance.random() < 0.6:
        sender = Role.CONTROLLER if name == "to_subject" else Role.SUBJECT
        yield ("inject", c, name, new_frame(chance, sender))
        return
    size = line.way(name).bytes_on_the_way
    if size:
        start = chance.randrange(size)
        end = min(size, start + chance.choice((0, 1, 1, 4)))
        yield ("replace", c, name, start, end, chance.randbytes(chance.choice((0, 1, 1, 4))))
