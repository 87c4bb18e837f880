"""The anchor statement: whose signature an archive believes, said by its owner's root keys.

The archive id is a hash over the founding root set, so an id cannot be claimed with other keys, and
over a nonce, so one owner's keys may stand behind many archives whose ids have nothing in common.
A statement carries every rotation since: it can be checked from the id alone, on any machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from psp.errors import CapabilityError

from ._keys import SigningKey, Verifier, check_prime_order, verify_signature
from ._limits import (
    ANCHOR_BYTES_MAX,
    ANCHOR_KEYS_MAX,
    EPOCH_MAX,
    KEY_BYTES,
    NONCE_BYTES,
    ROTATIONS_MAX,
    SIGNATURE_BYTES,
)
from ._link import VERSION
from ._roots import (
    Roots,
    Signatures,
    check_signers,
    cosign_untrusted,
    sign_body,
    take_roots,
    take_signatures,
    verify_rotation_untrusted,
)
from ._signing import Tag, digest, tagged
from ._wire import Wire, decode_untrusted, encode, take_bytes, take_int, take_list


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A verified anchor statement.

    Attributes:
        archive_id: 32 bytes; everything of this archive is bound to it.
        root_sets: The owner's, from the founding one to the one in force; their private halves are
            not on the archive's machine.
        anchor_keys: The keys that may sign first links.
        ledger_key: The key that signs the ledger's checkpoints.
        epoch: Grants of any other epoch are refused.
        version: Of the statement; a later one replaces an earlier one.
        nonce: 16 bytes, chosen once for the life of the archive.
    """

    archive_id: bytes
    root_sets: tuple[Roots, ...]
    anchor_keys: frozenset[bytes]
    ledger_key: bytes
    epoch: int
    version: int
    nonce: bytes

    @property
    def roots(self) -> Roots:
        """The root set in force."""
        return self.root_sets[-1]


def archive_id_of(root: bytes | Roots, nonce: bytes) -> bytes:
    """Give the id of the archive that an owner founds with a nonce.

    Args:
        root: The owner's one root key, or the founding set.
    """
    roots = Roots(frozenset({root})) if isinstance(root, bytes) else root
    founders = _founders_to_wire(roots)
    return digest(
        Tag.ARCHIVE_ID, founders if isinstance(founders, bytes) else encode(founders), nonce
    )


def sign_anchor(
    root: SigningKey | Sequence[SigningKey],
    *,
    anchor_keys: Iterable[bytes],
    ledger_key: bytes,
    epoch: int,
    version: int,
    nonce: bytes,
    founders: Roots | None = None,
    rotations: Sequence[bytes] = (),
) -> bytes:
    """Make the anchor statement of an archive, to be stored beside it.

    Args:
        root: The owner's one root key, or keys of the set in force. As many as the threshold must
            sign; those who are elsewhere use `cosign_anchor_untrusted`.
        founders: The founding root set; may be left out where one key alone has founded.
        rotations: Every key rotation since, in order.

    Raises:
        CapabilityError: It would not verify: a weak key, no anchor key or too many, a number out of
            range, or several signers where one key has founded. Nothing was signed.
    """
    signers = list(root) if isinstance(root, Sequence) else [root]
    first = founders or Roots(frozenset({signers[0].public_bytes}))
    keys = sorted(set(anchor_keys))
    wire: Wire = [
        *(VERSION, _founders_to_wire(first), nonce, keys, ledger_key, epoch, version),
    ]
    body = encode(wire)
    try:
        _read_body(body)
    except ValueError as exc:
        raise CapabilityError(f"this anchor statement would not be accepted: {exc}") from None
    if len(first.keys) == len(signers) == 1 and not rotations:
        return encode([body, signers[0].sign(tagged(Tag.ANCHOR, body))])
    return _envelope_of(sign_body(Tag.ANCHOR, body, signers), list(rotations))


