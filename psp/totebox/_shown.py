"""Tokens as they are shown to a served archive: each is verified, once for each connection.

A connection remembers what it has verified, so a token that comes again over it costs one hash.
The memory is never shared: what is found in it was verified under this very key, in this very
handshake. Nothing about a command is kept, and no refusal.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from weakref import WeakValueDictionary

from psp.capability import (
    TOKEN_BYTES_MAX,
    Grant,
    Scope,
    Verifier,
    verify_signature,
    verify_untrusted,
)
from psp.errors import Denied, Expired
from psp.transport import Peer

from ._archive import Archive
from ._clocks import Clocks
from ._limits import TOKENS_REMEMBERED_MAX
from ._live import LiveGrant
from ._memory import GrantMemory


@dataclass(frozen=True, slots=True)
class Verified:
    """A grant that was verified, and all that has to be as it was then.

    Attributes:
        live: Holds its end by both clocks, as it was counted at the verification.
        ceiling: What the links were met with. A pairing or a table that changes makes a new one.
        generation: Of the archive's memory; every revocation and every alarm changes it.
    """

    grant: Grant
    live: LiveGrant
    ceiling: Scope
    generation: int
    epoch: int


class ConnectionTokens(OrderedDict[bytes, Verified]):
    """What one connection has verified, by the hash of each token; the one used last at the end."""

    def find(
        self, name: bytes, ceiling: Scope, memory: GrantMemory, now: Clocks
    ) -> Verified | None:
        """Give what a token was found to be, if all is as it was then; else forget it.

        Raises:
            Denied: The archive accepts no grants now.
        """
        if (known := self.get(name)) is None:
            return None
        if (
            known.generation == memory.generation
            and known.epoch == memory.epoch
            and known.ceiling is ceiling
        ):
            try:
                known.live.check(now)
            except Expired:
                pass
            else:
                self.move_to_end(name)
                return known
        del self[name]
        return None

    def keep(self, name: bytes, verified: Verified) -> None:
        """Remember a token that has just passed every check."""
        self[name] = verified
        if len(self) > TOKENS_REMEMBERED_MAX:
            self.popitem(last=False)


class Shown:
    """Verifies every token that is shown to one served archive.

    Attributes:
        verifier: Checks one signature. An attribute, so that a test can count.
    """

    def __init__(self, archive: Archive, memory: GrantMemory) -> None:
        self.verifier: Verifier = verify_signature
        self._archive = archive
        self._memory = memory
        # By the object, not by what it says: two connections of one machine share nothing.
        self._by_connection: WeakValueDictionary[int, ConnectionTokens] = WeakValueDictionary()

    def begin(self, peer: Peer) -> object:
        """Begin the memory of a connection. It lasts as long as what is returned is held.

        That holds the peer, too, so as long as it lasts no other object has its identity.
        """
        tokens = ConnectionTokens()
        self._by_connection[id(peer)] = tokens
        return peer, tokens

    def verify(self, peer: Peer, token: bytes, ceiling: Scope, now: Clocks) -> Verified:
        """Verify a token, or find that this connection has done so and nothing has changed since.

        Raises:
            GrantRefused: Whatever is wrong with it.
            Denied: The archive accepts no grants now. What the connection knew is forgotten.
        """
        tokens = self._by_connection.get(id(peer))
        if tokens is None or len(token) > TOKEN_BYTES_MAX:  # Not even a hash for such a one.
            return self._verify(peer, token, ceiling, now)
        name = hashlib.sha256(token).digest()
        try:
            known = tokens.find(name, ceiling, self._memory, now)
            if known is None:
                known = self._verify(peer, token, ceiling, now)
                tokens.keep(name, known)
        except Denied:
            tokens.clear()
            raise
        return known

    def _verify(self, peer: Peer, token: bytes, ceiling: Scope, now: Clocks) -> Verified:
        memory = self._memory
        memory.check_open(now.wall_s)
        # Before: if a thread changes the memory meanwhile, what is found here counts as outdated.
        generation, epoch = memory.generation, memory.epoch
        grant = verify_untrusted(
            token,
            anchor=self._archive.anchor,  # Which the owner may change while it is served.
            presenter=peer.spki_hash,
            ceiling=ceiling,
            now_s=int(now.wall_s),
            standing=memory.standing,
            verifier=self.verifier,
        )
        memory.remember_seen(grant)
        live = LiveGrant(grant, now, memory)
        return Verified(grant, live, ceiling, generation, epoch)
