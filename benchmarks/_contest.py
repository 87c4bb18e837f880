"""Contestants in processes of their own, measured in turn.

Each contestant is two children of this process, a server and a driver. Nobody is pinned to a core,
and of every pair that is compared one sample is taken right after the other: this kind of machine
changes its pace within seconds, and both then meet the same pace.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from benchmarks._process import cpu_ns
from benchmarks.peers._certificates import make_certificate, make_seed
from benchmarks.peers._child import Sample, Setting

ANSWER_S_MAX = 120.0
"""Longest wait for one sample; the longest takes two seconds."""

END_S_MAX = 5.0


CIPHER: Final = "TLS_AES_128_GCM_SHA256"
"""What all contestants speak. gRPC takes no other; OpenSSL that is not told takes AES-256:
up to a sixth more work for the same bytes. Read in the ServerHello of each of them."""

_OPENSSL: Final = "openssl.cnf"
_ONE_CIPHER: Final = f"""openssl_conf = here
[here]
ssl_conf = tls
[tls]
system_default = all
[all]
Ciphersuites = {CIPHER}
"""
"""Python 3.11 has no call for it: https://docs.openssl.org/3.0/man5/config/ has this file."""


class ContestantFailedError(RuntimeError):
    """A child ended, or did not answer; its own words are on standard error."""


class Contestant:
    """One implementation under test: its server and its driver."""

    def __init__(self, name: str, server: Child, driver: Child, port: int) -> None:
        self.name = name
        self.server = server
        self.driver = driver
        self.port = port

    def measure(self, do: str, count: int) -> Sample:
        """Take one sample, and add what both processes spent on it."""
        before = self._cpu_ns()
        sample = self.driver.ask([do, count])
        # Both wait again, so the kernel has booked all of their time.
        sample["cpu_us"] = (self._cpu_ns() - before) / 1e3 / max(sample.get("calls", 1), 1)
        return sample

    def _cpu_ns(self) -> int:
        return cpu_ns(self.server.pid) + cpu_ns(self.driver.pid)


class Child:
    """A process that answers lines with lines."""

    def __init__(self, process: subprocess.Popen[str], what: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._in, self._out = process.stdin, process.stdout
        self._what = what

    def ask(self, command: Sequence[object]) -> Sample:
        with suppress(BrokenPipeError):  # It has ended, which is found in the same words below.
            self._in.write(json.dumps(command) + "\n")
            self._in.flush()
        return self.hear()

    def hear(self) -> Sample:
        """Wait for one line.

        Raises:
            ContestantFailedError: It ended, or was silent for too long.
        """
        readable, _, _ = select.select([self._out], [], [], ANSWER_S_MAX)
        line = self._out.readline() if readable else ""
        if not line:
            raise ContestantFailedError(
                f"{self._what} (process {self.pid}) was to answer and"
                f" {'ended' if readable else f'was silent for {ANSWER_S_MAX:g} s'}."
                " Read above what it wrote."
            )
        answer: Sample = json.loads(line)
        return answer


class Hall:
    """Where contestants are started, and all of them are ended."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack

    def start(
        self, name: str, module: str, *, loop: str = "asyncio", through: str | None = None
    ) -> Contestant:
        """Start a server and a driver that is connected to it, perhaps through a proxy."""
        server = self.child(name, module, "serve", Setting(str(self.directory), loop))
        port = int(server.hear()["port"])
        if through is not None:
            proxy = self.child(name, through, "serve", Setting(str(self.directory), loop, port))
            port = int(proxy.hear()["port"])
        driver = self.child(name, module, "drive", Setting(str(self.directory), loop, port))
        driver.hear()
        return Contestant(name, server, driver, port)

    def child(self, name: str, module: str, role: str, setting: Setting) -> Child:
        process = self._stack.enter_context(_reaped(module, role, setting))
        return Child(process, f"the {role} process of {name}")


@contextmanager
def hall() -> Iterator[Hall]:
    """Give a place for one run; when it is left, nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name, ExitStack() as stack:
        make_certificate(Path(name))
        make_seed(Path(name))
        (Path(name) / _OPENSSL).write_text(_ONE_CIPHER)
        yield Hall(Path(name), stack)


@contextmanager
def _reaped(module: str, role: str, setting: Setting) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.peers", module, role, setting.to_json()]
    # In a session of its own, so that Ctrl-C ends the benchmark, which then ends its children.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
        env={**os.environ, "OPENSSL_CONF": str(Path(setting.directory) / _OPENSSL)},
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


class Spread(NamedTuple):
    """The median of some samples, and between what they lay."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def rounded(self) -> Spread:
        return Spread(*(float(f"{value:.4g}") for value in self))


class Duel(NamedTuple):
    """Two contestants at the same task: pairs of samples, each taken one after the other."""

    ours: list[Sample]
    theirs: list[Sample]

    def ratio(self, of: Callable[[Sample, Sample], float]) -> Spread:
        """Compare pair by pair, `of(ours, theirs)`."""
        return Spread.of([of(ours, theirs) for ours, theirs in zip(*self, strict=True)])


class Task(NamedTuple):
    """What a driver is asked to do, and how often in one sample."""

    do: str
    calls: int


class Measured(Protocol):
    """What samples can be taken of."""

    def measure(self, do: str, count: int) -> Sample:
        """Take one sample."""


def alternate(
    ours: tuple[Measured, Task],
    theirs: Mapping[str, tuple[Measured, Task]],
    *,
    rounds: int,
) -> dict[str, Duel]:
    """Let ours meet each of the others in turn, `rounds` times."""
    duels = {name: Duel([], []) for name in theirs}
    for _ in range(rounds):
        for name, (contestant, task) in theirs.items():
            duels[name].ours.append(ours[0].measure(*ours[1]))
            duels[name].theirs.append(contestant.measure(*task))
    return duels
