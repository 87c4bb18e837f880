"""Checkpoints: three lines, signed."""

from __future__ import annotations

import pytest

from psp.errors import CheckpointRejected
from psp.ledger import Checkpoint, sign_checkpoint, verify_checkpoint_untrusted
from psp.ledger._note import sign_note

from .keys import Key

ORIGIN = "example.com/books"
KEY = Key()
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="  # From the example of tlog-checkpoint.


def verify(text: str) -> Checkpoint:
    note = sign_note(text, name=ORIGIN, key=KEY)
    return verify_checkpoint_untrusted(note, origin=ORIGIN, public_key=KEY.public_bytes)


def test_a_checkpoint_is_origin_size_and_root_a_line_each() -> None:
    checkpoint = verify(f"{ORIGIN}\n20852163\n{ROOT}\n")
    assert checkpoint == Checkpoint(
        origin=ORIGIN,
        tree_size=20852163,
        root_hash=bytes.fromhex("0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"),
    )
    assert sign_checkpoint(checkpoint, KEY).startswith(f"{ORIGIN}\n20852163\n{ROOT}\n\n— ".encode())


def test_extension_lines_are_signed_and_ignored() -> None:
    assert verify(f"{ORIGIN}\n1\n{ROOT}\nextension\n").tree_size == 1


def test_the_checkpoint_of_another_ledger_of_the_same_key_is_refused() -> None:
    with pytest.raises(CheckpointRejected, match=r"'example.com/other'; expected 'example.com/b"):
        verify(f"example.com/other\n1\n{ROOT}\n")


@pytest.mark.parametrize(
    "size", ["-1", "+1", "01", "00", " 1", "1_0", "", "x", "٣", str(2**63), "1" * 5000]
)
def test_a_size_in_any_but_its_one_form_is_refused(size: str) -> None:
    with pytest.raises(CheckpointRejected, match="tree size"):
        verify(f"{ORIGIN}\n{size}\n{ROOT}\n")


@pytest.mark.parametrize("root", ["AAAA", ROOT[:-1], ROOT + "=", ROOT[:-2] + "J=", "é", "-" * 44])
def test_a_root_in_any_but_its_one_form_is_refused(root: str) -> None:
    with pytest.raises(CheckpointRejected, match="is not a root hash"):
        verify(f"{ORIGIN}\n1\n{root}\n")


@pytest.mark.parametrize("text", [f"{ORIGIN}\n1\n", f"{ORIGIN}\n1\n{ROOT}\n\nx\n", "\n"])
def test_missing_and_empty_lines_are_refused(text: str) -> None:
    with pytest.raises(CheckpointRejected, match="a line each"):
        verify(text)
