"""Signed notes, against a note that another program signed."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from psp.errors import CheckpointRejected, LedgerError
from psp.ledger._limits import NOTE_BYTES_MAX
from psp.ledger._note import check_key_name, key_id, sign_note, verify_note_untrusted

from .keys import Key

NAME = "example.com/books"
KEY = Key()
TEXT = "first\n\nafter an empty line\n"

# From the documentation of golang.org/x/mod/sumdb/note, which C2SP signed-note describes.
GO_NAME = "PeterNeumann"
GO_KEY = b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNX"
    "gKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def verify(note: bytes) -> str:
    return verify_note_untrusted(note, name=NAME, public_key=KEY.public_bytes)


def test_a_note_signed_by_go_verifies_here() -> None:
    assert key_id(GO_NAME, GO_KEY).hex() == "c74f20a3"
    assert verify_note_untrusted(GO_NOTE, name=GO_NAME, public_key=GO_KEY) == GO_TEXT


def test_what_is_signed_verifies_and_gives_its_text_back() -> None:
    assert verify(sign_note(TEXT, name=NAME, key=KEY)) == TEXT


def test_lines_of_unknown_keys_are_ignored() -> None:
    """A witness adds a line; so may a key of the same name, or one of the same id."""
    note = sign_note(TEXT, name=NAME, key=KEY)
    other = sign_note(TEXT, name=NAME, key=Key(8)).splitlines()[-1]
    same_id = f"— witness {b64encode(key_id(NAME, KEY.public_bytes) + b'x').decode()}".encode()
    assert verify(note + other + b"\n" + same_id + b"\n") == TEXT


def test_a_second_line_of_our_key_that_does_not_verify_refuses_the_note() -> None:
    note = sign_note(TEXT, name=NAME, key=KEY)
    forged = b64encode(key_id(NAME, KEY.public_bytes) + bytes(64)).decode()
    with pytest.raises(CheckpointRejected, match="does not fit the text"):
        verify(note + f"— {NAME} {forged}\n".encode())


def test_another_keys_note_is_refused() -> None:
    with pytest.raises(CheckpointRejected, match=f"no signature by {NAME} with key id"):
        verify(sign_note(TEXT, name=NAME, key=Key(8)))


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (b"", "cut off"),
        (b"text\n", "cut off"),
        (sign_note(TEXT, name=NAME, key=KEY)[:-1], "cut off"),
        (b"\xff\n\n", "UTF-8"),
        (b"a\tb\n\nx\n", "no control characters"),
        ("a\n\n— x\n".encode(), "not a signature line"),
        ("a\n\n— x !!!!\n".encode(), "not a signature line"),
        ("a\n\n— x AAAA\n".encode(), "not a signature line"),
        (b"a\n\nx AAAAAAAA\n", "not a signature line"),
        ("a\n\n— x AAAAAAB=\n".encode(), "one base64 form"),
        (b"a" * (NOTE_BYTES_MAX + 1), "131,073 bytes"),
    ],
)
def test_what_is_not_a_note_is_refused(note: bytes, message: str) -> None:
    with pytest.raises(CheckpointRejected, match=message):
        verify(note)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\x7f", "é" * 128])
def test_a_name_that_cannot_stand_in_a_signature_line_is_refused(name: str) -> None:
    with pytest.raises(LedgerError, match="cannot name a ledger"):
        check_key_name(name)


def test_a_name_may_be_a_schemeless_address() -> None:
    assert check_key_name("cluster-totebox-property-1") == "cluster-totebox-property-1"
    assert check_key_name("é" * 127) == "é" * 127
