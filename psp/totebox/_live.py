"""One verified grant while it is used: every command and every chunk asks whether it stands."""

from __future__ import annotations

from psp.capability import Grant
from psp.errors import GrantRefused, Revoked

from ._clocks import Clocks, GrantTime
from ._memory import GrantMemory


class LiveGrant:
    """What ends a grant that was accepted: its time, the archive's doubts, its owner's word."""

    def __init__(self, grant: Grant, verified: Clocks, memory: GrantMemory) -> None:
        self._grant = grant
        self._time = GrantTime(grant, verified)
        self._memory = memory
        # None yet: whatever changed between the verification and now is looked at, too.
        self._generation = -1

    def check(self, now: Clocks) -> None:
        """Refuse when the grant is over. Two comparisons of numbers while nothing has changed.

        Raises:
            Expired: Its time has ended.
            Revoked: A link of it, a key, or its epoch was taken back.
            Denied: The archive accepts no grants now.
        """
        self._time.check(now)
        self._memory.check_open(now.wall_s)
        if self._generation != self._memory.generation:
            generation = self._memory.generation
            try:
                self._memory.standing.check(self._grant.links, self._grant.ids)
            except GrantRefused:
                raise Revoked from None
            self._generation = generation
