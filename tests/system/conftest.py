"""The command as a user runs it: a real process in an empty directory."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from . import warm

TOWNS = ("north", "south", "west")


@dataclass(frozen=True)
class Ran:
    """One finished command."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line on standard error that a failed command leaves."""
        assert self.err.count("psp: ") == 1, self.err
        assert "Traceback" not in self.err
        return self.err[self.err.index("psp: ") :]


def psp_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "psp", *arguments]


@contextmanager
def served(directory: Path) -> Iterator[None]:
    """`psp up` in a directory that holds one estate, until the block is left."""
    up = subprocess.Popen(
        psp_command("up", "--json"), cwd=directory, stdout=subprocess.PIPE, text=True
    )
    try:
        assert up.stdout is not None
        assert json.loads(up.stdout.readline())["serving"]
        yield
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=30)


@pytest.fixture
def psp(tmp_path: Path) -> Callable[..., Ran]:
    """Run `psp` with these arguments in `tmp_path`."""

    def run(*arguments: str | Path, stdin: str = "", **environment: str) -> Ran:
        with TemporaryDirectory() as place:
            streams = [Path(place, name) for name in ("in", "out", "err")]
            for path in streams:
                path.write_text(stdin if path.name == "in" else "", "utf-8")
            status = warm.run(
                [*map(str, arguments)],
                cwd=tmp_path,
                streams=streams,
                environment={**os.environ, **environment},
            )
            _, out, err = (path.read_text("utf-8") for path in streams)
        return Ran(status, out, err)

    return run


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three towns' rents, 40 leases each, with cents."""
    made = []
    for number, town in enumerate(TOWNS):
        path = tmp_path / f"{town}.csv"
        with path.open("w", encoding="utf-8", newline="") as target:
            writer = csv.writer(target)
            writer.writerow(["lease", "signed", "rent", "area"])
            for lease in range(40):
                writer.writerow(
                    [
                        f"{town}-{lease}",
                        f"2026-{lease % 12 + 1:02}-15",
                        f"{1000 + 10 * number}.{lease:02}",
                        50 + lease,
                    ]
                )
        made.append(path)
    return made
