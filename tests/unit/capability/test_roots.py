"""A root set of k of n, and how another one takes its place."""

from __future__ import annotations

from typing import Any

import pytest

from psp.capability import (
    Anchor,
    Roots,
    Tag,
    archive_id_of,
    cosign_anchor_untrusted,
    cosign_untrusted,
    roots_of,
    sign_anchor,
    sign_rotation,
    verify_anchor_untrusted,
    verify_next_anchor_untrusted,
    verify_rotation_untrusted,
)
from psp.capability._limits import ANCHOR_BYTES_MAX, STATEMENT_BYTES_MAX
from psp.capability._roots import sign_body
from psp.capability._signing import tagged
from psp.capability._wire import decode_untrusted, encode
from psp.errors import CapabilityError
from psp.transport import MachineKey

from .actors import ANCHOR_KEY, LEDGER, STRANGER, key

NONCE = b"n" * 16
A, B, C, D, E, F = (key(number) for number in range(20, 26))


def taken_apart(statement: bytes) -> Any:
    return decode_untrusted(statement)


def roots(*keys: MachineKey, threshold: int, version: int = 1) -> Roots:
    return Roots(frozenset(it.public_bytes for it in keys), threshold, version)


OLD = roots(A, B, C, threshold=2)
NEW = roots(C, D, E, threshold=2, version=2)
ID = archive_id_of(OLD, NONCE)


def rotation(*signers: MachineKey, old: Roots = OLD, new: Roots = NEW) -> bytes:
    return sign_rotation(signers, archive_id=ID, old=old, keys=new.keys, threshold=new.threshold)


def rotated(statement: bytes, roots: Roots = OLD) -> Roots:
    return verify_rotation_untrusted(statement, archive_id=ID, roots=roots)


def anchor_by(
    *signers: MachineKey,
    rotations: tuple[bytes, ...] = (),
    version: int = 1,
    epoch: int = 1,
    ledger: MachineKey = LEDGER,
    anchor_key: MachineKey = ANCHOR_KEY,
) -> bytes:
    return sign_anchor(
        signers,
        anchor_keys=[anchor_key.public_bytes],
        ledger_key=ledger.public_bytes,
        epoch=epoch,
        version=version,
        nonce=NONCE,
        founders=OLD,
        rotations=rotations,
    )


def believed(statement: bytes) -> Anchor:
    return verify_anchor_untrusted(statement, archive_id=ID)


def test_the_threshold_of_the_old_set_and_of_the_new_one_rotate() -> None:
    assert rotated(rotation(A, C, D)) == NEW, "one key of both counts in both"
    assert rotated(rotation(A, B, D, E)) == NEW


@pytest.mark.parametrize(
    "signers", [(A, D), (A, B), (A, B, D), (D, E), (C, D), (A, C)], ids=lambda it: str(len(it))
)
def test_fewer_than_either_threshold_do_not(signers: tuple[MachineKey, ...]) -> None:
    """Attack 16: only keepers of the old set, only of the new one, and too few of both."""
    with pytest.raises(CapabilityError, match="have signed and 2 must"):
        rotated(rotation(*signers))


def test_an_owner_of_one_key_becomes_two_of_three() -> None:
    alone = roots(A, threshold=1)
    wider = roots(A, B, C, threshold=2, version=2)

    assert rotated(rotation(A, B, old=alone, new=wider), alone) == wider
    with pytest.raises(CapabilityError, match="1 keys of version 2"):
        rotated(rotation(A, old=alone, new=wider), alone)


@pytest.mark.parametrize("version", [1, 3, 2**32 - 1])
def test_a_version_that_is_not_the_next_is_refused(version: int) -> None:
    """Attack 16: a jump to the last version would be the last word for ever (TUF: fast-forward)."""
    body = encode([1, ID, version, 2, sorted(NEW.keys)])
    with pytest.raises(CapabilityError, match=r"Only version 2|cannot be read"):
        rotated(sign_body(Tag.KEY_ROTATION, body, [A, B, D, E]))


def test_a_rotation_cannot_be_said_twice() -> None:
    statement = rotation(A, C, D)
    with pytest.raises(CapabilityError, match="Only version 3"):
        rotated(statement, rotated(statement))


def test_one_key_counts_once() -> None:
    """Attack 16: a signer twice, and one key with two signatures."""
    with pytest.raises(CapabilityError, match="each once"):
        rotation(A, A, D, E)
    signature = A.sign(b"")
    body, pairs = taken_apart(rotation(A, D, E))
    with pytest.raises(CapabilityError, match="each once"):
        rotated(encode([body, [pairs[0], pairs[0], *pairs[1:]]]))
    with pytest.raises(CapabilityError, match="each once"):
        rotated(encode([body, [*pairs, [A.public_bytes, signature]]]))


