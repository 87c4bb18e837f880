"""What an owner says counts at once, is recorded once, and is known to whoever looks later."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from psp.capability import (
    Revokes,
    Seen,
    decode_chain_untrusted,
    sign_anchor,
    sign_reassertion,
    token_from_text_untrusted,
)
from psp.cli._grant import _verified
from psp.cli._grant_sign import issue_grant, narrow_grant
from psp.cli._owner import bump, clock, reassert, rotate
from psp.errors import ArchiveError, CapabilityError, Denied, EstateError
from psp.totebox import Archive, audit_archive, read_at_rest
from psp.totebox._changes import Changes
from psp.totebox._founding import ledger_origin
from psp.totebox._owner import heed_untrusted
from psp.totebox._said import said_in
from psp.totebox._service import Desk
from psp.totebox._state_file import STATE_FILE
from psp.transport import MachineKey, Passphrase

from .conftest import NOW, OWNER, machine
from .live import live_token
from .test_memory import (
    START_S,
    USER,
    House,
    epoch_statement,
    is_live,
    revocation,
    say,
    show,
    token,
)
from .test_memory import house as house  # The fixture.


def revoked(directory: Path) -> list[bytes]:
    """Every revocation of a grant that the ledger tells of, in its order."""
    with Archive.open(directory, read_only=True) as archive:
        return [*said_in(archive.ledger).revoked[Revokes.GRANT]]


def entries(desk: Desk) -> int:
    return desk.archive.ledger.checkpoint.tree_size


async def test_what_is_taken_back_counts_before_the_change_ahead_of_it_is_finished(
    house: House,
) -> None:
    with (
        house.serving() as desk,
        closing(Changes(desk, desk.follow_pairings)) as changes,
    ):
        grant, size = show(desk), entries(desk)
        statement = revocation(Revokes.GRANT, grant._grant.grant_id)
        async with trio.open_nursery() as nursery:
            await changes.turn.acquire()  # As if a large file were being sealed.
            nursery.start_soon(changes.do, "hear", ["revoked", statement])
            await trio.testing.wait_all_tasks_blocked()
            assert not is_live(grant)
            assert entries(desk) == size
            changes.turn.release()
        assert entries(desk) == size + 1
        assert desk.memory.owed() == []
    assert revoked(house.directory) == [grant._grant.grant_id]


async def test_what_was_taken_back_is_recorded_although_its_caller_has_gone(house: House) -> None:
    with (
        house.serving() as desk,
        closing(Changes(desk, desk.follow_pairings)) as changes,
    ):
        size = entries(desk)
        async with trio.open_nursery() as nursery:
            await changes.turn.acquire()
            nursery.start_soon(changes.do, "hear", ["epoch", epoch_statement(2)])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            changes.turn.release()
        assert (entries(desk), desk.memory.owed()) == (size + 1, [])


async def test_who_is_not_the_owner_is_refused_through_the_socket_and_nothing_changes(
    house: House,
) -> None:
    with (
        house.serving() as desk,
        closing(Changes(desk, desk.follow_pairings)) as changes,
    ):
        size = entries(desk)
        with pytest.raises(CapabilityError):
            await changes.do("hear", ["epoch", epoch_statement(2, by=OWNER.anchor)])
        assert (entries(desk), desk.memory.epoch) == (size, 1)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_crash_before_the_entry_is_made_up_for_once(house: House, recorded: bool) -> None:
    """The second crash comes between the entry and the note that it is there."""
    with house.serving() as desk:
        size = entries(desk)
        heed_untrusted(desk.archive, "revoked", revocation(Revokes.GRANT, b"g" * 32), now=NOW)
        (entry,) = desk.memory.owed()
        if recorded:
            desk.archive.record(entry)
        shutil.copytree(house.directory, house.directory.with_name("crashed"))
    for _ in range(2):
        with House(house.directory.with_name("crashed")).serving() as desk:
            assert list(desk.archive.ledger.entries(size, entries(desk))) == [entry]
            assert desk.memory.owed() == []
            assert b"g" * 32 in desk.memory.revoked[Revokes.GRANT]


def keep_a_copy(house: House) -> Path:
    """Copy what an archive remembers, as a backup would."""
    return Path(shutil.copy(house.directory / STATE_FILE, house.directory.with_name("old.db")))


def test_an_old_copy_of_the_memory_is_noticed_by_the_ledger(house: House) -> None:
    """Attack 11: with what it remembers put back, a revoked grant stays refused."""
    with house.serving() as desk:
        grant = show(desk)
    old = keep_a_copy(house)
    with house.serving() as desk:
        say(desk, "revoked", revocation(Revokes.GRANT, grant._grant.grant_id))
    shutil.copy(old, house.directory / STATE_FILE)

    with house.serving() as desk:
        assert "is an old copy: entry 3 of the ledger" in desk.memory.alarm
        with pytest.raises(Denied):
            show(desk)
        say(desk, "epoch", epoch_statement(2))
        assert is_live(show(desk, token(epoch=2)))
    with house.serving() as desk:
        assert is_live(show(desk, token(epoch=2)))
    assert audit_archive(house.directory).findings == []


def test_an_image_of_the_whole_archive_that_is_put_back_takes_no_grant_once_it_is_outrun(
    house: House,
) -> None:
    """Attack 11: whoever brings a grant of the newer epoch stops the old copy for everybody."""
    image = house.directory.with_name("image")
    shutil.copytree(house.directory, image)
    with house.serving() as desk:
        say(desk, "epoch", epoch_statement(2))
    with House(image).serving() as desk:
        assert is_live(show(desk))  # Nobody can tell it from the archive, and the page says so.
        with pytest.raises(Denied):
            show(desk, token(epoch=2))
        with pytest.raises(Denied):
            show(desk)
    with House(image).serving() as desk, pytest.raises(Denied):
        show(desk)


def test_a_revoked_key_is_revoked_in_every_epoch_also_after_the_memory_was_lost(
    house: House,
) -> None:
    """Else whoever stole an anchor key would only have to wait until a disk fails."""
    with house.serving() as desk:
        say(desk, "revoked", revocation(Revokes.KEY, OWNER.anchor.public_bytes, 2**53 - 1))
    (house.directory / STATE_FILE).unlink()
    with house.serving() as desk:
        say(desk, "epoch", epoch_statement(2))
        with pytest.raises(Denied):
            show(desk, token(epoch=2))
    with house.serving() as desk, pytest.raises(Denied):
        show(desk, token(epoch=2))
    assert house.logged[-1] == "a token of user was refused at the check 'revoked'"


def test_a_copy_from_before_no_word_of_the_owner_is_taken(house: House) -> None:
    """Nothing was taken back since, so nothing comes back; what was spent does (the page)."""
    old = keep_a_copy(house)
    with house.serving() as desk:
        show(desk)
        desk.archive.pair("other", machine().certificate_pem, "USER")
    shutil.copy(old, house.directory / STATE_FILE)
    with house.serving() as desk:
        assert desk.memory.alarm == ""
        assert is_live(show(desk))


def test_a_ledger_that_is_older_than_the_memory_stops_grants_until_it_is_reasserted(
    house: House,
) -> None:
    shutil.copytree(house.directory / "ledger", house.directory.with_name("ledger"))
    with house.serving() as desk:
        show(desk)
        desk.archive.pair("other", machine().certificate_pem, "USER")
    shutil.rmtree(house.directory / "ledger")
    shutil.copytree(house.directory.with_name("ledger"), house.directory / "ledger")

    with house.serving() as desk:
        assert (
            desk.memory.alarm == "this archive itself saw 4 entries in the ledger, and there are 3"
        )
        with pytest.raises(Denied):
            show(desk)
        now = desk.archive.ledger.checkpoint
        statement = sign_reassertion(
            [OWNER.root],
            archive_id=OWNER.archive_id,
            number=1,
            audit=Seen(now.tree_size, now.root_hash),
            epoch=2,
        )
        say(desk, "reasserted", statement)
        assert is_live(show(desk, token(epoch=2)))
    with house.serving() as desk:
        assert is_live(show(desk, token(epoch=2)))


@pytest.mark.parametrize("what", ["grant", "key", "epoch", None])
@pytest.mark.parametrize("served", [False, True])
def test_a_token_is_checked_against_what_the_ledger_says_was_taken_back(
    house: House, what: str | None, served: bool
) -> None:
    shown = live_token(USER)
    with house.serving() as desk:
        (grant_id,) = decode_chain_untrusted(shown).ids()
        said = {
            "grant": ("revoked", revocation(Revokes.GRANT, grant_id)),
            "key": ("revoked", revocation(Revokes.KEY, USER.public_bytes)),
            "epoch": ("epoch", epoch_statement(2)),
        }
        if what is not None:
            say(desk, *said[what])
        if served:
            report = _verified(shown, read_at_rest(house.directory), None)
    if not served:
        report = _verified(shown, read_at_rest(house.directory), None)
    assert report.get("step") == {None: None, "epoch": "epoch"}.get(what, "revoked")


def test_an_epoch_is_begun_with_a_root_key_that_is_sealed(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed = tmp_path / "root.key"
    OWNER.root.write_again(sealed, Passphrase("a secret"))
    bump(house.directory, root_key=sealed, passphrase_fd=typed("a secret"))

    assert capsys.readouterr().out.startswith("epoch 2 has begun by entry 3;")
    box = read_at_rest(house.directory)
    assert (box.epoch, box.said.epoch, box.said.last) == (2, 2, 3)
    assert box.ledger.checkpoint.origin == ledger_origin(OWNER.archive_id)


class Keys:
    """Key files of an owner, as they lie in a drawer."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def file(self, name: str, key: MachineKey) -> Path:
        key.write_again(self.place / f"{name}.key", None)
        return self.place / f"{name}.key"

    @property
    def root(self) -> list[Path]:
        return [self.file("root", OWNER.root)]


