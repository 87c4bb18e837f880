"""Cosignatures: who saw a checkpoint, and when."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from psp.errors import CheckpointRejected
from psp.ledger import (
    Checkpoint,
    Cosignature,
    VerifierKey,
    sign_checkpoint,
    verify_checkpoint_untrusted,
    verify_cosignatures_untrusted,
    verify_quorum_untrusted,
    witness_key,
)
from psp.ledger._cosignature import sign_cosignature
from psp.ledger._limits import TIME_S_MAX

from .keys import Key

ORIGIN = "example.com/behind-the-sofa"
LEDGER = Key(7)
LEDGER_KEY = VerifierKey(ORIGIN, LEDGER.public_bytes)
NOTE = sign_checkpoint(Checkpoint(origin=ORIGIN, tree_size=9, root_hash=bytes(32)), LEDGER)
TEXT = NOTE.decode().partition("\n\n")[0] + "\n"
KEYS = {f"witness-{seed}.example": Key(seed) for seed in (1, 2, 3)}
WITNESSES = [witness_key(name, key.public_bytes) for name, key in KEYS.items()]


def line(name: str, time_s: int = 1_679_315_147, *, text: str = TEXT) -> bytes:
    return sign_cosignature(text, name=name, key=KEYS[name], time_s=time_s)


def test_a_cosignature_is_a_time_and_a_signature_over_two_lines_and_the_text() -> None:
    blob = b64decode(line("witness-1.example").split(b" ")[-1])
    assert len(blob) == 4 + 8 + 64
    assert blob[:4] == WITNESSES[0].key_id
    message = f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()
    assert blob[12:] == KEYS["witness-1.example"].sign(message)


def test_known_witnesses_are_found_and_others_are_ignored() -> None:
    note = NOTE + line("witness-2.example", 5) + line("witness-1.example", 9)
    assert verify_cosignatures_untrusted(note, WITNESSES) == [
        Cosignature(WITNESSES[0], 9),
        Cosignature(WITNESSES[1], 5),
    ]
    assert verify_cosignatures_untrusted(note, WITNESSES[2:]) == []
    checkpoint = verify_checkpoint_untrusted(note, origin=ORIGIN, public_key=LEDGER.public_bytes)
    assert checkpoint.tree_size == 9


def test_a_witness_that_signed_twice_counts_once_with_its_newest_time() -> None:
    for times in ((5, 9), (9, 5)):
        note = NOTE + b"".join(line("witness-1.example", time_s) for time_s in times)
        assert verify_cosignatures_untrusted(note, WITNESSES) == [Cosignature(WITNESSES[0], 9)]


def test_one_key_under_two_names_is_one_witness() -> None:
    """The signature does not cover the name, so anybody can sign it over to another name."""
    twin = witness_key("twin.example", WITNESSES[0].public_key)
    own = line("witness-1.example")
    renamed = b64decode(own.split(b" ")[-1])[4:]
    second = f"— {twin.name} {b64encode(twin.key_id + renamed).decode()}\n".encode()
    found = verify_cosignatures_untrusted(NOTE + own + second, [WITNESSES[0], twin])
    assert len(found) == 1
    with pytest.raises(CheckpointRejected, match="quorum of 2 out of 1"):
        verify_quorum_untrusted(
            NOTE + own + second, ledger=LEDGER_KEY, witnesses=[WITNESSES[0], twin], quorum=2
        )


def test_a_bad_line_of_a_known_witness_refuses_the_note_and_of_an_unknown_one_does_not() -> None:
    other = TEXT.replace("\n9\n", "\n8\n")
    note = NOTE + line("witness-1.example", text=other)
    assert verify_cosignatures_untrusted(note, WITNESSES[1:]) == []
    with pytest.raises(CheckpointRejected, match=r"by witness-1.example does not fit"):
        verify_cosignatures_untrusted(note, WITNESSES)


@pytest.mark.parametrize("blob", [bytes(71), bytes(73), (TIME_S_MAX + 1).to_bytes(8) + bytes(64)])
def test_what_has_another_length_or_an_impossible_time_is_no_cosignature(blob: bytes) -> None:
    witness = WITNESSES[0]
    bad = f"— {witness.name} {b64encode(witness.key_id + blob).decode()}\n".encode()
    with pytest.raises(CheckpointRejected, match="is not a cosignature"):
        verify_cosignatures_untrusted(NOTE + bad, WITNESSES)


def test_the_time_is_signed() -> None:
    blob = bytearray(b64decode(line("witness-1.example").split(b" ")[-1]))
    blob[11] ^= 1
    note = NOTE + f"— witness-1.example {b64encode(blob).decode()}\n".encode()
    with pytest.raises(CheckpointRejected, match="does not fit"):
        verify_cosignatures_untrusted(note, WITNESSES)


def quorum(note: bytes, count: int | None) -> int:
    return len(verify_quorum_untrusted(note, ledger=LEDGER_KEY, witnesses=WITNESSES, quorum=count))


def test_all_given_witnesses_are_needed_unless_a_quorum_is_named() -> None:
    note = NOTE + line("witness-1.example") + line("witness-3.example")
    assert quorum(note, 2) == quorum(note, 0) == 2
    with pytest.raises(CheckpointRejected, match="2 of 3 witnesses cosigned"):
        quorum(note, None)
    assert quorum(note + line("witness-2.example"), None) == 3


@pytest.mark.parametrize("count", [-1, 4])
def test_a_quorum_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(CheckpointRejected, match=f"quorum of {count} out of 3"):
        quorum(NOTE, count)


def test_a_ledger_is_no_witness_to_itself_and_a_ledgers_key_is_no_witness_key() -> None:
    itself = witness_key("witness.example", LEDGER.public_bytes)
    with pytest.raises(CheckpointRejected, match="is the ledger's own key"):
        verify_quorum_untrusted(NOTE, ledger=LEDGER_KEY, witnesses=[itself])
    other = VerifierKey("example.com/other", Key(1).public_bytes)
    with pytest.raises(CheckpointRejected, match="signs as a ledger"):
        verify_quorum_untrusted(NOTE, ledger=LEDGER_KEY, witnesses=[other])
