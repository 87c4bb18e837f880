"""Views over real archives, each a process, while they are killed, stopped, cut, suspended, revoked
and started again, at random from a seed.

`python -m tests.stateful.estate_chaos SECONDS [SEED]`. The rows of each archive are known here too:
each number of each view is compared with the sum over the members that answered. Nothing is
stubbed: TLS, grants, disclosure, the record of reads, fsync; only a cable of ours lies between the
aggregator and each archive, so that it can be cut.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import trio
import trio.testing

from psp.aggregator import Answer, MemberState, Roster, TrioFleet, open_fleet
from psp.buffers import process_account
from psp.capability import Revokes, decode_chain_untrusted, sign_revocation, sign_transition
from psp.errors import PSPError
from psp.estate import Estate, create_estate, draft_estate
from psp.totebox import State, administer
from psp.transport import MachineKey

SQL: Final = "select count(*) as n, sum(rent) as rent, avg(rent) as mean from flats"
MEMBERS: Final = 4
ROWS: Final = 25
HEALED_S: Final = 60.0
"""How long the last view may take until everybody is there: a breaker may leave one alone for a
minute; it is opened by hand here."""


@dataclass
class Tally:
    """What was seen.

    Attributes:
        wrong: Views whose numbers are not those of the members that answered.
        leaked: Tasks, connections, files or bytes that were left.
    """

    views: int = 0
    states: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)


@dataclass
class Cable:
    """A way to one archive, over a port of ours."""

    host: str
    port: int
    is_out: bool = False
    streams: set[trio.SocketStream] = field(default_factory=set)

    async def carry(self, near: trio.SocketStream) -> None:
        """Carry one connection both ways until one side ends."""
        try:
            far = await trio.open_tcp_stream(self.host, self.port)
        except OSError:
            await trio.aclose_forcefully(near)
            return
        self.streams |= {near, far}
        if self.is_out:
            self.cut()
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, near, far)
            nursery.start_soon(self._pump, far, near)
        self.streams -= {near, far}

    def cut(self) -> None:
        """End every connection, as pulling the plug does; `carry` clears up after it."""
        for stream in self.streams:
            stream.socket.close()

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some():
                await sink.send_all(data)
        for stream in (source, sink):
            await trio.aclose_forcefully(stream)


@dataclass
class Archive:
    """One archive: its process, its cable, and its rows as they are known here."""

    name: str
    directory: Path
    rents: list[Decimal]
    cable: Cable
    pid: int = 0
    is_stopped: bool = False
    is_revoked: bool = False
    transitions: int = 0
    state: State = State.ACTIVE


class World:
    """An estate whose archives come and go.

    Args:
        program: Forks archives, one for each line that is written to it.
    """

    def __init__(self, root: Path, program: subprocess.Popen[str], chance: Random) -> None:
        # Troubles have chance to themselves: what is done to whom follows from the seed.
        self.chance, self.program = chance, program
        rents = {
            f"house-{at}": [Decimal(chance.randrange(10**8)).scaleb(-2) for _ in range(ROWS)]
            for at in range(MEMBERS)
        }
        for name, each in rents.items():
            rows = "".join(f"{at},{rent}\n" for at, rent in enumerate(each))
            (root / f"{name}.csv").write_text("id,rent\n" + rows)
        files = [root / f"{name}.csv" for name in rents]
        self.estate: Estate = create_estate(draft_estate(root / "flats", files))
        self.root_key = MachineKey.load(self.estate.layout.root_key)
        (self.policy,) = self.estate.layout.policies(("owner",))
        self.archives = {
            it.name: Archive(
                it.name,
                self.estate.layout.archive(it.name),
                rents[it.name],
                Cable(it.address.host, it.address.port),
            )
            for it in self.estate.roster.members
        }

    async def run_cables(
        self, *, task_status: trio.TaskStatus[Roster] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Lay them; the roster that goes over them is given."""
        members = []
        async with trio.open_nursery() as nursery:
            for it in self.estate.roster.members:
                serve = partial(trio.serve_tcp, self.archives[it.name].cable.carry, 0)
                listeners = await nursery.start(partial(serve, host="127.0.0.1"))
                port = listeners[0].socket.getsockname()[1]
                members.append(replace(it, address=replace(it.address, port=port)))
            task_status.started(replace(self.estate.roster, members=tuple(members)))

    def start(self, archive: Archive) -> None:
        """Start its process."""
        assert self.program.stdin
        assert self.program.stdout
        cable = archive.cable
        line: dict[str, Any] = {"name": archive.name, "directory": os.fspath(archive.directory)}
        line |= {"archive_id": self._address(archive).archive_id.hex()}
        line |= {"host": cable.host, "port": cable.port}
        self.program.stdin.write(json.dumps(line) + "\n")
        self.program.stdin.flush()
        ready = json.loads(self.program.stdout.readline())
        assert ready["event"] == "ready", ready
        archive.pid, archive.is_stopped = ready["pid"], False

    def kill(self, archive: Archive) -> None:
        """End its process as a power cut would."""
        os.kill(archive.pid, signal.SIGKILL)
        archive.pid = 0

    def stop(self, archive: Archive, *, is_stopped: bool) -> None:
        """Let its process stand still, or go on."""
        os.kill(archive.pid, signal.SIGSTOP if is_stopped else signal.SIGCONT)
        archive.is_stopped = is_stopped

    def change(self, archive: Archive, after: State) -> None:
        """Suspend it, or let it answer again: a statement by its owner, over its control socket."""
        archive.transitions += 1
        statement = sign_transition(
            self.root_key,
            archive_id=self._address(archive).archive_id,
            number=archive.transitions,
            before=archive.state.value,
            after=after.value,
        )
        administer(archive.directory, "change_state", statement, "chaos", doing="changing it")
        archive.state = after

    def revoke(self, archive: Archive) -> None:
        """Take back the grant that the tenant has."""
        chain = decode_chain_untrusted(self.estate.roster.tenant().token_for(archive.name))
        statement = sign_revocation(
            self.root_key,
            archive_id=self._address(archive).archive_id,
            what=Revokes.GRANT,
            target=chain.ids()[-1],
            until_s=chain.leaf.not_after_s,
        )
        administer(archive.directory, "hear", "revoked", statement, doing="revoking")
        archive.is_revoked = True

    def give_grant(self, archive: Archive) -> None:
        """Give the tenant another one."""
        member = next(it for it in self.estate.roster.members if it.name == archive.name)
        self.estate.grants.write(self.policy, member)
        archive.is_revoked = False

    def trouble(self, archive: Archive) -> str:
        """Do one thing to one archive; say what."""
        if not archive.pid or archive.is_stopped or self.chance.random() < 0.4:
            self.heal(archive)
            return "healed"
        match self.chance.randrange(6):
            case 0:
                self.kill(archive)
                return "killed"
            case 1:
                self.stop(archive, is_stopped=True)
                return "stopped"
            case 2:
                trio.from_thread.run_sync(archive.cable.cut)
                return "cut"
            case 3:
                archive.cable.is_out = True
                trio.from_thread.run_sync(archive.cable.cut)
                return "unplugged"
            case 4 if archive.state is State.ACTIVE:
                self.change(archive, State.SUSPENDED)
                return "suspended"
            case _ if not archive.is_revoked:
                self.revoke(archive)
                return "revoked"
        return "left alone"

    def heal(self, archive: Archive) -> None:
        """Let everything be well with one archive."""
        archive.cable.is_out = False
        if not archive.pid:
            self.start(archive)
        if archive.is_stopped:
            self.stop(archive, is_stopped=False)
        if archive.state is not State.ACTIVE:
            self.change(archive, State.ACTIVE)
        if archive.is_revoked:
            self.give_grant(archive)

    def _address(self, archive: Archive) -> Any:
        return next(it.address for it in self.estate.roster.members if it.name == archive.name)


