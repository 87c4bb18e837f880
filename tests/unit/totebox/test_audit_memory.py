"""Harm to what an archive remembers about grants is named, and what is whole is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.capability import Revokes
from psp.totebox import Severity, audit_archive
from psp.totebox._owner import heed_untrusted
from psp.totebox._state_file import STATE_FILE, StateFile

from .conftest import NOW, OWNER
from .test_memory import START_S, USER, House, epoch_statement, revocation, say, show
from .test_memory import house as house  # The fixture.

GRANT = b"g" * 32


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an archive lies whose owner has spoken, and beside it what it was before."""
    place = tmp_path_factory.mktemp("kept")
    with OWNER.found(place / "box") as archive:
        archive.pair("user", USER.certificate_pem, "USER")
    house = House(place / "box")
    with house.serving() as desk:
        show(desk)
    shutil.copy(house.directory / STATE_FILE, house.directory.with_name("old.db"))
    shutil.copytree(house.directory / "ledger", house.directory.with_name("old-ledger"))
    with house.serving() as desk:
        say(desk, "epoch", epoch_statement(2))
        say(desk, "revoked", revocation(Revokes.GRANT, GRANT))
    return place


@pytest.fixture
def used(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "used") / "box")


def harms(directory: Path) -> list[tuple[Severity, str]]:
    """What an audit says about it, which must change nothing."""
    state = directory / "state"
    before = {it.name: it.read_bytes() for it in state.iterdir() if it.is_file()}
    found = [it for it in audit_archive(directory).findings if it.part == "state"]
    assert {it.name: it.read_bytes() for it in state.iterdir() if it.name in before} == before
    assert all(str(directory) in it.next for it in found)
    return [(it.severity, it.what) for it in found]


def edit(sql: str) -> Callable[[Path], object]:
    def harm(directory: Path) -> None:
        file = StateFile(directory / STATE_FILE, OWNER.archive_id)
        with file.writing():
            file.execute(sql)
        file.close()

    return harm


def flip_a_bit(directory: Path) -> None:
    data = bytearray((directory / STATE_FILE).read_bytes())
    data[-100] ^= 1
    (directory / STATE_FILE).write_bytes(data)


def put_ledger_back(directory: Path) -> None:
    shutil.rmtree(directory / "ledger")
    shutil.copytree(directory.with_name("old-ledger"), directory / "ledger")


D, W = Severity.DAMAGE, Severity.WARNING
CASES: dict[str, tuple[Callable[[Path], object], Severity, str]] = {
    "gone": (lambda it: (it / STATE_FILE).unlink(), D, "is gone"),
    "garbage": (lambda it: (it / STATE_FILE).write_bytes(bytes(5000)), D, "cannot be read"),
    "old": (
        lambda it: shutil.copy(it.with_name("old.db"), it / STATE_FILE),
        D,
        "is an old copy: entry 2 of the ledger",
    ),
    "newer than the ledger": (put_ledger_back, D, "saw 4 entries in the ledger, and there are 2"),
    "a bit flipped": (flip_a_bit, D, "cannot be read"),
    "another archive's": (
        edit("UPDATE fact SET value = x'00' WHERE name = 'archive'"),
        D,
        "another archive's",
    ),
    "not its type": (
        edit("UPDATE fact SET value = 'two' WHERE name = 'epoch'"),
        D,
        "what no archive writes",
    ),
    "epoch back": (
        edit("UPDATE fact SET value = 1 WHERE name = 'epoch'"),
        D,
        "says epoch 1, and the ledger tells of 2",
    ),
    "revocation gone": (edit("DELETE FROM revoked"), D, "revoked by the ledger, and not in"),
    "revocation cut short": (
        edit(f"UPDATE revoked SET until_s = {START_S}"),
        D,
        "revoked by the ledger, and not in",
    ),
    "revocation of nobody": (
        edit("INSERT INTO revoked VALUES (2, zeroblob(32), 9)"),
        D,
        "and by no entry of the ledger",
    ),
    "stopped": (
        edit("UPDATE fact SET value = 'a doubt' WHERE name = 'alarm'"),
        W,
        "no grant is accepted, because a doubt",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_harm_is_named(used: Path, name: str) -> None:
    harm, severity, words = CASES[name]
    harm(used)
    found = harms(used)

    assert [it for it in found if words in it[1]], found
    assert found[0][0] is severity


def test_what_is_whole_is_not_named_also_after_a_kill_and_what_is_owed_is_a_note(
    house: House,
) -> None:
    with house.serving() as desk:
        say(desk, "epoch", epoch_statement(2))
        say(desk, "revoked", revocation(Revokes.GRANT, GRANT, START_S + 1))
        desk.memory.save(START_S + 3600)  # Forgotten, and so not missed.
        say(desk, "revoked", revocation(Revokes.GRANT, b"h" * 32))
        shutil.copytree(house.directory, house.directory.with_name("killed"))
        heed_untrusted(desk.archive, "epoch", epoch_statement(3), now=NOW)
        shutil.copytree(house.directory, house.directory.with_name("owing"))
    assert harms(house.directory.with_name("killed")) == []
    ((severity, what),) = harms(house.directory.with_name("owing"))
    assert severity is Severity.NOTE
    assert "is not in the ledger yet" in what
