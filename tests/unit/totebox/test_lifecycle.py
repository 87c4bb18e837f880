"""Suspended, resumed, archived: what changes, what is on record, what a crash leaves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from psp.capability import sign_transition
from psp.errors import ArchiveError, CapabilityError, IntakeRefused
from psp.totebox import Archive, State, audit_archive
from psp.totebox._lifecycle import change_state_untrusted
from psp.transport import MachineKey

from .conftest import NOW, OWNER, ingest, machine, write


def signed(archive: Archive, after: State | str, signer: MachineKey = OWNER.root) -> bytes:
    manifest = archive.manifest
    return sign_transition(
        signer,
        archive_id=manifest.archive_id,
        number=manifest.transitions + 1,
        before=manifest.state.value,
        after=str(after),
    )


def change(archive: Archive, after: State | str, signer: MachineKey = OWNER.root) -> int:
    statement = signed(archive, after, signer)
    return change_state_untrusted(archive, statement, operator="jane", now=NOW)


def test_each_transition_is_on_record_with_who_signed_it(archive: Archive) -> None:
    statement = signed(archive, State.SUSPENDED)
    place = change_state_untrusted(archive, statement, operator="jane", now=NOW)
    manifest = (archive.directory / "manifest.toml").read_bytes()
    change(archive, State.ACTIVE)

    (entry,) = archive.ledger.entries(place, place + 1)
    assert json.loads(entry) == {
        "kind": "state",
        "time": "2026-11-21T12:00:00.000Z",
        "operator": "jane",
        "before": "active",
        "after": "suspended",
        "number": 1,
        "signer": OWNER.root.public_bytes.hex(),
        "statement": statement.hex(),
        "manifest": hashlib.sha256(manifest).hexdigest(),
    }
    assert (archive.manifest.state, archive.manifest.transitions) == (State.ACTIVE, 2)
    archive.close()
    with Archive.open(archive.directory) as again:
        assert again.manifest == archive.manifest


@pytest.mark.parametrize("after", [State.SUSPENDED, State.ARCHIVED])
def test_an_audit_finds_nothing_wrong_with_an_archive_whose_state_was_changed(
    archive: Archive, after: State
) -> None:
    change(archive, after)
    archive.close()
    assert audit_archive(archive.directory).findings == []
    manifest = archive.directory / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(after, "active"))
    assert {it.part for it in audit_archive(archive.directory).findings} == {"manifest"}


def test_an_administrators_machine_may_and_no_other(archive: Archive) -> None:
    admin, user = machine(), machine()
    archive.pair("admin", admin.certificate_pem, "ADMIN")
    archive.pair("user", user.certificate_pem, "INPUT")

    with pytest.raises(CapabilityError, match="paired as ADMIN"):
        change(archive, State.SUSPENDED, user)
    change(archive, State.SUSPENDED, admin)
    assert archive.manifest.state is State.SUSPENDED


def test_what_is_suspended_or_archived_takes_no_file(archive: Archive, tmp_path: Path) -> None:
    file = write(tmp_path / "in.csv")
    change(archive, State.SUSPENDED)
    with pytest.raises(IntakeRefused, match="suspended"):
        ingest(archive, file)
    change(archive, State.ACTIVE)
    assert ingest(archive, file).rows == 3
    change(archive, State.ARCHIVED)
    with pytest.raises(IntakeRefused, match="archived"):
        ingest(archive, write(tmp_path / "more.csv"))


@pytest.mark.parametrize("after", [State.ACTIVE, State.SUSPENDED, "gone"])
def test_what_is_archived_stays_so(archive: Archive, after: State | str) -> None:
    change(archive, State.ARCHIVED)
    size = archive.ledger.checkpoint.tree_size

    with pytest.raises(ArchiveError, match="it can become nothing else"):
        change(archive, after)
    assert archive.ledger.checkpoint.tree_size == size


def test_an_old_statement_is_not_followed_again(archive: Archive) -> None:
    statement = signed(archive, State.SUSPENDED)
    change_state_untrusted(archive, statement, operator="jane", now=NOW)
    change(archive, State.ACTIVE)

    with pytest.raises(CapabilityError, match="the next one here is 3"):
        change_state_untrusted(archive, statement, operator="jane", now=NOW)
    assert archive.manifest.state is State.ACTIVE


def test_a_crash_behind_the_entry_leaves_the_state_after(archive: Archive) -> None:
    manifest = archive.directory / "manifest.toml"
    before = manifest.read_bytes()
    change(archive, State.SUSPENDED)
    after = manifest.read_bytes()
    archive.close()
    manifest.write_bytes(before)

    with pytest.raises(ArchiveError, match="not in the state of the ledger's last entry"):
        Archive.open(archive.directory, read_only=True)
    with Archive.open(archive.directory) as again:
        assert again.manifest.state is State.SUSPENDED
    assert manifest.read_bytes() == after


def test_a_manifest_that_cannot_follow_closes_the_archive(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("psp.totebox._lifecycle.write_durably", full)
    with pytest.raises(ArchiveError, match="is suspended by entry 1, but its manifest"):
        change(archive, State.SUSPENDED)
    monkeypatch.undo()
    with Archive.open(archive.directory) as again:
        assert again.manifest.state is State.SUSPENDED
