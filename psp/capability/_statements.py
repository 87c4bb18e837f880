"""What an owner says to an archive after it was founded: revoke, next epoch, clock, re-assertion.

Each is one row of a table: its tag, what its body must be, and who must sign. What only takes away
needs any one root key, so that an owner who has lost the others can still shut the door. What gives
something back, a past time or a lost ledger, needs the threshold.

Nothing here remembers. Epochs and numbers rise by exactly one from what the caller has stored: an
old statement cannot be said again, and a jump to the last number, after which no honest statement
could follow, is refused. The caller makes the new value durable before it says that it was heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from psp.errors import CapabilityError

from ._anchor import Anchor
from ._keys import SigningKey, Verifier, verify_signature
from ._limits import EPOCH_MAX, HASH_BYTES, TIME_S_MAX
from ._link import VERSION, Seen
from ._roots import check_signers, read_signed_untrusted, sign_body
from ._signing import Tag
from ._wire import decode_untrusted, encode, take_bytes, take_int, take_list


class Revokes(IntEnum):
    """What a revocation names; the number is its code on the wire."""

    GRANT = 1  # A grant id: it and everything narrowed from it.
    KEY = 2  # A public key, as the issuer or the holder of any link.


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A verified revocation.

    Attributes:
        target: A grant id, or a public key: 32 bytes.
        until_s: The archive may forget it from this second on: the end of the grant, or for a key
            the largest time there is.
    """

    what: Revokes
    target: bytes
    until_s: int = TIME_S_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReset:
    """A verified clock statement: the archive's high-water mark goes back to `time_s`.

    Attributes:
        number: Of the archive's clock statements, rising by one from 1.
    """

    number: int
    time_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassertion:
    """A verified re-assertion: the owner takes the archive as it is after a rollback or a fork.

    Attributes:
        number: Of the archive's re-assertions, rising by one from 1.
        audit: The audit ledger that the owner has looked at and accepts.
        epoch: In force from now on; not below the one that was. Grants that saw more of the lost
            ledger are ended by a higher one.
    """

    number: int
    audit: Seen
    epoch: int


def sign_revocation(
    signer: SigningKey,
    *,
    archive_id: bytes,
    what: Revokes,
    target: bytes,
    until_s: int = TIME_S_MAX,
) -> bytes:
    """Revoke a grant by its id, or a key. Any one root key may.

    Raises:
        CapabilityError: No archive would accept it. Nothing was signed.
    """
    return _sign(Tag.REVOCATION, [VERSION, archive_id, int(what), target, until_s], [signer])


def sign_epoch(signer: SigningKey, *, archive_id: bytes, epoch: int) -> bytes:
    """Begin an epoch, which ends every grant of the ones before. Any one root key may.

    Args:
        epoch: Exactly one more than the archive's.

    Raises:
        CapabilityError: No archive would accept it. Nothing was signed.
    """
    return _sign(Tag.EPOCH, [VERSION, archive_id, epoch], [signer])


def sign_clock(
    signers: Sequence[SigningKey], *, archive_id: bytes, number: int, time_s: int
) -> bytes:
    """Set back the latest time that an archive remembers, after its clock had run ahead.

    The threshold must sign, because it can bring grants back to life that are over.

    Raises:
        CapabilityError: No archive would accept it. Nothing was signed.
    """
    return _sign(Tag.CLOCK, [VERSION, archive_id, number, time_s], signers)


def sign_reassertion(
    signers: Sequence[SigningKey], *, archive_id: bytes, number: int, audit: Seen, epoch: int
) -> bytes:
    """Take an archive as it is after a rollback or a fork. The threshold must sign.

    Raises:
        CapabilityError: No archive would accept it. Nothing was signed.
    """
    parts: list[int | bytes] = [VERSION, archive_id, number, *audit, epoch]
    return _sign(Tag.REASSERTION, parts, signers)


def verify_revocation_untrusted(
    statement: bytes, *, anchor: Anchor, verifier: Verifier = verify_signature
) -> Revocation:
    """Check a revocation and return what it revokes. Saying it again changes nothing.

    Raises:
        CapabilityError: It is malformed, of another archive, or not signed by a root key. Nothing
            else is raised.
    """
    parts = _verify(Tag.REVOCATION, statement, anchor, verifier)
    return Revocation(what=Revokes(_int(parts[2])), target=_bytes(parts[3]), until_s=_int(parts[4]))


def verify_epoch_untrusted(
    statement: bytes, *, anchor: Anchor, epoch: int, verifier: Verifier = verify_signature
) -> int:
    """Check the statement of a new epoch and return the epoch.

    Args:
        epoch: The archive's, which is never below `anchor.epoch`.

    Raises:
        CapabilityError: As for a revocation, or it is not exactly the next epoch.
    """
    said = _int(_verify(Tag.EPOCH, statement, anchor, verifier)[2])
    _check_next("epoch", said, epoch)
    return said


