"""Commands in processes of their own that need not import everything again.

A server that has imported the whole tree of commands forks one process for each. It is a process as
any other, with its own exit status, working directory and standard streams; only the start of
Python is shared, which is most of a short command's time. What is sent signals or typed into
starts from nothing (`psp_command`).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Final

from psp.cli import main
from psp.cli._app import COMMANDS, app

_SERVER: Final = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([__name__])

for _words in COMMANDS:
    _found = app
    for _word in _words.split():
        _found = _found[_word]


def run(
    arguments: list[str], *, cwd: Path, streams: list[Path], environment: dict[str, str]
) -> int:
    """Run `psp` with these arguments, and give its exit status.

    Args:
        streams: Files for standard input, output and error.
    """
    process = _SERVER.Process(target=_command, args=(arguments, cwd, streams, environment))
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"psp {' '.join(arguments)} has not ended after 120 s")
    return process.exitcode


def _command(
    arguments: list[str], cwd: Path, streams: list[Path], environment: dict[str, str]
) -> None:
    # Who runs the tests at a terminal is not to be asked for a passphrase there.
    os.setsid()
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        name = ("stdin", "stdout", "stderr")[number]
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["psp", *arguments]
    main()
