"""An archive does not outlive whoever started it, however that one ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from psp.estate._servers import Served, Servers
from tests.unit.totebox.conftest import OWNER

from .test_totebox_service import box as box
from .test_totebox_service import user as user

GONE_S = 60.0


def test_an_archive_whose_supervisor_was_killed_leaves(box: Path) -> None:
    """SIGKILL cannot be handled: the archive sees that its supervisor's lifeline has ended."""
    one = Served(name="box", archive_id=OWNER.archive_id, directory=box, host="127.0.0.1", port=0)
    with Servers([one]) as servers:
        archive = servers.pids["box"]
        os.kill(int(_fields(archive)[1]), signal.SIGKILL)
        until_s = time.monotonic() + GONE_S  # Only ends a hopeless wait.
        while _fields(archive)[0] != "Z":
            assert time.monotonic() < until_s, "the archive outlives its supervisor"
            time.sleep(0.02)


def _fields(pid: int) -> list[str]:
    """State, parent and so on of a process; as of one that has ended if it is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["Z"]
