"""The pairing ceremony: what each side takes, what it says, and what one in the middle gains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from psp.capability import Ceremony, Introduction, Role
from psp.capability._ceremony import FRAME_BYTES, Kind, _code, _pack, _unpack_untrusted
from psp.errors import CapabilityError
from psp.transport import MachineKey

CONSOLE, OPERATOR, MALLORY = (
    MachineKey(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)) for seed in (1, 2, 3)
)


def introduction(key: MachineKey, name: str = "box") -> Introduction:
    # The ceremony does not read certificates; here a certificate is the bare key.
    return Introduction(name=name, certificate=key.public_bytes, archive_id=b"a" * 32, port=7001)


def side(role: Role, key: MachineKey, seed: int, name: str = "box") -> Ceremony:
    nonce = hashlib.sha256(b"%d" % seed).digest()
    return Ceremony(
        role, introduction(key, name), nonce=nonce, signer=key, read_key=lambda der: der
    )


def met(seed: int = 0) -> tuple[Ceremony, Ceremony]:
    """Two sides that have revealed."""
    caller, listener = side(Role.CALLER, CONSOLE, seed), side(Role.LISTENER, OPERATOR, seed + 1)
    commit = listener.receive_untrusted(caller.start())
    reveal = listener.receive_untrusted(caller.receive_untrusted(commit))
    assert caller.receive_untrusted(reveal) == b""
    return caller, listener


def test_both_sides_show_one_code_and_know_each_other() -> None:
    caller, listener = met()
    assert caller.code == listener.code
    assert [len(group) for group in caller.code.split()] == [4, 4, 4]
    assert caller.peer == introduction(OPERATOR)
    assert listener.peer == introduction(CONSOLE)


@pytest.mark.parametrize("agreed", [True, False])
def test_each_hears_what_the_other_person_has_said(agreed: bool) -> None:
    caller, listener = met()
    listener.receive_untrusted(caller.decide(agreed=agreed))
    assert listener.agreed is agreed
    assert caller.agreed is None


def test_the_code_has_thirty_bits_in_three_groups() -> None:
    assert _code(b"\xff" * 32) == "1023 1023 1023"
    assert _code(bytes(32)) == "0000 0000 0000"
    assert _code(b"\0\0\0\x04" + bytes(28)) == "0000 0000 0001"


def test_frames_have_one_size_for_each_kind() -> None:
    caller, listener = met()
    assert caller.wanted_bytes == FRAME_BYTES[Kind.CONFIRM] == len(caller.decide(agreed=True))
    assert len(side(Role.CALLER, CONSOLE, 1, "x" * 64).start()) == FRAME_BYTES[Kind.COMMIT]
    assert listener.wanted_bytes == FRAME_BYTES[Kind.CONFIRM]


def test_every_part_of_what_is_revealed_changes_the_code() -> None:
    codes = {met()[0].code, met(seed=5)[0].code}
    for change in ({"name": "other"}, {"port": 7002}, {"archive_id": b"b" * 32}):
        caller, listener = side(Role.CALLER, CONSOLE, 0), side(Role.LISTENER, OPERATOR, 1)
        changed = replace(introduction(OPERATOR), **change)
        listener = Ceremony(
            Role.LISTENER,
            changed,
            nonce=hashlib.sha256(b"1").digest(),
            signer=OPERATOR,
            read_key=lambda der: der,
        )
        reveal = caller.receive_untrusted(listener.receive_untrusted(caller.start()))
        caller.receive_untrusted(listener.receive_untrusted(reveal))
        codes.add(caller.code)
    assert len(codes) == 5


# What an attacker does.


def man_in_the_middle(seed: int) -> tuple[str, str]:
    """He holds a whole ceremony with each side, under his own key: the best that he can do."""
    caller, listener = side(Role.CALLER, CONSOLE, seed), side(Role.LISTENER, OPERATOR, seed + 1)
    to_caller, to_listener = (
        side(Role.LISTENER, MALLORY, seed + 2),
        side(Role.CALLER, MALLORY, seed + 3),
    )
    # First all of the listener's side, whose code he then knows.
    reveal = to_listener.receive_untrusted(listener.receive_untrusted(to_listener.start()))
    to_listener.receive_untrusted(listener.receive_untrusted(reveal))
    # Then the caller: he is bound to his nonce before he hears the caller's.
    reveal = caller.receive_untrusted(to_caller.receive_untrusted(caller.start()))
    caller.receive_untrusted(to_caller.receive_untrusted(reveal))
    return caller.code, listener.code


def test_one_in_the_middle_makes_the_screens_differ() -> None:
    """In 2,000 runs never alike, and no group more often than chance: each group is 10 bits."""
    codes = [man_in_the_middle(4 * run) for run in range(2000)]
    assert [ours for ours, theirs in codes if ours == theirs] == []
    groups = [
        pair for ours, theirs in codes for pair in zip(ours.split(), theirs.split(), strict=True)
    ]
    alike = sum(ours == theirs for ours, theirs in groups)
    assert alike < 30  # 6,000 groups of one in 1,024: 5.9 expected; 30 has a chance below 1e-11.


def test_he_cannot_choose_his_nonce_after_he_has_heard_the_other() -> None:
    """Without the commitment he could try nonces until the codes fit. With it he is put out."""
    caller, other = side(Role.CALLER, CONSOLE, 0), side(Role.LISTENER, MALLORY, 1)
    chosen_later = side(Role.LISTENER, MALLORY, 2)
    reveal = caller.receive_untrusted(other.receive_untrusted(caller.start()))
    chosen_later.receive_untrusted(side(Role.CALLER, CONSOLE, 0).start())
    with pytest.raises(CapabilityError, match="not what was committed to"):
        caller.receive_untrusted(chosen_later.receive_untrusted(reveal))
    assert caller.code == ""


def test_frames_that_are_sent_back_or_said_again_are_refused() -> None:
    caller = side(Role.CALLER, CONSOLE, 0)
    with pytest.raises(CapabilityError, match="COMMIT of the other side"):
        caller.receive_untrusted(caller.start())  # A mirror.

    caller, listener = met()
    yes = caller.decide(agreed=True)
    with pytest.raises(CapabilityError, match="not signed by the key"):
        met(seed=9)[1].receive_untrusted(yes)  # Of an earlier ceremony of the same two.
    with pytest.raises(CapabilityError, match="CONFIRM of the other side"):
        caller.receive_untrusted(yes)  # His own yes, as if it were the other's.
    listener.receive_untrusted(yes)
    with pytest.raises(CapabilityError, match="nothing more may come"):
        listener.receive_untrusted(yes)


def test_a_no_cannot_be_made_a_yes() -> None:
    caller, listener = met()
    no = bytearray(caller.decide(agreed=False))
    no[7] = 1
    with pytest.raises(CapabilityError, match="not signed by the key"):
        listener.receive_untrusted(bytes(no))
    assert listener.agreed is None


def test_a_stolen_certificate_is_of_no_use_without_its_key() -> None:
    """He shows the console's certificate; what he cannot do is sign for it."""
    listener = side(Role.LISTENER, OPERATOR, 1)
    thief = Ceremony(
        Role.CALLER,
        introduction(CONSOLE),
        nonce=bytes(32),
        signer=MALLORY,
        read_key=lambda der: der,
    )
    reveal = thief.receive_untrusted(listener.receive_untrusted(thief.start()))
    thief.receive_untrusted(listener.receive_untrusted(reveal))
    with pytest.raises(CapabilityError, match="not signed by the key"):
        listener.receive_untrusted(thief.decide(agreed=True))


