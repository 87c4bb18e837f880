"""Proof files: an entry that convinces with nothing at hand but a key."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from psp.errors import CheckpointRejected, InclusionProofInvalid
from psp.ledger import (
    Ledger,
    ProofFile,
    VerifierKey,
    decode_proof_file_untrusted,
    verify_proof_file_untrusted,
    witness_key,
)
from psp.ledger._cosignature import sign_cosignature
from psp.ledger._limits import PROOF_FILE_BYTES_MAX

from .keys import Key

ORIGIN = "example.com/books"
KEY = VerifierKey(ORIGIN, Key().public_bytes)


@pytest.fixture
def proof(tmp_path: Path) -> ProofFile:
    with Ledger.create(tmp_path / "ledger", origin=ORIGIN, key=Key()) as ledger:
        ledger.append([f"entry {index}".encode() for index in range(7)])
        hashes = ledger.prove_inclusion(3, 7)
        return ProofFile(index=3, hashes=tuple(hashes), note=ledger.note, entry=b"entry 3")


def test_a_proof_file_gives_the_entry_its_place_and_the_checkpoint(proof: ProofFile) -> None:
    data = proof.encode()
    assert data.startswith(b"c2sp.org/tlog-proof@v1\nextra ZW50cnkgMw==\nindex 3\n")
    assert decode_proof_file_untrusted(data) == proof
    proven = verify_proof_file_untrusted(data, key=KEY)
    assert (proven.entry, proven.index, proven.checkpoint.tree_size) == (b"entry 3", 3, 7)
    assert proven.cosignatures == []


def test_a_proof_without_the_entry_shows_only_to_those_who_have_it(proof: ProofFile) -> None:
    data = replace(proof, entry=None).encode()
    assert b"extra" not in data
    assert verify_proof_file_untrusted(data, key=KEY, entry=b"entry 3").index == 3
    with pytest.raises(InclusionProofInvalid, match="holds no entry"):
        verify_proof_file_untrusted(data, key=KEY)
    with pytest.raises(InclusionProofInvalid, match="entry 3 is not under root"):
        verify_proof_file_untrusted(data, key=KEY, entry=b"entry 4")


def test_a_proof_of_another_entry_than_the_one_at_hand_is_refused(proof: ProofFile) -> None:
    assert verify_proof_file_untrusted(proof.encode(), key=KEY, entry=b"entry 3").index == 3
    with pytest.raises(InclusionProofInvalid, match="another entry"):
        verify_proof_file_untrusted(proof.encode(), key=KEY, entry=b"entry 4")


def test_an_empty_entry_can_be_shown(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger", origin=ORIGIN, key=Key()) as ledger:
        ledger.append([b""])
        data = ProofFile(index=0, hashes=(), note=ledger.note, entry=b"").encode()
    assert data.startswith(b"c2sp.org/tlog-proof@v1\nextra \nindex 0\n\nexample.com/books\n1\n")
    assert verify_proof_file_untrusted(data, key=KEY).entry == b""


def test_a_changed_entry_index_or_hash_is_refused(proof: ProofFile) -> None:
    for changed in (
        replace(proof, entry=b"entry 2"),
        replace(proof, index=2),
        replace(proof, hashes=proof.hashes[::-1]),
        replace(proof, hashes=proof.hashes[1:]),
    ):
        with pytest.raises(InclusionProofInvalid):
            verify_proof_file_untrusted(changed.encode(), key=KEY)


def test_another_key_and_another_ledger_of_the_same_key_are_refused(proof: ProofFile) -> None:
    for key in (
        VerifierKey(ORIGIN, Key(8).public_bytes),
        VerifierKey("example.com/other", KEY.public_key),
    ):
        with pytest.raises(CheckpointRejected):
            verify_proof_file_untrusted(proof.encode(), key=key)


def test_witnesses_are_counted(proof: ProofFile) -> None:
    text = proof.note.decode().partition("\n\n")[0] + "\n"
    line = sign_cosignature(text, name="w.example", key=Key(1), time_s=12)
    data = replace(proof, note=proof.note + line).encode()
    witnesses = [witness_key("w.example", Key(1).public_bytes)]
    proven = verify_proof_file_untrusted(data, key=KEY, witnesses=witnesses)
    assert [(seen.witness.name, seen.time_s) for seen in proven.cosignatures] == [("w.example", 12)]
    with pytest.raises(CheckpointRejected, match="0 of 1 witnesses"):
        verify_proof_file_untrusted(proof.encode(), key=KEY, witnesses=witnesses)


HEAD = b"c2sp.org/tlog-proof@v1\n"
HASH = b64encode(bytes(32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a proof file"),
        (HEAD, "not a proof file"),
        (HEAD + b"index 0\n", "not a proof file"),
        (b"c2sp.org/tlog-proof@v2\nindex 0\n\nx", "not a proof file"),
        (HEAD + b"index \xff\n\nx", "not a proof file"),
        (HEAD + b"\nx", "without an index"),
        (HEAD + b"extra AA==\n\nx", "without an index"),
        (HEAD + b"extra A\nindex 0\n\nx", "base64"),
        (HEAD + b"extra AB==\nindex 0\n\nx", "base64"),
        (HEAD + b"extra " + b64encode(bytes(65_536)) + b"\nindex 0\n\nx", "65,536 bytes"),
        (HEAD + b"extra AA==\nextra AA==\nindex 0\n\nx", "index line"),
        (HEAD + b"index 00\n\nx", "index line"),
        (HEAD + b"index +1\n\nx", "index line"),
        (HEAD + b"index -1\n\nx", "index line"),
        (HEAD + b"index \n\nx", "index line"),
        (HEAD + b"Index 1\n\nx", "index line"),
        (HEAD + b"index 1\r\n\nx", "index line"),
        (HEAD + f"index {2**63 - 1}\n\nx".encode(), "index line"),
        (HEAD + b"index " + b"9" * 100_000 + b"\n\nx", "index line"),
        (HEAD + b"index 0\nAA==\n\nx", "32 bytes"),
        (HEAD + b"index 0\n" + HASH[:-2] + b"B=\n\nx", "base64"),
        (HEAD + b"index 0\n" + (HASH + b"\n") * 64 + b"\nx", "64 hashes"),
        (bytes(PROOF_FILE_BYTES_MAX + 1), "at most"),
    ],
)
def test_what_is_not_exactly_a_proof_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InclusionProofInvalid, match=message):
        decode_proof_file_untrusted(data)
