"""What an owner says to an archive later, who must say it, and that it cannot be said twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from psp.capability import (
    Anchor,
    ClockReset,
    Reassertion,
    Revocation,
    Revokes,
    Roots,
    Seen,
    Tag,
    archive_id_of,
    cosign_untrusted,
    sign_anchor,
    sign_clock,
    sign_epoch,
    sign_reassertion,
    sign_revocation,
    verify_anchor_untrusted,
    verify_clock_untrusted,
    verify_epoch_untrusted,
    verify_reassertion_untrusted,
    verify_revocation_untrusted,
)
from psp.capability._roots import sign_body
from psp.capability._wire import Wire, encode
from psp.errors import CapabilityError
from psp.transport import MachineKey

from .actors import ANCHOR_KEY, LEDGER, NOW, STRANGER, key

A, B, C = (key(number) for number in range(20, 23))
NONCE = b"n" * 16
OWNERS = Roots(frozenset(it.public_bytes for it in (A, B, C)), threshold=2)
ID = archive_id_of(OWNERS, NONCE)
ANCHOR: Anchor = verify_anchor_untrusted(
    sign_anchor(
        [A, B],
        anchor_keys=[ANCHOR_KEY.public_bytes],
        ledger_key=LEDGER.public_bytes,
        epoch=4,
        version=1,
        nonce=NONCE,
        founders=OWNERS,
    ),
    archive_id=ID,
)
GRANT_ID = b"g" * 32
SEEN = Seen(9, b"r" * 32)


def revocation(signer: MachineKey = A, what: Revokes = Revokes.GRANT) -> bytes:
    return sign_revocation(signer, archive_id=ID, what=what, target=GRANT_ID, until_s=NOW)


def clock(*signers: MachineKey, number: int = 1) -> bytes:
    return sign_clock(signers, archive_id=ID, number=number, time_s=NOW)


def reassertion(*signers: MachineKey, number: int = 1, epoch: int = 4) -> bytes:
    return sign_reassertion(signers, archive_id=ID, number=number, audit=SEEN, epoch=epoch)


Check = Callable[[bytes], object]
CHECKS: dict[Tag, Check] = {
    Tag.REVOCATION: lambda it: verify_revocation_untrusted(it, anchor=ANCHOR),
    Tag.EPOCH: lambda it: verify_epoch_untrusted(it, anchor=ANCHOR, epoch=4),
    Tag.CLOCK: lambda it: verify_clock_untrusted(it, anchor=ANCHOR, number=0),
    Tag.REASSERTION: lambda it: verify_reassertion_untrusted(it, anchor=ANCHOR, number=0, epoch=4),
}
WHOLE = {
    Tag.REVOCATION: revocation(),
    Tag.EPOCH: sign_epoch(A, archive_id=ID, epoch=5),
    Tag.CLOCK: clock(A, B),
    Tag.REASSERTION: reassertion(A, B),
}


@pytest.mark.parametrize("signer", [A, B, C])
@pytest.mark.parametrize("what", Revokes)
def test_any_one_root_key_revokes_a_grant_or_a_key(signer: MachineKey, what: Revokes) -> None:
    said = verify_revocation_untrusted(revocation(signer, what), anchor=ANCHOR)

    assert said == Revocation(what=what, target=GRANT_ID, until_s=NOW)


def test_any_one_root_key_begins_the_next_epoch_and_no_other() -> None:
    statement = sign_epoch(C, archive_id=ID, epoch=5)
    assert verify_epoch_untrusted(statement, anchor=ANCHOR, epoch=4) == 5

    for stored in (3, 5, 6):
        with pytest.raises(CapabilityError, match=f"only {stored + 1} can follow"):
            verify_epoch_untrusted(statement, anchor=ANCHOR, epoch=stored)
    jump = sign_epoch(C, archive_id=ID, epoch=2**32 - 1)
    with pytest.raises(CapabilityError, match="only 5 can follow"):
        verify_epoch_untrusted(jump, anchor=ANCHOR, epoch=4)


def test_a_clock_is_set_back_by_the_threshold_and_once() -> None:
    statement = clock(A, C)
    said = verify_clock_untrusted(statement, anchor=ANCHOR, number=0)
    assert said == ClockReset(number=1, time_s=NOW)

    with pytest.raises(CapabilityError, match="only 2 can follow"):
        verify_clock_untrusted(statement, anchor=ANCHOR, number=said.number)
    with pytest.raises(CapabilityError, match="only 1 can follow"):
        verify_clock_untrusted(clock(A, C, number=2**32 - 1), anchor=ANCHOR, number=0)


def test_a_lost_ledger_is_accepted_by_the_threshold_and_once() -> None:
    for epoch in (4, 5):
        statement = reassertion(B, C, epoch=epoch)
        said = verify_reassertion_untrusted(statement, anchor=ANCHOR, number=0, epoch=4)
        assert said == Reassertion(number=1, audit=SEEN, epoch=epoch)
    with pytest.raises(CapabilityError, match="only 2 can follow"):
        verify_reassertion_untrusted(reassertion(B, C), anchor=ANCHOR, number=1, epoch=4)
    for epoch in (3, 6):
        with pytest.raises(CapabilityError, match="only 5 can follow"):
            verify_reassertion_untrusted(
                reassertion(B, C, epoch=epoch), anchor=ANCHOR, number=0, epoch=4
            )


@pytest.mark.parametrize(
    ("tag", "alone"), [(Tag.CLOCK, clock(A)), (Tag.REASSERTION, reassertion(A))]
)
def test_one_key_cannot_give_back_what_is_gone_until_another_has_signed(
    tag: Tag, alone: bytes
) -> None:
    with pytest.raises(CapabilityError, match=r"1 keys of version 1 .* 2 must"):
        CHECKS[tag](alone)
    assert CHECKS[tag](cosign_untrusted(tag, alone, B))


@pytest.mark.parametrize("tag", WHOLE)
def test_every_changed_byte_is_refused(tag: Tag) -> None:
    whole = WHOLE[tag]
    for position in range(len(whole)):
        with pytest.raises(CapabilityError):
            CHECKS[tag](whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])


@pytest.mark.parametrize("tag", WHOLE)
@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x92\xc4\x00\x90", bytes(2049)])
def test_other_bytes_are_refused(tag: Tag, data: bytes) -> None:
    with pytest.raises(CapabilityError, match="cannot be read"):
        CHECKS[tag](data)


FORMS: dict[Tag, list[Wire]] = {
    Tag.REVOCATION: [1, ID, 1, GRANT_ID, NOW],
    Tag.EPOCH: [1, ID, 5],
    Tag.CLOCK: [1, ID, 1, NOW],
    Tag.REASSERTION: [1, ID, 1, 9, b"r" * 32, 4],
}


@pytest.mark.parametrize("tag", FORMS)
def test_every_part_must_be_of_its_type_and_in_its_range(tag: Tag) -> None:
    form = FORMS[tag]
    assert CHECKS[tag](sign_body(tag, encode(form), [A, B]))
    bad: list[Wire] = [True, "", b"", -1, 2**53, [], b"x" * 31]
    for position in range(len(form)):
        for value in bad:
            body = encode([*form[:position], value, *form[position + 1 :]])
            with pytest.raises(CapabilityError, match="cannot be read"):
                CHECKS[tag](sign_body(tag, body, [A, B]))
    for wrong in (form[:-1], [*form, 0]):
        with pytest.raises(CapabilityError, match="cannot be read"):
            CHECKS[tag](sign_body(tag, encode(wrong), [A, B]))


def test_a_padded_body_is_a_second_encoding() -> None:
    body = encode(FORMS[Tag.EPOCH])
    padded = body[:-1] + b"\xcc\x05"
    with pytest.raises(CapabilityError, match="canonical form"):
        CHECKS[Tag.EPOCH](sign_body(Tag.EPOCH, padded, [A]))


@pytest.mark.parametrize("tag", FORMS)
def test_a_strangers_word_and_a_word_for_another_archive_are_refused(tag: Tag) -> None:
    form = FORMS[tag]
    with pytest.raises(CapabilityError, match="is no root key"):
        CHECKS[tag](sign_body(tag, encode(form), [A, B, STRANGER]))
    with pytest.raises(CapabilityError, match="is no root key"):
        CHECKS[tag](sign_body(tag, encode(form), [STRANGER]))
    elsewhere = encode([1, archive_id_of(OWNERS, b"o" * 16), *form[2:]])
    with pytest.raises(CapabilityError, match="for another archive"):
        CHECKS[tag](sign_body(tag, elsewhere, [A, B]))


def test_what_no_archive_would_accept_is_not_signed() -> None:
    attempts: list[Callable[[], bytes]] = [
        lambda: sign_epoch(A, archive_id=ID, epoch=0),
        lambda: sign_epoch(A, archive_id=ID, epoch=2**64),
        lambda: sign_epoch(A, archive_id=b"", epoch=1),
        lambda: sign_revocation(A, archive_id=ID, what=Revokes.KEY, target=b""),
        lambda: clock(A, number=0),
    ]
    for make in attempts:
        with pytest.raises(CapabilityError, match="would not be accepted"):
            make()
    with pytest.raises(CapabilityError, match="give at least one"):
        clock()
