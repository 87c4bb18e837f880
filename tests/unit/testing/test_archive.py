"""A table as a grant sees it, before anybody gets the grant."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from psp.capability import Operation, Scope, TableRule, between
from psp.errors import CapabilityError, Denied, Invalid, Suppressed
from psp.testing import Archive
from tests.unit.capability.actors import AGGREGATOR, CEILING, NOW, OPERATOR, first_token

ROWS = [
    {
        "id": f"h{number}",
        "price": Decimal(1000) * number + Decimal("0.50"),
        "zipcode": "A1" if number % 2 else "B2",
        "buyer": f"person {number}",
    }
    for number in range(1, 13)
]
RULE = TableRule(
    operations=frozenset({Operation.COUNT, Operation.MEAN}),
    output=frozenset({"price"}),
    filters=frozenset({"price"}),
    groups=frozenset({"zipcode"}),
    rows={"price": between(None, 9001)},
    floor=3,
)
SCOPE = Scope({"sales": RULE})


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    archive = Archive(ROWS, table="sales", key=["id"])
    yield archive
    archive.close()


def test_it_prints_what_is_there_and_what_hides_the_rest(archive: Archive) -> None:
    narrower = replace(RULE, groups=frozenset(), rows={"price": between(None, 4001)})
    seen = archive.seen_by([SCOPE, Scope({"sales": narrower})])

    assert seen.columns == ("price",)
    assert seen.row_count == 4
    text = str(seen)
    assert text.startswith("sales: 4 of 12 rows, 1 of 4 columns\n")
    assert "  id       text     hidden: link 0 names it in none of output, filters" in text
    assert "  zipcode  text     hidden: link 1 names it in none of output, filters" in text
    assert "  price    decimal  shown, filtered by\n" in text
    assert "3 rows hidden by link 0, rows: only where price <= 9001\n" in text
    assert "5 rows hidden by link 1, rows: only where price <= 4001\n" in text
    assert "taken away by link 1, table sales: groups (zipcode), rows unless" in text
    assert "person" not in text


def test_it_is_told_what_an_archive_would_tell(archive: Archive) -> None:
    seen = archive.seen_by(SCOPE)

    told = seen.ask("select zipcode, count(*) as n from sales group by zipcode order by n")
    assert told.rows == [{"zipcode": "B2", "n": 4}, {"zipcode": "A1", "n": 5}]
    assert told.hidden == 0
    with pytest.raises(Invalid, match="no column 'buyer'; there are: price, zipcode"):
        seen.ask("select count(*) from sales group by buyer")
    with pytest.raises(Suppressed, match="fewer than 3"):
        seen.ask("select count(*) from sales where price < 2001")
    with pytest.raises(Denied):
        seen.read("h1")


def test_a_row_is_read_where_the_pairing_lets_it(archive: Archive) -> None:
    rule = replace(
        RULE, operations=frozenset({Operation.READ}), filters=frozenset({"id"}), rows_max=1
    )
    seen = archive.seen_by(Scope({"sales": rule}))

    assert seen.read("h2") == {"price": Decimal("2000.50")}
    with pytest.raises(Denied):
        seen.read("h12")
    with pytest.raises(Denied):
        archive.seen_by(Scope({"sales": rule}), pairing="INTERFACE").read("h2")


def test_a_token_is_seen_link_by_link_and_a_grant_as_one(archive: Archive) -> None:
    from psp.capability import verify_untrusted
    from tests.unit.capability.actors import ARCHIVE

    token = first_token(OPERATOR, scope=SCOPE)
    grant = verify_untrusted(
        token, anchor=ARCHIVE, presenter=OPERATOR.spki_hash, ceiling=CEILING, now_s=NOW
    )

    assert [layer.name for layer in archive.seen_by(token).layers] == ["pairing USER", "link 0"]
    assert archive.seen_by(grant).row_count == archive.seen_by(token).row_count == 9
    assert AGGREGATOR.spki_hash.hex() not in str(archive.seen_by(token))


def test_a_table_that_is_not_granted_is_not_there(archive: Archive) -> None:
    seen = archive.seen_by(Scope({"rents": RULE}))

    assert (seen.rule, seen.row_count, seen.columns) == (None, 0, ())
    assert "12 rows hidden by link 0, tables: not named" in str(seen)
    with pytest.raises(Denied):
        seen.ask("select count(*) from sales")


def test_the_directory_goes_with_the_archive() -> None:
    archive = Archive(ROWS, table="sales", key=["id"])
    directory = archive.directory
    assert directory.is_dir()

    del archive
    gc.collect()
    assert not directory.exists()


def test_no_rows_are_no_table() -> None:
    with pytest.raises(CapabilityError, match="no rows were given"):
        Archive([])
