"""One call, signed by the holder of an interactive grant, who is not the machine that sends it.

It names the archive, the grant, and what is to be done, so it needs no challenge: it leaves in the
first flight and survives being relayed. Whoever carries it can read it, drop it or hold it back
for a minute. Nobody can change it, and an archive that remembers its nonce runs it once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgpack

from psp.errors import CapabilityError, GrantRefused
from psp.values import Value, ordered, to_ext

from ._keys import SigningKey, Verifier, fingerprint, spki_hash_of, verify_signature
from ._limits import (
    HASH_BYTES,
    INVOCATION_BYTES_MAX,
    INVOCATION_LEEWAY_S,
    INVOCATION_SECONDS_MAX,
    NONCE_BYTES,
    SIGNATURE_BYTES,
    TIME_S_MAX,
)
from ._link import VERSION
from ._signing import Tag, digest, tagged
from ._verify import Grant
from ._wire import Wire, decode_untrusted, encode, take_bytes, take_int, take_list

Command: TypeAlias = tuple[str, Sequence[Value]]
"""A method and its arguments: values, no references. The first is called on the grant, every
further one on what the one before gave."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A signed call that was verified, but for one thing: whether its nonce was there before.

    Attributes:
        nonce: 16 bytes. The archive must remember it, with the holder, until `expires_s`.
    """

    nonce: bytes
    issued_s: int
    expires_s: int


def sign_invocation(
    key: SigningKey,
    *,
    archive_id: bytes,
    grant_id: bytes,
    commands: Sequence[Command],
    nonce: bytes,
    issued_s: int,
    expires_s: int,
) -> bytes:
    """Sign what an interactive grant is to do, once. The bytes go with the call.

    Args:
        key: The last holder's.
        grant_id: Of the last link.
        commands: One for a plain call; several, in order, for the method `run` of the grant.
        nonce: 16 fresh random bytes.
        issued_s: Now. A clock that may run ahead takes a little off: an archive refuses what is
            more than 2 s in its future.
        expires_s: At most 60 s after `issued_s`.

    Raises:
        CapabilityError: No archive would accept it. Nothing was signed.
    """
    if not commands:
        raise CapabilityError("there is no command to sign; give at least one.")
    try:
        commands_hash = hash_commands(
            [(name, [*map(_composed, given)]) for name, given in commands]
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise CapabilityError(f"the commands hold more than values: {exc}. Send values.") from None
    body = encode([VERSION, archive_id, grant_id, nonce, issued_s, expires_s, commands_hash])
    try:
        _read_body(body)
    except ValueError as exc:
        raise CapabilityError(f"this invocation would not be accepted: {exc}.") from None
    return encode([body, key.sign(_message(body))])


def verify_invocation_untrusted(
    data: bytes,
    *,
    grant: Grant,
    archive_id: bytes,
    commands: Sequence[Command],
    now_s: int,
    started_s: int,
    verifier: Verifier = verify_signature,
) -> Invocation:
    """Check that the grant's holder has signed exactly these commands, here and now.

    The caller must then refuse a nonce of this holder that it has seen. It keeps nonces in memory,
    so what an earlier run may have accepted is refused by its date: `started_s` and the leeway, by
    which that run's future reached into this one.

    Args:
        archive_id: Of the archive that is asked.
        commands: As they came, whatever the invocation says.
        now_s: The archive's own clock, seconds since 1970.
        started_s: The same clock when the archive began to remember nonces.

    Raises:
        GrantRefused: At the step "invocation", whatever the reason. Nothing else is raised.
    """
    try:
        body, signature = _read_envelope(data)
        said_archive_id, grant_id, invocation, commands_hash = _read_body(body)
    except ValueError as exc:
        raise _refused(f"{exc}.") from None
    if said_archive_id != archive_id or grant_id != grant.grant_id:
        raise _refused("it is for another archive or another grant.")
    _check_time(invocation, now_s, started_s)
    if commands_hash != _hash_untrusted(commands):
        raise _refused("other commands were signed than came.")
    if not verifier(grant.leaf_holder, _message(body), signature):
        raise _refused(f"{fingerprint(spki_hash_of(grant.leaf_holder))} has not signed it.")
    return invocation


def _refused(detail: str) -> GrantRefused:
    return GrantRefused("invocation", detail)


def _check_time(invocation: Invocation, now_s: int, started_s: int) -> None:
    issued_s = invocation.issued_s
    if issued_s <= started_s + INVOCATION_LEEWAY_S:
        raise _refused(f"it is of {issued_s}, and the archive has started at {started_s}.")
    if not issued_s - INVOCATION_LEEWAY_S <= now_s < invocation.expires_s:
        raise _refused(f"it holds from {issued_s} to {invocation.expires_s}; now {now_s}.")


def _message(body: bytes) -> bytes:
    return tagged(Tag.INVOCATION, bytes([VERSION]), body)


def _read_envelope(data: bytes) -> tuple[bytes, bytes]:
    if len(data) > INVOCATION_BYTES_MAX:
        raise ValueError(f"{len(data)} bytes; an invocation has at most {INVOCATION_BYTES_MAX}")
    body, wire_signature = take_list(decode_untrusted(data), 2)
    signature = take_bytes(wire_signature, SIGNATURE_BYTES)
    if type(body) is not bytes or encode([body, signature]) != data:
        raise ValueError("the envelope is not in its canonical form")
    return body, signature


def _read_body(body: bytes) -> tuple[bytes, bytes, Invocation, bytes]:
    parts = take_list(decode_untrusted(body), 7)
    take_int(parts[0], VERSION, VERSION)
    archive_id, grant_id = take_bytes(parts[1], HASH_BYTES), take_bytes(parts[2], HASH_BYTES)
    invocation = Invocation(
        nonce=take_bytes(parts[3], NONCE_BYTES),
        issued_s=take_int(parts[4], 0, TIME_S_MAX),
        expires_s=take_int(parts[5], 0, TIME_S_MAX),
    )
    length_s = invocation.expires_s - invocation.issued_s
    if not 0 < length_s <= INVOCATION_SECONDS_MAX:
        raise ValueError(f"its window of {length_s} s is not 1 to {INVOCATION_SECONDS_MAX} s")
    commands_hash = take_bytes(parts[6], HASH_BYTES)
    again: Wire = [
        *(VERSION, archive_id, grant_id, invocation.nonce),
        *(invocation.issued_s, invocation.expires_s, commands_hash),
    ]
    if encode(again) != body:
        raise ValueError("the body is not in its canonical form")
    return archive_id, grant_id, invocation, commands_hash


def _hash_untrusted(commands: Sequence[Command]) -> bytes:
    try:
        return hash_commands(commands)
    except (ValueError, TypeError, OverflowError, RecursionError):
        # An object of the archive, put in by a promise: nobody can have signed that.
        raise _refused("an argument is not a value.") from None


def hash_commands(commands: Sequence[Command]) -> bytes:
    """Name what is done by 32 bytes: what a holder signs, and what a record of reads keeps.

    Raises:
        ValueError, TypeError, OverflowError, RecursionError: An argument is not a value.
    """
    wire = [[name, [*map(ordered, given)]] for name, given in commands]
    packed: bytes = msgpack.packb(wire, default=to_ext, use_bin_type=True)
    return digest(Tag.COMMANDS, packed)


def _composed(value: Value) -> Value:
    """Give a value as it will travel, text in NFC (protocol.md, "Values").

    For the signer alone: were what came composed once more before it is hashed, a relay could send
    letters that nobody signed.
    """
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return {unicodedata.normalize("NFC", key): _composed(it) for key, it in value.items()}
    if isinstance(value, list | tuple):
        return [_composed(item) for item in value]
    return value
