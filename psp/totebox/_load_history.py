"""The audit of answers, imported when it is first needed: numpy takes 12 MB and 0.1 s.

An archive without a floor needs none of it. A supervisor of many archives loads it once before it
forks, and they share it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._history import TableHistory


def load_history() -> type[TableHistory]:
    """Import the audit of answers."""
    # One thread: the archives of a machine share its cores, and a forked process has no others.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numpy.ma  # noqa: F401  # `unique` imports it when it is first called: 6 MB.

    from ._history import TableHistory

    return TableHistory
