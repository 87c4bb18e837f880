"""Receipts that a reader takes along, and whole ledgers: checked by psp verify, and without PSP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.ledger.test_another_hand import KEY as THEIR_KEY
from tests.unit.ledger.test_another_hand import THEIRS
from verifier import psp_verify

from .conftest import Ran, served

pytestmark = pytest.mark.slow

COUNT = "select count(*), sum(rent) from homes"


@pytest.fixture
def box(tmp_path: Path, psp: Callable[..., Ran], files: list[Path]) -> Path:
    made = psp("estate", "new", "homes", "--yes", "--from", files[0])
    assert made.status == 0, made.err
    (lock,) = (tmp_path / "homes").rglob("lock")
    return lock.parent


def keys_of(psp: Callable[..., Ran], box: Path) -> tuple[str, str]:
    facts = json.loads(psp("ledger", "show", box, "--json").out)
    return facts["key"], facts["reads key"]


def test_a_receipt_is_a_proof_file_that_either_verifier_accepts(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    with served(tmp_path):
        answer = psp("ask", COUNT, "--receipts", "kept", "--json")
        assert answer.status == 0, answer.err
        ((member, size),) = json.loads(answer.out)["as_of"].items()
    file = tmp_path / "kept" / f"{member}.tlog-proof"
    key, reads_key = keys_of(psp, box)

    for given in (key, reads_key):
        said = psp("verify", file, "--key", given)
        assert said.status == 0, said.err
        assert f"from the ledger at tree size {size}" in said.out
    assert json.loads(psp("verify", file, "--key", key, "--json").out)["receipt"]
    alone = psp_verify.check_proof(file.read_bytes(), psp_verify.key_of(reads_key))
    assert alone.startswith("Entry 0 of 1 is in the ledger of psp-archive/")
    file.write_bytes(file.read_bytes().replace(b"index 0", b"index 1"))
    assert psp("verify", file, "--key", key).status == 1


def test_an_earlier_state_is_asked_for_and_the_answer_names_it(
    tmp_path: Path, psp: Callable[..., Ran], box: Path
) -> None:
    with served(tmp_path):
        now = json.loads(psp("ask", COUNT, "--json").out)
        (size,) = now["as_of"].values()
        same = json.loads(psp("ask", COUNT, "--as-of", str(size), "--json").out)
        later = psp("ask", COUNT, "--as-of", str(size + 1))
        shown = psp("ask", COUNT)
    assert (same["rows"], same["as_of"]) == (now["rows"], now["as_of"])
    assert f"it has 1 to {size}" in later.sentence
    assert f"tree size {size}" in shown.out


def test_both_ledgers_of_an_archive_are_read_and_damage_is_named(
    psp: Callable[..., Ran], box: Path
) -> None:
    key, _ = keys_of(psp, box)
    for arguments in ((), ("--key", key)):
        said = psp("verify", box, *arguments)
        assert (said.status, said.out.count("verified: ")) == (0, 2), said.err
    assert "for proof files" in psp("verify", box, "--quorum", "1").sentence
    tile = next((box / "ledger" / "tile" / "entries").rglob("*.p/*"))
    data = bytearray(tile.read_bytes())
    data[9] ^= 1
    tile.unlink()
    tile.write_bytes(data)
    said = psp("verify", box, "--json")
    assert said.status == 1
    wrong = [line for one in json.loads(said.out)["ledgers"] for line in one["wrong"]]
    assert any("is damaged" in line for line in wrong)


def test_an_archive_that_lost_its_journal_is_not_taken_for_another_programs(
    psp: Callable[..., Ran], box: Path
) -> None:
    (box / "ledger" / "journal").unlink()
    said = psp("verify", box)
    assert (said.status, "ledger/journal" in said.out) == (1, True)


def test_a_whole_ledger_by_another_program_is_read(tmp_path: Path, psp: Callable[..., Ran]) -> None:
    said = psp("verify", THEIRS, "--key", THEIR_KEY.encode())
    assert (said.status, said.out.startswith("verified: 300 entries")) == (0, True), said.err
    shutil.copytree(THEIRS, tmp_path / "theirs")
    tile = next((tmp_path / "theirs" / "tile" / "entries").rglob("000"))
    data = bytearray(tile.read_bytes())
    data[9] ^= 1
    tile.chmod(0o600)
    tile.write_bytes(data)
    said = psp("verify", "theirs", "--key", THEIR_KEY.encode())
    assert (said.status, "NOT VERIFIED" in said.out, "is damaged" in said.out) == (1, True, True)
