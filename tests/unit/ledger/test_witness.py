"""A witness: signs what extends what it saw, whatever the owner and the machine do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from psp.errors import CheckpointRejected, ConsistencyProofInvalid, LedgerError
from psp.ledger import (
    Ledger,
    VerifierKey,
    Witness,
    sign_checkpoint,
    verify_cosignatures_untrusted,
    verify_quorum_untrusted,
    witness_key,
)
from psp.ledger._files import Files
from psp.ledger._limits import WITNESS_LEDGERS_MAX
from psp.ledger._witness import SEEN

from .keys import Key

ORIGIN = "example.com/books"
KEY = VerifierKey(ORIGIN, Key().public_bytes)
NAME = "witness.example"
STEPS = ["write_temporary", "sync_temporary", "rename_temporary", "sync_directory"]


def make(directory: Path, *entries: bytes, origin: str = ORIGIN) -> Ledger:
    ledger = Ledger.create(directory, origin=origin, key=Key())
    ledger.append([b"first", *entries])
    return ledger


def new_witness(directory: Path) -> Witness:
    return Witness.create(directory, name=NAME, key=Key(1))


def open_witness(directory: Path) -> Witness:
    return Witness.open(directory, name=NAME, key=Key(1))


def ask(witness: Witness, ledger: Ledger, time_s: int = 5) -> bytes:
    """Ask as an honest owner would, with a proof from what the witness says it saw."""
    size = ledger.checkpoint.tree_size
    seen = witness.seen(ledger.checkpoint.origin)
    proof = ledger.prove_consistency(seen.tree_size, size) if seen and seen.tree_size < size else []
    key = VerifierKey(ledger.checkpoint.origin, KEY.public_key)
    return witness.cosign_untrusted(ledger.note, proof, ledger=key, time_s=time_s)


def test_what_extends_what_was_seen_is_cosigned(tmp_path: Path) -> None:
    ledger = make(tmp_path / "ledger")
    with new_witness(tmp_path / "witness") as witness:
        assert witness.seen(ORIGIN) is None
        for count in (1, 300, 1):
            ledger.append([b"more"] * count)
            note = ledger.note + ask(witness, ledger, time_s=count)
            (found,) = verify_quorum_untrusted(note, ledger=KEY, witnesses=[witness.key])
            assert (found.witness.name, found.time_s) == (NAME, count)
            assert witness.seen(ORIGIN) == ledger.checkpoint
    assert witness.key == witness_key(NAME, Key(1).public_bytes)


def test_the_same_checkpoint_is_cosigned_again_with_a_new_time(tmp_path: Path) -> None:
    ledger = make(tmp_path / "ledger")
    with new_witness(tmp_path / "witness") as witness:
        lines = [ask(witness, ledger, time_s) for time_s in (5, 6)]
    (found,) = verify_cosignatures_untrusted(ledger.note + b"".join(lines), [witness.key])
    assert found.time_s == 6


def test_a_rewritten_ledger_is_caught_also_after_a_restart(tmp_path: Path) -> None:
    """Its owner has the key, and everything in the new one fits: only memory tells."""
    true = make(tmp_path / "true", b"second", b"third")
    with new_witness(tmp_path / "witness") as witness:
        ask(witness, true)
    rewritten = make(tmp_path / "rewritten", b"SECOND", b"third", b"fourth")
    with open_witness(tmp_path / "witness") as witness:
        with pytest.raises(ConsistencyProofInvalid, match=r"was not cosigned.*two stories"):
            ask(witness, rewritten)
        assert witness.seen(ORIGIN) == true.checkpoint
        true.append([b"fourth"])
        assert ask(witness, true)


def test_of_two_copies_that_grew_apart_one_is_cosigned(tmp_path: Path) -> None:
    """A split view: to some readers the owner shows one, to others the other."""
    make(tmp_path / "one").close()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (
        Ledger.open(tmp_path / name, origin=ORIGIN, public_key=KEY.public_key, key=Key())
        for name in ("one", "two")
    )
    one.append([b"for the auditor"])
    two.append([b"for the court", b"and more"])
    with new_witness(tmp_path / "witness") as witness:
        assert ask(witness, one)
        with pytest.raises(ConsistencyProofInvalid):
            ask(witness, two)
        # Not even if the owner says that the witness's own proof is his.
        proof = one.prove_consistency(2, 2)
        with pytest.raises(ConsistencyProofInvalid):
            witness.cosign_untrusted(two.note, proof, ledger=KEY, time_s=5)


def test_two_roots_of_one_size_and_a_shorter_ledger_are_refused(tmp_path: Path) -> None:
    ledger, other = make(tmp_path / "ledger", b"a"), make(tmp_path / "other", b"b")
    shorter = make(tmp_path / "shorter")
    with new_witness(tmp_path / "witness") as witness:
        ask(witness, ledger)
        for refused in (other, shorter):
            with pytest.raises(ConsistencyProofInvalid):
                witness.cosign_untrusted(refused.note, [], ledger=KEY, time_s=5)


def test_a_checkpoint_that_its_ledger_did_not_sign_is_refused_and_not_remembered(
    tmp_path: Path,
) -> None:
    ledger = make(tmp_path / "ledger")
    forged = sign_checkpoint(ledger.checkpoint, Key(9))
    with new_witness(tmp_path / "witness") as witness:
        with pytest.raises(CheckpointRejected):
            witness.cosign_untrusted(forged, [], ledger=KEY, time_s=5)
        assert witness.seen(ORIGIN) is None


def test_each_ledger_has_its_own_memory(tmp_path: Path) -> None:
    ledgers = [make(tmp_path / name, origin=f"example.com/{name}") for name in ("a", "b")]
    with new_witness(tmp_path / "witness") as witness:
        for ledger in ledgers:
            ask(witness, ledger)
    with open_witness(tmp_path / "witness") as witness:
        for ledger in ledgers:
            assert witness.seen(ledger.checkpoint.origin) == ledger.checkpoint


class Stopping(Files):
    """Files of a machine that stops before the given step of a save, and writes down the steps."""

    def __init__(self, directory: Path, *, before: str | None) -> None:
        super().__init__(directory)
        self.steps: list[str] = []
        self._before = before

    def _step(self, name: str) -> None:
        if name == self._before:
            raise OSError("the machine stopped")
        self.steps.append(name)

    def write_temporary(self, data: bytes, *, mode: int, size: int | None = None) -> None:
        self._step("write_temporary")
        super().write_temporary(data, mode=mode, size=size)

    def sync_temporary(self) -> None:
        self._step("sync_temporary")
        super().sync_temporary()

    def rename_temporary(self, path: str) -> None:
        self._step("rename_temporary")
        super().rename_temporary(path)

    def sync_directory(self, path: str) -> None:
        self._step("sync_directory")
        super().sync_directory(path)


class NotingKey(Key):
    """A key that writes down when it signs."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__(1)
        self._steps = steps

    def sign(self, data: bytes, /) -> bytes:
        self._steps.append("sign")
        return super().sign(data)


