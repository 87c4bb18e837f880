"""Where a person asks: what the estate file says of it, and links that outlive a bad minute."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import pytest

from psp.aggregator import Roster
from psp.aggregator._limits import LINK_RENEWED_S, LINK_S
from psp.aggregator._links import Links
from psp.capability import (
    Operation,
    Scope,
    TableRule,
    decode_chain_untrusted,
    issue,
    token_to_text,
)
from psp.errors import EstateError
from psp.transport import MachineKey

NOW_S = 1_800_000_000
DAY_S = 24 * 3600
SCOPE = Scope({"flats": TableRule(operations=frozenset({Operation.COUNT}), aggregates_only=True)})


class Desk:
    """A console's directory, its keys, and a clock that stands still."""

    def __init__(self, root: Path) -> None:
        self.root, self.now_s = root, float(NOW_S)
        self.operator, self.anchor, self.hub = (
            MachineKey.create(root / f"{name}.key") for name in ("operator", "anchor", "hub")
        )
        (root / "hub.pem").write_text(self.hub.certificate_pem)
        (root / "links").mkdir()

    def give(self, *, ends_s: int = NOW_S + DAY_S, holder: MachineKey | None = None) -> None:
        holder = holder or self.operator
        token = issue(
            self.anchor,
            archive_id=bytes(32),
            epoch=1,
            holder=holder.public_bytes,
            presenter=holder.spki_hash,
            scope=SCOPE,
            not_before_s=NOW_S,
            not_after_s=ends_s,
            depth=1,
            nonce=secrets.token_bytes(16),
        )
        (self.root / "links" / "tower.token").write_text(token_to_text(token))

    def roster(self, **of_tenant: str) -> Roster:
        fields = {"key": "operator.key", "operator": "operator.key", "links": "links", **of_tenant}
        lines = "".join(f'{name} = "{value}"\n' for name, value in fields.items() if value)
        (self.root / "estate.toml").write_text(
            f'name = "here"\nmembers = []\n[tenants.anna]\n{lines}'
        )
        return Roster.load(self.root)

    def links(self) -> Links:
        tenant = self.roster().tenant()
        assert tenant.seat is not None
        return Links(
            tenant,
            tenant.seat,
            self.operator,
            holder=self.hub.public_bytes,
            presenter=self.hub.spki_hash,
            clock=lambda: self.now_s,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_link_is_made_anew_when_a_third_of_it_is_over(desk: Desk) -> None:
    desk.give()
    links = desk.links()
    first = links.token_for("tower")
    leaf = decode_chain_untrusted(first).leaf
    assert (leaf.not_before_s, leaf.not_after_s) == (NOW_S, NOW_S + LINK_S)
    assert (leaf.depth, leaf.scope, leaf.presenter) == (0, SCOPE, desk.hub.spki_hash)
    desk.now_s += LINK_RENEWED_S - 1
    assert links.token_for("tower") == first
    desk.now_s += 1
    assert links.token_for("tower") != first


def test_what_was_made_serves_until_its_end_while_the_disk_is_away(desk: Desk) -> None:
    desk.give()
    links = desk.links()
    first = links.token_for("tower")
    shutil.rmtree(desk.root / "links")
    desk.now_s += LINK_S - 1
    assert links.token_for("tower") == first
    desk.now_s += 1
    with pytest.raises(EstateError, match="no usable grant for 'tower'"):
        links.token_for("tower")


def test_no_link_outlives_the_one_that_it_is_made_from(desk: Desk) -> None:
    desk.give(ends_s=NOW_S + 60)
    links = desk.links()
    assert decode_chain_untrusted(links.token_for("tower")).leaf.not_after_s == NOW_S + 60
    desk.now_s += 60
    with pytest.raises(EstateError, match="expired at"):
        links.token_for("tower")


def test_a_link_that_the_operator_does_not_hold_is_told_as_that(desk: Desk) -> None:
    desk.give(holder=desk.anchor)
    with pytest.raises(EstateError, match="does not hold this grant"):
        desk.links().token_for("tower")


def test_an_estate_file_says_who_sits_where(desk: Desk) -> None:
    seat = desk.roster().tenant().seat
    assert seat is not None
    assert (seat.through, seat.links) == (None, desk.root / "links")
    plain = desk.roster(links="", operator="", grants="grants").tenant()
    assert (plain.seat, plain.is_interactive) == (None, False)
    carried = desk.roster(links="", operator="", profile="interactive").tenant()
    assert carried.is_interactive
    with pytest.raises(EstateError, match="a console signs each of its calls"):
        carried.token_for("tower")
    with pytest.raises(EstateError, match="neither of autonomous, interactive"):
        desk.roster(profile="automatic")
    with pytest.raises(EstateError, match="no field 'operator'"):
        desk.roster(operator="")
