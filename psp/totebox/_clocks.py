"""The two clocks by which a grant ends; it is over when either says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from psp.capability import Grant
from psp.errors import Expired


class Clocks(NamedTuple):
    """One reading of both.

    Attributes:
        wall_s: Seconds since 1970. Somebody may set it back.
        boot_s: Seconds since the machine started, its sleep included. Nobody can set it.
    """

    wall_s: float
    boot_s: float


ReadClocks: TypeAlias = Callable[[], Clocks]


def read_clocks() -> Clocks:
    return Clocks(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


def instant(clocks: Clocks) -> datetime:
    return datetime.fromtimestamp(clocks.wall_s, UTC)


class GrantTime:
    """How long a grant that was verified at one reading still lasts at another."""

    def __init__(self, grant: Grant, verified: Clocks) -> None:
        self._end_wall_s = grant.not_after_s
        self._end_boot_s = verified.boot_s + (grant.not_after_s - verified.wall_s)

    def check(self, now: Clocks) -> None:
        """Refuse when the grant is over.

        Raises:
            Expired: It is.
        """
        if now.wall_s >= self._end_wall_s or now.boot_s >= self._end_boot_s:
            raise Expired
