"""What an archive remembers about grants: each refusal, each restart, each loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from psp.capability import (
    NEVER_SEEN,
    Operation,
    Revokes,
    Scope,
    Seen,
    TableRule,
    issue,
    sign_clock,
    sign_epoch,
    sign_reassertion,
    sign_revocation,
)
from psp.errors import ArchiveError, CapabilityError, Denied, Revoked
from psp.totebox import Archive, audit_archive, hear_untrusted
from psp.totebox._clocks import Clocks
from psp.totebox._memory import GrantMemory
from psp.totebox._service import Desk, GrantObject
from psp.totebox._state_file import STATE_FILE
from psp.transport import MachineKey, Peer

from .conftest import NOW, OWNER, call_on, ingest, machine, write

START_S = 1_800_000_000
USER = machine()
SCOPE = Scope({"sales": TableRule(operations=frozenset({Operation.META, Operation.COUNT}))})


def token(*, epoch: int = 1, nonce: bytes = bytes(16), seen: Seen = NEVER_SEEN) -> bytes:
    return issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=epoch,
        holder=USER.public_bytes,
        presenter=USER.spki_hash,
        scope=SCOPE,
        not_before_s=START_S - 3600,
        not_after_s=START_S + 24 * 3600,
        depth=0,
        nonce=nonce,
        seen=seen,
    )


@dataclass
class House:
    """One archive that is closed and opened again, with its owner's voice."""

    directory: Path
    wall_s: float = START_S
    logged: list[str] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[Desk]:
        with Archive.open(self.directory) as archive:
            yield Desk(archive, self.logged.append, lambda: Clocks(self.wall_s, self.wall_s))

    def health(self, desk: Desk) -> object:
        return desk.bootstrap(PEER).health()["state"]


PEER = Peer(USER.spki_hash, USER.public_bytes, "user")


def show(desk: Desk, shown: bytes | None = None) -> GrantObject:
    return desk.present(PEER, shown or token())


def is_live(grant: GrantObject) -> bool:
    try:
        grant.check(call_on(grant, "describe"))
    except Revoked:
        return False
    return True


def say(desk: Desk, kind: str, statement: bytes) -> int:
    return hear_untrusted(desk.archive, kind, statement, now=NOW)


def revocation(what: Revokes, target: bytes, until_s: int = START_S + 24 * 3600) -> bytes:
    return sign_revocation(
        OWNER.root, archive_id=OWNER.archive_id, what=what, target=target, until_s=until_s
    )


def epoch_statement(epoch: int, by: MachineKey = OWNER.root) -> bytes:
    return sign_epoch(by, archive_id=OWNER.archive_id, epoch=epoch)


def reassertion(memory: GrantMemory, seen: Seen, *, number: int = 1) -> bytes:
    return sign_reassertion(
        [OWNER.root],
        archive_id=OWNER.archive_id,
        number=number,
        audit=seen,
        epoch=memory.epoch + 1,
    )


@pytest.fixture
def house(tmp_path: Path) -> House:
    with OWNER.found(tmp_path / "box") as archive:
        ingest(archive, write(tmp_path / "in.csv"))
        archive.pair("user", USER.certificate_pem, "USER")
    return House(tmp_path / "box")


@pytest.mark.parametrize("what", list(Revokes))
def test_a_revocation_ends_an_open_grant_and_stays_after_a_restart(
    house: House, what: Revokes
) -> None:
    with house.serving() as desk:
        grant = show(desk)
        other = show(desk, token(nonce=bytes(15) + b"1"))
        target = grant._grant.grant_id if what is Revokes.GRANT else USER.public_bytes
        say(desk, "revoked", revocation(what, target))

        assert not is_live(grant)
        assert is_live(other) is (what is Revokes.GRANT)
    with house.serving() as desk, pytest.raises(Denied):
        show(desk)
    assert "a token of user was refused at the check 'revoked'" in house.logged
    assert audit_archive(house.directory).findings == []