def test_nothing_is_signed_before_what_was_seen_is_durable(tmp_path: Path) -> None:
    new_witness(tmp_path / "witness").close()
    files = Stopping(tmp_path / "witness", before=None)
    with Witness(files, name=NAME, key=NotingKey(files.steps)) as witness:
        ask(witness, make(tmp_path / "ledger"))
    assert files.steps == [*STEPS, "sign"]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_of_saving_signs_nothing_and_forgets_nothing(
    tmp_path: Path, step: str
) -> None:
    ledger, fork = make(tmp_path / "ledger"), make(tmp_path / "fork", b"other")
    with new_witness(tmp_path / "witness") as witness:
        ask(witness, ledger)
    before = ledger.checkpoint
    ledger.append([b"second"])
    files = Stopping(tmp_path / "witness", before=step)
    with Witness(files, name=NAME, key=NotingKey(files.steps)) as witness:
        with pytest.raises(OSError, match="the machine stopped"):
            ask(witness, ledger)
        # And not afterwards either: what is on the disk now is known only to who reads it.
        with pytest.raises(LedgerError, match="signs nothing"):
            ask(witness, ledger)
    assert "sign" not in files.steps
    with open_witness(tmp_path / "witness") as witness:
        assert witness.seen(ORIGIN) in (before, ledger.checkpoint)
        with pytest.raises(ConsistencyProofInvalid):
            witness.cosign_untrusted(fork.note, [], ledger=KEY, time_s=5)
        assert ask(witness, ledger)


def test_a_witness_that_lost_its_memory_does_not_begin_again_by_itself(tmp_path: Path) -> None:
    new_witness(tmp_path / "witness").close()
    with pytest.raises(LedgerError, match="it holds 'lock'"):
        new_witness(tmp_path / "witness")
    (tmp_path / "witness" / SEEN).unlink()
    with pytest.raises(LedgerError, match="seen is missing"):
        open_witness(tmp_path / "witness")
    with pytest.raises(LedgerError, match="no witness's directory"):
        open_witness(tmp_path / "elsewhere")


def test_a_second_process_is_turned_away(tmp_path: Path) -> None:
    with new_witness(tmp_path / "witness"), pytest.raises(LedgerError, match="in use"):
        open_witness(tmp_path / "witness")
    open_witness(tmp_path / "witness").close()


def sealed(body: bytes) -> bytes:
    return body + sha256(body).hexdigest().encode() + b"\n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"\n1\n", b"\n0\n"),
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: sealed(b"psp witness 2\n"),
        lambda data: sealed(b"psp witness 1\nx\n1\n"),
        lambda data: sealed(b"psp witness 1\nx\n1\nAAAA\n"),
    ],
)
def test_a_damaged_memory_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    with new_witness(tmp_path / "witness") as witness:
        ask(witness, make(tmp_path / "ledger"))
    path = tmp_path / "witness" / SEEN
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LedgerError, match="seen is damaged"):
        open_witness(tmp_path / "witness")


def test_a_witness_watches_so_many_ledgers_and_no_more(tmp_path: Path) -> None:
    root = b"A" * 43 + b"="
    body = b"".join(b"%d\n1\n%s\n" % (index, root) for index in range(WITNESS_LEDGERS_MAX))
    new_witness(tmp_path / "witness").close()
    (tmp_path / "witness" / SEEN).write_bytes(sealed(b"psp witness 1\n" + body))
    with open_witness(tmp_path / "witness") as witness:
        with pytest.raises(LedgerError, match="10,000 ledgers and no more"):
            ask(witness, make(tmp_path / "ledger"))
        assert witness.seen("7") is not None