def test_a_machine_does_not_pair_with_itself() -> None:
    caller, listener = side(Role.CALLER, CONSOLE, 0), side(Role.LISTENER, CONSOLE, 1)
    reveal = caller.receive_untrusted(listener.receive_untrusted(caller.start()))
    with pytest.raises(CapabilityError, match="own key"):
        listener.receive_untrusted(reveal)


def test_after_an_error_nothing_is_taken_any_more() -> None:
    """One try: even the right frame comes too late."""
    caller, listener = side(Role.CALLER, CONSOLE, 0), side(Role.LISTENER, OPERATOR, 1)
    right = caller.start()
    with pytest.raises(CapabilityError):
        listener.receive_untrusted(right[:-1])
    assert listener.wanted_bytes == 0
    with pytest.raises(CapabilityError, match="nothing more may come"):
        listener.receive_untrusted(right)


def _stages() -> list[tuple[str, Callable[[], tuple[Ceremony, bytes]]]]:
    """Each side before each frame, and the frame that is right there."""

    def listener_commit() -> tuple[Ceremony, bytes]:
        return side(Role.LISTENER, OPERATOR, 1), side(Role.CALLER, CONSOLE, 0).start()

    def listener_reveal() -> tuple[Ceremony, bytes]:
        caller, listener = side(Role.CALLER, CONSOLE, 0), side(Role.LISTENER, OPERATOR, 1)
        return listener, caller.receive_untrusted(listener.receive_untrusted(caller.start()))

    def caller_reveal() -> tuple[Ceremony, bytes]:
        caller, listener = side(Role.CALLER, CONSOLE, 0), side(Role.LISTENER, OPERATOR, 1)
        reveal = caller.receive_untrusted(listener.receive_untrusted(caller.start()))
        return caller, listener.receive_untrusted(reveal)

    def confirm() -> tuple[Ceremony, bytes]:
        caller, listener = met()
        return listener, caller.decide(agreed=True)

    stages = [listener_commit, listener_reveal, caller_reveal, confirm]
    return [(stage.__name__, stage) for stage in stages]


