"""The one-file verifier and the library never disagree, whatever is done to what they read.

python -m tests.property.test_one_file_verifier --mutations 1000000 --seed 7
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from cryptography.exceptions import InvalidSignature

from psp.errors import LedgerError
from psp.ledger import (
    Ledger,
    ProofFile,
    VerifierKey,
    check_ledger,
    decode_verifier_key_untrusted,
    verify_proof_file_untrusted,
    witness_key,
)
from psp.ledger._cosignature import sign_cosignature
from psp.ledger._note import sign_note
from tests.unit.ledger.keys import Key
from verifier import psp_verify

VERIFIER = Path(psp_verify.__file__)
KEY = VerifierKey("example.com/books", Key().public_bytes)
WITNESSES = [witness_key(f"w{seed}.example", Key(seed).public_bytes) for seed in (1, 2)]
ENTRIES = [f"entry {index}".encode() * (index % 5) for index in range(600)]
PROOF_MUTATIONS, LEDGER_MUTATIONS = 3_000, 300
PROOF_SHARE = 40  # Of a soak's mutations, one in so many is of a ledger: it costs as much as all.

Change = Callable[[Random, bytes], bytes]


def theirs(check: Callable[[], object]) -> bool:
    """Say whether the one-file verifier accepts; only what its `main` catches is a refusal."""
    try:
        check()
    except (ValueError, OSError, InvalidSignature):
        return False
    return True


def ours(check: Callable[[], object]) -> bool:
    try:
        check()
    except LedgerError:
        return False
    return True


def flip_a_bit(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def write_a_likely_byte(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([random.choice(b"\n =+0aA/\0\xf1\xf2\xe2")]) + data[at + 1 :]


def cut(random: Random, data: bytes) -> bytes:
    start = random.randrange(len(data))
    return data[:start] + data[start + random.choice((1, 1, 2, 3, 44, 45, 512)) :]


def repeat(random: Random, data: bytes) -> bytes:
    start = random.randrange(len(data))
    end = start + random.choice((1, 1, 2, 45, 512))
    return data[:end] + data[start:]


def insert_where_words_begin(random: Random, data: bytes) -> bytes:
    """What a lax reader of numbers, names and base64 would overlook."""
    starts = [at + 1 for at, byte in enumerate(data[:2_000]) if byte in b"\n "] or [0]
    at = random.choice(starts)
    return data[:at] + random.choice((b"0", b"00", b"+", b" ", b"-", b"\n")) + data[at:]


def append(random: Random, data: bytes) -> bytes:
    return data + random.choice((b"\0", b"\n", data[:32], data[-77:], bytes(512)))


def swap_lines(random: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    first, second = random.randrange(len(lines)), random.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


def change_a_line(random: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    change = random.choice(
        (b"", b"index 0", b"extra ", b"extra AA==", b"0", lines[at] + b"=", b" ")
    )
    lines[at : at + 1] = random.choice(([change], [], [lines[at], lines[at]], [lines[at], change]))
    return b"\n".join(lines)


def blank_a_sector(random: Random, data: bytes) -> bytes:
    sector = random.randrange(1 + len(data.rstrip(b"\0")) // 512) * 512
    return data[:sector] + bytes(min(512, len(data) - sector)) + data[sector + 512 :]


CHANGES: list[Change] = [
    *(flip_a_bit, write_a_likely_byte, cut, repeat, append, insert_where_words_begin),
    *(swap_lines, change_a_line, blank_a_sector),
]


def changed(random: Random, data: bytes) -> bytes:
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if data:
            data = random.choice(CHANGES)(random, data)
    return data


def signed_again(random: Random, proof: bytes) -> bytes:
    """Change the text of a proof's checkpoint and sign it: what then is wrong is wrong in form."""
    head, _, note = proof.partition(b"\n\n")
    text = changed(random, note.partition(b"\n\n")[0]).decode("utf-8", "replace") + "\n"
    lines = sign_note(text, name=KEY.name, key=Key())
    for seed in (1, 2):
        lines += sign_cosignature(text, name=f"w{seed}.example", key=Key(seed), time_s=seed)
    return head + b"\n\n" + lines


