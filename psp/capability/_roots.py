"""The owner's root keys: k of n must agree before anything is widened, any one may take away.

A root set is replaced as TUF does it (specification 1.0.33, section 5.3): the next version exactly,
signed by the threshold of the old set *and* of the new one. So nobody who has fewer keys than the
threshold can bring in keys of his own, nobody is made a root who has not signed, and a version that
jumps ahead, after which no honest one could follow, is refused.

Signatures are counted by distinct key bytes: one key that signs twice, or stands twice in a set,
is one key. Every signature that is there must be good and of a root; a statement with one to
ignore would have a second encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from psp.errors import CapabilityError

from ._keys import (
    SigningKey,
    Verifier,
    check_prime_order,
    fingerprint,
    spki_hash_of,
    verify_signature,
)
from ._limits import (
    EPOCH_MAX,
    HASH_BYTES,
    KEY_BYTES,
    ROOT_KEYS_MAX,
    SIGNATURE_BYTES,
    SIGNERS_MAX,
    STATEMENT_BYTES_MAX,
)
from ._link import VERSION
from ._signing import Tag, tagged
from ._wire import Wire, decode_untrusted, encode, take_bytes, take_int, take_list

Signatures: TypeAlias = "dict[bytes, bytes]"
"""Public key -> 64 bytes, rising by key."""


@dataclass(frozen=True, slots=True)
class Roots:
    """One version of an owner's root set: so many of these keys must sign.

    Attributes:
        keys: 1 to 8 public keys.
        threshold: 1 to the number of keys.
        version: 1 for the set that founded the archive, then rising by one.

    Raises:
        CapabilityError: On making: a weak key, or a number out of range.
    """

    keys: frozenset[bytes]
    threshold: int = 1
    version: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= ROOT_KEYS_MAX:
            raise CapabilityError(
                f"{len(self.keys)} root keys; an owner has 1 to {ROOT_KEYS_MAX}, each once."
            )
        if not 1 <= self.threshold <= len(self.keys):
            raise CapabilityError(
                f"a threshold of {self.threshold} with {len(self.keys)} root keys; choose 1 to"
                f" {len(self.keys)}."
            )
        if not 1 <= self.version <= EPOCH_MAX:
            raise CapabilityError(f"version {self.version} of a root set; the first is 1.")
        for key in self.keys:
            check_prime_order(key)

    def to_wire(self) -> Wire:
        """Give `[threshold, [key, …]]`, the keys rising."""
        return [self.threshold, sorted(self.keys)]


def roots_of(keys: Iterable[bytes], *, threshold: int) -> Roots:
    """Make a founding root set.

    Raises:
        CapabilityError: A key is weak or stands there twice, or a number is out of range.
    """
    given = list(keys)
    if len(set(given)) != len(given):
        raise CapabilityError("one root key was given twice; it would be counted once.")
    return Roots(frozenset(given), threshold)


def take_roots(threshold: object, keys: object, version: int) -> Roots:
    """Read a root set out of a decoded body.

    Raises:
        ValueError: Whatever is wrong with it. Nothing else is raised.
    """
    read = [take_bytes(it, KEY_BYTES) for it in take_list(keys)]
    if read != sorted(set(read)):
        raise ValueError("root keys stand in rising order, each once")
    try:
        return Roots(frozenset(read), take_int(threshold, 1, ROOT_KEYS_MAX), version)
    except CapabilityError as exc:
        raise ValueError(str(exc)) from None


def sign_rotation(
    signers: Sequence[SigningKey],
    *,
    archive_id: bytes,
    old: Roots,
    keys: Iterable[bytes],
    threshold: int,
) -> bytes:
    """Make the statement that puts another root set in the place of `old`.

    Signers who are elsewhere add theirs with `cosign_untrusted(Tag.KEY_ROTATION, …)`.

    Args:
        signers: Root keys of the old set and of the new one.

    Raises:
        CapabilityError: The new set is not one, or there is no signer. Nothing was signed.
    """
    new = roots_of(keys, threshold=threshold)
    body = encode([VERSION, archive_id, old.version + 1, new.threshold, sorted(new.keys)])
    return sign_body(Tag.KEY_ROTATION, body, signers)


def verify_rotation_untrusted(
    statement: bytes, *, archive_id: bytes, roots: Roots, verifier: Verifier = verify_signature
) -> Roots:
    """Check a rotation against the root set that is in force, and return the next one.

    Raises:
        CapabilityError: It is malformed, of another archive, not of the next version, or the
            threshold of the old or of the new set has not signed it. Nothing else is raised.
    """
    try:
        body, signatures = read_signed_untrusted(statement)
        new = _read_rotation(body, archive_id)
    except ValueError as exc:
        raise CapabilityError(f"the key rotation cannot be read: {exc}") from None
    if new.version != roots.version + 1:
        raise CapabilityError(
            f"a key rotation to version {new.version} came, and version {roots.version} is in"
            f" force. Only version {roots.version + 1} can follow; send the ones between first."
        )
    check_signers(Tag.KEY_ROTATION, body, signatures, [roots, new], verifier)
    return new


def sign_body(tag: Tag, body: bytes, signers: Sequence[SigningKey]) -> bytes:
    """Put the signatures of one statement round its body.

    Raises:
        CapabilityError: No signer, or one key twice. Nothing was signed.
    """
    keys = {signer.public_bytes for signer in signers}
    if not signers or len(keys) != len(signers):
        raise CapabilityError(
            f"{len(signers)} signers with {len(keys)} keys; give at least one, and each once."
        )
    message = tagged(tag, body)
    return _encode_signed(body, {it.public_bytes: it.sign(message) for it in signers})


def cosign_untrusted(tag: Tag, statement: bytes, signer: SigningKey) -> bytes:
    """Add one root key's signature to a statement that others have signed elsewhere.

    The caller has read the statement and agrees with it: this signs whatever the body says.

    Raises:
        CapabilityError: It cannot be read, or this key has signed it. Nothing was signed.
    """
    try:
        body, signatures = read_signed_untrusted(statement)
    except ValueError as exc:
        raise CapabilityError(f"the statement cannot be read: {exc}") from None
    key = signer.public_bytes
    if key in signatures or len(signatures) == SIGNERS_MAX:
        raise CapabilityError(f"{_name(key)} has signed this, or {SIGNERS_MAX} others have.")
    return _encode_signed(body, {**signatures, key: signer.sign(tagged(tag, body))})


def read_signed_untrusted(statement: bytes) -> tuple[bytes, Signatures]:
    """Take `[body, [[key, signature], …]]` apart; exactly one sequence of bytes is accepted.

    Raises:
        ValueError: Whatever is wrong with it. Nothing else is raised.
    """
    if len(statement) > STATEMENT_BYTES_MAX:
        raise ValueError(f"{len(statement)} bytes; the limit is {STATEMENT_BYTES_MAX}")
    body, pairs = take_list(decode_untrusted(statement), 2)
    signatures = take_signatures(pairs)
    if type(body) is not bytes or _encode_signed(body, signatures) != statement:
        raise ValueError("the envelope is not in its canonical form")
    return body, signatures


def take_signatures(wire: object) -> Signatures:
    """Read `[[key, signature], …]`: 1 to 16, the keys rising.

    Raises:
        ValueError: Whatever is wrong with it. Nothing else is raised.
    """
    pairs = [take_list(it, 2) for it in take_list(wire)]
    read = {take_bytes(key, KEY_BYTES): take_bytes(it, SIGNATURE_BYTES) for key, it in pairs}
    if not 1 <= len(pairs) <= SIGNERS_MAX or [key for key, _ in pairs] != sorted(read):
        raise ValueError(
            f"1 to {SIGNERS_MAX} signatures stand in the order of their keys, each once"
        )
    return read


def check_signers(
    tag: Tag,
    body: bytes,
    signatures: Signatures,
    sets: Sequence[Roots],
    verifier: Verifier = verify_signature,
    *,
    any_one: bool = False,
) -> None:
    """Check that every signature is good and that enough keys of every set have signed.

    Args:
        any_one: One root key is enough, whatever the threshold: for what only takes away.

    Raises:
        CapabilityError: One signature is bad or a stranger's, or they are too few. Nothing else.
    """
    for key in signatures:
        if not any(key in roots.keys for roots in sets):
            raise CapabilityError(f"{_name(key)} has signed and is no root key of this archive.")
    for roots in sets:
        needed, count = 1 if any_one else roots.threshold, len(roots.keys & signatures.keys())
        if count < needed:
            raise CapabilityError(
                f"{count} keys of version {roots.version} of the root set have signed and"
                f" {needed} must. Have more of its keepers sign."
            )
    message = tagged(tag, body)
    for key, signature in signatures.items():
        if not verifier(key, message, signature):
            raise CapabilityError(f"{_name(key)} has not signed this statement.")


def _read_rotation(body: bytes, archive_id: bytes) -> Roots:
    parts = take_list(decode_untrusted(body), 5)
    take_int(parts[0], VERSION, VERSION)
    if take_bytes(parts[1], HASH_BYTES) != archive_id:
        raise ValueError("it is of another archive")
    new = take_roots(parts[3], parts[4], take_int(parts[2], 2, EPOCH_MAX))
    if encode([VERSION, archive_id, new.version, new.threshold, sorted(new.keys)]) != body:
        raise ValueError("the body is not in its canonical form")
    return new


def _encode_signed(body: bytes, signatures: Signatures) -> bytes:
    return encode([body, [[key, signatures[key]] for key in sorted(signatures)]])


def _name(key: bytes) -> str:
    return fingerprint(spki_hash_of(key))