def cosign_anchor_untrusted(statement: bytes, signer: SigningKey) -> bytes:
    """Add one root key's signature to an anchor statement of a root set.

    The caller has read it and agrees: this signs whatever the body says.

    Raises:
        CapabilityError: It cannot be read, or this key has signed it. Nothing was signed.
    """
    try:
        body, signatures, rotations = _read_envelope(statement)
    except ValueError as exc:
        raise CapabilityError(f"the anchor statement cannot be read: {exc}") from None
    if isinstance(signatures, bytes):
        raise CapabilityError(
            "this anchor statement needs no second key: its one owner has signed."
        )
    signed = encode([body, [[key, it] for key, it in signatures.items()]])
    return _envelope_of(cosign_untrusted(Tag.ANCHOR, signed, signer), rotations)


def rotations_in_untrusted(statement: bytes) -> tuple[bytes, ...]:
    """Give the key rotations that an anchor statement carries, for the one that follows it.

    Raises:
        CapabilityError: It cannot be read. Nothing else is raised.
    """
    try:
        return tuple(_read_envelope(statement)[2])
    except ValueError as exc:
        raise CapabilityError(f"the anchor statement cannot be read: {exc}") from None


def verify_anchor_untrusted(
    statement: bytes, *, archive_id: bytes, verifier: Verifier = verify_signature
) -> Anchor:
    """Check an anchor statement for one archive and return what it says.

    Costs about a millisecond per key, once.

    Raises:
        CapabilityError: It is malformed, of another archive, or not signed by that archive's root
            keys. Nothing else is raised.
    """
    try:
        body, signatures, rotations = _read_envelope(statement)
        anchor = _read_body(body)
    except ValueError as exc:
        raise CapabilityError(f"the anchor statement cannot be read: {exc}") from None
    if anchor.archive_id != archive_id:
        raise CapabilityError(
            f"the anchor statement is of archive {anchor.archive_id.hex()}, not of"
            f" {archive_id.hex()}. Restore the archive's own."
        )
    if isinstance(signatures, bytes):
        (key,) = anchor.roots.keys
        if not verifier(key, tagged(Tag.ANCHOR, body), signatures):
            raise CapabilityError("the anchor statement is not signed by the archive's root key.")
        return anchor
    root_sets = [anchor.roots]
    for rotation in rotations:
        root_sets.append(
            verify_rotation_untrusted(
                rotation, archive_id=archive_id, roots=root_sets[-1], verifier=verifier
            )
        )
    check_signers(Tag.ANCHOR, body, signatures, root_sets[-1:], verifier)
    return replace(anchor, root_sets=tuple(root_sets))


def verify_next_anchor_untrusted(
    statement: bytes, *, current: Anchor, epoch: int, verifier: Verifier = verify_signature
) -> Anchor:
    """Check the statement that is to take the place of the one in force, and return what it says.

    It may change the anchor keys, the root set and the epoch. The ledger's key stays: checkpoints
    that it has signed must go on to verify.

    Args:
        current: The statement in force.
        epoch: The archive's, which is never below `current.epoch`. The new one keeps it, or begins
            the next.

    Raises:
        CapabilityError: As for any anchor statement; or its version is not exactly the next, its
            root sets do not go through the one in force, its epoch is neither, or the ledger's key
            is another. Nothing else is raised.
    """
    anchor = verify_anchor_untrusted(statement, archive_id=current.archive_id, verifier=verifier)
    if anchor.version != current.version + 1:
        raise CapabilityError(
            f"anchor statement {anchor.version} came and {current.version} is in force; only"
            f" {current.version + 1} can follow. Sign that one."
        )
    # A root set that was replaced can still sign another history from the day it was in force.
    # Whoever remembers the set in force is not deceived by it.
    if anchor.root_sets[: len(current.root_sets)] != current.root_sets:
        raise CapabilityError(
            f"the anchor statement does not go through version {current.roots.version} of the root"
            " set, which is in force. Add every key rotation since, in order."
        )
    if anchor.epoch not in (epoch, epoch + 1):
        raise CapabilityError(
            f"the anchor statement names epoch {anchor.epoch} and the archive is at {epoch}. Sign"
            f" one that keeps it, or begins {epoch + 1}."
        )
    if anchor.ledger_key != current.ledger_key:
        raise CapabilityError(
            "the anchor statement names another ledger key, under which no checkpoint of this"
            " archive would verify. Keep the one there is."
        )
    return anchor


