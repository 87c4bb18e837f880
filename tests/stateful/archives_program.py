"""Archives as processes that can be killed one by one: the supervisor of `psp up`, on a leash.

Run as `python -m tests.stateful.archives_program`. Each line of its input names one archive, as the
supervisor's own input does; it is forked, and its `ready` line is written. Whoever kills one may
name it again.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys

from psp.estate._supervisor import _Child, _fork
from psp.totebox import load_history


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    load_history()
    gc.freeze()
    lifeline, held = os.pipe()
    children: dict[str, _Child] = {}
    for line in sys.stdin:
        member = json.loads(line)
        if (before := children.pop(member["name"], None)) is not None:
            _end(before)
        child = children[member["name"]] = _fork(member, lifeline, held)
        # One line and whole: `_say` sees to that.
        sys.stdout.write(os.read(child.status, 4096).decode().splitlines()[0] + "\n")
        sys.stdout.flush()
    for child in children.values():
        _end(child)


def _end(child: _Child) -> None:
    """See an archive's end: nobody may write to its files any more."""
    os.kill(child.pid, signal.SIGKILL)  # A process that has ended waits for us, and bears it.
    os.waitpid(child.pid, 0)
    os.close(child.status)


if __name__ == "__main__":
    main()