@pytest.mark.parametrize("keys", [[A, A, B], [B, A]])
def test_a_set_with_a_key_twice_or_out_of_order_is_no_set(keys: list[MachineKey]) -> None:
    """Attack 16: one key under two places of a set."""
    in_order = sorted(it.public_bytes for it in keys)
    body = encode([1, ID, 2, 2, in_order if len(keys) == 3 else in_order[::-1]])
    with pytest.raises(CapabilityError, match="rising order, each once"):
        rotated(sign_body(Tag.KEY_ROTATION, body, [A, B]))
    if len(keys) == 3:
        with pytest.raises(CapabilityError, match="given twice"):
            roots_of(in_order, threshold=2)


def test_a_strangers_signature_is_refused_and_not_passed_over() -> None:
    with pytest.raises(CapabilityError, match="is no root key"):
        rotated(rotation(A, B, D, E, STRANGER))


def test_every_signature_must_be_good_even_where_enough_others_are() -> None:
    body, pairs = taken_apart(rotation(A, B, C, D, E))
    for index in range(5):
        changed = [list(it) for it in pairs]
        changed[index][1] = bytes(64)
        with pytest.raises(CapabilityError, match="has not signed this"):
            rotated(encode([body, changed]))


def test_keepers_in_different_places_sign_one_after_the_other() -> None:
    statement = rotation(A)
    for signer in (C, D):
        with pytest.raises(CapabilityError, match="must"):
            rotated(statement)
        statement = cosign_untrusted(Tag.KEY_ROTATION, statement, signer)

    assert rotated(statement) == NEW
    with pytest.raises(CapabilityError, match="has signed this"):
        cosign_untrusted(Tag.KEY_ROTATION, statement, D)
    with pytest.raises(CapabilityError, match="cannot be read"):
        cosign_untrusted(Tag.KEY_ROTATION, b"", D)


@pytest.mark.parametrize(
    "data", [b"", b"\xc0", b"\x92\xc4\x00\x90", bytes(STATEMENT_BYTES_MAX + 1)]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CapabilityError, match="cannot be read"):
        rotated(data)


def test_every_changed_byte_of_a_rotation_is_refused() -> None:
    whole = rotation(A, C, D)
    for position in range(len(whole)):
        with pytest.raises(CapabilityError):
            rotated(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])


def test_a_rotation_of_another_archive_is_refused() -> None:
    body = encode([1, archive_id_of(OLD, b"o" * 16), 2, 2, sorted(NEW.keys)])
    with pytest.raises(CapabilityError, match="another archive"):
        rotated(sign_body(Tag.KEY_ROTATION, body, [A, C, D]))


@pytest.mark.parametrize(("count", "threshold"), [(0, 1), (9, 1), (2, 0), (2, 3)])
def test_a_set_has_one_to_eight_keys_and_a_threshold_within(count: int, threshold: int) -> None:
    with pytest.raises(CapabilityError):
        roots_of([key(30 + it).public_bytes for it in range(count)], threshold=threshold)


def test_a_weak_key_is_no_root() -> None:
    with pytest.raises(CapabilityError, match="anybody can sign"):
        roots_of([bytes([1]) + bytes(31)], threshold=1)
    with pytest.raises(CapabilityError, match="first is 1"):
        roots(A, threshold=1, version=0)


def test_an_archive_can_be_founded_by_two_of_three() -> None:
    assert believed(anchor_by(A, B)).roots == OLD
    assert believed(cosign_anchor_untrusted(anchor_by(A), C)).roots == OLD
    with pytest.raises(CapabilityError, match="1 keys of version 1"):
        believed(anchor_by(A))
    with pytest.raises(CapabilityError, match="is no root key"):
        believed(anchor_by(A, B, D))


def test_the_threshold_is_part_of_what_an_archive_is_named_by() -> None:
    """Otherwise one of three could found what two of three have founded."""
    easier = roots(A, B, C, threshold=1)
    assert archive_id_of(easier, NONCE) != ID
    assert archive_id_of(roots(A, threshold=1), NONCE) == archive_id_of(A.public_bytes, NONCE)


def test_after_a_rotation_only_the_new_set_anchors() -> None:
    step = rotation(A, C, D)
    anchor = believed(anchor_by(D, E, rotations=(step,)))

    assert anchor.root_sets == (OLD, NEW)
    with pytest.raises(CapabilityError, match="is no root key"):
        believed(anchor_by(A, B, rotations=(step,)))
    with pytest.raises(CapabilityError, match="Only version 3"):
        believed(anchor_by(D, E, rotations=(step, step)))