STAGES = _stages()


@given(stage=st.sampled_from(STAGES), frame=st.binary(max_size=1400))
def test_garbage_ends_the_ceremony_with_one_exception(
    stage: tuple[str, Callable[[], tuple[Ceremony, bytes]]], frame: bytes
) -> None:
    ceremony, right = stage[1]()
    code = ceremony.code
    if frame != right:
        with pytest.raises(CapabilityError):
            ceremony.receive_untrusted(frame)
    assert (ceremony.code, ceremony.agreed) == (code, None)


@given(
    stage=st.sampled_from(STAGES[1:]),
    place=st.integers(0, 2000),
    bit=st.integers(0, 7),
)
def test_one_bit_changed_after_the_commitments_ends_it(
    stage: tuple[str, Callable[[], tuple[Ceremony, bytes]]], place: int, bit: int
) -> None:
    ceremony, right = stage[1]()
    changed = bytearray(right)
    changed[place % len(right)] ^= 1 << bit
    with pytest.raises(CapabilityError):
        ceremony.receive_untrusted(bytes(changed))
    assert ceremony.agreed is None


@given(st.binary(min_size=1125, max_size=1125))
def test_an_introduction_is_read_in_one_way_or_not_at_all(packed: bytes) -> None:
    try:
        found = _unpack_untrusted(packed)
    except CapabilityError:
        return
    assert _pack(found) == packed


@pytest.mark.parametrize("place", [0, 33, 34, 34 + 1 + 60, 34 + 65, 34 + 65 + 1, 1120])
def test_padding_is_zero_and_lengths_are_true(place: int) -> None:
    packed = bytearray(_pack(introduction(CONSOLE)))
    assert len(packed) == 1125
    packed[place] ^= 0xFF
    try:
        found = _unpack_untrusted(bytes(packed))
    except CapabilityError:
        return
    # Any archive id, any port, and a longer certificate that ends in zeros: nothing else.
    assert place in {0, 33, 100}
    assert _pack(found) == bytes(packed)


def test_what_one_side_is_bound_to_cannot_be_shown_to_it_as_the_others() -> None:
    """The role is in the commitment and not in the frame alone, where anybody can change it."""
    caller = side(Role.CALLER, CONSOLE, 0)

    def as_listener(frame: bytes) -> bytes:
        return frame[: len(b"PSPP\x01") + 1] + bytes([Role.LISTENER.value]) + frame[7:]

    reveal = caller.receive_untrusted(as_listener(caller.start()))
    with pytest.raises(CapabilityError, match="not what was committed to"):
        caller.receive_untrusted(as_listener(reveal))
    assert caller.code == ""
