"""Tokens and signed calls that are right in everything but one thing.

The links are put together by hand, because `issue` and `narrow` refuse to make most of these: this
is what a modified client does. The operator's own key signs nothing. Every chain begins with a
throwaway holder, so that no attack can touch what the operator's grants may still use.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.capability import (
    Chain,
    Command,
    Link,
    Operation,
    Scope,
    SigningKey,
    TableRule,
    sign_invocation,
)
from psp.transport import MachineKey

from ._limits import HONEST_S

_DAY_S: Final = 24 * 3600
_NO_CHAIN: Final = Chain(())
_NEUTRAL_POINT: Final = (1).to_bytes(32, "little")
"""Under this "key" one signature is good for every message."""


def throwaway() -> MachineKey:
    return MachineKey(Ed25519PrivateKey.generate())


@dataclass(frozen=True, kw_only=True)
class Forger:
    """Whoever has stolen more than anybody should: the anchor key, and a paired machine's.

    Attributes:
        thief: The paired machine through which everything is presented.
        other_archive: The id of an archive that is not attacked.
    """

    anchor: SigningKey
    thief: MachineKey
    archive_id: bytes
    other_archive: bytes
    epoch: int
    table: str
    columns: frozenset[str]
    operator: MachineKey = field(default_factory=throwaway)
    victim: MachineKey = field(default_factory=throwaway)
    console: MachineKey = field(default_factory=throwaway)

    @property
    def narrow_scope(self) -> Scope:
        """Hardly anything: a description, and a count that is never asked for."""
        rule = TableRule(
            operations=frozenset({Operation.META, Operation.COUNT}), aggregates_only=True
        )
        return Scope({self.table: rule})

    @property
    def wide_scope(self) -> Scope:
        """All there is."""
        rule = TableRule(
            operations=frozenset(Operation),
            output=self.columns,
            filters=self.columns,
            groups=self.columns,
            rows_max=1000,
        )
        return Scope({self.table: rule}, {"ledger": frozenset({"prove"})})

    def first(self, *, by: SigningKey | None = None, **changes: Any) -> Chain:
        """Link 0: by the anchor key, for a throwaway operator."""
        key, now_s = by or self.anchor, int(time.time())
        link = Link(
            archive_id=self.archive_id,
            epoch=self.epoch,
            issuer=key.public_bytes,
            holder=self.operator.public_bytes,
            presenter=self.operator.spki_hash,
            not_before_s=now_s,
            not_after_s=now_s + HONEST_S,
            depth=2,
            nonce=secrets.token_bytes(16),
            scope=self.narrow_scope,
        )
        return _NO_CHAIN.extend(replace(link, **changes), key)

    def second(self, chain: Chain, *, by: MachineKey | None = None, **changes: Any) -> Chain:
        """Link 1: by the holder before, for the thief, and nothing may follow it."""
        link = replace(
            chain.leaf,
            issuer=chain.leaf.holder,
            holder=self.thief.public_bytes,
            presenter=self.thief.spki_hash,
            depth=0,
            nonce=secrets.token_bytes(16),
        )
        return chain.extend(replace(link, **changes), by or self.operator)

    def honest(self) -> bytes:
        return self.second(self.first()).encode()

    def aggregating(self, floor: int) -> bytes:
        """Rightly signed, for counts and keyed reads, of no fewer than `floor` subjects."""
        rule = replace(
            self.wide_scope.tables[self.table],
            operations=frozenset({Operation.COUNT, Operation.READ}),
            floor=floor,
        )
        return self.second(self.first(scope=Scope({self.table: rule}))).encode()

    def stolen(self) -> bytes:
        key, machine = self.victim.public_bytes, self.victim.spki_hash
        return self.second(self.first(), holder=key, presenter=machine).encode()

    def expired(self) -> bytes:
        now_s = int(time.time())
        return self.second(self.first(not_before_s=now_s - 600, not_after_s=now_s - 1)).encode()

    def too_early(self) -> bytes:
        now_s = int(time.time())
        return self.second(self.first(not_before_s=now_s + 60)).encode()

    def too_long(self) -> bytes:
        end_s = int(time.time()) + 8 * _DAY_S
        return self.second(self.first(not_after_s=end_s), not_after_s=end_s).encode()

    def elsewhere(self) -> bytes:
        return self.second(self.first(archive_id=self.other_archive)).encode()

    def former_epoch(self) -> bytes:
        # Not the next one: signed by its anchor, that is how an archive learns that it is a copy
        # which others have outrun, and it would stop.
        return self.second(self.first(epoch=self.epoch - 1)).encode()

    def own_anchor(self) -> bytes:
        return self.second(self.first(by=self.victim)).encode()

    def spliced(self) -> bytes:
        leaf = self.second(self.first()).signed[1]
        return Chain((self.first().signed[0], leaf)).encode()

    def dropped(self) -> bytes:
        return Chain(self.second(self.first()).signed[1:]).encode()

    def doubled(self) -> bytes:
        one, two = self.second(self.first()).signed
        return Chain((one, two, two)).encode()

    def after_the_end(self) -> bytes:
        return self.second(self.second(self.first()), by=self.thief).encode()

    def resigned(self) -> bytes:
        return self.second(self.first(), by=self.victim).encode()

    def changed(self) -> bytes:
        chain = self.second(self.first())
        last = chain.signed[-1]
        link = replace(last.link, scope=self.wide_scope)
        return Chain((*chain.signed[:-1], replace(last, link=link, body=link.encode()))).encode()

    def untagged(self) -> bytes:
        chain = self.second(self.first())
        last = chain.signed[-1]
        signature = self.operator.sign(last.body)
        return Chain((*chain.signed[:-1], replace(last, signature=signature))).encode()

    def extended(self) -> bytes:
        return self.second(self.first(), critical=(7,)).encode()

    def weak(self) -> bytes:
        return self.second(self.first(), holder=_NEUTRAL_POINT).encode()

    def padded(self) -> bytes:
        return self.honest() + b"\xc0"

    def widened(self) -> bytes:
        """A second link for everything, after a first one for hardly anything."""
        return self.second(self.first(), scope=self.wide_scope).encode()

    def unbounded(self) -> bytes:
        """Everything, rightly signed: what the pairing alone must hold back."""
        return self.second(self.first(scope=self.wide_scope)).encode()

    def interactive(self) -> Chain:
        """A proper grant whose calls a console signs and the thief carries."""
        return self.second(self.first(), holder=self.console.public_bytes)

    def sign(
        self,
        chain: Chain,
        commands: Sequence[Command],
        *,
        by: MachineKey | None = None,
        age_s: int = 0,
    ) -> bytes:
        """Sign a call under an interactive grant."""
        issued_s = int(time.time()) - age_s
        return sign_invocation(
            by or self.console,
            archive_id=self.archive_id,
            grant_id=chain.ids()[-1],
            commands=commands,
            nonce=secrets.token_bytes(16),
            issued_s=issued_s,
            expires_s=issued_s + 60,
        )
