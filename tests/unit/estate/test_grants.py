"""What the operator of an estate signs, and how an older copy of an archive is noticed by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from psp.capability import NEVER_SEEN, decode_chain_untrusted, token_from_text_untrusted
from psp.errors import Denied
from psp.estate import Estate, TenantPolicy, create_estate, draft_estate
from psp.totebox import Archive
from psp.totebox._service import Desk
from psp.transport import MachineKey, Peer
from tests.unit.totebox.conftest import machine

OFFICE = TenantPolicy(name="office", sentence="", operations=("count",), objects={})


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    file = tmp_path / "tower.csv"
    file.write_text("id,rent\n1,1000\n2,1100\n")
    return create_estate(draft_estate(tmp_path / "flats", [file]), tenants=(OFFICE,))


def test_each_first_link_tells_of_the_ledger_and_stops_an_older_copy_of_it(estate: Estate) -> None:
    """Attack 11: an image of an archive that is put back, with what it remembers and its clock."""
    (member,) = estate.roster.members
    directory = estate.layout.archive(member.name)
    image = directory.with_name("image")
    shutil.copytree(directory, image)
    with Archive.open(directory) as archive:
        archive.pair("other", machine().certificate_pem, "USER")
        now = archive.ledger.checkpoint
    shown = estate.grants.of(OFFICE, member)
    key = MachineKey.load(estate.layout.machine_key("office"))
    peer = Peer(key.spki_hash, key.public_bytes, "office")

    assert decode_chain_untrusted(shown).links[0].seen == (now.tree_size, now.root_hash)
    with Archive.open(directory) as archive:
        Desk(archive, lambda text: None).present(peer, shown)
    with Archive.open(image) as archive:
        desk = Desk(archive, lambda text: None)
        with pytest.raises(Denied):
            desk.present(peer, shown)
        assert "entries in the ledger" in desk.memory.alarm


def test_a_first_link_for_a_console_tells_of_it_and_of_nothing_where_no_archive_is(
    estate: Estate, tmp_path: Path
) -> None:
    (member,) = estate.roster.members
    seen = []
    for _ in range(2):
        estate.grants.write_first(OFFICE, member, tmp_path / "links")
        text = (tmp_path / "links" / f"{member.name}.token").read_text("ascii")
        seen.append(decode_chain_untrusted(token_from_text_untrusted(text)).links[0].seen)
        shutil.rmtree(estate.layout.archive(member.name), ignore_errors=True)

    assert seen[0].tree_size > 0
    assert seen[1] == NEVER_SEEN
