"""Grants that hold now, for archives that are served by the real clock."""

from __future__ import annotations

import secrets
import time

from psp.capability import Operation, Scope, TableRule, issue
from psp.transport import MachineKey

from .conftest import OWNER

COUNT_ROOMS = Scope(
    {
        "sales": TableRule(
            operations=frozenset({Operation.META, Operation.COUNT}),
            output=frozenset({"rooms"}),
            aggregates_only=True,
        )
    }
)


def live_token(
    holder: MachineKey,
    *,
    presenter: MachineKey | None = None,
    scope: Scope = COUNT_ROOMS,
    depth: int = 0,
    seconds: int = 600,
) -> bytes:
    """A grant of the archive of `OWNER` that begins now."""
    now_s = int(time.time())
    return issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=holder.public_bytes,
        presenter=(presenter or holder).spki_hash,
        scope=scope,
        depth=depth,
        nonce=secrets.token_bytes(16),
        not_before_s=now_s,
        not_after_s=now_s + seconds,
    )
