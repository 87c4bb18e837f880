"""The links that a console makes for itself: fifteen minutes each, renewed while it runs.

The owner of an archive gives the operator one link for a day; the operator's key, which is at the
console, narrows it to whoever presents it. What leaves the console is short: a copy that somebody
takes is worth nothing a quarter of an hour later, however long the console stays open.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from psp.capability import SigningKey, decode_chain_untrusted, narrow
from psp.errors import CapabilityError, EstateError

from ._limits import LINK_RENEWED_S, LINK_S
from ._roster import Seat, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One token that was made here.

    Attributes:
        grant_id: Of its last link; what a signed call names.
        renewed_s: When another one is made in its place.
        ended_s: When it is over.
    """

    token: bytes = field(repr=False)
    grant_id: bytes
    renewed_s: float
    ended_s: float


class Links:
    """The grants of one console, made when they are needed and renewed before they end.

    Args:
        operator: Holds the links that the owner gave.
        holder: Who may act under what is made: 32 bytes.
        presenter: SHA-256 of the SPKI of the machine that presents it.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        tenant: Tenant,
        seat: Seat,
        operator: SigningKey,
        *,
        holder: bytes,
        presenter: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tenant = tenant
        self._seat = seat
        self._operator = operator
        self._holder = holder
        self._presenter = presenter
        self._clock = clock
        self._made: dict[str, Made] = {}

    def token_for(self, member: str) -> bytes:
        """Give the token for one member; as `made_for`."""
        return self.made_for(member).token

    def made_for(self, member: str) -> Made:
        """Give what was made for one member, made anew if a third of its time is over.

        Raises:
            EstateError: The owner's link is missing or over, or the operator does not hold it.
        """
        now_s = self._clock()
        made = self._made.get(member)
        if made is not None and now_s < made.renewed_s:
            return made
        try:
            self._made[member] = self._make(member, now_s)
        except EstateError:
            # A disk that is away for a minute is no reason to stop: two more tries are ahead.
            if made is None or now_s >= made.ended_s:
                raise
            return made
        return self._made[member]

    def forget(self, member: str) -> None:
        """Make the next token anew: the archive says that this one is over."""
        self._made.pop(member, None)

    def _make(self, member: str, now_s: float) -> Made:
        file = self._seat.links / f"{member}.token"
        given = self._tenant.read_token(file, member, now_s)
        links = decode_chain_untrusted(given).links
        begins_s = max(int(now_s), *(link.not_before_s for link in links))
        ends_s = min(int(now_s) + LINK_S, *(link.not_after_s for link in links))
        try:
            token = narrow(
                given,
                self._operator,
                holder=self._holder,
                presenter=self._presenter,
                scope=links[-1].scope,
                not_before_s=begins_s,
                not_after_s=ends_s,
                depth=0,
                nonce=secrets.token_bytes(16),
                seen=links[-1].seen,
            )
        except CapabilityError as exc:
            raise EstateError(f"no grant for {member!r} can be made from {file}: {exc}") from None
        return Made(
            token=token,
            grant_id=decode_chain_untrusted(token).ids()[-1],
            renewed_s=min(now_s + LINK_RENEWED_S, ends_s),
            ended_s=ends_s,
        )