def _envelope_of(signed: bytes, rotations: list[bytes]) -> bytes:
    statement = encode([*take_list(decode_untrusted(signed), 2), rotations])  # type: ignore[list-item]
    try:
        _read_envelope(statement)
    except ValueError as exc:
        raise CapabilityError(f"this anchor statement would not be accepted: {exc}") from None
    return statement


def _founders_to_wire(roots: Roots) -> Wire:
    # One owner's key stands for itself; so the ids and statements of one-key owners, who are most,
    # are as short as if there were no sets.
    (*others, first) = sorted(roots.keys)
    return roots.to_wire() if others else first


def _encode_envelope(body: bytes, signatures: bytes | Signatures, rotations: list[bytes]) -> bytes:
    if isinstance(signatures, bytes):
        return encode([body, signatures])
    return encode([body, [[key, signatures[key]] for key in sorted(signatures)], rotations])


def _read_envelope(statement: bytes) -> tuple[bytes, bytes | Signatures, list[bytes]]:
    if len(statement) > ANCHOR_BYTES_MAX:
        raise ValueError(f"{len(statement)} bytes; the limit is {ANCHOR_BYTES_MAX}")
    parts = take_list(decode_untrusted(statement))
    signatures: bytes | Signatures
    if len(parts) == 2:
        body, rotations = parts[0], []
        signatures = take_bytes(parts[1], SIGNATURE_BYTES)
    else:
        body, pairs, wires = take_list(parts, 3)
        signatures, rotations = take_signatures(pairs), _take_rotations(wires)
    if type(body) is not bytes or _encode_envelope(body, signatures, rotations) != statement:
        raise ValueError("the envelope is not in its canonical form")
    if isinstance(signatures, bytes) != (_has_one_founder(body) and not rotations):
        raise ValueError("one root key signs in the short form, a set of them in the long one")
    return body, signatures, rotations


def _take_rotations(wire: object) -> list[bytes]:
    rotations = take_list(wire)
    if len(rotations) > ROTATIONS_MAX:
        raise ValueError(f"{len(rotations)} key rotations; the limit is {ROTATIONS_MAX}")
    taken = [it for it in rotations if type(it) is bytes]
    if len(taken) != len(rotations):
        raise ValueError("a key rotation is a string of bytes")
    return taken


def _has_one_founder(body: bytes) -> bool:
    return type(take_list(decode_untrusted(body), 7)[1]) is bytes


def _read_body(body: bytes) -> Anchor:
    parts = take_list(decode_untrusted(body), 7)
    take_int(parts[0], VERSION, VERSION)
    keys = [_take_strong_key(it) for it in take_list(parts[3])]
    if not 1 <= len(keys) <= ANCHOR_KEYS_MAX or keys != sorted(set(keys)):
        raise ValueError(f"1 to {ANCHOR_KEYS_MAX} anchor keys stand in rising order, each once")
    roots, nonce = _take_founders(parts[1]), take_bytes(parts[2], NONCE_BYTES)
    anchor = Anchor(
        archive_id=archive_id_of(roots, nonce),
        root_sets=(roots,),
        anchor_keys=frozenset(keys),
        ledger_key=_take_strong_key(parts[4]),
        epoch=take_int(parts[5], 0, EPOCH_MAX),
        version=take_int(parts[6], 1, EPOCH_MAX),
        nonce=nonce,
    )
    if body != encode(
        [
            *(VERSION, _founders_to_wire(roots), nonce, keys),
            *(anchor.ledger_key, anchor.epoch, anchor.version),
        ]
    ):
        raise ValueError("the body is not in its canonical form")
    return anchor


def _take_founders(wire: object) -> Roots:
    if type(wire) is bytes:
        return take_roots(1, [wire], version=1)
    threshold, keys = take_list(wire, 2)
    return take_roots(threshold, keys, version=1)


def _take_strong_key(wire: object) -> bytes:
    try:
        return check_prime_order(take_bytes(wire, KEY_BYTES))
    except CapabilityError as exc:
        raise ValueError(str(exc)) from None
