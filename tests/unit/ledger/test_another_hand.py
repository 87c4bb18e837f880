"""A ledger that another program wrote; where it comes from stands in tests/fixtures/README.md."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from psp.errors import LedgerError
from psp.ledger import (
    ProofFile,
    decode_verifier_key_untrusted,
    hash_leaf,
    open_published,
    verify_checkpoint_untrusted,
    verify_consistency,
    verify_inclusion,
    verify_proof_file_untrusted,
    verify_quorum_untrusted,
)
from verifier import psp_verify

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
THEIRS = FIXTURES / "another_hand"
KEY = decode_verifier_key_untrusted(
    "example.com/another-hand+4e5b545c+AfpINBR/bmkMNpPv9hM2BGQDzYrioU8xs8QHNYVpI5Vl"
)
WITNESS = decode_verifier_key_untrusted(
    "witness.example+87af63d2+BBl/ayPhbIUyxqvIOPrNXqeJvgx2spIDNAOb+os9No1h"
)


def test_a_ledger_by_another_program_opens_and_every_entry_is_proven() -> None:
    ledger = open_published(THEIRS, ledger=KEY)
    assert ledger.checkpoint.tree_size == 300
    entries = ledger.entries(0, 300)
    assert entries == [f"entry {index}".encode() for index in range(300)]
    for index, entry in enumerate(entries):
        proof = ledger.prove_inclusion(index, 300)
        verify_inclusion(hash_leaf(entry), index, proof, ledger.checkpoint)


def test_it_extends_its_older_checkpoint() -> None:
    ledger = open_published(THEIRS, ledger=KEY)
    older = verify_checkpoint_untrusted(
        FIXTURES.joinpath("another_hand.older").read_bytes(),
        origin=KEY.name,
        public_key=KEY.public_key,
    )
    verify_consistency(older, ledger.checkpoint, ledger.prove_consistency(100, 300))


def test_the_cosignature_by_another_program_verifies() -> None:
    ledger = open_published(THEIRS, ledger=KEY)
    note = THEIRS.joinpath("checkpoint").read_bytes()
    (found,) = verify_quorum_untrusted(note, ledger=KEY, witnesses=[WITNESS])
    assert found.time_s == 1_700_000_300
    proof = ProofFile(index=7, hashes=ledger.prove_inclusion(7, 300), note=note, entry=b"entry 7")
    assert verify_proof_file_untrusted(proof.encode(), key=KEY, witnesses=[WITNESS]).index == 7


def test_the_one_file_verifier_reads_it_too() -> None:
    key = psp_verify.key_of(KEY.encode())
    older = FIXTURES.joinpath("another_hand.older").read_bytes()
    said = psp_verify.check_ledger(THEIRS, key, older, tiles=True)
    assert said == "All 300 entries of example.com/another-hand are as they were signed."


@pytest.mark.parametrize(
    "path", ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000"]
)
def test_a_flipped_bit_in_it_is_found(tmp_path: Path, path: str) -> None:
    shutil.copytree(THEIRS, tmp_path / "theirs")
    data = bytearray((tmp_path / "theirs" / path).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "theirs" / path).write_bytes(data)
    with pytest.raises(LedgerError):
        open_published(tmp_path / "theirs", ledger=KEY).entries(0, 300)


def test_a_ledger_of_ours_is_not_opened_without_its_journal(tmp_path: Path) -> None:
    shutil.copytree(THEIRS, tmp_path / "theirs")
    (tmp_path / "theirs" / "journal").touch()
    with pytest.raises(LedgerError, match="a ledger of PSP"):
        open_published(tmp_path / "theirs", ledger=KEY)