@pytest.fixture
def drawer(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_a_clock_that_ran_ahead_is_set_back_by_a_command(house: House, drawer: Keys) -> None:
    house.wall_s += 3600
    with house.serving() as desk:
        show(desk)
    house.wall_s -= 3600
    with house.serving() as desk, pytest.raises(Denied, match="clock is behind"):
        show(desk)

    clock(house.directory, to=f"{datetime.fromtimestamp(START_S, UTC)}", root_key=drawer.root)
    with house.serving() as desk:
        assert is_live(show(desk))
    clock(house.directory, root_key=drawer.root)
    assert read_at_rest(house.directory).said.clock_number == 2
    with pytest.raises(EstateError, match="is no time"):
        clock(house.directory, to="noon", root_key=drawer.root)


@pytest.mark.parametrize("keep_epoch", [False, True])
def test_an_archive_that_stopped_is_taken_as_it_is_by_a_command(
    house: House, drawer: Keys, keep_epoch: bool
) -> None:
    with house.serving() as desk:
        desk.memory.raise_alarm("a doubt")
    reassert(house.directory, keep_epoch=keep_epoch, root_key=drawer.root)
    with house.serving() as desk:
        assert desk.memory.alarm == ""
        assert is_live(show(desk, token(epoch=1 if keep_epoch else 2)))


def test_another_anchor_key_ends_what_the_one_before_has_signed(house: House, drawer: Keys) -> None:
    new = machine()
    with house.serving() as desk:
        live = show(desk)
        statement = sign_anchor(
            OWNER.root,
            anchor_keys=[new.public_bytes],
            ledger_key=OWNER.ledger.public_bytes,
            epoch=1,
            version=2,
            nonce=bytes(16),
        )
        say(desk, "anchored", statement)
        assert not is_live(live)
        with pytest.raises(Denied):
            show(desk)
        with pytest.raises(CapabilityError, match="only 3 can follow"):
            say(desk, "anchored", statement)
    rotate(house.directory, anchor=[drawer.file("anchor", OWNER.anchor)], root_key=drawer.root)
    with house.serving() as desk:
        assert is_live(show(desk))
    assert audit_archive(house.directory).findings == []


def test_two_of_three_take_the_place_of_one_root_key(house: House, drawer: Keys) -> None:
    """Attack 16: afterwards the old key says nothing, nor one of the new ones what two must."""
    three = [machine() for _ in range(3)]
    files = [drawer.file(f"root{at}", one) for at, one in enumerate(three)]
    with pytest.raises(CapabilityError, match="have signed"):
        rotate(house.directory, root=files, threshold=2, root_key=files[:2])
    rotate(house.directory, root=files, threshold=2, root_key=drawer.root)

    assert read_at_rest(house.directory).anchor.roots.version == 2
    with pytest.raises(CapabilityError):
        bump(house.directory, root_key=drawer.root[0])
    with pytest.raises(CapabilityError):
        clock(house.directory, root_key=files[:1])
    clock(house.directory, root_key=files[1:])
    bump(house.directory, root_key=files[2])
    rotate(house.directory, root=drawer.root, root_key=files[:2])
    box = read_at_rest(house.directory)
    assert (box.anchor.roots.version, box.anchor.version, box.epoch) == (3, 3, 2)
    assert audit_archive(house.directory).findings == []
    with house.serving() as desk:
        assert is_live(show(desk, token(epoch=2)))
    with pytest.raises(ArchiveError, match="how many of the 3"):
        rotate(house.directory, root=files, root_key=drawer.root)
    with pytest.raises(ArchiveError, match="Name the new keys"):
        rotate(house.directory, root_key=drawer.root)


def test_an_old_anchor_statement_that_is_put_back_is_not_in_force(
    house: House, drawer: Keys
) -> None:
    """Attack 16: nor is it after a crash that came before the new one was in its file."""
    file = house.directory / "keys" / "anchor"
    old, new = file.read_bytes(), drawer.file("new", machine())
    rotate(house.directory, anchor=[new], root_key=drawer.root)
    newest = file.read_bytes()
    file.write_bytes(old)
    with house.serving() as desk, pytest.raises(Denied):
        show(desk)
    assert file.read_bytes() == newest


def test_a_statement_too_long_for_an_entry_is_named_by_its_hash(house: House, drawer: Keys) -> None:
    files = [drawer.file(f"root{at}", machine()) for at in range(8)]
    rotate(house.directory, root=files, threshold=8, root_key=drawer.root)
    statement = (house.directory / "keys" / "anchor").read_bytes()
    assert len(statement) > 2_048
    with Archive.open(house.directory, read_only=True) as archive:
        (entry,) = archive.ledger.entries(3, 4)
    assert f"sha256:{hashlib.sha256(statement).hexdigest()}" in entry.decode()
    with house.serving() as desk:
        assert desk.memory.alarm == ""


def test_grants_are_issued_and_narrowed_with_keys_that_are_sealed(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchor, user, scope = tmp_path / "anchor.key", tmp_path / "user.key", tmp_path / "scope.toml"
    OWNER.anchor.write_again(anchor, Passphrase("a secret"))
    USER.write_again(user, Passphrase("a secret"))
    scope.write_text('[tables.sales]\noperations = ["count"]\n', "utf-8")
    (tmp_path / "to.pem").write_text(machine().certificate_pem, "ascii")

    issue_grant(
        scope,
        archive=house.directory,
        key=anchor,
        to="user",
        depth=1,
        passphrase_fd=typed("a secret"),
    )
    (tmp_path / "grant.token").write_text(capsys.readouterr().out, "ascii")
    narrow_grant(
        tmp_path / "grant.token", key=user, to=tmp_path / "to.pem", passphrase_fd=typed("a secret")
    )
    narrowed = token_from_text_untrusted(capsys.readouterr().out)
    assert len(decode_chain_untrusted(narrowed).links) == 2


def typed(passphrase: str) -> int:
    """Give a descriptor from which a passphrase is read."""
    reading, writing = os.pipe()
    os.write(writing, f"{passphrase}\n".encode())
    os.close(writing)
    return reading