async def chaos(seconds: float, seed: int, root: Path) -> Tally:
    """Run it."""
    tally = Tally()
    with _program() as program:
        world = World(root, program, Random(seed))
        for archive in world.archives.values():
            world.start(archive)
        held = process_account().held_bytes
        files, tasks = _files("self"), trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            roster = await nursery.start(world.run_cables)
            async with open_fleet(roster, connect_s=0.5) as fleet:
                await _until_over(seconds, fleet, world, tally)
                await _heal_all(fleet, world, tally)
            await _check_archives(roster, world, tally)
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        if (left := trio.lowlevel.current_statistics().tasks_living - tasks) > 0:
            tally.leaked.append(f"{left} tasks")
        if (more := _files("self") - files) > 0:
            tally.leaked.append(f"{more} files")
        if process_account().held_bytes != held:
            tally.leaked.append(f"{process_account().held_bytes - held} bytes")
    return tally


async def _until_over(seconds: float, fleet: TrioFleet, world: World, tally: Tally) -> None:
    async def trouble() -> None:
        while True:
            await trio.sleep(world.chance.random() * 0.2)
            archive = world.chance.choice([*world.archives.values()])
            # In a thread, as an operator's command would be; one after the other, to the end.
            tally.troubles[await trio.to_thread.run_sync(world.trouble, archive)] += 1

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trouble)
            for _ in range(2):
                nursery.start_soon(_views, fleet, world, tally)


