"""A ledger in a directory, used as intended. Damage and crashes: tests/faults."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from psp.errors import (
    CheckpointRejected,
    ConsistencyProofInvalid,
    InclusionProofInvalid,
    LedgerError,
)
from psp.ledger import (
    ENTRY_BYTES_MAX,
    Appended,
    Checkpoint,
    Ledger,
    hash_leaf,
    verify_checkpoint_untrusted,
    verify_consistency,
    verify_inclusion,
)
from psp.ledger._files import Files
from psp.ledger._journal import SECTOR_BYTES
from psp.ledger._limits import JOURNAL_AHEAD_BYTES, JOURNAL_BYTES
from psp.ledger._tree import EMPTY_ROOT

from .keys import Key
from .test_tree import defined_root

ORIGIN = "example.com/books"
KEY = Key()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def create(home: Path) -> Ledger:
    return Ledger.create(home, origin=ORIGIN, key=KEY)


def reopen(home: Path, *, key: Key | None = None) -> Ledger:
    return Ledger.open(home, origin=ORIGIN, public_key=KEY.public_bytes, key=key)


def files(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def test_a_new_ledger_is_a_signed_empty_tree(home: Path) -> None:
    ledger = create(home)
    assert ledger.checkpoint == Checkpoint(origin=ORIGIN, tree_size=0, root_hash=EMPTY_ROOT)
    assert files(home) == {"checkpoint", "journal"}
    assert reopen(home).checkpoint == ledger.checkpoint


def test_an_appended_entry_is_read_by_another_process_before_its_tiles_exist(home: Path) -> None:
    ledger = create(home)
    appended = ledger.append([b"a", b"b"])
    assert appended == Appended(first_index=0, checkpoint=ledger.checkpoint)
    assert files(home) == {"checkpoint", "journal"}
    reader = reopen(home)
    assert reader.entries(0, 2) == [b"a", b"b"]
    assert reader.checkpoint == ledger.checkpoint
    assert ledger.append([b"c"]).first_index == 2
    assert reader.checkpoint.tree_size == 2, "what a reader opened does not move"


def test_reading_writes_nothing(home: Path) -> None:
    create(home).append([b"a"])
    before = {name: (home / name).stat().st_mtime_ns for name in files(home)}
    with reopen(home) as reader:
        reader.entries(0, 1)
    assert {name: (home / name).stat().st_mtime_ns for name in files(home)} == before


def test_closing_writes_the_tiles(home: Path) -> None:
    with create(home) as ledger:
        ledger.append([b"a", b"b"])
    assert files(home) == {"checkpoint", "journal", "tile/0/000.p/2", "tile/entries/000.p/2"}
    assert (home / "tile/entries/000.p/2").read_bytes() == b"\0\1a\0\1b"
    assert (home / "tile/0/000.p/2").read_bytes() == hash_leaf(b"a") + hash_leaf(b"b")


def test_tiles_are_sealed_and_the_checkpoint_beside_them_is_signed(home: Path) -> None:
    with create(home) as ledger:
        ledger.append([b"a"])
    for name in ("tile/0/000.p/1", "tile/entries/000.p/1", "checkpoint"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o444
    note = (home / "checkpoint").read_bytes()
    assert note == ledger.note
    assert ledger.checkpoint == verify_checkpoint_untrusted(
        note, origin=ORIGIN, public_key=KEY.public_bytes
    )


def test_opening_with_the_key_carries_the_journal_into_tiles(home: Path) -> None:
    create(home).append([b"a"])  # And the process is killed.
    ledger = reopen(home, key=KEY)
    assert "tile/entries/000.p/1" in files(home)
    assert ledger.append([b"b"]).first_index == 1
    assert reopen(home).entries(0, 2) == [b"a", b"b"]


def test_partial_tiles_go_when_their_full_tile_is_there(home: Path) -> None:
    with create(home) as ledger:
        for count in (100, 100):
            ledger.append([b"x"] * count)
            ledger.write_tiles()
        assert {"tile/0/000.p/100", "tile/0/000.p/200"} <= files(home)
        ledger.append([b"x"] * 100)
    assert {name for name in files(home) if name.startswith("tile")} == {
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    }
    assert not (home / "tile/0/000.p").exists()


def test_a_reader_from_before_a_tile_filled_still_reads(home: Path) -> None:
    ledger = create(home)
    ledger.append([b"%d" % index for index in range(200)])
    ledger.write_tiles()
    reader = reopen(home)
    ledger.append([b"x"] * 100)
    ledger.close()
    assert not (home / "tile/entries/000.p").exists()
    assert reader.entries(198, 200) == [b"198", b"199"]
    proof = reader.prove_inclusion(3, 200)
    verify_inclusion(hash_leaf(b"3"), 3, proof, reader.checkpoint)


def test_entries_come_from_tiles_and_journal_alike(home: Path) -> None:
    entries = [b"%d" % index for index in range(600)]
    ledger = create(home)
    for start, end in ((0, 1), (1, 255), (255, 300), (300, 513)):
        ledger.append(entries[start:end])
        ledger.write_tiles()
    ledger.append(entries[513:])
    for seen in (ledger, reopen(home)):
        for start, end in ((0, 600), (0, 0), (600, 600), (255, 257), (512, 514), (550, 560)):
            assert seen.entries(start, end) == entries[start:end]


def test_proofs_hold_at_every_size_the_ledger_had(home: Path) -> None:
    ledger = create(home)
    known = [ledger.checkpoint]
    for count in (1, 254, 1, 1, 43):
        known.append(ledger.append([b"x"] * count).checkpoint)
        if count == 254:
            ledger.write_tiles()
    reader = reopen(home)
    for then in known:
        for index in {0, then.tree_size // 2, then.tree_size - 1} & set(range(then.tree_size)):
            proof = reader.prove_inclusion(index, then.tree_size)
            verify_inclusion(hash_leaf(b"x"), index, proof, then)
        proof = reader.prove_consistency(then.tree_size, reader.checkpoint.tree_size)
        verify_consistency(then, reader.checkpoint, proof)


@pytest.mark.slow
def test_at_every_size_a_ledger_that_is_opened_has_the_root_of_the_whole_tree(home: Path) -> None:
    """Whether the last entries are in tiles or in the journal, and for reader and writer."""
    leaf_hashes: list[bytes] = []
    ledger = create(home)
    for size in range(1, 601):
        entry = b"%d" % size
        leaf_hashes.append(hash_leaf(entry))
        ledger.append([entry])
        # 3 and 7 meet every place in a tile, and come together at every 21st.
        if size % 7 == 0:
            ledger.write_tiles()
        if size % 3 == 0:
            ledger = reopen(home, key=KEY)
        reader = reopen(home)
        assert reader.checkpoint == ledger.checkpoint
        assert reader.checkpoint.root_hash == defined_root(leaf_hashes)


def test_a_full_journal_is_carried_into_tiles_by_the_way(home: Path) -> None:
    ledger = create(home)
    largest = bytes(ENTRY_BYTES_MAX)
    for _ in range(20):
        ledger.append([largest])
    assert "tile/entries/000.p/15" in files(home)
    assert reopen(home).entries(0, 20) == [largest] * 20


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "a batch of 0 entries"),
        ([b""] * 16_385, "a batch of 16385 entries"),
        ([b"a", bytes(ENTRY_BYTES_MAX + 1)], "Seal the bytes as an asset"),
        ([bytes(ENTRY_BYTES_MAX)] * 16, "Append it in several batches"),
    ],
)
def test_a_batch_beyond_a_limit_changes_nothing(
    home: Path, entries: list[bytes], message: str
) -> None:
    ledger = create(home)
    before = ledger.append([b"a"]).checkpoint
    with pytest.raises(LedgerError, match=message):
        ledger.append(entries)
    assert reopen(home).checkpoint == ledger.checkpoint == before
    assert ledger.append([b"b"]).first_index == 1


def test_what_is_not_there_is_neither_read_nor_proved(home: Path) -> None:
    ledger = create(home)
    ledger.append([b"a", b"b"])
    for start, end in ((-1, 1), (1, 0), (0, 3)):
        with pytest.raises(LedgerError, match="of a ledger of 2 entries"):
            ledger.entries(start, end)
    for index, size in ((-1, 2), (2, 2), (0, 3), (0, 0)):
        with pytest.raises(InclusionProofInvalid, match=f"entry {index} in the first {size}"):
            ledger.prove_inclusion(index, size)
    for old, new in ((-1, 2), (2, 1), (0, 3)):
        with pytest.raises(ConsistencyProofInvalid, match=f"from {old} to {new}"):
            ledger.prove_consistency(old, new)


def test_a_ledger_is_never_started_over(home: Path) -> None:
    with create(home) as ledger:
        ledger.append([b"a"])
    (home / "checkpoint").unlink()
    with pytest.raises(LedgerError, match=r"it holds 'journal'.*never started over"):
        create(home)
    with pytest.raises(LedgerError, match="checkpoint is missing"):
        reopen(home, key=KEY)


def test_a_ledger_that_is_not_there_is_not_made_by_opening(home: Path) -> None:
    with pytest.raises(LedgerError, match="journal is missing"):
        reopen(home, key=KEY)
    assert not home.exists()


def test_a_ledger_opens_only_under_its_own_name_and_key(home: Path) -> None:
    create(home)
    with pytest.raises(CheckpointRejected, match=r"no signature by example\.com/other"):
        Ledger.open(home, origin="example.com/other", public_key=KEY.public_bytes)
    with pytest.raises(CheckpointRejected, match=r"no signature by example\.com/books"):
        Ledger.open(home, origin=ORIGIN, public_key=Key(8).public_bytes)
    with pytest.raises(LedgerError, match="the key given is not the key of"):
        Ledger.open(home, origin=ORIGIN, public_key=KEY.public_bytes, key=Key(8))


def test_nothing_is_appended_without_the_key_or_after_closing(home: Path) -> None:
    ledger = create(home)
    with pytest.raises(LedgerError, match="opened for reading"):
        reopen(home).append([b"a"])
    ledger.close()
    with pytest.raises(LedgerError, match="it is closed"):
        ledger.append([b"a"])
    ledger.close()


def test_an_origin_that_cannot_sign_is_refused_before_anything_is_made(home: Path) -> None:
    with pytest.raises(LedgerError, match="cannot name a ledger"):
        Ledger.create(home, origin="two words", key=KEY)
    assert not home.exists()


class Watched(Files):
    """Real files that note what is written into the journal, and how often it is synced."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.written: list[tuple[int, int]] = []
        self.syncs = 0

    def write_journal(self, path: str, data: bytes, *, offset: int) -> None:
        self.written.append((offset, len(data)))
        super().write_journal(path, data, offset=offset)

    def sync_journal(self, path: str) -> None:
        self.syncs += 1
        super().sync_journal(path)


def test_nearly_every_batch_is_written_where_the_journal_was_filled_before(home: Path) -> None:
    """And each with one write and one sync, the filling included."""
    home.mkdir()
    watched = Watched(home)
    ledger = Ledger.create_on(watched, origin=ORIGIN, key=KEY)
    entry = bytes(15_000)
    while len(watched.written) < 2 or watched.written[-1][0] > SECTOR_BYTES:
        ledger.append([entry])  # Until a new journal is begun.

    filled, fills = SECTOR_BYTES, 0
    for offset, size in watched.written[:-1]:
        fills += offset + size > filled
        filled = max(filled, offset + size)
    assert watched.syncs == len(watched.written)
    assert fills <= JOURNAL_BYTES // JOURNAL_AHEAD_BYTES < len(watched.written) / 3
    assert filled <= JOURNAL_BYTES


def test_a_killed_writer_leaves_zeros_that_are_no_entries(home: Path) -> None:
    create(home).append([b"one"])  # Never closed.
    reader = reopen(home)
    assert reader.entries(0, reader.checkpoint.tree_size) == [b"one"]
    with reopen(home, key=KEY) as writer:
        writer.append([b"two"])
    assert reopen(home).entries(0, 2) == [b"one", b"two"]
