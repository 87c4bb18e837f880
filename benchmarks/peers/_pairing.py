"""The machines and the archive of one run, and a real grant between them."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.peers._certificates import SEED
from benchmarks.peers._child import Setting
from psp.capability import (
    Anchor,
    Grant,
    Operation,
    Scope,
    TableRule,
    archive_id_of,
    ceiling,
    issue,
    sign_anchor,
    verify_anchor_untrusted,
    verify_untrusted,
)
from psp.endpoint import Address, Exposed
from psp.errors import Denied, GrantRefused
from psp.transport import MachineKey, Peer, Pin, check_certificate_untrusted

HOUR_S = 3600
NONCE = bytes(16)
SCOPE = Scope(
    {
        "sales": TableRule(
            operations=frozenset({Operation.COUNT}), filters=frozenset({"date"}), floor=10
        )
    }
)
CEILING = ceiling("ADMIN", {"sales": ("date", "price")}, 1)


@dataclass(frozen=True)
class Pairing:
    """Both ends of it: each child takes its own."""

    seed: bytes

    @classmethod
    def of(cls, setting: Setting) -> Pairing:
        return cls(setting.file(SEED).read_bytes())

    @cached_property
    def statement(self) -> bytes:
        return sign_anchor(
            self._key("owner"),
            anchor_keys=[self._key("anchor").public_bytes],
            ledger_key=self.ledger.public_bytes,
            epoch=1,
            version=1,
            nonce=NONCE,
        )

    @cached_property
    def anchor(self) -> Anchor:
        archive_id = archive_id_of(self._key("owner").public_bytes, NONCE)
        return verify_anchor_untrusted(self.statement, archive_id=archive_id)

    @cached_property
    def ledger(self) -> MachineKey:
        return self._key("ledger")

    @cached_property
    def subject(self) -> MachineKey:
        return self._key("subject")

    @cached_property
    def controller(self) -> MachineKey:
        return self._key("controller")

    @cached_property
    def pin(self) -> Pin:
        return Pin("controller", check_certificate_untrusted(self.controller.certificate_pem))

    def address(self, port: int) -> Address:
        pem = self.subject.certificate_pem
        return Address(self.anchor.archive_id, "127.0.0.1", port, pem, "benchmark")

    @cached_property
    def console(self) -> MachineKey:
        """Holds the interactive grant that the controller's machine presents."""
        return self._key("console")

    def token(self, holder: MachineKey | None = None, scope: Scope = SCOPE) -> bytes:
        """Issue a grant, to the controller itself unless another is to hold it."""
        now_s = int(time.time())
        return issue(
            self._key("anchor"),
            archive_id=self.anchor.archive_id,
            epoch=1,
            holder=(holder or self.controller).public_bytes,
            presenter=self.controller.spki_hash,
            scope=scope,
            not_before_s=now_s,
            not_after_s=now_s + HOUR_S,
            depth=0,
            nonce=secrets.token_bytes(16),
        )

    def present(self, make: Callable[[Grant], Exposed]) -> Callable[[Peer, bytes], Exposed]:
        """Make the hook that verifies a token and gives what it grants."""

        def check(peer: Peer, token: bytes) -> Exposed:
            try:
                grant = verify_untrusted(
                    token,
                    anchor=self.anchor,
                    presenter=peer.spki_hash,
                    ceiling=CEILING,
                    now_s=int(time.time()),
                )
            except GrantRefused:
                raise Denied from None
            return make(grant)

        return check

    def _key(self, name: str) -> MachineKey:
        seed = hashlib.sha256(self.seed + name.encode()).digest()
        return MachineKey(Ed25519PrivateKey.from_private_bytes(seed))