async def _views(fleet: TrioFleet, world: World, tally: Tally) -> None:
    chance = Random(tally.views)
    while True:
        # One in ten is given up in the middle.
        with trio.move_on_after(0.01 if chance.random() < 0.1 else 60), suppress(PSPError):
            answer = await fleet.ask(
                SQL,
                deadline_s=chance.choice([0.2, 1.1]),
                require=chance.choice(["deadline", "quorum", "any"]),
            )
            _compare(answer, world, tally)
        await trio.sleep(chance.random() * 0.1)


def _compare(answer: Answer, world: World, tally: Tally) -> None:
    tally.views += 1
    tally.states.update(answer.states)
    said = [it.member for it in answer.outcomes if it.state is MemberState.ANSWERED]
    if sum(answer.states.values()) != MEMBERS or set(said) != set(answer.as_of):
        tally.wrong.append(f"the states {answer.states} do not sum")
    rents = [rent for name in said for rent in world.archives[name].rents]
    count, rent = len(rents), sum(rents, Decimal(0))
    total = answer.total()
    found = (total["n"], total["rent"])
    if found != ((count, rent) if said else (None, None)):
        tally.wrong.append(f"{found} where {(count, rent)} was due of {said}")


async def _heal_all(fleet: TrioFleet, world: World, tally: Tally) -> None:
    """After all of it, everybody answers again over the same fleet."""
    for archive in world.archives.values():
        await trio.to_thread.run_sync(world.heal, archive)
    with trio.move_on_after(HEALED_S) as scope:
        while True:
            for line in fleet.lines.values():
                line.breaker.answer()
            answer = await fleet.ask(SQL)
            _compare(answer, world, tally)
            if answer.states == {"answered": MEMBERS}:
                break
            await trio.sleep(0.05)
    if scope.cancelled_caught:
        tally.wrong.append(f"not everybody came back: {answer.to_dict()['absent']}")


async def _check_archives(roster: Roster, world: World, tally: Tally) -> None:
    """An archive that went through all of it has no more open than one that has just started, and
    went through each thing once."""
    fresh = next(iter(world.archives.values()))
    world.kill(fresh)
    await trio.to_thread.run_sync(world.start, fresh)
    for _ in range(2):  # What is opened when it is first needed is open then.
        async with open_fleet(roster, connect_s=5.0) as fleet:
            _compare(await fleet.ask(SQL), world, tally)
        await trio.to_thread.run_sync(world.change, fresh, State.SUSPENDED)
        await trio.to_thread.run_sync(world.revoke, fresh)
        await trio.to_thread.run_sync(world.heal, fresh)
    with trio.move_on_after(HEALED_S):
        # What a call that was cancelled held together goes when the collector comes by: with work.
        while any(_files(it.pid) > _files(fresh.pid) for it in world.archives.values()):
            async with open_fleet(roster, connect_s=5.0) as fleet:
                _compare(await fleet.ask(SQL), world, tally)
            await trio.sleep(0.1)  # Until they have seen that we are gone.
    for archive in world.archives.values():
        if (more := _files(archive.pid) - _files(fresh.pid)) > 0:
            tally.leaked.append(f"{more} files of {archive.name}")


def _files(pid: int | str) -> int:
    """Count what a process has open: sockets each, files by their names.

    A fork has the pipes of its elder siblings, too: they are not counted. SQLite keeps the
    descriptor of a connection that was closed for the next one, lest it lose the locks of others
    (unixClose in its os_unix.c): by their names such files are one.
    """
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # It was closed while we looked.
            found.add(str(link.readlink()))
    return sum(not name.startswith("pipe:") for name in found)


@contextmanager
def _program() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stateful.archives_program"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin
            process.stdin.close()  # It sees to the end of every archive, and leaves.
            process.wait(timeout=HEALED_S)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as directory:
        tally = trio.run(chaos, seconds, seed, Path(directory))
    lines = [
        f"seed {seed}: {tally.views} views, {dict(tally.states)}",
        f"troubles: {dict(tally.troubles)}",
        *tally.wrong[:10],
        *tally.leaked,
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(bool(tally.wrong or tally.leaked))


if __name__ == "__main__":
    main()
