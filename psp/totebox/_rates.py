"""What a read may take: how many in a second, and how much room the disk must have."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from pathlib import Path

from psp.errors import Overloaded

from ._limits import FREE_LOOKED_AT_S, GRANTS_COUNTED_MAX, READS_BURST, READS_PER_S


class Rates:
    """How much each grant may read now: a bucket for each, which fills with time."""

    def __init__(self) -> None:
        # First link's id to (reads left, at this time), the one longest unused first.
        self._left: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def spend(self, grant_id: bytes, now_s: float) -> None:
        """Take one read of a grant.

        Raises:
            Overloaded: It has read too much lately.
        """
        left, then_s = self._left.pop(grant_id, (READS_BURST, now_s))
        left = min(READS_BURST, left + max(now_s - then_s, 0.0) * READS_PER_S)
        self._left[grant_id] = (left - 1 if left >= 1 else left, now_s)
        if len(self._left) > GRANTS_COUNTED_MAX:
            self._left.popitem(last=False)
        if left < 1:
            raise Overloaded(
                f"this grant reads more than {READS_PER_S:.0f} times a second, over ten seconds."
                " Ask one question instead of many, or wait"
            )


class FreeBytes:
    """Says how much this process may still write beside a directory; looks ten times a second."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._looked_s = float("-inf")
        self._free = 0

    def __call__(self) -> int:
        if (now_s := time.monotonic()) - self._looked_s >= FREE_LOOKED_AT_S:
            found = os.statvfs(self._directory)
            self._looked_s, self._free = now_s, found.f_bavail * found.f_frsize
        return self._free
