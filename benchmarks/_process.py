"""What the kernel says of a process: the time it had a core, and the memory that is its own."""

from __future__ import annotations

import re
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """Sum the time that all threads of a process have run; its first number is nanoseconds."""
    return sum(
        int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )


def memory_bytes(pid: int) -> int:
    """Give a process's proportional set size: shared pages are divided among those who share."""
    found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert found is not None
    return int(found[1]) * 1024


def peak_bytes(pid: int) -> int:
    """Give the most memory that a process ever had, shared pages and mapped files included."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None
    return int(found[1]) * 1024
