"""A failing run becomes a test: its steps as Python source, without those that do not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from .chance import moves
from .world import Impossible, Step, World, replay

REPLAYS_MAX: Final = 2_000
"""Replays that a trace may be shortened by; each takes a few milliseconds, fewer as it shortens."""

Replay = Callable[[Sequence[Step]], None]


class RunFailed(AssertionError):
    """A law was broken. The text is a test to paste into tests/simulation/test_traces.py."""


def simulate(seed: int) -> None:
    """Do the run of one seed.

    Raises:
        RunFailed: A law was broken; it prints the shortest run found that breaks it too.
    """
    world, done = World(), list[Step]()
    try:
        for step in moves(seed, world):
            done.append(step)
            world.run(step)
    except Exception as exc:
        raise RunFailed(source_of(shortened(done, exc), seed, exc)) from exc


def failure_of(steps: Sequence[Step]) -> Exception | None:
    """Replay, and give what went wrong."""
    try:
        replay(steps)
    except Exception as exc:
        return exc
    return None


def _is_like(found: Exception | None, wanted: Exception) -> bool:
    """The same law, not the same numbers in its message."""
    if type(found) is not type(wanted) or isinstance(found, Impossible):
        return False
    return _where(found) == _where(wanted)


def _where(exc: Exception | None) -> tuple[str, int] | None:
    if exc is None or exc.__traceback__ is None:
        return None
    trace = exc.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno


def shortened(steps: Sequence[Step], wanted: Exception) -> list[Step]:
    """Leave out whatever the failure does not need: halves first, then smaller pieces."""
    kept, left = list(steps), REPLAYS_MAX
    size = len(kept) // 2
    while size and left > 0:
        start, before = 0, len(kept)
        while start < len(kept) and left > 0:
            without = kept[:start] + kept[start + size :]
            left -= 1
            if _is_like(failure_of(without), wanted):
                kept = without
            else:
                start += size
        # Single steps again and again: one is needed only until another has gone.
        size = 1 if size == 1 and len(kept) < before else size // 2
    return kept


def source_of(steps: Sequence[Step], seed: int, exc: Exception) -> str:
    """Write a test that replays `steps`."""
    lines = "".join(f"            {step!r},\n" for step in steps)
    return (
        f"seed {seed}: {type(exc).__name__}: {exc}\n\n"
        f"def test_the_trace_of_seed_{seed}() -> None:\n"
        f"    replay(\n        [\n{lines}        ]\n    )\n"
    )
