"""Estates of archives of several kinds: who is paired with which, and under which tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from psp.aggregator import Roster
from psp.capability import decode_chain_untrusted, token_from_text_untrusted
from psp.errors import EstateError
from psp.estate import Draft, Estate, TenantPolicy, create_estate
from psp.totebox import Column, ColumnType, Table

SHOP = TenantPolicy(name="shop", sentence="", columns=("total",), objects={}, tables=("bills",))
OFFICE = TenantPolicy(name="office", sentence="", columns=("hours", "total"), objects={})


def draft(root: Path, name: str, column: str, members: dict[str, str], kind: str = "") -> Draft:
    files = {}
    for member, value in members.items():
        files[member] = root / f"{member}-{name}.csv"
        files[member].write_text(f"id,{column}\n1,{value}\n")
    table = Table(
        name=name,
        columns=(
            Column(name="id", type=ColumnType.INTEGER),
            Column(name=column, type=ColumnType.INTEGER),
        ),
        key=("id",),
    )
    return Draft(root=root / "estate", files=files, table=table, null="", kind=kind)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    root = tmp_path_factory.mktemp("kinds")
    return create_estate(
        draft(root, "bills", "total", {"a-books": "7"}, "books"),
        draft(root, "notes", "words", {"a-books": "8"}, "books"),
        draft(root, "times", "hours", {"a-staff": "9"}, "staff"),
        tenants=(OFFICE, SHOP),
    )


def columns_of(estate: Estate, tenant: str, member: str) -> dict[str, set[str]]:
    text = estate.layout.token(tenant, member).read_text("ascii")
    scope = decode_chain_untrusted(token_from_text_untrusted(text)).links[-1].scope
    return {name: set(rule.output) for name, rule in scope.tables.items()}


def test_an_archive_that_two_drafts_name_has_two_tables(estate: Estate) -> None:
    assert estate.rows_sealed == 3
    assert {kind: sorted(tables) for kind, tables in estate.grants.of_kind.items()} == {
        "books": ["bills", "notes"],
        "staff": ["times"],
    }
    assert [(member.name, member.kind) for member in estate.roster.members] == [
        ("a-books", "books"),
        ("a-staff", "staff"),
    ]


def test_columns_count_in_whichever_table_has_them(estate: Estate) -> None:
    assert columns_of(estate, "office", "a-books") == {"bills": {"total"}, "notes": set()}
    assert columns_of(estate, "office", "a-staff") == {"times": {"hours"}}


def test_a_tenant_is_unknown_to_an_archive_that_has_nothing_for_it(estate: Estate) -> None:
    assert columns_of(estate, "shop", "a-books") == {"bills": {"total"}}
    assert not estate.layout.token("shop", "a-staff").exists()
    paired = {
        member: {file.stem for file in estate.layout.archive(member).glob("keys/peers/*.toml")}
        for member in ("a-books", "a-staff")
    }
    assert paired == {"a-books": {"office", "shop"}, "a-staff": {"office"}}


def test_a_policy_that_was_written_keeps_its_tables(estate: Estate) -> None:
    (office, shop) = estate.layout.policies(("office", "shop"))
    assert (office.tables, shop.tables) == ((), ("bills",))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (replace(SHOP, tables=("bill",)), "names the table 'bill'; the estate has bills, notes"),
        (replace(SHOP, columns=("hours",)), "names the column 'hours'; the table 'bills' has id"),
        (replace(OFFICE, by=("colour",)), "names the column 'colour'; 3 tables have hours, id"),
    ],
)
def test_a_name_that_no_table_has_is_a_mistake(
    estate: Estate, policy: TenantPolicy, message: str
) -> None:
    with pytest.raises(EstateError, match=message):
        estate.grants.of(policy, estate.roster.members[0])


@pytest.mark.parametrize(
    "others",
    [
        [("notes", "words", {"two": "8"}, "books")],  # Whose grants would name the table bills.
        [("notes", "words", {"one": "8"}, "staff")],  # Of two kinds.
        [("bills", "words", {"two": "8"}, "books")],  # The same name, and another column.
    ],
)
def test_archives_of_one_kind_have_the_same_tables(
    tmp_path: Path, others: list[tuple[str, str, dict[str, str], str]]
) -> None:
    bills = draft(tmp_path, "bills", "total", {"one": "7"}, "books")
    with pytest.raises(EstateError, match="all archives of one kind have the same tables"):
        create_estate(bills, *(draft(tmp_path, *other) for other in others))
    assert not (tmp_path / "estate").exists()


def test_a_kind_whose_archives_are_elsewhere_needs_one_here(estate: Estate) -> None:
    file = estate.layout.file
    as_it_was = file.read_text("utf-8")
    try:
        file.write_text(as_it_was.replace('kind = "staff"', 'kind = "gone"'), "utf-8")
        moved = estate.layout.archive("a-staff").rename(estate.layout.root / "moved")
        with pytest.raises(EstateError, match="no archive of the kind 'gone'"):
            Estate.open(estate.layout.root)
    finally:
        moved.rename(estate.layout.archive("a-staff"))
        file.write_text(as_it_was, "utf-8")
    assert len(Roster.load(file).members) == 2
