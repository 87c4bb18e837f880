"""Cosignatures: a witness says that a checkpoint extends all that it saw before.

Source: C2SP tlog-cosignature, version 1 over Ed25519 (type 0x04). A signature is 8 bytes of time
and 64 of Ed25519; what is signed is two lines of its own and then the text of the checkpoint, so
that it can never be taken for the ledger's own signature.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psp.errors import CheckpointRejected

from ._limits import SIGNATURE_BYTES, TIME_S_MAX
from ._note import (
    DASH,
    Role,
    Signer,
    VerifierKey,
    parse_note_untrusted,
    verify_signature_untrusted,
)

_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified statement by a witness.

    Attributes:
        witness: Whose.
        time_s: When it was given, in seconds since 1970, by the witness's clock.
    """

    witness: VerifierKey
    time_s: int


def witness_key(name: str, public_key: bytes) -> VerifierKey:
    """Return the key of a witness."""
    return VerifierKey(name, public_key, Role.WITNESS)


def sign_cosignature(text: str, *, name: str, key: Signer, time_s: int) -> bytes:
    """Return one signature line over the text of a checkpoint. What it promises is not checked."""
    assert 0 <= time_s <= TIME_S_MAX, "our own clock is off"
    witness = witness_key(name, key.public_bytes)
    time_bytes = time_s.to_bytes(_TIME_BYTES, "big")
    signed = witness.key_id + time_bytes + key.sign(_message(text, time_s))
    return f"{DASH}{name} {b64encode(signed).decode()}\n".encode()


def verify_cosignatures_untrusted(
    note: bytes, witnesses: Sequence[VerifierKey]
) -> list[Cosignature]:
    """Return which of these witnesses cosigned a note, each once, with the newest time.

    Lines of others are ignored. The ledger's own signature is not looked at.

    Raises:
        CheckpointRejected: Not a note, or a line of one of these witnesses does not verify: as in
            any signed note, a known key's bad line condemns the note. Nothing else is raised.
    """
    parsed = parse_note_untrusted(note)
    found: dict[bytes, Cosignature] = {}
    for witness in witnesses:
        for signature in parsed.signatures_of(witness.name, witness.key_id):
            time_s = _time_untrusted(parsed.text, signature, witness)
            # By key, not by name: the signature does not cover the name, so whoever is listed
            # under two names is still one witness.
            best = found.get(witness.public_key)
            if best is None or best.time_s < time_s:
                found[witness.public_key] = Cosignature(witness, time_s)
    return list(found.values())


def verify_quorum_untrusted(
    note: bytes, *, ledger: VerifierKey, witnesses: Sequence[VerifierKey], quorum: int | None = None
) -> list[Cosignature]:
    """Return the cosignatures of a note if there are enough of them.

    Args:
        note: Its own signature is verified elsewhere.
        ledger: The ledger's own key, which is no witness to itself.
        witnesses: Who is trusted to watch.
        quorum: How many of them must have cosigned; by default all.

    Raises:
        CheckpointRejected: Too few, or none could ever be enough. Nothing else is raised.
    """
    names = {witness.public_key: witness.name for witness in witnesses}
    if wrong := [witness for witness in witnesses if witness.role is not Role.WITNESS]:
        raise CheckpointRejected(
            f"the key of {wrong[0].name} signs as a ledger, not as a witness. Give the key that the"
            " witness made public, of type 04."
        )
    if ledger.public_key in names:
        raise CheckpointRejected(
            f"{names[ledger.public_key]} is given as a witness and is the ledger's own key."
            " A ledger that watches itself shows nothing; give another's key."
        )
    needed = len(names) if quorum is None else quorum
    if not 0 <= needed <= len(names):
        raise CheckpointRejected(
            f"a quorum of {needed} out of {len(names)} different witness keys. Ask for 0 to"
            f" {len(names)}, or give more keys."
        )
    found = verify_cosignatures_untrusted(note, witnesses)
    if len(found) < needed:
        raise CheckpointRejected(
            f"{len(found)} of {len(names)} witnesses cosigned this checkpoint; {needed} are needed."
            " Ask for a proof under a checkpoint that more of them have seen."
        )
    return found


def _time_untrusted(text: str, signature: bytes, witness: VerifierKey) -> int:
    time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
    if len(signature) != _TIME_BYTES + SIGNATURE_BYTES or time_s > TIME_S_MAX:
        raise CheckpointRejected(f"the line of {witness.name} is not a cosignature")
    verify_signature_untrusted(
        signature[_TIME_BYTES:], _message(text, time_s), witness.name, witness.public_key
    )
    return time_s


def _message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
