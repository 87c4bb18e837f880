"""What one durable write takes, with nothing around it: a contestant that is the disk alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.peers._child import Sample, summary

SIZE: Final = 1024 * 1024
WRITTEN: Final = 1024
"""As much as the record of one read: two sectors of the journal."""


class Disk:
    """Writes into a file whose blocks are there, and syncs each write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def measure(self, do: str, count: int) -> Sample:
        """Time so many writes, one after the other."""
        assert do == "write", do
        data, times = bytes([1]) * WRITTEN, []
        cpu_ns = time.process_time_ns()
        for _ in range(count):
            start = time.perf_counter_ns()
            os.pwrite(self._descriptor, data, self._at)
            os.fdatasync(self._descriptor)
            times.append(time.perf_counter_ns() - start)
            self._at = (self._at + WRITTEN) % SIZE
        cpu_us = (time.process_time_ns() - cpu_ns) / 1e3 / count
        return {**summary(times), "cpu_us": cpu_us}


@contextmanager
def disk(directory: Path) -> Iterator[Disk]:
    """Give the disk that a directory is on."""
    descriptor = os.open(directory / "durable", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, bytes(SIZE), 0)
        os.fsync(descriptor)
        yield Disk(descriptor)
    finally:
        os.close(descriptor)
