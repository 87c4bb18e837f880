"""The people and machines of the tests, with keys that are the same in every run."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.capability import (
    Anchor,
    Grant,
    Operation,
    Scope,
    TableRule,
    archive_id_of,
    ceiling,
    issue,
    narrow,
    sign_anchor,
    verify_anchor_untrusted,
    verify_signature,
    verify_untrusted,
)
from psp.transport import MachineKey

NOW = 1_790_000_000
HOUR = 3600


def key(number: int) -> MachineKey:
    return MachineKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


OWNER, ANCHOR_KEY, OPERATOR, AGGREGATOR, TENANT, STRANGER, LEDGER = map(key, range(1, 8))


def found_archive(nonce: bytes = b"n" * 16, epoch: int = 3) -> Anchor:
    statement = sign_anchor(
        OWNER,
        anchor_keys=[ANCHOR_KEY.public_bytes],
        ledger_key=LEDGER.public_bytes,
        epoch=epoch,
        version=1,
        nonce=nonce,
    )
    return verify_anchor_untrusted(statement, archive_id=archive_id_of(OWNER.public_bytes, nonce))


ARCHIVE = found_archive()
COLUMNS = ("date", "price", "zipcode")

SALES = Scope(
    {
        "sales": TableRule(
            operations=frozenset({Operation.COUNT, Operation.SUM, Operation.MEAN}),
            output=frozenset({"price"}),
            filters=frozenset({"date", "zipcode"}),
            groups=frozenset({"zipcode"}),
            aggregates_only=True,
            floor=10,
        )
    }
)
COUNT_ONLY = Scope(
    {"sales": TableRule(operations=frozenset({Operation.COUNT}), floor=10, aggregates_only=True)}
)
CEILING = ceiling("ADMIN", {"sales": COLUMNS}, 1)


def first_token(
    holder: MachineKey = OPERATOR,
    *,
    presenter: MachineKey | None = None,
    anchor: Anchor = ARCHIVE,
    anchor_key: MachineKey = ANCHOR_KEY,
    epoch: int = 3,
    scope: Scope = SALES,
    start: int = NOW,
    seconds: int = 24 * HOUR,
    depth: int = 3,
    nonce: bytes = b"0" * 16,
) -> bytes:
    return issue(
        anchor_key,
        archive_id=anchor.archive_id,
        epoch=epoch,
        holder=holder.public_bytes,
        presenter=(presenter or holder).spki_hash,
        scope=scope,
        not_before_s=start,
        not_after_s=start + seconds,
        depth=depth,
        nonce=nonce,
    )


def next_token(
    token: bytes,
    by: MachineKey,
    to: MachineKey,
    *,
    presenter: MachineKey | None = None,
    scope: Scope = SALES,
    start: int = NOW,
    seconds: int = HOUR,
    depth: int = 0,
    nonce: bytes = b"1" * 16,
) -> bytes:
    return narrow(
        token,
        by,
        holder=to.public_bytes,
        presenter=(presenter or to).spki_hash,
        scope=scope,
        not_before_s=start,
        not_after_s=start + seconds,
        depth=depth,
        nonce=nonce,
    )


@dataclass
class CountingVerifier:
    """The real verifier, with a count of how often it was asked."""

    count: int = field(default=0)

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.count += 1
        return verify_signature(public_key, message, signature)


def present(
    token: bytes,
    presenter: MachineKey = AGGREGATOR,
    *,
    anchor: Anchor = ARCHIVE,
    under: Scope = CEILING,
    now_s: int = NOW,
    verifier: CountingVerifier | None = None,
) -> Grant:
    return verify_untrusted(
        token,
        anchor=anchor,
        presenter=presenter.spki_hash,
        ceiling=under,
        now_s=now_s,
        verifier=verifier or CountingVerifier(),
    )
