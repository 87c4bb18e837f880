"""Every kind of file of a ledger, damaged in every way: nothing is answered, and the file is named.

What opening reads is refused by opening, everything else by reading it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.errors import CheckpointRejected, InclusionProofInvalid, LedgerError
from psp.ledger import Ledger
from psp.ledger._limits import JOURNAL_BYTES

ORIGIN = "example.com/books"


class Key:
    def __init__(self, seed: int = 7) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public_bytes = self._private.public_key().public_bytes_raw()

    def sign(self, data: bytes, /) -> bytes:
        return self._private.sign(data)


KEY = Key()
ENTRIES = [b"entry %d" % index for index in range(400)]


def reopen(directory: Path, *, key: Key | None = None) -> Ledger:
    return Ledger.open(directory, origin=ORIGIN, public_key=KEY.public_bytes, key=key)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with every kind of file, and a batch that is in the journal only."""
    directory = tmp_path_factory.mktemp("sound") / "ledger"
    ledger = Ledger.create(directory, origin=ORIGIN, key=KEY)
    ledger.append(ENTRIES[:300])
    ledger.write_tiles()
    ledger.append(ENTRIES[300:])
    return directory  # Not closed: as a killed process leaves it.


@pytest.fixture
def ledger_directory(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "ledger"))


def read_all(directory: Path, *, key: Key | None = None) -> list[bytes]:
    """Open it and read every entry: this needs every file."""
    ledger = reopen(directory, key=key)
    return ledger.entries(0, ledger.checkpoint.tree_size)


FILES = [
    "journal",
    "checkpoint",
    "tile/0/000",
    "tile/0/001.p/44",
    "tile/1/000.p/1",
    "tile/entries/000",
    "tile/entries/001.p/44",
]


def flip(place: float) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        at = min(int(len(data) * place), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "first byte": flip(0),
    "a byte early": flip(0.001),
    "a byte in the middle": flip(0.5),
    "last byte": flip(1),
    "last byte missing": lambda data: data[:-1],
    "second half missing": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one byte more": lambda data: data + b"\0",
    "zeros": lambda data: bytes(len(data)),
}


def test_the_sound_ledger_opens_and_has_every_kind_of_file(ledger_directory: Path) -> None:
    """Without this the tests below could pass for the wrong reason."""
    found = {
        str(path.relative_to(ledger_directory))
        for path in ledger_directory.rglob("*")
        if path.is_file()
    }
    assert found == set(FILES)
    assert reopen(ledger_directory).entries(0, 400) == ENTRIES


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_named_and_left_as_it_is(
    ledger_directory: Path, file: str, how: str
) -> None:
    path = ledger_directory / file
    damaged = DAMAGES[how](path.read_bytes())
    path.chmod(0o600)
    path.write_bytes(damaged)
    for key in (None, KEY):
        with pytest.raises(LedgerError) as caught:
            read_all(ledger_directory, key=key)
        assert str(path) in str(caught.value)
        assert "nothing was changed" in str(caught.value)
        assert path.read_bytes() == damaged


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named_and_not_made_anew(ledger_directory: Path, file: str) -> None:
    path = ledger_directory / file
    path.unlink()
    for key in (None, KEY):
        with pytest.raises(LedgerError) as caught:
            read_all(ledger_directory, key=key)
        assert str(path) in str(caught.value)
        assert not path.exists()


@pytest.mark.parametrize("file", [file for file in FILES if "entries" not in file and ".p" in file])
def test_opening_refuses_an_edge_that_is_not_the_signed_one(
    ledger_directory: Path, file: str
) -> None:
    path = ledger_directory / file
    path.chmod(0o600)
    path.write_bytes(flip(0.5)(path.read_bytes()))
    for key in (None, KEY):
        with pytest.raises(LedgerError, match="commits to another root") as caught:
            reopen(ledger_directory, key=key)
        assert str(path) in str(caught.value)


def test_opening_reads_the_edge_alone(ledger_directory: Path) -> None:
    """Its price must not grow with the ledger, so what it leaves unread may be gone."""
    (ledger_directory / "tile/0/000").unlink()
    (ledger_directory / "tile/entries/000").unlink()
    ledger = reopen(ledger_directory)
    assert ledger.entries(300, 400) == ENTRIES[300:]


