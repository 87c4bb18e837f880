"""Where the bytes of a bulk transfer land: for every contestant memory of the same kind, warm."""

from __future__ import annotations

import mmap
import os
from time import perf_counter_ns

from benchmarks.peers._child import Sample

PIECE_BYTES = 8 * 1024 * 1024


def landing_place(size: int) -> memoryview:
    """Give a mapped memory file whose every page has been touched, as a pool of used ones gives."""
    fd = os.memfd_create("bulk")
    os.ftruncate(fd, size)
    view = memoryview(mmap.mmap(fd, size))
    os.close(fd)
    for start in range(0, size, PIECE_BYTES):
        view[start : start + PIECE_BYTES] = bytes(min(PIECE_BYTES, size - start))
    return view


def payload(size: int) -> memoryview:
    """Give what a server sends: bytes that no compression would make less of."""
    block = os.urandom(1024 * 1024)
    return memoryview(block * (size // len(block) + 1))[:size]


def speed(size: int, start_ns: int) -> Sample:
    seconds = (perf_counter_ns() - start_ns) / 1e9
    return {"calls": 1, "seconds": seconds, "gb_per_s": size / seconds / 1e9}
