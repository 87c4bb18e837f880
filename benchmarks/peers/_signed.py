"""An interactive grant: a console signs each call, and the archive lets it through once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Final

from benchmarks.peers._archive import answer_of
from psp.capability import (
    Command,
    Grant,
    decode_chain_untrusted,
    sign_invocation,
    verify_invocation_untrusted,
)
from psp.endpoint import Exposed, method
from psp.errors import Denied, GrantRefused
from psp.rpc import CallReady
from psp.transport import MachineKey
from psp.values import Value

LASTS_S: Final = 60
STARTED_S_AGO: Final = 3600
"""Since when the archive is said to remember nonces. It does so from its start, and a signature
made in the two seconds after that is refused; the benchmark does not wait for them."""


class SignedNode(Exposed):
    """What an interactive grant shows."""

    def __init__(self, grant: Grant) -> None:
        self._grant = grant
        self._nonces = set[bytes]()

    def check(self, call: CallReady) -> None:
        """Let a call in if the console signed exactly this, and never twice."""
        now_s = int(time.time())
        try:
            invocation = verify_invocation_untrusted(
                call.invocation or b"",
                grant=self._grant,
                archive_id=self._grant.archive_id,
                commands=[(call.method, call.arguments)],
                now_s=now_s,
                started_s=now_s - STARTED_S_AGO,
            )
        except GrantRefused:
            raise Denied from None
        if invocation.nonce in self._nonces:
            raise Denied
        self._nonces.add(invocation.nonce)

    @method
    def query(self, plan: list[Value]) -> Mapping[str, Value]:
        return answer_of(plan)


def sign(console: MachineKey, token: bytes, command: Command) -> bytes:
    """Sign one call as the holder of a grant."""
    chain = decode_chain_untrusted(token)
    now_s = int(time.time())
    return sign_invocation(
        console,
        archive_id=chain.leaf.archive_id,
        grant_id=chain.ids()[-1],
        commands=[command],
        nonce=secrets.token_bytes(16),
        issued_s=now_s,
        expires_s=now_s + LASTS_S,
    )
