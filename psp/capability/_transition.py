"""What an administrator says about an archive's life: suspend it, resume it, close it for good.

One signature, by an owner's root key or by the machine key of an administrator's pairing. Each
names its number, which rises by exactly one: an old statement cannot be said again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

from psp.errors import CapabilityError

from ._keys import SigningKey, Verifier, verify_signature
from ._limits import EPOCH_MAX, HASH_BYTES
from ._link import VERSION
from ._roots import read_signed_untrusted, sign_body
from ._signing import Tag, tagged
from ._wire import check_name, decode_untrusted, encode, take_bytes, take_int, take_list, take_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A verified transition.

    Attributes:
        number: Of the archive's transitions, rising by one from 1.
        before: The state that it leaves.
        after: The state that it begins.
        signer: The public key of who asked for it.
    """

    number: int
    before: str
    after: str
    signer: bytes


def sign_transition(
    signer: SigningKey, *, archive_id: bytes, number: int, before: str, after: str
) -> bytes:
    """Take an archive from one state to another.

    Args:
        number: One more than the archive's transitions so far.

    Raises:
        CapabilityError: A state is no name. Nothing was signed.
    """
    try:
        body = encode([VERSION, archive_id, number, check_name(before), check_name(after)])
    except ValueError as exc:
        raise CapabilityError(f"the transition cannot be signed: {exc}.") from None
    return sign_body(Tag.TRANSITION, body, [signer])


def verify_transition_untrusted(
    statement: bytes,
    *,
    archive_id: bytes,
    number: int,
    before: str,
    allowed: Collection[bytes],
    verifier: Verifier = verify_signature,
) -> Transition:
    """Check a transition and return it.

    Args:
        number: Of the archive's transitions so far.
        before: The archive's state.
        allowed: The public keys that may ask for one.

    Raises:
        CapabilityError: It is malformed, of another archive, not the next one, begins at another
            state, or nobody signed it who may. Nothing else is raised.
    """
    try:
        body, signatures = read_signed_untrusted(statement)
        parts = take_list(decode_untrusted(body), 5)
        take_int(parts[0], VERSION, VERSION)
        named = take_bytes(parts[1], HASH_BYTES)
        said = take_int(parts[2], 1, EPOCH_MAX)
        old, new = (check_name(take_text(part)) for part in parts[3:])
        if encode([VERSION, named, said, old, new]) != body:
            raise ValueError("it is not in its canonical form")
    except ValueError as exc:
        raise CapabilityError(f"the transition cannot be read: {exc}.") from None
    if named != archive_id:
        _refuse("it is about another archive")
    if (said, old) != (number + 1, before):
        _refuse(
            f"it is transition {said} from {old}, and the next one here is {number + 1} from"
            f" {before}"
        )
    message = tagged(Tag.TRANSITION, body)
    ((signer, signature), *others) = signatures.items()
    if others or signer not in allowed or not verifier(signer, message, signature):
        _refuse("no key signed it that may: a root key, or a machine paired as ADMIN")
    return Transition(number=said, before=old, after=new, signer=signer)


def _refuse(what: str) -> NoReturn:
    raise CapabilityError(f"the transition is not followed: {what}. Look at the archive's health.")
