"""A served archive takes its owner's commands through its control socket."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from psp.capability import Operation, token_to_text
from psp.cli._owner import bump, revoke
from psp.endpoint import connect, connect_local
from psp.errors import ArchiveInUse, Denied, EstateError, IntakeRefused, Invalid, Revoked
from psp.plan import Measure, Plan
from psp.totebox import Archive, administer
from psp.transport import MachineKey, check_same_user, dial_locally, listening_locally
from tests.unit.totebox.conftest import OWNER, stored, write

from .test_totebox_service import box as box
from .test_totebox_service import served, token
from .test_totebox_service import user as user

MORE = "id,date,price,rooms\n0019,2014-07-01,300000,4\n0020,2014-07-02,310000,4\n"
COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),))


async def command(directory: Path, operation: str, *arguments: Any) -> Any:
    """What a command of another process does; `administer` runs a trio of its own."""
    return await trio.to_thread.run_sync(
        lambda: administer(directory, operation, *arguments, doing="testing")
    )


def ingest_arguments(file: Path) -> tuple[Any, ...]:
    return str(file), "sales", "jane", False, "", ""


async def test_a_file_is_sealed_while_the_archive_is_served_and_the_next_answer_has_it(
    box: Path, tmp_path: Path, user: MachineKey
) -> None:
    more = write(tmp_path / "more.csv", MORE)
    async with served(box) as address, connect(address, key=user) as connection:
        table = connection.present(token(user)).call("table", "sales")
        before: Any = await table.call("query", COUNT.to_wire())

        done = await command(box, "ingest", *ingest_arguments(more))

        after: Any = await table.call("query", COUNT.to_wire())
        row: Any = await table.call("row", ["0019"]).call("values")
    assert (before["cells"], after["cells"]) == ([[[], [3]]], [[[], [5]]])
    assert (done["rows"], after["as_of"]) == (2, before["as_of"] + 1)
    assert row == {"id": "0019", "rooms": 4}
    with Archive.open(box) as archive:
        assert len(stored(archive)) == 5
        assert archive.ledger.checkpoint.tree_size == after["as_of"]


async def test_rows_are_retracted_while_the_archive_is_served(box: Path, user: MachineKey) -> None:
    async with served(box) as address, connect(address, key=user) as connection:
        table = connection.present(token(user)).call("table", "sales")
        await command(box, "retract", "sales", [["0016"]], "jane", "never sold")
        after: Any = await table.call("query", COUNT.to_wire())
    assert after["cells"] == [[[], [2]]]


@pytest.mark.parametrize("what", ["grant", "epoch"])
async def test_a_live_connection_ends_with_what_the_owner_takes_back(
    box: Path, tmp_path: Path, user: MachineKey, what: str
) -> None:
    root, file, shown = tmp_path / "root.key", tmp_path / "grant.token", token(user)
    OWNER.root.write_again(root, None)
    file.write_text(token_to_text(shown), "ascii")
    async with served(box) as address, connect(address, key=user) as connection:
        table = connection.present(shown).call("table", "sales")
        await table.call("query", COUNT.to_wire())

        if what == "grant":
            await trio.to_thread.run_sync(lambda: revoke(box, file, root_key=root))
        else:
            await trio.to_thread.run_sync(lambda: bump(box, root_key=root))

        with pytest.raises(Revoked):
            await table.call("query", COUNT.to_wire())
        with pytest.raises(Denied):
            await connection.present(shown).call("describe")
    with Archive.open(box, read_only=True) as archive:
        assert archive.ledger.checkpoint.tree_size == 4


async def test_a_refusal_has_the_words_of_the_other_door(box: Path, tmp_path: Path) -> None:
    wrong = write(tmp_path / "wrong.csv", MORE.replace("310000", "dear"))
    async with served(box):
        with pytest.raises(IntakeRefused) as through_socket:
            await command(box, "ingest", *ingest_arguments(wrong))
        async with connect_local(box / "control", archive_id=OWNER.archive_id) as control:
            assert control is not None
            with pytest.raises(Invalid, match="no operation 'melt'"):
                await control.bootstrap.call("do", "melt", [])
            with pytest.raises(Invalid, match="retract takes 4 arguments"):
                await control.bootstrap.call("do", "retract", [])
    with pytest.raises(IntakeRefused) as directly:
        await command(box, "ingest", *ingest_arguments(wrong))
    assert str(through_socket.value) == str(directly.value)


async def test_readers_are_answered_while_a_large_file_is_sealed(
    box: Path, tmp_path: Path, user: MachineKey
) -> None:
    """Every answer that comes meanwhile is of a whole state: all of the file's rows, or none."""
    rows = "".join(f"n{n:06},2014-07-01,{n},4\n" for n in range(60_000))
    large = write(tmp_path / "large.csv", "id,date,price,rooms\n" + rows)
    counted: list[tuple[int, int]] = []
    async with served(box) as address, connect(address, key=user) as connection:
        table = connection.present(token(user)).call("table", "sales")

        async def read_on(done: trio.Event) -> None:
            while not done.is_set():
                answer: Any = await table.call("query", COUNT.to_wire())
                counted.append((answer["as_of"], answer["cells"][0][1][0]))

        async with trio.open_nursery() as nursery:
            done = trio.Event()
            nursery.start_soon(read_on, done)
            while not counted:
                await trio.testing.wait_all_tasks_blocked(0.001)
            await command(box, "ingest", *ingest_arguments(large))
            done.set()
        last: Any = await table.call("query", COUNT.to_wire())
    assert last["cells"] == [[[], [60_003]]]
    assert len(counted) > 1
    assert set(counted) <= {(3, 3), (4, 60_003)}


