"""Signed notes, against a note that another program signed."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from psp.errors import CheckpointRejected, LedgerError
from psp.ledger._limits import NOTE_BYTES_MAX
from psp.ledger._note import (
    VerifierKey,
    check_key_name,
    decode_verifier_key_untrusted,
    key_id,
    sign_note,
    verify_note_untrusted,
)

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


def test_a_verifier_key_is_one_line_that_go_reads_too() -> None:
    line = f"{GO_NAME}+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = decode_verifier_key_untrusted(line)
    assert key == VerifierKey(GO_NAME, GO_KEY)
    assert key.encode() == line


@pytest.mark.parametrize(
    "line",
    [
        "",
        "name",
        "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        f"{GO_NAME}+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        f"{GO_NAME}+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        f"{GO_NAME}+c74f20a3+BRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        f"{GO_NAME}+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T",
        VerifierKey(GO_NAME, GO_KEY[1:]).encode(),
        VerifierKey(GO_NAME, GO_KEY).encode() + "\n",
        "\udc80+c74f20a3+\udc80",
    ],
)
def test_a_verifier_key_with_a_slip_of_the_pen_is_refused(line: str) -> None:
    with pytest.raises(CheckpointRejected, match="is no verifier key"):
        decode_verifier_key_untrusted(line)


def test_a_note_with_more_or_longer_lines_than_anybody_needs_is_refused() -> None:
    note = sign_note(TEXT, name=NAME, key=KEY)
    other = sign_note(TEXT, name="x", key=Key(8)).splitlines(keepends=True)[-1]
    assert verify(note + other * 99) == TEXT
    with pytest.raises(CheckpointRejected, match="101 signature lines"):
        verify(note + other * 100)
    long = f"— x {b64encode(bytes(6_200)).decode()}\n".encode()
    with pytest.raises(CheckpointRejected, match="line over 8,192 bytes"):
        verify(note + long)
