"""Two real archives compared over TLS: exactly what differs is found, and nothing else leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
import trio

from psp.aggregator import Fleet, Reconciled, Reconciliation, Side
from psp.endpoint import Portal
from psp.errors import ArchiveError, Denied, EstateError, Invalid, QuestionError
from psp.estate import Estate, TenantPolicy, create_estate, draft_estate
from psp.totebox import serve_archive, share_secret

ROWS: Final = 1_200
PLANTED: Final = 40
ADMIN: Final = TenantPolicy(
    name="owner",
    sentence="",
    pairing="ADMIN",
    operations=("count", "sum", "sketch", "read"),
    objects={},
)
BLIND: Final = TenantPolicy(
    name="blind", sentence="", pairing="ADMIN", operations=("count", "sketch"), objects={}
)
USER: Final = TenantPolicy(
    name="user", sentence="", pairing="USER", operations=("count", "sketch", "read"), objects={}
)


def rows(changed: bool) -> Iterator[str]:
    yield "invoice,amount,note"
    for number in range(ROWS):
        cents = number * 17 % 99_991
        if changed and number % (ROWS // PLANTED) == 7:
            cents += 1
        yield f"INV-{number:07},{cents // 100}.{cents % 100:02},canary-{number}"


class House:
    """An estate of two archives, and what has left each of them."""

    def __init__(self, directory: Path, engine: str) -> None:
        files = [directory / "bills.csv", directory / "books.csv"]
        for file, changed in zip(files, (False, True), strict=True):
            file.write_text("\n".join(rows(changed)) + "\n")
        draft = draft_estate(directory / f"estate-{engine}", files, table="invoices")
        self.estate: Estate = create_estate(
            replace(draft, engine=engine), tenants=(ADMIN, BLIND, USER)
        )
        self.archives = {
            member.name: self.estate.layout.archive(member.name)
            for member in self.estate.roster.members
        }
        self.sent = {name: bytearray() for name in self.archives}

    def compare(self, what: Reconciliation, tenant: str = "owner") -> Reconciled:
        for out in self.sent.values():
            out.clear()
        with Fleet(self.estate.roster, tenant=tenant) as fleet:
            return fleet.reconcile(what)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            for member in self.estate.roster.members:
                await nursery.start(self._serve, member.name, member.address.port)
            yield
            nursery.cancel_scope.cancel()

    async def _serve(
        self,
        name: str,
        port: int,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        def tap(direction: str, data: bytes) -> None:
            if direction == "out":
                self.sent[name].extend(data)

        await serve_archive(
            self.archives[name], host="127.0.0.1", port=port, tap=tap, task_status=task_status
        )


@pytest.fixture(scope="module", params=["sqlite", "duckdb"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("house"), request.param)
    share_secret(list(made.archives.values()))
    with Portal() as portal, portal.enter(made.served()):
        yield made


def asked(table: str = "invoices", key: str = "invoice", amount: str = "amount") -> Reconciliation:
    left, right = (
        Side(member=name, table=table, key=(key,), amount=(amount,)) for name in ("bills", "books")
    )
    return Reconciliation(title="Bills against books", left=left, right=right, deadline_s=60)


def test_exactly_the_planted_changes_are_found_and_no_agreeing_row_leaves(house: House) -> None:
    found: Reconciled = house.compare(asked())
    assert found.rows == (ROWS, ROWS)
    assert found.matched == ROWS - PLANTED
    assert found.is_listed
    assert not found.only_left
    assert not found.only_right
    planted = [f"INV-{number:07}" for number in range(7, ROWS, ROWS // PLANTED)]
    assert [one.key for one, _ in found.differ] == [(key,) for key in planted]
    for one, other in found.differ:
        (left,), (right,) = one.amount, other.amount
        assert isinstance(left, Decimal)
        assert isinstance(right, Decimal)
        assert right - left == Decimal("0.01")
    assert {entry["by"][0] for entry in found.to_dict()["differ"]} == {"0.01"}
    for out in house.sent.values():
        assert len(out) < 50_000
        assert b"canary" not in out  # No column that was not named,
        keys = {f"INV-{number:07}".encode() for number in range(ROWS)}
        assert {key for key in keys if key in out} == {key.encode() for key in planted}


def test_what_the_aggregator_holds_has_no_secret(house: House) -> None:
    house.compare(asked())
    (secret,) = {
        (directory / "keys" / "reconcile.key").read_bytes() for directory in house.archives.values()
    }
    for out in house.sent.values():
        assert secret not in out


def test_a_grant_that_reads_no_rows_learns_how_many_differ(house: House) -> None:
    found: Reconciled = house.compare(asked(), tenant="blind")
    assert found.differences == (PLANTED, PLANTED)
    assert found.matched == ROWS - PLANTED
    assert not found.is_listed
    assert not found.differ
    for out in house.sent.values():
        assert b"INV-" not in out


def test_only_an_admin_pairing_may_compare(house: House) -> None:
    with pytest.raises(Denied):
        house.compare(asked(), tenant="user")


def test_a_column_that_is_not_there_and_a_member_that_is_not_are_named(house: House) -> None:
    with pytest.raises(Invalid, match="names columns that are shown: amount, invoice, note"):
        house.compare(asked(amount="price"))
    nobody = Side(member="nobody", table="t", key=("a",), amount=("b",))
    with pytest.raises(EstateError, match="no member 'nobody'"):
        house.compare(Reconciliation(title="", left=nobody, right=asked().right))


def test_two_columns_with_nothing_in_common_are_counted_or_too_much(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Side(member="books", table="invoices", key=("note",), amount=("amount",))
    nothing = Reconciliation(title="", left=asked().left, right=wrong, deadline_s=60)
    monkeypatch.setattr("psp.aggregator._reconcile.LISTED_MAX", 500)
    found = house.compare(nothing)
    assert (found.matched, found.differences) == (0, (ROWS, ROWS))
    assert found.why_not_listed == "more than 500 rows differ on one side"
    monkeypatch.setattr("psp.aggregator._reconcile.CELLS_LAST", 1_020)
    with pytest.raises(QuestionError, match="differ in more rows than can be told apart"):
        house.compare(nothing)


@pytest.mark.parametrize("at_once", [1_000, 5_000])
def test_more_differences_than_one_call_gives_are_all_listed(
    house: House, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """A pairing gives a thousand rows in a call; whoever asks for more is refused, and asks again
    for half."""
    wrong = Side(member="books", table="invoices", key=("note",), amount=("amount",))
    nothing = Reconciliation(title="", left=asked().left, right=wrong, deadline_s=60)
    monkeypatch.setattr("psp.aggregator._reconcile.LISTED_AT_ONCE", at_once)
    found = house.compare(nothing)
    assert (found.is_listed, found.why_not_listed) == (True, "")
    for only, word in ((found.only_left, "INV-{:07}"), (found.only_right, "canary-{}")):
        assert {row.key for row in only} == {(word.format(number),) for number in range(ROWS)}


def test_rows_that_would_take_too_many_calls_are_counted_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psp.aggregator._reconcile.LISTED_AT_ONCE", 15)
    monkeypatch.setattr("psp.aggregator._reconcile.LISTING_CALLS_MAX", 2)
    found = house.compare(asked())
    assert found.differences == (PLANTED, PLANTED)
    assert "10 of 40 differences" in found.why_not_listed
    monkeypatch.setattr("psp.aggregator._reconcile.LISTING_CALLS_MAX", 3)
    assert house.compare(asked()).is_listed


def test_a_secret_is_given_once_and_to_archives_alone(house: House, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="shares a secret already"):
        share_secret(list(house.archives.values()))
    with pytest.raises(ArchiveError, match="is no archive"):
        share_secret([tmp_path])
    modes = {
        (it / "keys" / "reconcile.key").stat().st_mode & 0o777 for it in house.archives.values()
    }
    assert modes == {0o600}
