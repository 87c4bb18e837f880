"""An estate's archives, running: started, watched and stopped from one place."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from psp.errors import EstateError

_SMALL_HEAPS: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_TOP_PAD_": "16384",
}
"""What glibc reads at its start (mallopt(3)): one heap for the few threads of an archive, and what
is free at its end goes back. Of seventy archives that is 18 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One archive to serve: its name, its id, its directory and where it shall listen."""

    name: str
    archive_id: bytes
    directory: Path
    host: str
    port: int


@dataclass(slots=True)
class Servers:
    """A context in which archives are served, one process each.

    Entering starts them and returns when each is ready; leaving stops them, and so does the end of
    this process in whatever way it ends. `poll` hands what archives tell their owner to `on_log`.

    Raises:
        EstateError: One could not be served; the others have been stopped again.
    """

    members: Sequence[Served]
    on_ready: Callable[[str], None] = lambda name: None
    on_log: Callable[[str, str], None] = lambda name, text: None
    pids: dict[str, int] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _unfinished: bytes = b""

    def __enter__(self) -> Servers:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "psp.estate._supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**_SMALL_HEAPS, **os.environ},
        )
        try:
            self._write({"members": [_wire(member) for member in self.members]})
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def kill(self, name: str) -> None:
        """End one archive's process with SIGKILL, as a power cut would."""
        os.kill(self.pids.pop(name), signal.SIGKILL)

    def stop(self) -> None:
        """Let what is in flight be answered, then end every process. Harmless when repeated."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.communicate()  # Closes the input, which asks for the end, and waits for it.
        self.pids.clear()

    def poll(self, *, timeout_s: float) -> None:
        """Wait for news of the archives, at most so long; forget those that have ended."""
        for event in self._events(timeout_s):
            if event["event"] == "ended":
                self.on_log(event["member"], f"has ended with status {event['status']}")
                self.pids.pop(event["member"], None)
            elif event["event"] == "log":
                self.on_log(event["member"], event["text"])

    def memory_bytes(self) -> int:
        """Proportional set size of all archives together: shared pages counted once."""
        return sum(_proportional_bytes(pid) for pid in self.pids.values())

    def _wait_until_ready(self) -> None:
        while len(self.pids) < len(self.members):
            for event in self._events(None):
                if event["event"] == "ready":
                    self.pids[event["member"]] = event["pid"]
                    self.on_ready(event["member"])
                elif event["event"] == "failed":
                    raise EstateError(f"archive {event['member']!r}: {event['text']}")
                elif event["event"] == "log":
                    self.on_log(event["member"], event["text"])

    def _events(self, timeout_s: float | None) -> list[dict[str, Any]]:
        """What the supervisor has said since, waiting at most so long for the first."""
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        if not select.select([pipe], [], [], timeout_s)[0]:
            return []
        data = os.read(pipe, 1 << 16)
        if not data:
            raise EstateError("the archives' supervisor has ended. Start again: psp up")
        # Each line is written at once and is shorter than a pipe's atomic write; what was cut by
        # our own reading size waits for its end.
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _write(self, message: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")


def _wire(member: Served) -> dict[str, Any]:
    return {
        "name": member.name,
        "archive_id": member.archive_id.hex(),
        "directory": os.fspath(member.directory),
        "host": member.host,
        "port": member.port,
    }


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return 0  # It ended while we looked.
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
