"""A key under which more than one person can sign is refused wherever a key can stand."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest

from psp.capability import (
    Ceremony,
    Introduction,
    Role,
    Roots,
    Tag,
    decode_chain_untrusted,
    spki_hash_of,
    verify_anchor_untrusted,
    verify_rotation_untrusted,
)
from psp.capability._link import EMPTY_CHAIN, Chain
from psp.capability._roots import sign_body
from psp.capability._signing import digest, tagged
from psp.capability._wire import Wire, encode
from psp.endpoint._meeting import _key_of
from psp.errors import CapabilityError, EstateError
from psp.transport import MachineKey, check_certificate_untrusted

from .actors import (
    AGGREGATOR,
    ANCHOR_KEY,
    LEDGER,
    OPERATOR,
    TENANT,
    CountingVerifier,
    first_token,
    key,
    next_token,
    present,
)
from .test_keys import SMALL_ORDER, P
from .test_roots import ID, NONCE, OLD, A, B
from .test_verify import MIXED_ORDER

# Every y that is not below p, with either sign; those of small order among them.
SECOND_ENCODINGS = [
    (y | sign << 255).to_bytes(32, "little") for y in range(P, 2**255) for sign in (0, 1)
]
WEAK = sorted({*SMALL_ORDER, *SECOND_ENCODINGS, MIXED_ORDER})


def link_with(place: str, weak: bytes) -> None:
    link = decode_chain_untrusted(first_token()).leaf
    changed = replace(link, **{place: weak})  # type: ignore[arg-type]
    present(EMPTY_CHAIN.extend(changed, ANCHOR_KEY).encode(), OPERATOR)


def further_link_with(place: str, weak: bytes) -> None:
    chain = decode_chain_untrusted(next_token(first_token(), OPERATOR, AGGREGATOR))
    changed = replace(chain.leaf, **{place: weak})  # type: ignore[arg-type]
    present(Chain(chain.signed[:1]).extend(changed, OPERATOR).encode(), AGGREGATOR)


def presented_by(weak: bytes) -> None:
    """A presenter is the hash of a key, which has to be paired first."""
    link = replace(decode_chain_untrusted(first_token()).leaf, presenter=spki_hash_of(weak))
    EMPTY_CHAIN.extend(link, ANCHOR_KEY)
    check_certificate_untrusted(certificate_of(weak))


def anchor_with(root: bytes, anchor: bytes, ledger: bytes = LEDGER.public_bytes) -> None:
    body = encode([1, root, NONCE, [anchor], ledger, 1, 1])
    data = encode([body, A.sign(tagged(Tag.ANCHOR, body))])
    verify_anchor_untrusted(data, archive_id=digest(Tag.ARCHIVE_ID, root, NONCE))


def founder_with(weak: bytes) -> None:
    founders: Wire = [1, sorted([A.public_bytes, weak])]
    body = encode([1, founders, NONCE, [ANCHOR_KEY.public_bytes], LEDGER.public_bytes, 1, 1])
    pairs: Wire = [[A.public_bytes, A.sign(tagged(Tag.ANCHOR, body))]]
    id_ = digest(Tag.ARCHIVE_ID, encode(founders), NONCE)
    verify_anchor_untrusted(encode([body, pairs, []]), archive_id=id_)


def rotation_with(weak: bytes) -> None:
    body = encode([1, ID, 2, 1, [weak]])
    statement = sign_body(Tag.KEY_ROTATION, body, [A, B])
    verify_rotation_untrusted(statement, archive_id=ID, roots=OLD)


def certificate_of(weak: bytes) -> str:
    """A certificate of that key, signed as well as anybody can: see the neutral point."""
    der = ssl.PEM_cert_to_DER_cert(TENANT.certificate_pem).replace(TENANT.public_bytes, weak)
    forged = (1).to_bytes(32, "little") + bytes(32)
    return ssl.DER_cert_to_PEM_cert(der[:-64] + forged)


def ceremony_with(weak: bytes) -> None:
    def side(role: Role, by: MachineKey, certificate: str) -> Ceremony:
        return Ceremony(
            role,
            Introduction(name="box", certificate=ssl.PEM_cert_to_DER_cert(certificate)),
            nonce=by.public_bytes,
            signer=by,
            read_key=_key_of,
        )

    caller = side(Role.CALLER, key(50), certificate_of(weak))
    listener = side(Role.LISTENER, key(51), key(51).certificate_pem)
    commit = listener.receive_untrusted(caller.start())
    listener.receive_untrusted(caller.receive_untrusted(commit))


POSITIONS: dict[str, Callable[[bytes], object]] = {
    "issuer": lambda weak: link_with("issuer", weak),
    "holder": lambda weak: link_with("holder", weak),
    "issuer of a further link": lambda weak: further_link_with("issuer", weak),
    "holder of a further link": lambda weak: further_link_with("holder", weak),
    "presenter": presented_by,
    "root key": lambda weak: anchor_with(weak, ANCHOR_KEY.public_bytes),
    "founder in a set": founder_with,
    "anchor key": lambda weak: anchor_with(A.public_bytes, weak),
    "ledger key": lambda weak: anchor_with(A.public_bytes, ANCHOR_KEY.public_bytes, weak),
    "rotated key": rotation_with,
    "root set in memory": lambda weak: Roots(frozenset({weak})),
    "certificate at pairing": lambda weak: check_certificate_untrusted(certificate_of(weak)),
    "certificate in a ceremony": ceremony_with,
}


@pytest.mark.parametrize("position", POSITIONS)
def test_a_weak_key_is_refused_there(position: str) -> None:
    """Attack 6: the 14 of small order, the 38 second encodings, one of mixed order; each place."""
    for weak in WEAK:
        with pytest.raises((CapabilityError, EstateError)):
            POSITIONS[position](weak)


@pytest.mark.parametrize("position", POSITIONS)
def test_an_honest_key_in_its_place_is_not_what_is_refused(position: str) -> None:
    """The control: a sound key there is refused for being another's, or not at all."""
    said = ""
    try:
        POSITIONS[position](key(60).public_bytes)
    except (CapabilityError, EstateError) as exc:
        said = str(exc)
    assert not any(word in said for word in ("generate a new", "small order", "encoding"))


@pytest.mark.parametrize("place", ["holder", "issuer"])
def test_a_key_that_is_seen_to_be_weak_costs_no_verification(place: str) -> None:
    """Attack 6: all but mixed order is seen before a signature is looked at."""
    link = decode_chain_untrusted(first_token()).leaf
    verifier = CountingVerifier()
    for weak in (*SMALL_ORDER, *SECOND_ENCODINGS):
        changed = replace(link, **{place: weak})  # type: ignore[arg-type]
        with pytest.raises(CapabilityError, match="decode"):
            present(EMPTY_CHAIN.extend(changed, ANCHOR_KEY).encode(), OPERATOR, verifier=verifier)
    assert verifier.count == 0
