"""What every child process shares: how it is told what to do, and how it says what it took."""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import TypeAlias

Sample: TypeAlias = dict[str, float]
"""One measurement: `calls`, `seconds`, and whatever else was looked at."""

Call: TypeAlias = Callable[[], Awaitable[object]]
Command: TypeAlias = Callable[[int], Awaitable[Sample]]


@dataclass(frozen=True)
class Setting:
    """What a child is told when it starts.

    Attributes:
        directory: Holds the certificates and seeds of this run.
        loop: "asyncio" or "uvloop", for the peers that run on either.
        port: Where the server listens; 0 for the server itself, which says where.
        box: The directory of the archive that is served, for what serves one.
    """

    directory: str
    loop: str = "asyncio"
    port: int = 0
    box: str = ""

    def file(self, name: str) -> Path:
        return Path(self.directory, name)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Setting:
        return cls(**json.loads(text))


def end_with_the_parent() -> None:
    """End this process when the parent closes the pipe or dies, however it dies."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def say(answer: Mapping[str, float]) -> None:
    print(json.dumps(answer), flush=True)


def answer_commands(commands: Mapping[str, Callable[[int], Sample]]) -> None:
    """Do what the parent asks, line by line, until it closes the pipe."""
    say({"ready": 1})
    for line in sys.stdin:
        name, count = json.loads(line)
        say(commands[name](count))


async def answer_commands_async(
    commands: Mapping[str, Command], in_thread: Callable[[Callable[[], str]], Awaitable[str]]
) -> None:
    """As `answer_commands`; the event loop lives on while nothing is asked."""
    say({"ready": 1})
    while line := await in_thread(sys.stdin.readline):
        name, count = json.loads(line)
        say(await commands[name](count))


def one_by_one(call: Callable[[], object], count: int) -> Sample:
    """Time calls that block, one after the other."""
    times = []
    for _ in range(count):
        start = perf_counter_ns()
        call()
        times.append(perf_counter_ns() - start)
    return summary(times)


async def one_by_one_async(call: Call, count: int) -> Sample:
    """Time calls, one after the other."""
    times = []
    for _ in range(count):
        start = perf_counter_ns()
        await call()
        times.append(perf_counter_ns() - start)
    return summary(times)


def summary(times_ns: Sequence[int]) -> Sample:
    ordered = sorted(times_ns)
    return {
        "calls": len(ordered),
        "seconds": sum(ordered) / 1e9,
        "median_us": statistics.median(ordered) / 1e3,
        "p99_us": ordered[len(ordered) * 99 // 100] / 1e3,
    }


def together(calls: int, start_ns: int) -> Sample:
    """Sum up calls that overlapped, from their start until now."""
    seconds = (perf_counter_ns() - start_ns) / 1e9
    return {"calls": calls, "seconds": seconds, "calls_per_s": calls / seconds}