def test_nothing_that_was_not_touched_is_checked_again(house: House) -> None:
    with house.serving() as desk:
        grant, before = show(desk), desk.memory.generation
        say(desk, "revoked", revocation(Revokes.GRANT, bytes(32)))

        assert desk.memory.generation == before + 1
        assert is_live(grant)
        assert grant._time._generation == before + 1


def test_a_new_epoch_ends_every_grant_for_good(house: House) -> None:
    """Attack 11: a grant of the epoch before, at once and after a restart."""
    with house.serving() as desk:
        grant = show(desk)
        say(desk, "epoch", epoch_statement(2))
        assert not is_live(grant)
        assert is_live(show(desk, token(epoch=2)))
        with pytest.raises(CapabilityError, match="only 3 can follow"):
            say(desk, "epoch", epoch_statement(2))
    with house.serving() as desk:
        assert desk.memory.epoch == 2
        with pytest.raises(Denied):
            show(desk)


def test_only_the_owner_is_heard(house: House) -> None:
    with house.serving() as desk:
        size = desk.archive.ledger.checkpoint.tree_size
        with pytest.raises(CapabilityError):
            say(desk, "epoch", epoch_statement(2, by=OWNER.anchor))
        with pytest.raises(CapabilityError):
            say(desk, "clock", epoch_statement(2))
        with pytest.raises(ArchiveError, match="an owner says"):
            say(desk, "delete", epoch_statement(2))
        assert desk.memory.epoch == 1
        assert desk.archive.ledger.checkpoint.tree_size == size


def test_each_word_of_the_owner_is_an_entry(house: House) -> None:
    with house.serving() as desk:
        statement = epoch_statement(2)
        at = say(desk, "epoch", statement)
        (entry,) = desk.archive.ledger.entries(at, at + 1)

        assert b'"kind":"epoch"' in entry
        assert statement.hex().encode() in entry


def test_a_revocation_is_forgotten_when_what_it_was_about_is_over(house: House) -> None:
    with house.serving() as desk:
        memory = desk.memory
        say(desk, "revoked", revocation(Revokes.GRANT, bytes(32), START_S + 100))
        memory.save(START_S + 100 + 119)
        assert bytes(32) in memory.revoked[Revokes.GRANT]
        memory.save(START_S + 100 + 120)
        assert memory.revoked[Revokes.GRANT] == {}
    with house.serving() as desk:
        assert desk.memory.forgotten_s == START_S + 100


def test_a_wrong_clock_cannot_bring_a_revoked_grant_back(house: House) -> None:
    """Ten years ahead everything is over and forgotten; then the clock is put right again."""
    with house.serving() as desk:
        revoked = show(desk)._grant
        say(desk, "revoked", revocation(Revokes.GRANT, revoked.grant_id, revoked.not_after_s))
        house.wall_s = START_S + 10 * 365 * 24 * 3600
        desk.memory.save(house.wall_s)
        assert desk.memory.revoked[Revokes.GRANT] == {}
        house.wall_s = START_S
        say(
            desk,
            "clock",
            sign_clock([OWNER.root], archive_id=OWNER.archive_id, number=1, time_s=START_S),
        )
        with pytest.raises(Denied):
            show(desk)
    assert "a token of user was refused at the check 'revoked'" in house.logged


def test_a_clock_that_was_set_back_stops_grants_until_the_owner_speaks(house: House) -> None:
    """Attack 12: at the start, and in the middle of a connection."""
    with house.serving() as desk:
        grant = show(desk)
        house.wall_s += 3600
        grant.check(call_on(grant, "describe"))
    house.wall_s -= 61
    with house.serving() as desk:
        with pytest.raises(Denied, match="clock is behind"):
            show(desk)
        assert house.health(desk) == "active, clock behind"
        house.wall_s += 1
        grant = show(desk)
        house.wall_s -= 3600
        with pytest.raises(Denied, match="clock is behind"):
            grant.check(call_on(grant, "describe"))
        reset = sign_clock(
            [OWNER.root], archive_id=OWNER.archive_id, number=1, time_s=int(house.wall_s)
        )
        say(desk, "clock", reset)
        assert is_live(show(desk))
        with pytest.raises(CapabilityError):
            say(desk, "clock", reset)