async def test_the_socket_is_for_its_user_alone_and_goes_with_the_server(box: Path) -> None:
    async with served(box):
        assert stat.S_IMODE((box / "control").stat().st_mode) == 0o700
        found = (box / "control" / "socket").stat()
        assert (stat.S_ISSOCK(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o600)
    assert not (box / "control").exists()


async def test_an_archive_may_lie_deeper_than_a_socket_has_a_name(
    box: Path, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    box = box.rename(deep / "box")
    async with served(box):
        done = await command(box, "retract", "sales", [["0016"]], "jane", "never sold")
    assert done["retracted"] == 1


def test_a_directory_that_others_may_enter_is_not_used(tmp_path: Path) -> None:
    open_to_all = tmp_path / "control"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    with pytest.raises(EstateError, match="0700"), listening_locally(open_to_all, backlog=1):
        pass
    with pytest.raises(EstateError, match="0700"):
        dial_locally(open_to_all)
    (tmp_path / "link").symlink_to(open_to_all)
    with pytest.raises(EstateError), listening_locally(tmp_path / "link", backlog=1):
        pass


@pytest.mark.parametrize("side", ["the one who listens", "the one who dials"])
async def test_another_user_at_the_other_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """Both ends ask the kernel. A test has one user, so here the one who asks says it is another's:
    what is compared is the real answer of the kernel."""
    with listening_locally(tmp_path / "control", backlog=1) as sock:
        user = os.geteuid()
        dialling = dial_locally(tmp_path / "control")
        assert dialling is not None
        sock.setblocking(True)
        accepted, _ = sock.accept()
        with accepted:
            end = accepted if side == "the one who listens" else dialling._sock
            check_same_user(end)
            monkeypatch.setattr(os, "geteuid", lambda: user + 1)
            with pytest.raises(EstateError, match=f"user {user} is at its other end"):
                check_same_user(end)
            monkeypatch.undo()
        dialling.close()


SERVE = """
import sys, trio
from pathlib import Path
from psp.totebox import serve_archive
async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_archive(
            Path(sys.argv[1]), host="127.0.0.1", port=0, task_status=task_status))
        print("ready", flush=True)
trio.run(main)
"""


@contextmanager
def served_by_another_process(box: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(box)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


async def test_a_socket_of_a_killed_process_is_replaced(box: Path) -> None:
    with served_by_another_process(box):
        await command(box, "retract", "sales", [["0016"]], "jane", "never sold")
    left = box / "control" / "socket"
    assert left.is_socket()
    assert dial_locally(box / "control") is None

    await command(box, "retract", "sales", [["0017"]], "jane", "directly, as nobody serves it")
    async with served(box):
        await command(box, "retract", "sales", [["0018"]], "jane", "through the new socket")
    with Archive.open(box) as archive:
        assert stored(archive) == []


async def test_an_archive_that_is_open_and_not_served_says_who_has_it(box: Path) -> None:
    with Archive.open(box, doing="packing it"), pytest.raises(ArchiveInUse, match="packing it"):
        await command(box, "retract", "sales", [["0016"]], "jane", "never sold")


async def test_a_caller_that_goes_away_leaves_the_state_before(box: Path, tmp_path: Path) -> None:
    """As with Ctrl-C; and the next command is taken."""
    rows = "".join(f"n{n:06},2014-07-01,{n},4\n" for n in range(60_000))
    large = write(tmp_path / "large.csv", "id,date,price,rooms\n" + rows)
    async with served(box):
        async with connect_local(box / "control", archive_id=OWNER.archive_id) as control:
            assert control is not None
            sealing = control.bootstrap.call("do", "ingest", [*ingest_arguments(large)])
            while not [*(box / "assets").glob(".*")]:  # noqa: ASYNC110 It is being copied.
                await trio.sleep(0.001)
            sealing.release()
        done = await command(box, "retract", "sales", [["0016"]], "jane", "never sold")
        assert done["entry"] == 3
    with Archive.open(box) as archive:
        assert len(stored(archive)) == 2
        assert [*(box / "assets").glob(".*")] == []
