"""Where the time of a null call goes: the same call with more and more layers around it."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import trio

from benchmarks._contest import Spread, hall
from benchmarks._report import Report
from benchmarks._versions import in_force
from benchmarks.peers._certificates import (
    client_context,
    make_certificate,
    make_seed,
    server_context,
)
from benchmarks.peers._child import Setting, one_by_one, one_by_one_async, summary
from benchmarks.peers._pairing import Pairing
from benchmarks.peers.ours import listener
from benchmarks.peers.raw_tls import NULL_CALL
from psp.endpoint import Reference, connect
from psp.rpc import BOOTSTRAP, CallReady, Controller, Returned, Subject

ROUNDS: Final = 7
CALLS: Final = 1_000
TOGETHER: Final = 100
_BUFFER: Final = bytearray(65_536)


def run(*, quick: bool = False) -> dict[str, object]:
    """Take each layer in turn, some times over; about twenty seconds."""
    rounds, calls = (1, 100) if quick else (ROUNDS, CALLS)
    report = Report("profile", {})
    taken: dict[str, list[float]] = {}
    with hall() as place, tempfile.TemporaryDirectory() as name:
        make_certificate(Path(name))
        make_seed(Path(name))
        ours, raw = place.start("psp", "ours"), place.start("raw_tls", "raw_tls")
        for _ in range(rounds):
            for layer, measure in _LAYERS.items():
                taken.setdefault(layer, []).append(measure(Setting(name), calls))
            for layer, contestant in (("raw_two_processes", raw), ("whole", ours)):
                found = contestant.measure("null", calls)["median_us"]
                taken.setdefault(layer, []).append(found)
    for layer, times in taken.items():
        report.note("us_per_call", layer, Spread.of(times))
    report.figures["layers"] = WORDS
    report.limits.update(in_force())
    return report.to_json()


WORDS: Final = {
    "controller_asks": "the controller's core writes a CALL",
    "subject_answers": "the subject's core reads it and writes the RETURN",
    "controller_hears": "the controller's core reads that",
    "cores": "both cores in memory, one call at a time: no TLS, no kernel, no loop",
    "cores_100": "the same, 100 calls in one go",
    "tls": "TLS and the kernel: two sends and two receives in one thread",
    "cores_tls": "the cores with TLS between them, in one thread",
    "trio_turn": "one wait for a socket that is readable already",
    "one_process": "the whole, both ends in one trio loop: no other core is woken",
    "raw_two_processes": "TLS alone between two processes: what waking a process costs is in it",
    "whole": "the whole, two processes",
}


# Layers that need no loop.


class _Cores:
    """A controller and a subject that have met."""

    def __init__(self) -> None:
        self.controller = Controller()
        self.subject = Subject(bytes(32), bootstrap="bootstrap")
        self.subject.hello(datetime.now(UTC))

    def ask(self, count: int) -> bytes:
        for _ in range(count):
            self.controller.call(BOOTSTRAP, "null", (), remaining_ms=30_000, no_pipelining=True)
        return self.controller.data_to_send()

    def answer(self, data: bytes | memoryview) -> bytes:
        for event in self.subject.receive(data):
            if type(event) is CallReady:
                self.subject.resolve_value(event, None)
        return self.subject.data_to_send()

    def hear(self, data: bytes | memoryview, count: int) -> None:
        returned = [event for event in self.controller.receive(data) if type(event) is Returned]
        assert len(returned) == count


def _cores(_setting: Setting, calls: int) -> float:
    cores = _Cores()
    return one_by_one(lambda: cores.hear(cores.answer(cores.ask(1)), 1), calls)["median_us"]


def _part(index: int) -> Callable[[Setting, int], float]:
    """Make the layer that is one of the three steps of `_cores`."""

    def measure(_setting: Setting, calls: int) -> float:
        cores, times = _Cores(), []
        for _ in range(calls):
            marks = [perf_counter_ns()]
            asked = cores.ask(1)
            marks.append(perf_counter_ns())
            answered = cores.answer(asked)
            marks.append(perf_counter_ns())
            cores.hear(answered, 1)
            marks.append(perf_counter_ns())
            times.append(marks[index + 1] - marks[index])
        return summary(times)["median_us"]

    return measure


def _cores_100(_setting: Setting, calls: int) -> float:
    cores = _Cores()
    found = one_by_one(
        lambda: cores.hear(cores.answer(cores.ask(TOGETHER)), TOGETHER), max(calls // 10, 10)
    )
    return found["median_us"] / TOGETHER


def _tls(setting: Setting, calls: int) -> float:
    with _tls_pair(setting) as (near, far):

        def echo() -> None:
            near.send(NULL_CALL)
            far.send(_BUFFER[: far.recv_into(_BUFFER)])
            near.recv_into(_BUFFER)

        return one_by_one(echo, calls)["median_us"]


def _cores_tls(setting: Setting, calls: int) -> float:
    cores = _Cores()
    view = memoryview(_BUFFER)
    with _tls_pair(setting) as (near, far):

        def call() -> None:
            near.send(cores.ask(1))
            far.send(cores.answer(view[: far.recv_into(_BUFFER)]))
            cores.hear(view[: near.recv_into(_BUFFER)], 1)

        return one_by_one(call, calls)["median_us"]


@contextmanager
def _tls_pair(setting: Setting) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Join two TLS sockets of one thread: each handshake step is tried until both are done."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    near = client_context(setting).wrap_socket(
        left, server_hostname="localhost", do_handshake_on_connect=False
    )
    far = server_context(setting).wrap_socket(
        right, server_side=True, do_handshake_on_connect=False
    )
    with near, far:
        waiting = [near, far]
        while waiting:
            try:
                waiting[0].do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(waiting.pop(0))
            else:
                waiting.pop(0)
        near.setblocking(True)
        far.setblocking(True)
        yield near, far


# Layers with a loop.


def _trio_turn(_setting: Setting, calls: int) -> float:
    async def main() -> float:
        near, far = socket.socketpair()
        with near, far:
            far.send(b"!")
            wait = partial(trio.lowlevel.wait_readable, near)
            return (await one_by_one_async(wait, calls))["median_us"]

    return trio.run(main)


def _one_process(setting: Setting, calls: int) -> float:
    async def main() -> float:
        pairing = Pairing.of(setting)
        async with trio.open_nursery() as nursery:
            _, port = await nursery.start(listener(pairing))
            async with connect(pairing.address(port), key=pairing.controller) as connection:
                node = await connection.present(pairing.token())
                assert isinstance(node, Reference)
                null = partial(node.call, "null", is_last=True)
                found = await one_by_one_async(null, calls)
            nursery.cancel_scope.cancel()
        return found["median_us"]

    return trio.run(main)


_LAYERS: Final[dict[str, Callable[[Setting, int], float]]] = {
    "controller_asks": _part(0),
    "subject_answers": _part(1),
    "controller_hears": _part(2),
    "cores": _cores,
    "cores_100": _cores_100,
    "tls": _tls,
    "cores_tls": _cores_tls,
    "trio_turn": _trio_turn,
    "one_process": _one_process,
}
