"""Commands through retries, cuts, restarts and a memory that forgets: each is done at most once.

A model of a map says what was done under which key; the archive is a real one, with its files.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from psp.capability import CommandKey
from psp.errors import Invalid
from psp.totebox._limits import COMMAND_KEPT_S
from tests.unit.totebox.commanding import (
    START_S,
    Clock,
    Served,
    command,
    found,
    rows_file,
    serving,
)

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("suspend", {}),
    ("resume", {}),
    ("append", rows_file("id,date,price,rooms\n0019,2014-07-01,1,1\n")),
    ("append", rows_file("id,date,price,rooms\n0019,2014-07-01,2,1\n")),
    ("append", rows_file("words", "a.txt", "documents")),
]
KEYS, MACHINES = st.integers(0, 1), st.sampled_from(["ADMIN", "other"])
ORDERS = st.tuples(MACHINES, KEYS, st.integers(0, len(REQUESTS) - 1))


class CommandMachine(RuleBasedStateMachine):
    """One archive, two machines that command it, and everything that gets between them."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="psp-stateful-"))
        self.clock, self.ages = Clock(), [START_S] * 2
        self.last = ("ADMIN", 0, 0)
        # By machine and key: the request, and what was told of it.
        self.done: dict[tuple[str, bytes], tuple[int, dict[str, Any] | None]] = {}
        self.box = found(self.place)
        self.open = ExitStack()
        self.served: Served = self.open.enter_context(serving(self.box, self.clock))
        self.before = len(self.served.entries())

    def teardown(self) -> None:
        self.open.close()
        shutil.rmtree(self.place)

    def key(self, number: int) -> bytes:
        return CommandKey(self.ages[number], number.to_bytes(16)).to_bytes()

    @rule(order=ORDERS)
    def tell(self, order: tuple[str, int, int]) -> None:
        self.last = order
        self.try_again()

    @rule()
    def try_again(self) -> None:
        machine, number, request = self.last
        key, (name, given) = self.key(number), REQUESTS[request]
        known = self.done.get((machine, key))
        try:
            told = trio.run(command, self.served.grant(machine), name, given, key)
        except Invalid:
            # What was done is told again, whatever has become of the archive; until it is too old.
            assert known is None or known[0] != request or not self.is_young(number)
            return
        told_before = None if known is None else known[1]
        assert told["repeated"] is (known is not None)
        if known is not None:
            assert known[0] == request
        if told_before is not None:
            assert replace_repeated(told) == told_before
        self.done[machine, key] = request, replace_repeated(told)

    @rule(order=ORDERS, steps=st.integers(0, 40))
    def tell_and_be_cut_off(self, order: tuple[str, int, int], steps: int) -> None:
        """The connection ends at some step: whether it was done, the caller does not learn."""
        self.last = machine, number, request = order
        key, (name, given) = self.key(number), REQUESTS[request]
        size = len(self.served.commanded())

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attempt)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

        async def attempt() -> None:
            with suppress(Invalid):
                await command(self.served.grant(machine), name, given, key)

        trio.run(main)
        if len(self.served.commanded()) > size:
            assert (machine, key) not in self.done
            self.done[machine, key] = request, None

    @rule()
    def restart(self) -> None:
        self.open.close()
        self.served = self.open.enter_context(serving(self.box, self.clock))

    @rule()
    def lose_the_file_that_spares_reading_the_ledger(self) -> None:
        file = self.served.archive.memory.state()
        with file.writing():
            file.execute("DELETE FROM commanded")
            file.set_fact("commanded_size", 0)

    @rule(number=KEYS)
    def a_key_is_made_later(self, number: int) -> None:
        self.ages[number] = int(self.clock.wall_s)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.clock.wall_s += hours * 3600
        self.clock.boot_s += hours * 3600

    def is_young(self, number: int) -> bool:
        return self.clock.wall_s - self.ages[number] < COMMAND_KEPT_S

    @invariant()
    def each_command_was_done_once_and_is_on_record(self) -> None:
        asked = [entry["asked"] for entry in self.served.commanded()]
        names = [(one["presenter"], one["key"]) for one in asked]
        assert len(set(names)) == len(names) == len(self.done)


def replace_repeated(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "repeated": False}


TestCommands = CommandMachine.TestCase
TestCommands.settings = settings(
    settings.get_profile("psp"), max_examples=12, stateful_step_count=15
)
