"""Rows in columns, with both engines: what a scope shows of them, and that none is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trio
import trio.testing

from psp.buffers import arrow_pieces
from psp.capability import Operation, TableRule, one_of
from psp.errors import Denied, Invalid, LimitExceeded
from psp.plan import Filter, Listing
from psp.totebox import Column, ColumnType
from psp.totebox._compile_listing import CompiledListing
from psp.totebox._duckdb_engine import DuckEngine
from psp.totebox._engine import Engine
from psp.totebox._engine_thread import run_in_thread

from .test_engine import SALES, build_index, engine_on, rule

ROWS = [
    ("1", "2014-05-02", "98103", 22190050, None, 1, 0.5),
    ("2", "2014-05-03", "98103", -5, 7, 0, None),
    ("3", "2014-06-03", "98004", 10**17, 2**53 + 1, 1, -1e300),
]
ALL = Listing(table="sales")


@pytest.fixture(scope="module", params=["sqlite", "duckdb"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_index(tmp_path_factory.mktemp("index") / f"index.{request.param}", ROWS)


@pytest.fixture
def engine(index: Path) -> Iterator[Engine]:
    yield from opened(index, rule(rows_max=3))


def opened(index: Path, seen: TableRule) -> Iterator[Engine]:
    engine = engine_on(index, SALES, seen)
    yield engine
    engine.close()


def table_of(engine: Engine, listing: Listing) -> Any:
    with engine.listing(listing) as listed:
        found = listed.reader().read_all()
        assert found.num_rows == listed.row_count
        found.validate(full=True)
        return found.sort_by(found.column_names[0])


def test_every_column_travels_as_what_it_is(engine: Engine) -> None:
    found = table_of(engine, ALL)
    assert found.to_pydict() == {
        "id": ["1", "2", "3"],
        "day": [date(2014, 5, 2), date(2014, 5, 3), date(2014, 6, 3)],
        "zip": ["98103", "98103", "98004"],
        "price": [Decimal("221900.50"), Decimal("-0.05"), Decimal("1000000000000000.00")],
        "area": [None, 7, 2**53 + 1],
        "with": [True, False, True],
        "score": [0.5, None, -1e300],
    }
    assert found.schema.field("price").type == pa.decimal128(19, 2)
    # What no reader takes would be refused here, before it leaves.
    assert sum(len(piece) for batch in arrow_pieces(found) for piece in batch) > 500


def test_columns_come_in_the_order_they_are_asked_in_and_rows_by_filter(engine: Engine) -> None:
    filters = (Filter("zip", one_of(["98103"])),)
    found = table_of(engine, Listing(table="sales", filters=filters, columns=("price", "id")))
    assert found.column_names == ["price", "id"]
    assert found.column("id").to_pylist() == ["2", "1"]


def test_no_rows_are_a_table_with_no_rows(engine: Engine) -> None:
    filters = (Filter("zip", one_of(["00000"])),)
    assert table_of(engine, Listing(table="sales", filters=filters)).num_rows == 0


@pytest.mark.parametrize(
    ("changes", "listing", "error", "says"),
    [
        ({"rows_max": 2}, ALL, LimitExceeded, "3 rows; this grant allows 2"),
        ({"operations": frozenset({Operation.COUNT})}, ALL, Denied, "does not allow reading"),
        ({"aggregates_only": True}, ALL, Denied, "does not allow reading"),
        ({"rounding": 10}, ALL, Denied, "rounds what it shows"),
        ({"output": frozenset()}, ALL, Denied, "shows no column"),
        ({"output": frozenset({"id"})}, Listing(table="sales", columns=("zip",)), Invalid, "read"),
        ({}, Listing(table="sales", columns=("salary",)), Invalid, "no column 'salary'"),
        (
            {"filters": frozenset({"id"})},
            Listing(table="sales", filters=(Filter("zip", one_of(["98103"])),)),
            Invalid,
            "does not filter on 'zip'",
        ),
        ({}, Listing(table="other"), Invalid, "this is 'sales'"),
    ],
)
def test_what_a_scope_does_not_show_is_refused(
    index: Path, changes: dict[str, Any], listing: Listing, error: type[Exception], says: str
) -> None:
    for engine in opened(index, rule(**{"rows_max": 3, **changes})):
        with pytest.raises(error, match=says), engine.listing(listing):
            pytest.fail("it was listed")


def test_rows_outside_of_the_scope_are_not_there(index: Path) -> None:
    seen = rule(rows_max=3, rows={"zip": one_of(["98004"])}, output=frozenset({"id", "score"}))
    for engine in opened(index, seen):
        found = table_of(engine, ALL)
        assert found.to_pydict() == {"id": ["3"], "score": [-1e300]}


def test_a_listing_survives_the_wire() -> None:
    filters = (Filter("zip", one_of(["98103"])),)
    for listing in (ALL, Listing(table="sales", filters=filters, columns=("price", "id"))):
        assert Listing.from_wire_untrusted(listing.to_wire()) == listing


@pytest.mark.parametrize(
    "wire",
    [
        None,
        [],
        ["sales", []],
        ["sales", [], [1]],
        ["sales", [], "id"],
        ["sales", [], ["id", "id"]],
        ["sales", [], ["c"] * 513],
        ["", [], []],
        ["sales", [["zip"]], []],
        [1, [], []],
    ],
)
def test_what_is_no_listing_is_refused(wire: object) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        Listing.from_wire_untrusted(wire)


async def test_a_listing_that_computes_for_long_ends_when_its_call_does(tmp_path: Path) -> None:
    engine = engine_on(build_index(tmp_path / "index.duckdb", ROWS), SALES, rule(rows_max=3))
    endless = "SELECT i FROM range(1000000000000) t(i) WHERE i < 200000 OR hash(i) = 1"
    assert isinstance(engine, DuckEngine)
    engine._passed.add(endless)
    column = Column(name="i", type=ColumnType.INTEGER)
    batches = engine._batches(CompiledListing("", endless, (), (column,)))
    assert next(batches).num_rows > 0, "it is in the middle of its rows"
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_in_thread, engine, partial(next, batches, None))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    engine.close()
