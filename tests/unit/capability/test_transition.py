"""Who may change an archive's state, and what is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from psp.capability import Transition, sign_transition, verify_transition_untrusted
from psp.errors import CapabilityError
from psp.transport import MachineKey

ROOT = MachineKey(Ed25519PrivateKey.generate())
OTHER = MachineKey(Ed25519PrivateKey.generate())
ARCHIVE = bytes(range(32))


def signed(signer: MachineKey = ROOT, *, archive_id: bytes = ARCHIVE, number: int = 3) -> bytes:
    return sign_transition(
        signer, archive_id=archive_id, number=number, before="active", after="suspended"
    )


def verify(statement: bytes, *, number: int = 2, before: str = "active") -> Transition:
    return verify_transition_untrusted(
        statement,
        archive_id=ARCHIVE,
        number=number,
        before=before,
        allowed={ROOT.public_bytes},
    )


def test_a_transition_says_what_was_signed_and_by_whom() -> None:
    assert verify(signed()) == Transition(
        number=3, before="active", after="suspended", signer=ROOT.public_bytes
    )


@pytest.mark.parametrize(
    ("statement", "number", "before", "why"),
    [
        (signed(OTHER), 2, "active", "no key signed it that may"),
        (signed(archive_id=bytes(32)), 2, "active", "another archive"),
        (signed(), 3, "active", "the next one here is 4 from active"),
        (signed(), 1, "active", "the next one here is 2"),
        (signed(), 2, "suspended", "from suspended"),
        (b"", 2, "active", "cannot be read"),
        (signed()[:-1], 2, "active", "cannot be read"),
    ],
)
def test_any_other_transition_is_refused(
    statement: bytes, number: int, before: str, why: str
) -> None:
    with pytest.raises(CapabilityError, match=why):
        verify(statement, number=number, before=before)


@given(st.integers(0, len(signed()) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(at: int, by: int) -> None:
    changed = bytearray(signed())
    changed[at] ^= by
    with pytest.raises(CapabilityError):
        verify(bytes(changed))


def test_a_state_that_is_no_name_is_not_signed() -> None:
    with pytest.raises(CapabilityError, match="cannot be signed"):
        sign_transition(ROOT, archive_id=ARCHIVE, number=1, before="active", after="")