def verify_clock_untrusted(
    statement: bytes, *, anchor: Anchor, number: int, verifier: Verifier = verify_signature
) -> ClockReset:
    """Check a clock statement and return it.

    Args:
        number: Of the last one that the archive has followed; 0 before the first.

    Raises:
        CapabilityError: It is malformed, of another archive, not the next one, or signed by too
            few. Nothing else is raised.
    """
    parts = _verify(Tag.CLOCK, statement, anchor, verifier)
    _check_next("clock statement", said := _int(parts[2]), number)
    return ClockReset(number=said, time_s=_int(parts[3]))


def verify_reassertion_untrusted(
    statement: bytes,
    *,
    anchor: Anchor,
    number: int,
    epoch: int,
    verifier: Verifier = verify_signature,
) -> Reassertion:
    """Check a re-assertion and return it.

    Args:
        number: Of the last one that the archive has followed; 0 before the first.
        epoch: The archive's. The re-assertion keeps it, or begins the next.

    Raises:
        CapabilityError: As for a clock statement, or its epoch is neither.
    """
    parts = _verify(Tag.REASSERTION, statement, anchor, verifier)
    _check_next("re-assertion", said := _int(parts[2]), number)
    if (new := _int(parts[5])) != epoch:
        _check_next("epoch", new, epoch)
    return Reassertion(number=said, audit=Seen(_int(parts[3]), _bytes(parts[4])), epoch=new)


# What stands in each body after version and archive id: the range of an integer, or the size of
# bytes; and whether any one root key is enough.
_EPOCHS, _NUMBERS, _TIMES = (0, EPOCH_MAX), (1, EPOCH_MAX), (0, TIME_S_MAX)
_FORMS: dict[Tag, tuple[tuple[tuple[int, int] | int, ...], bool]] = {
    Tag.REVOCATION: (((min(Revokes), max(Revokes)), HASH_BYTES, _TIMES), True),
    Tag.EPOCH: ((_NUMBERS,), True),
    Tag.CLOCK: ((_NUMBERS, _TIMES), False),
    Tag.REASSERTION: ((_NUMBERS, _TIMES, HASH_BYTES, _EPOCHS), False),
}


def _sign(tag: Tag, parts: Sequence[int | bytes], signers: Sequence[SigningKey]) -> bytes:
    try:
        body = encode(parts)
        _read_body(tag, body)
    except (ValueError, OverflowError) as exc:
        raise CapabilityError(f"this {_NAMES[tag]} would not be accepted: {exc}.") from None
    return sign_body(tag, body, signers)


def _verify(tag: Tag, statement: bytes, anchor: Anchor, verifier: Verifier) -> list[int | bytes]:
    try:
        body, signatures = read_signed_untrusted(statement)
        parts = _read_body(tag, body)
    except ValueError as exc:
        raise CapabilityError(f"the {_NAMES[tag]} cannot be read: {exc}.") from None
    if parts[1] != anchor.archive_id:
        raise CapabilityError(f"the {_NAMES[tag]} is for another archive.")
    _, any_one = _FORMS[tag]
    check_signers(tag, body, signatures, [anchor.roots], verifier, any_one=any_one)
    return parts


def _read_body(tag: Tag, body: bytes) -> list[int | bytes]:
    form, _ = _FORMS[tag]
    wires = take_list(decode_untrusted(body), 2 + len(form))
    parts: list[int | bytes] = [
        take_int(wires[0], VERSION, VERSION),
        take_bytes(wires[1], HASH_BYTES),
    ]
    for wire, allowed in zip(wires[2:], form, strict=True):
        parts.append(
            take_bytes(wire, allowed) if isinstance(allowed, int) else take_int(wire, *allowed)
        )
    if encode(parts) != body:
        raise ValueError("the body is not in its canonical form")
    return parts


def _check_next(what: str, said: int, stored: int) -> None:
    if said != stored + 1:
        raise CapabilityError(
            f"{what} {said} came and the archive is at {stored}; only {stored + 1} can follow."
            " Ask the archive where it is, and sign that one."
        )


_NAMES = {
    Tag.REVOCATION: "revocation",
    Tag.EPOCH: "statement of a new epoch",
    Tag.CLOCK: "clock statement",
    Tag.REASSERTION: "re-assertion",
}


def _int(part: int | bytes) -> int:
    assert isinstance(part, int)
    return part


def _bytes(part: int | bytes) -> bytes:
    assert isinstance(part, bytes)
    return part
