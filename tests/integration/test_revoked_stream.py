"""What is taken back while an answer streams stops its next chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from psp.capability import (
    Operation,
    Revokes,
    Scope,
    TableRule,
    ceiling,
    issue,
    narrow,
    sign_epoch,
    sign_revocation,
    verify_untrusted,
)
from psp.endpoint import connect, method
from psp.errors import Revoked
from psp.testing import loopback
from psp.totebox import hear_untrusted
from psp.totebox._clocks import read_clocks
from psp.totebox._granted import Granted
from psp.totebox._live import LiveGrant
from psp.totebox._service import Desk
from tests.unit.totebox.conftest import NOW, OWNER, machine

ONE, TWO, THREE = machine(), machine(), machine()
SCOPE = Scope({"sales": TableRule(operations=frozenset({Operation.COUNT}))})


def token(now_s: int) -> bytes:
    window = {"scope": SCOPE, "not_before_s": now_s, "not_after_s": now_s + 600}
    found = issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=ONE.public_bytes,
        presenter=ONE.spki_hash,
        depth=2,
        nonce=bytes(16),
        **window,  # type: ignore[arg-type]
    )
    for by, to, depth in ((ONE, TWO, 1), (TWO, THREE, 0)):
        found = narrow(
            found,
            by,
            holder=to.public_bytes,
            presenter=to.spki_hash,
            depth=depth,
            nonce=bytes(16),
            **window,  # type: ignore[arg-type]
        )
    return found


class Pages(Granted):
    """An answer of three chunks; before the second is given, the owner has spoken."""

    kind: str
    statement: bytes
    given = 0

    @method
    async def read(self) -> AsyncIterator[bytes]:
        for page in range(3):
            if page == 1:
                hear_untrusted(self._desk.archive, self.kind, self.statement, now=NOW)
            self.given += 1
            yield b"page"


@pytest.mark.parametrize("what", ["link 0", "link 1", "link 2", "holder", "epoch"])
async def test_the_next_chunk_stops(what: str, tmp_path: Path) -> None:
    """Attack 11: each link, a holder, and the epoch, in the middle of an answer of three chunks."""
    with OWNER.found(tmp_path / "box") as archive:
        desk, now = Desk(archive, lambda _text: None), read_clocks()
        grant = verify_untrusted(
            token(int(now.wall_s)),
            anchor=archive.anchor,
            presenter=THREE.spki_hash,
            ceiling=ceiling("ADMIN", {"sales": ("id",)}, 1),
            now_s=int(now.wall_s),
        )
        pages = Pages(desk, LiveGrant(grant, now, archive.memory))
        if what == "epoch":
            pages.kind = "epoch"
            pages.statement = sign_epoch(OWNER.root, archive_id=OWNER.archive_id, epoch=2)
        else:
            is_key = what == "holder"
            pages.kind = "revoked"
            pages.statement = sign_revocation(
                OWNER.root,
                archive_id=OWNER.archive_id,
                what=Revokes.KEY if is_key else Revokes.GRANT,
                target=THREE.public_bytes if is_key else grant.ids[int(what[-1])],
            )
        came = []
        async with loopback(lambda: pages) as near, connect(near.address, key=near.key) as far:
            stream = await far.bootstrap.call("read")
            came.append(bytes(await anext(stream)))
            with pytest.raises(Revoked):
                await anext(stream)
        assert came == [b"page"]
        assert pages.given == 2