@pytest.mark.parametrize("forged", [["tile/0/000"], ["tile/entries/000", "tile/0/000"]])
def test_files_that_fit_each_other_but_not_the_root_are_refused(
    ledger_directory: Path, tmp_path: Path, forged: list[str]
) -> None:
    """A bundle and its hashes, both from another history, in a ledger that opens."""
    with Ledger.create(tmp_path / "other", origin=ORIGIN, key=KEY) as other:
        other.append([b"forged", *ENTRIES[1:300]])
    for file in forged:
        (ledger_directory / file).unlink()
        shutil.copy(tmp_path / "other" / file, ledger_directory / file)
    ledger = reopen(ledger_directory)
    asks: list[Callable[[], object]] = [
        lambda: ledger.entries(0, 1),
        lambda: ledger.prove_inclusion(0, 400),
        lambda: ledger.prove_consistency(3, 400),
    ]
    for ask in asks:
        with pytest.raises(LedgerError, match=r"tile/0/000 is damaged.*signed root"):
            ask()


def test_every_byte_of_a_checkpoint_counts(ledger_directory: Path) -> None:
    path = ledger_directory / "checkpoint"
    sound = path.read_bytes()
    path.chmod(0o600)
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x01]) + sound[place + 1 :])
        with pytest.raises(CheckpointRejected):
            reopen(ledger_directory)


def test_a_checkpoint_from_another_day_is_refused(ledger_directory: Path) -> None:
    """Its signature is good: only the journal knows that the ledger has gone on."""
    old = (ledger_directory / "checkpoint").read_bytes()
    with reopen(ledger_directory, key=KEY):
        pass
    (ledger_directory / "checkpoint").unlink()
    (ledger_directory / "checkpoint").write_bytes(old)
    with pytest.raises(LedgerError, match=r"journal continues a ledger of 400.*is of 300"):
        reopen(ledger_directory)


def test_a_ledger_rewritten_and_not_signed_again_is_refused(
    ledger_directory: Path, tmp_path: Path
) -> None:
    """Another history in files that all fit each other: only the root betrays it."""
    with Ledger.create(tmp_path / "other", origin=ORIGIN, key=KEY) as other:
        other.append([b"forged", *ENTRIES[1:300]])
    shutil.rmtree(ledger_directory / "tile")
    shutil.copytree(tmp_path / "other" / "tile", ledger_directory / "tile")
    with pytest.raises(LedgerError, match="commits to another root"):
        reopen(ledger_directory)


def test_a_journal_signed_by_a_stranger_is_refused(ledger_directory: Path, tmp_path: Path) -> None:
    stranger = Ledger.create(tmp_path / "other", origin=ORIGIN, key=Key(8))
    stranger.append([b"forged"] * 300)
    stranger.write_tiles()
    stranger.append([b"forged"])
    shutil.copy(tmp_path / "other" / "journal", ledger_directory / "journal")
    with pytest.raises(CheckpointRejected, match=r"no signature by example\.com/books"):
        reopen(ledger_directory)


def test_a_journal_that_continues_another_history_is_refused(
    ledger_directory: Path, tmp_path: Path
) -> None:
    """A fork by the same key, cut over at the same size."""
    fork = Ledger.create(tmp_path / "other", origin=ORIGIN, key=KEY)
    fork.append([b"fork"] * 300)
    fork.write_tiles()
    fork.append([b"more"])
    shutil.copy(tmp_path / "other" / "journal", ledger_directory / "journal")
    with pytest.raises(LedgerError, match="its own checkpoint of 301 entries does not commit to"):
        reopen(ledger_directory)


@pytest.mark.parametrize("file", ["tile/0/000", "tile/entries/000"])
def test_a_file_that_changes_after_opening_is_never_answered_from(
    ledger_directory: Path, file: str
) -> None:
    ledger = reopen(ledger_directory)
    path = ledger_directory / file
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    with pytest.raises(LedgerError) as caught:
        ledger.entries(0, 10)
    assert str(path) in str(caught.value)
    if file == "tile/0/000":
        with pytest.raises(LedgerError) as caught:
            ledger.prove_inclusion(0, 300)
        assert str(path) in str(caught.value)
        assert not isinstance(caught.value, InclusionProofInvalid)


def test_a_byte_that_rots_after_opening_is_not_sealed_into_a_full_bundle(
    ledger_directory: Path,
) -> None:
    with reopen(ledger_directory, key=KEY):
        pass
    ledger = reopen(ledger_directory, key=KEY)
    path = ledger_directory / "tile/entries/001.p/144"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"entry 256", b"entry X56"))
    ledger.append([b"x"] * 200)
    with pytest.raises(LedgerError, match=r"entries/001\.p/144 is damaged"):
        ledger.write_tiles()
    assert not (ledger_directory / "tile/entries/001").exists()
    with pytest.raises(LedgerError, match="takes no entries: an earlier write failed"):
        ledger.append([b"y"])


def test_the_journals_fixed_size_takes_no_disk(ledger_directory: Path) -> None:
    with reopen(ledger_directory, key=KEY):
        pass
    status = (ledger_directory / "journal").stat()
    assert status.st_size == JOURNAL_BYTES
    assert status.st_blocks * 512 <= 64 * 1024