def test_an_owner_of_one_key_rotates_and_keeps_the_archives_name() -> None:
    alone, pair = roots(A, threshold=1), roots(B, C, threshold=2, version=2)
    archive_id = archive_id_of(A.public_bytes, NONCE)
    step = sign_rotation([A, B, C], archive_id=archive_id, old=alone, keys=pair.keys, threshold=2)
    how = {
        "anchor_keys": [ANCHOR_KEY.public_bytes],
        "ledger_key": LEDGER.public_bytes,
        "epoch": 1,
        "nonce": NONCE,
    }
    first = verify_anchor_untrusted(
        sign_anchor(A, version=1, **how),  # type: ignore[arg-type]
        archive_id=archive_id,
    )
    statement = sign_anchor([B, C], version=2, founders=alone, rotations=[step], **how)  # type: ignore[arg-type]
    second = verify_next_anchor_untrusted(statement, current=first, epoch=1)

    assert second.roots == pair
    with pytest.raises(CapabilityError, match="does not go through version 2"):
        verify_next_anchor_untrusted(
            sign_anchor(A, version=3, **how),  # type: ignore[arg-type]
            current=second,
            epoch=1,
        )


def test_one_owners_statement_has_only_the_short_form() -> None:
    short = sign_anchor(
        A,
        anchor_keys=[ANCHOR_KEY.public_bytes],
        ledger_key=LEDGER.public_bytes,
        epoch=1,
        version=1,
        nonce=NONCE,
    )
    body, signature = taken_apart(short)
    long = encode([body, [[A.public_bytes, signature]], []])
    with pytest.raises(CapabilityError, match="the short form"):
        verify_anchor_untrusted(long, archive_id=archive_id_of(A.public_bytes, NONCE))
    with pytest.raises(CapabilityError, match="needs no second key"):
        cosign_anchor_untrusted(short, B)
    with pytest.raises(CapabilityError, match="cannot be read"):
        cosign_anchor_untrusted(b"", B)
    with pytest.raises(CapabilityError, match="the short form"):
        sign_anchor(
            [A, B],
            anchor_keys=[ANCHOR_KEY.public_bytes],
            ledger_key=LEDGER.public_bytes,
            epoch=1,
            version=1,
            nonce=NONCE,
        )


def test_a_set_cannot_use_the_short_form() -> None:
    body, _, _ = taken_apart(anchor_by(A, B))
    with pytest.raises(CapabilityError, match="the short form"):
        believed(encode([body, A.sign(tagged(Tag.ANCHOR, body))]))


@pytest.mark.parametrize("rotations", [[b""] * 33, ["text"], 7])
def test_rotations_are_at_most_thirty_two_strings_of_bytes(rotations: Any) -> None:
    body, pairs, _ = taken_apart(anchor_by(A, B))
    with pytest.raises(CapabilityError, match="cannot be read"):
        believed(encode([body, pairs, rotations]))
    with pytest.raises(CapabilityError, match=str(ANCHOR_BYTES_MAX)):
        believed(bytes(ANCHOR_BYTES_MAX + 1))


def test_the_next_statement_may_change_anchor_keys_roots_and_epoch() -> None:
    first = believed(anchor_by(A, B))
    step = rotation(A, C, D)
    statement = anchor_by(D, E, rotations=(step,), version=2, epoch=2, anchor_key=F)
    second = verify_next_anchor_untrusted(statement, current=first, epoch=1)

    assert second.anchor_keys == {F.public_bytes}
    assert (second.version, second.epoch, second.roots) == (2, 2, NEW)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 1}, "only 2 can follow"),
        ({"version": 3}, "only 2 can follow"),
        ({"version": 2**32 - 1}, "only 2 can follow"),
        ({"epoch": 4}, "is at 5"),
        ({"epoch": 7}, "is at 5"),
        ({"epoch": 2**32 - 1}, "is at 5"),
        ({"ledger": STRANGER}, "another ledger key"),
    ],
)
def test_a_statement_that_cannot_follow_is_refused(changes: dict[str, int], message: str) -> None:
    first = believed(anchor_by(A, B))
    statement = anchor_by(A, B, **{"version": 2, "epoch": 5, **changes})  # type: ignore[arg-type]

    with pytest.raises(CapabilityError, match=message):
        verify_next_anchor_untrusted(statement, current=first, epoch=5)


def test_a_replaced_set_cannot_tell_another_history_to_whoever_remembers() -> None:
    current = believed(anchor_by(D, E, rotations=(rotation(A, C, D),)))
    elsewhere = roots(A, B, threshold=2, version=2)
    forked = anchor_by(A, B, rotations=(rotation(A, B, new=elsewhere),), version=2)

    with pytest.raises(CapabilityError, match="does not go through version 2"):
        verify_next_anchor_untrusted(forked, current=current, epoch=1)
