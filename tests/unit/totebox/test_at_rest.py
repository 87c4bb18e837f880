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


def test_a_signer_has_seen_what_is_sealed_and_not_what_a_crash_may_lose(house: House) -> None:
    with house.serving() as desk:
        before = seen_of(house)
        desk.archive.pair("other", machine().certificate_pem, "USER")
        now = desk.archive.ledger.checkpoint

        assert seen_of(house) == before
        assert 0 < before.tree_size < now.tree_size
        assert desk.memory.contradicts(before) is None
    assert seen_of(house) == Seen(now.tree_size, now.root_hash)


@pytest.mark.parametrize("what", ["another archive", "no archive", "changed", "of another key"])
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
