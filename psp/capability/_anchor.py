"""The anchor statement: whose signature an archive believes, said by its owner's root key.

The archive id is a hash over the root key, so an id cannot be claimed with another key, and over a
nonce, so one owner's key may stand behind many archives whose ids have nothing in common.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from psp.errors import CapabilityError

from ._keys import SigningKey, Verifier, check_prime_order, verify_signature
from ._limits import ANCHOR_KEYS_MAX, EPOCH_MAX, KEY_BYTES, NONCE_BYTES, SIGNATURE_BYTES
from ._link import VERSION
from ._signing import Tag, digest, tagged
from ._wire import decode_untrusted, encode, take_bytes, take_int, take_list

_ANCHOR_BYTES_MAX: Final = 1024
"""Eight anchor keys, root and ledger key, nonce, signature and headers are 450 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A verified anchor statement.

    Attributes:
        archive_id: 32 bytes; everything of this archive is bound to it.
        root_key: The owner's public key; its private half is not on the archive's machine.
        anchor_keys: The keys that may sign first links.
        ledger_key: The key that signs the ledger's checkpoints.
        epoch: Grants of any other epoch are refused.
        version: Of the statement; a later one replaces an earlier one.
        nonce: 16 bytes, chosen once for the life of the archive.
    """

    archive_id: bytes
    root_key: bytes
    anchor_keys: frozenset[bytes]
    ledger_key: bytes
    epoch: int
    version: int
    nonce: bytes


def archive_id_of(root_key: bytes, nonce: bytes) -> bytes:
    """Give the id of the archive that a root key founds with a nonce."""
    return digest(Tag.ARCHIVE_ID, root_key, nonce)


def sign_anchor(
    root_key: SigningKey,
    *,
    anchor_keys: Iterable[bytes],
    ledger_key: bytes,
    epoch: int,
    version: int,
    nonce: bytes,
) -> bytes:
    """Make the anchor statement of an archive, to be stored beside it.

    Raises:
        CapabilityError: It would not verify: a weak key, no anchor key or too many, a number out of
            range. Nothing was signed.
    """
    root = root_key.public_bytes
    keys = sorted(set(anchor_keys))
    body = encode([VERSION, root, nonce, keys, ledger_key, epoch, version])
    try:
        _read_body(body)
    except ValueError as exc:
        raise CapabilityError(f"this anchor statement would not be accepted: {exc}") from None
    return encode([body, root_key.sign(tagged(Tag.ANCHOR, body))])


def verify_anchor_untrusted(
    statement: bytes, *, archive_id: bytes, verifier: Verifier = verify_signature
) -> Anchor:
    """Check an anchor statement for one archive and return what it says.

    Costs about a millisecond per key, once.

    Raises:
        CapabilityError: It is malformed, of another archive, or not signed by that archive's root
            key. Nothing else is raised.
    """
    try:
        body, signature = _read_envelope(statement)
        anchor = _read_body(body)
    except ValueError as exc:
        raise CapabilityError(f"the anchor statement cannot be read: {exc}") from None
    if anchor.archive_id != archive_id:
        raise CapabilityError(
            f"the anchor statement is of archive {anchor.archive_id.hex()}, not of"
            f" {archive_id.hex()}. Restore the archive's own."
        )
    if not verifier(anchor.root_key, tagged(Tag.ANCHOR, body), signature):
        raise CapabilityError("the anchor statement is not signed by the archive's root key.")
    return anchor


def _read_envelope(statement: bytes) -> tuple[bytes, bytes]:
    if len(statement) > _ANCHOR_BYTES_MAX:
        raise ValueError(f"{len(statement)} bytes; the limit is {_ANCHOR_BYTES_MAX}")
    body, signature = take_list(decode_untrusted(statement), 2)
    signed = take_bytes(signature, SIGNATURE_BYTES)
    if not isinstance(body, bytes) or encode([body, signed]) != statement:
        raise ValueError("the envelope is not in its canonical form")
    return body, signed


def _read_body(body: bytes) -> Anchor:
    parts = take_list(decode_untrusted(body), 7)
    take_int(parts[0], VERSION, VERSION)
    keys = [_take_strong_key(it) for it in take_list(parts[3])]
    if not 1 <= len(keys) <= ANCHOR_KEYS_MAX or keys != sorted(set(keys)):
        raise ValueError(f"1 to {ANCHOR_KEYS_MAX} anchor keys stand in rising order, each once")
    root_key, nonce = _take_strong_key(parts[1]), take_bytes(parts[2], NONCE_BYTES)
    anchor = Anchor(
        archive_id=archive_id_of(root_key, nonce),
        root_key=root_key,
        anchor_keys=frozenset(keys),
        ledger_key=_take_strong_key(parts[4]),
        epoch=take_int(parts[5], 0, EPOCH_MAX),
        version=take_int(parts[6], 1, EPOCH_MAX),
        nonce=nonce,
    )
    if body != encode(
        [VERSION, root_key, nonce, keys, anchor.ledger_key, anchor.epoch, anchor.version]
    ):
        raise ValueError("the body is not in its canonical form")
    return anchor


def _take_strong_key(wire: object) -> bytes:
    try:
        return check_prime_order(take_bytes(wire, KEY_BYTES))
    except CapabilityError as exc:
        raise ValueError(str(exc)) from None
