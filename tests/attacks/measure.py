"""What an attack costs its victim, counted and not timed."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Final

MIB: Final = 1024 * 1024


def peak_bytes(run: Callable[[], object]) -> int:
    """Give the most memory that was held at one moment of `run`, above what was held before."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
