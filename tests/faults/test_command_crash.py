"""A command whose archive is killed on the way is done once, whenever it is tried again.

A child process is killed with SIGKILL at each of its calls that decide what is on the disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from psp.totebox import Archive, State
from psp.totebox._changes import Changes
from psp.totebox._service import Desk
from tests.unit.totebox.commanding import (
    Clock,
    Served,
    command,
    found,
    key,
    rows_file,
    serving,
)
from tests.unit.totebox.conftest import stored

from .test_intake_crash import die_at

# What makes something durable, or gives it its name; before and after is all that differs.
DECISIVE = {"fsync", "fdatasync", "rename", "cache_flush", "pwrite", "pwritev"}


def commanding(name: str, used: bytes) -> Callable[[Archive], object]:
    given = rows_file() if name == "append" else {}

    def change(archive: Archive) -> object:
        desk = Desk(archive, lambda text: None, Clock())
        Changes(desk, desk.follow_pairings)
        return trio.run(command, Served(archive, desk, []).grant(), name, given, used)

    return change


@pytest.mark.parametrize("name", ["append", "suspend"])
def test_killed_at_any_step_a_command_is_done_once_under_its_key(quick: Path, name: str) -> None:
    """Attack 13: again after a crash, wherever it came between effect and acknowledgement."""
    original, used = found(quick), key()
    given = rows_file() if name == "append" else {}
    was_done: list[bool] = []

    for step in range(200):
        box = quick / f"box-{step}"
        shutil.copytree(original, box)
        lived = die_at(box, commanding(name, used), step, steps=DECISIVE)
        with serving(box) as served:
            was_done.append(len(served.commanded()) == 1)
            told = trio.run(command, served.grant(), name, given, used)
            assert told["repeated"] is was_done[-1], f"killed at step {step}"
            assert len(served.commanded()) == 1
            assert len(stored(served.archive)) == (5 if name == "append" else 3)
            assert served.archive.manifest.transitions == (name == "suspend")
            assert (served.archive.manifest.state is State.SUSPENDED) == (name == "suspend")
            assert not list((box / "app-console-input").iterdir())
        shutil.rmtree(box)
        if lived:
            break

    assert lived
    assert was_done[0] is False
    assert was_done[-1] is True
    # Once it is durable it stays done, whatever comes between it and its answer.
    assert was_done == sorted(was_done)