def make_ledger(directory: Path, *, published: int) -> Ledger:
    """Make a ledger of all entries, so many of them in tiles and the others in the journal."""
    ledger = Ledger.create(directory, origin=KEY.name, key=Key())
    if published:
        ledger.append(ENTRIES[:published])
        ledger.write_tiles()
    for start in range(published, len(ENTRIES), 100):
        ledger.append(ENTRIES[start : start + 100])
    return ledger


def proof_files(directory: Path) -> list[bytes]:
    ledger = make_ledger(directory, published=300)
    lines = b""
    proofs = []
    for index, tree_size in ((0, 600), (299, 600), (599, 600), (256, 600)):
        text = ledger.note.decode().partition("\n\n")[0] + "\n"
        for kept in (True, False):
            proof = ProofFile(
                index=index,
                hashes=ledger.prove_inclusion(index, tree_size),
                note=ledger.note + lines,
                entry=ENTRIES[index] if kept else None,
            )
            proofs.append(proof.encode())
        seed = 1 + len(lines) // 100
        lines += sign_cosignature(text, name=f"w{seed}.example", key=Key(seed), time_s=index)
    return proofs


def proofs_agree(random: Random, proofs: list[bytes], count: int) -> Counter[bool]:
    """Change proofs so many times; return how often both accepted and refused."""
    told = Counter[bool]()
    key = psp_verify.key_of(KEY.encode())
    for _ in range(count):
        change = random.choice((changed, changed, changed, signed_again))
        data = change(random, random.choice(proofs))
        given = random.choice((None, None, ENTRIES[0], ENTRIES[299]))
        witnesses = WITNESSES[: random.randrange(3)]
        own = ours(
            lambda d=data, g=given, w=witnesses: verify_proof_file_untrusted(  # type: ignore[misc]
                d, key=KEY, witnesses=w, entry=g
            )
        )
        other = theirs(
            lambda d=data, g=given, w=witnesses: psp_verify.check_proof(  # type: ignore[misc]
                d, key, *(psp_verify.key_of(one.encode()) for one in w), entry=g
            )
        )
        assert own == other, (own, other, data, given, len(witnesses))
        told[own] += 1
    return told


def is_whole(directory: Path) -> bool:
    """Say whether the library finds nothing lost or changed; a mode or a stray file is neither."""
    report = check_ledger(directory, origin=KEY.name, public_key=KEY.public_key)
    return not any(found.is_damage for found in report.findings)


@contextmanager
def damaged(random: Random, directory: Path) -> Iterator[None]:
    """Change one file in a ledger until the block is left."""
    path = random.choice(sorted(file for file in directory.rglob("*") if file.is_file()))
    # The small files are the signed ones; a change of them is worth as much as one of a tile.
    if random.random() < 0.3:
        path = directory / random.choice(("journal", "checkpoint"))
    data, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    try:
        if random.random() < 0.95:
            path.write_bytes(changed_file(random, data))
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(mode)


def changed_file(random: Random, data: bytes) -> bytes:
    used = len(data.rstrip(b"\0"))
    if len(data) > 100_000 and random.random() < 0.9:
        # Most of a journal is zeros; what is written in it is where a change may be overlooked.
        head = changed(random, data[:used])
        return (head + data[used:])[: len(data)].ljust(len(data), b"\0")
    return changed(random, data)


def ledgers_agree(random: Random, directory: Path, count: int) -> Counter[bool]:
    told = Counter[bool]()
    key = psp_verify.key_of(KEY.encode())
    for _ in range(count):
        with damaged(random, directory):
            own = is_whole(directory)
            other = theirs(lambda: psp_verify.check_ledger(directory, key))
            assert own == other, f"library {own}, one file {other}"
        told[own] += 1
    return told


def test_they_agree_about_thousands_of_changed_proofs(tmp_path: Path) -> None:
    told = proofs_agree(Random(1), proof_files(tmp_path / "ledger"), PROOF_MUTATIONS)
    assert told[False] > PROOF_MUTATIONS / 2
    assert told[True] > 0