@pytest.mark.parametrize("seen", ["longer", "other"])
def test_an_archive_that_is_not_its_newest_copy_stops_until_the_owner_has_looked(
    house: House, seen: str
) -> None:
    with house.serving() as desk:
        size = desk.archive.ledger.checkpoint.tree_size
        grant = show(desk)
        lie = Seen(size + 1 if seen == "longer" else 1, b"r" * 32)
        with pytest.raises(Denied):
            show(desk, token(seen=lie))
        with pytest.raises(Denied, match="until its owner"):
            grant.check(call_on(grant, "describe"))
    with house.serving() as desk:
        assert house.health(desk) == "active, grants stopped"
        with pytest.raises(Denied):
            show(desk)
        say(desk, "epoch", epoch_statement(2))
        with pytest.raises(Denied):  # One key of several can shut a door, and not open it.
            show(desk, token(epoch=2))
        checkpoint = desk.archive.ledger.checkpoint
        looked = Seen(checkpoint.tree_size, checkpoint.root_hash)
        say(desk, "reasserted", reassertion(desk.memory, looked))
        assert is_live(show(desk, token(epoch=3, seen=looked)))
        assert house.health(desk) == "active"


def test_an_owner_cannot_accept_a_ledger_that_is_not_there(house: House) -> None:
    with house.serving() as desk, pytest.raises(ArchiveError, match="another ledger"):
        say(desk, "reasserted", reassertion(desk.memory, Seen(1, bytes(32))))


def test_a_ledger_that_went_back_behind_what_was_seen_is_noticed_at_the_start(
    house: House,
) -> None:
    with house.serving() as desk:
        checkpoint = desk.archive.ledger.checkpoint
        show(desk, token(seen=Seen(checkpoint.tree_size, checkpoint.root_hash)))
        desk.memory.save(START_S)
        desk.memory._file.execute("UPDATE fact SET value = 99 WHERE name = 'seen_size'")
    with house.serving() as desk:
        assert "saw 99 entries" in desk.memory.alarm


@pytest.mark.parametrize("how", ["gone", "damaged", "of another archive", "empty"])
def test_without_its_memory_an_archive_accepts_nothing_until_a_new_epoch(
    house: House, how: str, tmp_path: Path
) -> None:
    with house.serving() as desk:
        say(desk, "epoch", epoch_statement(2))
    path = house.directory / STATE_FILE
    path.unlink()
    if how == "damaged":
        path.write_bytes(b"SQLite format 3\0" + bytes(5000))
    elif how == "empty":
        path.touch()
    elif how == "of another archive":
        from psp.totebox._state_file import StateFile

        StateFile.create(house.directory, bytes(32), {})
    with house.serving() as desk:
        assert house.health(desk) == "active, grants stopped"
        with pytest.raises(Denied):
            show(desk, token(epoch=2))
        with pytest.raises(ArchiveError, match="one by one"):
            say(desk, "revoked", revocation(Revokes.GRANT, bytes(32)))
        say(desk, "epoch", epoch_statement(3))
        assert is_live(show(desk, token(epoch=3)))
    with house.serving() as desk:
        assert desk.memory.epoch == 3
        assert is_live(show(desk, token(epoch=3)))
        say(desk, "revoked", revocation(Revokes.GRANT, bytes(32)))


def test_the_memory_survives_a_copy_that_was_taken_without_a_clean_end(
    house: House, tmp_path: Path
) -> None:
    """The log beside the file belongs to it: a killed process leaves both."""
    import shutil

    with house.serving() as desk:
        say(desk, "epoch", epoch_statement(2))
        assert (house.directory / f"{STATE_FILE}-wal").stat().st_size > 0
        shutil.copytree(house.directory, tmp_path / "copy")
    with House(tmp_path / "copy").serving() as desk:
        assert desk.memory.epoch == 2
