"""The statement on which everything else stands."""

from __future__ import annotations

import pytest

from psp.capability import archive_id_of, roots_of, sign_anchor, verify_anchor_untrusted
from psp.capability._signing import Tag, digest, pae, tagged
from psp.capability._wire import encode
from psp.errors import CapabilityError
from psp.transport import MachineKey

from .actors import AGGREGATOR, ANCHOR_KEY, LEDGER, OWNER, STRANGER

NONCE = b"n" * 16
ID = archive_id_of(OWNER.public_bytes, NONCE)


def statement(
    root: MachineKey = OWNER,
    anchor_keys: tuple[bytes, ...] = (ANCHOR_KEY.public_bytes,),
    epoch: int = 0,
) -> bytes:
    return sign_anchor(
        root,
        anchor_keys=anchor_keys,
        ledger_key=LEDGER.public_bytes,
        epoch=epoch,
        version=1,
        nonce=NONCE,
    )


def test_it_says_what_was_signed() -> None:
    anchor = verify_anchor_untrusted(statement(), archive_id=ID)

    assert anchor.root_sets == (roots_of([OWNER.public_bytes], threshold=1),)
    assert anchor.anchor_keys == {ANCHOR_KEY.public_bytes}
    assert anchor.ledger_key == LEDGER.public_bytes
    assert (anchor.epoch, anchor.version, anchor.nonce) == (0, 1, NONCE)


def test_another_owner_cannot_claim_the_archive() -> None:
    with pytest.raises(CapabilityError, match="is of archive"):
        verify_anchor_untrusted(statement(STRANGER), archive_id=ID)


def test_every_changed_byte_is_refused() -> None:
    whole = statement()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        with pytest.raises(CapabilityError):
            verify_anchor_untrusted(bytes(changed), archive_id=ID)


@pytest.mark.parametrize("data", [b"", b"\x90", b"\xc0", bytes(2000), b"\x92\xc4\x00\xc4\x00"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CapabilityError, match="cannot be read"):
        verify_anchor_untrusted(data, archive_id=ID)


@pytest.mark.parametrize("keys", [(), (bytes([1]) + bytes(31),)], ids=["none", "neutral"])
def test_weak_or_missing_keys_are_not_signed(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(CapabilityError, match="would not be accepted"):
        statement(anchor_keys=keys)


def test_an_epoch_out_of_range_is_not_signed() -> None:
    with pytest.raises(CapabilityError, match="would not be accepted"):
        statement(epoch=2**32)


def test_keys_out_of_order_are_a_second_encoding() -> None:
    keys = sorted([ANCHOR_KEY.public_bytes, AGGREGATOR.public_bytes], reverse=True)
    body = encode([1, OWNER.public_bytes, NONCE, keys, LEDGER.public_bytes, 0, 1])
    data = encode([body, OWNER.sign(tagged(Tag.ANCHOR, body))])

    with pytest.raises(CapabilityError, match="rising order"):
        verify_anchor_untrusted(data, archive_id=ID)


def test_a_padded_envelope_or_body_is_a_second_encoding() -> None:
    keys = [ANCHOR_KEY.public_bytes]
    body = encode([1, OWNER.public_bytes, NONCE, keys, LEDGER.public_bytes, 0, 1])
    # 1 as an 8-bit integer, and the body's length in four bytes instead of one.
    padded = body[:1] + b"\xcc\x01" + body[2:]
    long = b"\x92\xc6" + len(body).to_bytes(4, "big") + body + encode(OWNER.sign(body))

    for data in (encode([padded, OWNER.sign(tagged(Tag.ANCHOR, padded))]), long):
        with pytest.raises(CapabilityError, match="canonical form"):
            verify_anchor_untrusted(data, archive_id=ID)


def test_a_signature_of_another_type_is_not_an_anchors() -> None:
    body = encode(
        [1, OWNER.public_bytes, NONCE, [ANCHOR_KEY.public_bytes], LEDGER.public_bytes, 0, 1]
    )
    for tag in Tag:
        if tag is not Tag.ANCHOR:
            data = encode([body, OWNER.sign(tagged(tag, body))])
            with pytest.raises(CapabilityError, match="not signed by"):
                verify_anchor_untrusted(data, archive_id=ID)


def test_every_type_has_a_tag_of_its_own() -> None:
    assert len({tag.value for tag in Tag}) == len(Tag.__members__)
    assert digest(Tag.CHAIN, b"a") != digest(Tag.GRANT_ID, b"a")


def test_parts_can_be_told_apart() -> None:
    # The four examples of PASETO's own description of the encoding.
    assert pae() == bytes(8)
    assert pae(b"") == b"\x01" + bytes(15)
    assert pae(b"test") == b"\x01" + bytes(7) + b"\x04" + bytes(7) + b"test"
    assert pae(b"a", b"b") != pae(b"ab") != pae(b"", b"ab")


def test_a_signed_message_looks_like_no_certificate_and_no_handshake() -> None:
    assert tagged(Tag.ANCHOR, b"")[0] not in (0x20, 0x30)
