"""Admitting signed calls: each is verified, and each is run once.

Nonces are kept in memory alone. A restart forgets them, and refuses by its date whatever it may
have forgotten (`verify_invocation_untrusted`), so no write stands between a call and its answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from psp.capability import Command, Grant, verify_invocation_untrusted
from psp.errors import GrantRefused, Overloaded

NONCES_MAX: Final = 16_384
"""Nonces kept at a time, of all holders: some 4 MiB. A nonce is kept for a minute at most, so this
is 270 signed calls a second."""

NONCES_OF_HOLDER_MAX: Final = 4_096
"""Of one holder: 68 calls a second, all minute long, and three quarters left for others."""


class Nonces:
    """Which nonces of which holders have been used; each until it can be used no more."""

    def __init__(self) -> None:
        self._kept: set[bytes] = set()
        self._ends: list[tuple[int, bytes, bytes]] = []  # A heap: expires_s, holder, nonce.
        self._of_holder: Counter[bytes] = Counter()
        # The latest end of a nonce that was dropped. Whatever ends by then may be one of those.
        self._dropped_s = -1

    def __len__(self) -> int:
        return len(self._kept)

    def use(self, holder: bytes, nonce: bytes, *, expires_s: int, now_s: int) -> None:
        """Use a nonce, whose invocation is over at `expires_s`.

        Raises:
            GrantRefused: It may have been used before.
            Overloaded: There is no room to remember it.
        """
        self._drop(now_s)
        # By the ends and not by the clock alone: somebody may set the clock back.
        if holder + nonce in self._kept or expires_s <= self._dropped_s:
            raise GrantRefused("invocation", "its nonce may have been used before.")
        if len(self._kept) >= NONCES_MAX or self._of_holder[holder] >= NONCES_OF_HOLDER_MAX:
            raise Overloaded("more signed calls in one minute than are remembered; sign fewer")
        self._kept.add(holder + nonce)
        self._of_holder[holder] += 1
        heappush(self._ends, (expires_s, holder, nonce))

    def _drop(self, now_s: int) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            self._dropped_s, holder, nonce = heappop(self._ends)
            self._kept.remove(holder + nonce)
            self._of_holder[holder] -= 1
            if not self._of_holder[holder]:
                del self._of_holder[holder]


class Invocations:
    """The signed calls of one archive, from its start to its end.

    Args:
        started_s: The archive's clock now, seconds since 1970.
    """

    def __init__(self, archive_id: bytes, started_s: int) -> None:
        self._archive_id = archive_id
        self._started_s = started_s
        self._nonces = Nonces()

    def admit(
        self, grant: Grant, commands: Sequence[Command], data: bytes | None, now_s: int
    ) -> None:
        """Let a call through if the grant's holder has signed it, and it was not let through yet.

        Args:
            data: The invocation that came with the call; None if none did.

        Raises:
            GrantRefused: It is not let through; the reason is for the owner.
            Overloaded: It could not be remembered.
        """
        if data is None:
            raise GrantRefused("invocation", "the call came without one.")
        invocation = verify_invocation_untrusted(
            data,
            grant=grant,
            archive_id=self._archive_id,
            commands=commands,
            now_s=now_s,
            started_s=self._started_s,
        )
        # Last of all, so that nobody but the holder can fill the memory.
        self._nonces.use(
            grant.leaf_holder, invocation.nonce, expires_s=invocation.expires_s, now_s=now_s
        )
