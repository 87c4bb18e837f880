"""What a signer beside an archive knows of its ledger, and what that is worth."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.capability import NEVER_SEEN, Seen, decode_chain_untrusted, token_from_text_untrusted
from psp.cli._grant_sign import issue_grant
from psp.errors import Denied
from psp.totebox import seen_at_rest

from .conftest import OWNER, machine
from .test_memory import House, is_live, show
from .test_memory import house as house  # The fixture.


def seen_of(house: House) -> Seen:
    return seen_at_rest(house.directory, OWNER.archive_id)


def size_of(house: House) -> int:
    with house.serving() as desk:
        return desk.archive.ledger.checkpoint.tree_size


def issued(house: House, key: Path, told: Callable[[], str]) -> bytes:
    """Sign a first link as `psp grant issue` does."""
    key.write_bytes(OWNER.anchor.private_pem())
    key.chmod(0o600)
    scope = key.with_name("scope.toml")
    scope.write_text('[tables.sales]\noperations = ["count"]\n', "utf-8")
    issue_grant(scope, archive=house.directory, key=key, to="user")
    return token_from_text_untrusted(told())


def test_a_signer_has_seen_all_but_what_a_crash_may_still_take(house: House) -> None:
    """At any moment beside the process that serves: never more than that process knows."""
    with house.serving() as desk:
        ledger = desk.archive.ledger
        acknowledged = [seen_of(house)]
        for number in range(4):
            before = ledger.checkpoint
            desk.archive.pair(f"other{number}", machine().certificate_pem, "USER")
            acknowledged.append(seen_of(house))
            if number:
                assert acknowledged[-1] == (before.tree_size, before.root_hash)
        sizes = [seen.tree_size for seen in acknowledged]

        assert sizes == sorted(sizes)
        assert 0 < sizes[0] == sizes[1] < sizes[-1] == ledger.checkpoint.tree_size - 1
        assert [desk.memory.contradicts(seen) for seen in acknowledged] == [None] * 5
    now = ledger.checkpoint
    assert seen_of(house) == (now.tree_size, now.root_hash)


def test_a_signer_has_not_seen_a_batch_that_is_being_written(house: House) -> None:
    with house.serving() as desk:
        for name in ("one", "two"):
            desk.archive.pair(name, machine().certificate_pem, "USER")
        before, journal = seen_of(house), house.directory / "ledger" / "journal"
        whole = journal.read_bytes()
        desk.archive.pair("three", machine().certificate_pem, "USER")
        longer = journal.read_bytes()
        for cut in range(0, len(longer), 512):  # As somebody beside may see the write.
            if longer[cut : cut + 512] == whole[cut : cut + 512]:
                continue
            torn = house.directory.with_name(f"torn-{cut}")
            shutil.copytree(house.directory, torn)
            (torn / "ledger" / "journal").write_bytes(longer[:cut] + whole[cut:])
            assert seen_at_rest(torn, OWNER.archive_id) == before


@pytest.mark.parametrize(
    "what", ["another archive", "no archive", "changed", "no journal", "no anchor"]
)
def test_a_signer_claims_nothing_that_no_signed_checkpoint_says(house: House, what: str) -> None:
    assert seen_of(house) != NEVER_SEEN
    file, archive_id = house.directory / "ledger" / "checkpoint", OWNER.archive_id
    if what == "another archive":
        archive_id = bytes(32)
    elif what == "no archive":
        shutil.rmtree(house.directory)
    elif what == "changed":
        lines = file.read_text("utf-8").splitlines(keepends=True)
        file.chmod(0o600)
        file.write_text("".join([lines[0], "77\n", *lines[2:]]), "utf-8")
    elif what == "no journal":
        (house.directory / "ledger" / "journal").write_bytes(b"")
    else:
        (house.directory / "keys" / "anchor").write_bytes(b"\x90")

    assert seen_at_rest(house.directory, archive_id) == NEVER_SEEN


def test_an_older_copy_is_stopped_by_a_grant_that_was_issued_since(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attack 11: the image of a disk that is put back, without any word of the owner between."""
    image = house.directory.with_name("image")
    shutil.copytree(house.directory, image)
    with house.serving() as desk:
        desk.archive.pair("other", machine().certificate_pem, "USER")
    house.wall_s = time.time()
    shown = issued(house, tmp_path / "anchor.key", lambda: capsys.readouterr().out)

    assert decode_chain_untrusted(shown).leaf.seen.tree_size == size_of(house) == 4
    with house.serving() as desk:
        assert is_live(show(desk, shown))
    old = House(image, wall_s=house.wall_s)
    with old.serving() as desk:
        with pytest.raises(Denied):
            show(desk, shown)
        assert "saw 4 entries in the ledger, and there are 3" in desk.memory.alarm
    assert any("check 'rollback'" in line for line in old.logged)
