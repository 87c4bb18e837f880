"""Attacks on tokens and on what signs them, by somebody who knows the code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from cryptography import x509

from psp.capability import (
    UNLIMITED,
    Chain,
    Command,
    Operation,
    Scope,
    Standing,
    TableRule,
    archive_id_of,
    ceiling,
    decode_chain_untrusted,
    fingerprint,
    issue,
    narrow,
    one_of,
    sign_anchor,
    sign_invocation,
    verify_anchor_untrusted,
    verify_invocation_untrusted,
    verify_signature,
    verify_untrusted,
)
from psp.capability._keys import _L, _P, _decompress, _multiply
from psp.capability._signing import Tag
from psp.errors import CapabilityError, CheckpointRejected, GrantRefused
from psp.ledger import Checkpoint, sign_checkpoint, verify_checkpoint_untrusted
from psp.transport import MachineKey
from tests.unit.capability.actors import (
    AGGREGATOR,
    ANCHOR_KEY,
    ARCHIVE,
    CEILING,
    COLUMNS,
    HOUR,
    NOW,
    OPERATOR,
    OWNER,
    TENANT,
    CountingVerifier,
    first_token,
    found_archive,
    next_token,
    present,
)
from tests.unit.capability.test_verify import sign_freely, step_of

from .measure import MIB, peak_bytes

NONCE = b"n" * 16

# Widening.

WIDE = TableRule(
    operations=frozenset(Operation),
    output=frozenset(COLUMNS),
    filters=frozenset(COLUMNS),
    groups=frozenset(COLUMNS),
    rows_max=1000,
    local=True,
)
_CHOSEN: dict[str, Any] = {
    "operations": frozenset({Operation.COUNT, Operation.READ}),
    "output": frozenset({"price"}),
    "filters": frozenset({"date"}),
    "groups": frozenset({"zipcode"}),
    "rows": {"zipcode": one_of(["98004"])},
    "aggregates_only": True,
    "floor": 20,
    "rounding": 100,
    "local": False,
}
# Every other part of a rule is a number that is unlimited unless somebody says less.
NARROWER = _CHOSEN | {one.name: 7 for one in fields(TableRule) if one.name not in _CHOSEN}


@pytest.mark.parametrize("dimension", NARROWER)
def test_a_child_that_widens_one_dimension_opens_no_more_than_its_parent(dimension: str) -> None:
    """Attack 4: a modified client signs the whole table, whatever its own link left out."""
    under = ceiling("ADMIN", {"sales": COLUMNS, "rents": COLUMNS}, 1)
    parent = Scope({"sales": replace(WIDE, **{dimension: NARROWER[dimension]})})
    child = Scope({"sales": WIDE, "rents": WIDE}, {"ledger": frozenset({"prove"})})
    wide = sign_freely(
        first_token(scope=parent),
        OPERATOR,
        scope=child,
        depth=0,
        holder=AGGREGATOR.public_bytes,
        presenter=AGGREGATOR.spki_hash,
    )

    scope = present(wide, under=under).scope

    assert scope == under.meet(parent)
    assert getattr(scope.tables["sales"], dimension) != getattr(WIDE, dimension)


def test_every_part_of_a_rule_is_tried_above() -> None:
    """A new dimension that has no bottom here would be compared with itself."""
    unlimited = {one.name for one in fields(TableRule) if one.default == UNLIMITED}
    assert NARROWER.keys() - _CHOSEN.keys() == unlimited


# Signatures of one type, offered as another.


@dataclass
class Pen:
    """A key that signs something else than it is asked to, if it is told to."""

    key: MachineKey
    instead: bytes | None = None
    asked: bytes = b""

    @property
    def public_bytes(self) -> bytes:
        return self.key.public_bytes

    def sign(self, data: bytes) -> bytes:
        self.asked = data
        return self.key.sign(data if self.instead is None else self.instead)


# One key in every role: nothing but what is signed keeps the types apart.
KEY = OWNER
ANCHOR_ID = archive_id_of(KEY.public_bytes, NONCE)
CALL: list[Command] = [("describe", [])]
HELD = present(next_token(first_token(), OPERATOR, KEY, presenter=AGGREGATOR))
ORIGIN = "example.com/books"


def make_link(pen: Pen) -> None:
    token = issue(
        pen,
        archive_id=ANCHOR_ID,
        epoch=1,
        holder=AGGREGATOR.public_bytes,
        presenter=AGGREGATOR.spki_hash,
        scope=Scope({"sales": TableRule(operations=frozenset({Operation.COUNT}))}),
        not_before_s=NOW,
        not_after_s=NOW + HOUR,
        depth=0,
        nonce=NONCE,
    )
    anchor = verify_anchor_untrusted(make_statement(Pen(KEY)), archive_id=ANCHOR_ID)
    present(token, anchor=anchor)


def make_statement(pen: Pen) -> bytes:
    return sign_anchor(
        pen,
        anchor_keys=[KEY.public_bytes],
        ledger_key=KEY.public_bytes,
        epoch=1,
        version=1,
        nonce=NONCE,
    )


def make_anchor(pen: Pen) -> None:
    verify_anchor_untrusted(make_statement(pen), archive_id=ANCHOR_ID)


def make_invocation(pen: Pen) -> None:
    data = sign_invocation(
        pen,
        archive_id=ARCHIVE.archive_id,
        grant_id=HELD.grant_id,
        commands=CALL,
        nonce=NONCE,
        issued_s=NOW,
        expires_s=NOW + 60,
    )
    verify_invocation_untrusted(
        data,
        grant=HELD,
        archive_id=ARCHIVE.archive_id,
        commands=CALL,
        now_s=NOW,
        started_s=NOW - HOUR,
    )


def make_checkpoint(pen: Pen) -> None:
    checkpoint = Checkpoint(origin=ORIGIN, tree_size=1, root_hash=bytes(32))
    note = sign_checkpoint(checkpoint, pen)
    verify_checkpoint_untrusted(note, origin=ORIGIN, public_key=KEY.public_bytes)


TYPES: dict[str, Callable[[Pen], None]] = {
    "link": make_link,
    "anchor": make_anchor,
    "invocation": make_invocation,
    "checkpoint": make_checkpoint,
}


def message_of(make: Callable[[Pen], None]) -> bytes:
    """What a key signs for one type; that it is accepted is the control of everything below."""
    pen = Pen(KEY)
    make(pen)
    return pen.asked


def retagged(message: bytes, tag: Tag) -> bytes:
    """The same parts under another tag."""
    length = int.from_bytes(message[8:16], "little")
    name = tag.value.encode()
    return message[:8] + len(name).to_bytes(8, "little") + name + message[16 + length :]


def foreign_messages() -> dict[str, bytes]:
    """What other programs let an Ed25519 key sign."""
    certificate = x509.load_pem_x509_certificate(KEY.certificate_pem.encode())
    transcript = hashlib.sha256(b"handshake").digest()
    return {
        "TLS client": b" " * 64 + b"TLS 1.3, client CertificateVerify\0" + transcript,
        "TLS server": b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + transcript,
        "X.509": certificate.tbs_certificate_bytes,
        "SSHSIG": b"SSHSIG\0\0\0\x03git\0\0\0\0\0\0\0\x06sha512\0\0\0\x40" + bytes(64),
    }


@pytest.mark.parametrize("name", TYPES)
def test_a_signature_of_one_type_is_good_for_no_other(name: str) -> None:
    """Attack 5: every type, every tag, and what TLS, certificates and SSH sign; one key for all."""
    own = message_of(TYPES[name])
    others = {other: message_of(make) for other, make in TYPES.items() if other != name}
    if own[16:].startswith(b"PSP1."):
        others |= {tag.value: retagged(own, tag) for tag in Tag if retagged(own, tag) != own}
    others |= foreign_messages()

    assert len(others) >= len(TYPES) + 3
    for message in others.values():
        with pytest.raises((CapabilityError, GrantRefused, CheckpointRejected)):
            TYPES[name](Pen(KEY, instead=message))


# Weak keys, in every place where a key may stand: tests/unit/capability/test_weak_keys.py.


def test_a_malleable_signature_is_refused_and_would_name_the_same_grant() -> None:
    """Attack 7: S + L verifies in careless libraries, and must not be a second token."""
    chain = decode_chain_untrusted(next_token(first_token(), OPERATOR, AGGREGATOR))
    last = chain.signed[-1]
    other = replace(last, signature=with_order_added(last.signature))
    again = Chain((*chain.signed[:-1], other))

    assert again.ids() == chain.ids()
    assert step_of(again.encode()) == "signature"


def signed_otherwise(by: MachineKey, message: bytes) -> bytes:
    """Sign as RFC 8032, section 5.1.6, but with a number of one's own: a second good signature."""
    hashed = hashlib.sha512(by.private.private_bytes_raw()).digest()
    secret = int.from_bytes(hashed[:32], "little") & ~7 & (1 << 254) - 1 | 1 << 254
    base = _decompress((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert base is not None
    x, y, z, _ = _multiply(12_345, base)
    inverse = pow(z, -1, _P)
    point = (y * inverse % _P | (x * inverse % _P & 1) << 255).to_bytes(32, "little")
    challenge = hashlib.sha512(point + by.public_bytes + message).digest()
    scalar = (12_345 + int.from_bytes(challenge, "little") * secret) % _L
    return point + scalar.to_bytes(32, "little")


def with_order_added(signature: bytes) -> bytes:
    high = int.from_bytes(signature[32:], "little") + _L
    return signature[:32] + high.to_bytes(32, "little")


@pytest.mark.parametrize("revoked", [0, 1])
@pytest.mark.parametrize("how", ["order added", "signed again"])
def test_what_was_revoked_stays_revoked_under_another_signature(revoked: int, how: str) -> None:
    """Attack 7: S + L, and a body that its issuer signs anew: one id, and no signature is asked."""
    chain = decode_chain_untrusted(next_token(first_token(), OPERATOR, AGGREGATOR))
    last, message = chain.signed[-1], chain.messages()[-1]
    other = signed_otherwise(OPERATOR, message)
    assert verify_signature(OPERATOR.public_bytes, message, other)
    assert other != last.signature
    if how == "order added":
        other = with_order_added(last.signature)
    again = Chain((*chain.signed[:-1], replace(last, signature=other)))
    standing = Standing(epoch=ARCHIVE.epoch, revoked_ids={chain.ids()[revoked]})
    verifier = CountingVerifier()

    with pytest.raises(GrantRefused) as refused:
        verify_untrusted(
            again.encode(),
            anchor=ARCHIVE,
            presenter=AGGREGATOR.spki_hash,
            ceiling=CEILING,
            now_s=NOW,
            standing=standing,
            verifier=verifier,
        )
    assert (refused.value.step, verifier.count) == ("revoked", 0)
    assert again.ids() == chain.ids()


# Amplification.


@pytest.mark.parametrize(
    "token",
    [
        b"\xdd\x00\x0f\x42\x40" + b"\x80" * 1_000_000,
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff" + b"\x90" * 4_000,
        b"\xdd\x00\x00\x10\x00" + b"\xc0" * 4_096,
        b"\x91\x92\xc6\xff\xff\xff\xff",
        b"\x91" * 4_300,
        b"\xc9\xff\xff\xff\xff\x01",
    ],
    ids=["maps", "depth", "array", "lists", "nils", "bytes", "nested", "extension"],
)
def test_a_bomb_for_a_token_costs_no_memory_and_no_signature(token: bytes) -> None:
    """Attack 9: of a token, and the honest one behind it is read as ever."""
    verifier = CountingVerifier()

    assert peak_bytes(lambda: step_of(token, verifier)) < MIB
    assert verifier.count == 0
    assert present(first_token(AGGREGATOR)).archive_id == ARCHIVE.archive_id


# Audience.


def test_two_archives_of_one_owner_take_no_grant_of_each_other() -> None:
    """Attack 10: at any place of a chain, and under a name that a forger writes over another."""
    here, there = found_archive(), found_archive(b"s" * 16)
    both = {one.archive_id: first_token(AGGREGATOR, anchor=one) for one in (here, there)}

    for one, other in ((here, there), (there, here)):
        assert present(both[one.archive_id], anchor=one).archive_id == one.archive_id
        assert step_of(both[one.archive_id], anchor=other) == "archive"
        signed = decode_chain_untrusted(both[one.archive_id]).signed[0]
        link = replace(signed.link, archive_id=other.archive_id)
        forged = Chain((replace(signed, link=link, body=link.encode()),)).encode()
        assert step_of(forged, anchor=other) == "signature"


def test_a_grant_that_was_handed_on_is_bound_to_its_last_presenter() -> None:
    """Attack 1: the machine that handed it on, the one before, and one that only saw it."""
    token = narrow(
        first_token(depth=1),
        OPERATOR,
        holder=TENANT.public_bytes,
        presenter=TENANT.spki_hash,
        scope=decode_chain_untrusted(first_token()).leaf.scope,
        not_before_s=NOW,
        not_after_s=NOW + HOUR,
        depth=0,
        nonce=NONCE,
    )
    verifier = CountingVerifier()

    for thief in (OPERATOR, AGGREGATOR, OWNER, ANCHOR_KEY):
        assert step_of(token, verifier, presenter=thief) == "presenter", fingerprint(
            thief.spki_hash
        )
    assert verifier.count == 0
