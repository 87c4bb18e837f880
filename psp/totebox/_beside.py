"""Something that is done in a thread of its own, while its caller does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[], None] | None) -> Iterator[None]:
    """Do something in a thread of its own meanwhile."""
    if work is None:
        yield
        return
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