@pytest.mark.parametrize("published", [0, 256, 300, 600])
def test_they_agree_about_hundreds_of_changed_ledgers(tmp_path: Path, published: int) -> None:
    make_ledger(tmp_path / "ledger", published=published)
    told = ledgers_agree(Random(published), tmp_path / "ledger", LEDGER_MUTATIONS // 4)
    assert told[False] > 0


def test_they_agree_about_every_true_proof(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path / "ledger", published=300)
    key = psp_verify.key_of(KEY.encode())
    for index in range(0, 600, 7):
        hashes = ledger.prove_inclusion(index, 600)
        proof = ProofFile(index=index, hashes=hashes, note=ledger.note, entry=ENTRIES[index])
        assert verify_proof_file_untrusted(proof.encode(), key=KEY).index == index
        said = psp_verify.check_proof(proof.encode(), key)
        assert said == f"Entry {index} of 600 is in the ledger of example.com/books."


@pytest.mark.parametrize(
    "line",
    [
        KEY.encode(),
        WITNESSES[0].encode(),
        KEY.encode()[:-1],
        KEY.encode().replace("books", "Books"),
        VerifierKey(KEY.name, bytes(31)).encode(),
        f"{KEY.name}+{'0' * 8}+{b64encode(bytes(33)).decode()}",
        "",
    ],
)
def test_they_agree_about_keys(line: str) -> None:
    own = ours(lambda: decode_verifier_key_untrusted(line))
    assert own == theirs(lambda: psp_verify.key_of(line))


def test_it_is_one_short_file_that_knows_nothing_of_the_library() -> None:
    text = VERIFIER.read_text()
    assert len(text.splitlines()) < 200
    assert "import psp" not in text
    assert "from psp" not in text


def run(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", VERIFIER, *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_ledger_is_checked_with_its_journal_and_against_an_older_checkpoint(
    tmp_path: Path,
) -> None:
    directory, older = tmp_path / "ledger", tmp_path / "older"
    with Ledger.create(directory, origin=KEY.name, key=Key()) as ledger:
        ledger.append(ENTRIES[:300])
        older.write_bytes(ledger.note)
    with Ledger.open(directory, origin=KEY.name, public_key=KEY.public_key, key=Key()) as ledger:
        ledger.append(ENTRIES[300:])
        status, said = run(directory, "--key", KEY.encode(), "--older", older)
        assert (status, said) == (0, f"All 600 entries of {KEY.name} are as they were signed.\n")
    with Ledger.create(tmp_path / "other", origin=KEY.name, key=Key()) as other:
        other.append(ENTRIES[::-1])
    status, said = run(tmp_path / "other", "--key", KEY.encode(), "--older", older)
    assert (status, said) == (1, "NOT VERIFIED: the past was rewritten\n")


def test_a_proof_is_checked_with_a_witness(tmp_path: Path) -> None:
    *_, whole, _ = proof_files(tmp_path / "ledger")
    file = tmp_path / "entry.tlog-proof"
    file.write_bytes(whole)
    status, said = run(file, "--key", KEY.encode(), "--witness", WITNESSES[0].encode())
    assert (status, said) == (
        0,
        f"Entry 256 of 600 is in the ledger of {KEY.name}. w1.example saw it 0 s after 1970.\n",
    )
    file.write_bytes(whole.replace(b"index 256", b"index 255"))
    status, said = run(file, "--key", KEY.encode())
    assert status == 1
    assert said.startswith("NOT VERIFIED: ")


def soak(mutations: int, seed: int) -> None:
    random = Random(seed)
    told = Counter[tuple[str, bool]]()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        proofs = proof_files(root / "proofs")
        while sum(told.values()) < mutations:
            for accepted, count in proofs_agree(random, proofs, 1_000).items():
                told["proofs", accepted] += count
            place = root / "ledger"
            shutil.rmtree(place, ignore_errors=True)
            make_ledger(place, published=random.choice((0, 1, 255, 256, 257, 300, 512, 600)))
            for accepted, count in ledgers_agree(random, place, 1_000 // PROOF_SHARE).items():
                told["ledgers", accepted] += count
    for (what, accepted), count in sorted(told.items()):
        sys.stdout.write(f"{what} {'accepted' if accepted else 'refused'} by both: {count:,}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    told_to = parser.parse_args()
    soak(told_to.mutations, told_to.seed)
