from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest

from psp.errors import IntakeRefused
from psp.totebox import Column, ColumnType, Table, propose_table

from .conftest import write


def propose(tmp_path: Path, text: str, *, null: str = "", currency: str | None = None) -> Table:
    return propose_table(write(tmp_path / "in.csv", text), "t", null=null, currency=currency)


def types(table: Table) -> dict[str, str]:
    return {column.name: column.type.value for column in table.columns}


def test_each_column_gets_the_narrowest_type_that_holds_all_of_it(tmp_path: Path) -> None:
    table = propose(
        tmp_path,
        "id,n,d,f,day,yes,code,word\n"
        "1,5,1.5,1e9,2014-05-02,true,007,a\n"
        "2,-6,20,3,2014-05-03,false,12,2\n"
        "3,0,0.125,1.5,2014-05-04,TRUE,13,\n",
    )

    assert table.columns == (
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="n", type=ColumnType.INTEGER),
        Column(name="d", type=ColumnType.DECIMAL, scale=3),
        Column(name="f", type=ColumnType.FLOAT),
        Column(name="day", type=ColumnType.DATE),
        Column(name="yes", type=ColumnType.BOOLEAN),
        Column(name="code", type=ColumnType.TEXT),
        Column(name="word", type=ColumnType.TEXT, nullable=True),
    )


def test_an_amount_written_in_cents_keeps_room_for_every_cent(tmp_path: Path) -> None:
    table = propose(tmp_path, "id,rent,round\n1,1000.50,1.00\n2,1001.50,2.00\n")

    assert [column.scale for column in table.columns] == [0, 2, 0]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1", "2.5"], "decimal"),
        (["1", "2e5"], "float"),
        (["1.5", "2e5"], "float"),
        (["1", "x"], "text"),
        (["1.5", "x"], "text"),
        (["1e5", "x"], "text"),
        (["2014-05-02", "x"], "text"),
        (["true", "x"], "text"),
        (["Y", "N"], "text"),
        (["1", "0"], "integer"),
        (["1", "01"], "text"),
        (["1.5", "01"], "text"),
        (["NA", "1"], "integer"),
        (["NA", "NA"], "text"),
        (["1", "99999999999999999999999"], "float"),
        (["1." + "1" * 19, "1"], "float"),
    ],
)
def test_one_late_cell_widens_a_column(tmp_path: Path, cells: list[str], found: str) -> None:
    rows = "".join(f"{at},{cell}\n" for at, cell in enumerate(cells))

    assert types(propose(tmp_path, f"id,x\n{rows}", null="NA"))["x"] == found


def test_money_is_marked_only_where_a_currency_is_given(tmp_path: Path) -> None:
    text = "id,price,unit_cost,rooms,cost_note\n1,5,2.50,3,x\n"

    plain, marked = propose(tmp_path, text), propose(tmp_path, text, currency="USD")

    assert [column.currency for column in plain.columns] == [None] * 5
    assert marked.column("price") == Column(
        name="price", type=ColumnType.DECIMAL, scale=0, currency="USD"
    )
    assert marked.column("unit_cost").currency == "USD"
    assert marked.column("rooms").currency is None
    assert marked.column("cost_note").type is ColumnType.TEXT


@pytest.mark.parametrize(
    ("text", "key", "subject"),
    [
        ("a,id\n1,1\n2,2\n", ("id",), "id"),
        ("town,house_id\nx,1\nx,2\n", ("house_id",), "house_id"),
        ("id,day\n1,2014-05-02\n1,2014-05-03\n", ("day",), None),
        ("id,day,x\n1,2014-05-02,1\n1,2014-05-03,1\n2,2014-05-02,1\n", ("id", "day"), "id"),
        ("name,size\nann,1\nbob,1\n", ("name",), None),
        ("id,name\n,ann\n1,bob\n", ("name",), None),
        ("x,y,z\n0,0,0\n0,0,1\n0,1,0\n0,1,1\n1,0,0\n", ("x", "y", "z"), None),
        ("w,x,y,z\n9,0,0,0\n9,0,0,1\n9,0,1,0\n9,0,1,1\n9,1,0,0\n", ("x", "y", "z"), None),
    ],
)
def test_the_key_is_the_fewest_columns_that_tell_rows_apart(
    tmp_path: Path, text: str, key: tuple[str, ...], subject: str | None
) -> None:
    table = propose(tmp_path, text)

    assert (table.key, table.subject) == (key, subject)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,x\n", "has no rows"),
        ("", "begins with an empty line"),
        ("x,y\n1,1\n1,1\n", "no columns of in.csv identify a row"),
        ("price\n1.5\n2.5\n", "no columns of in.csv identify a row"),
        ("x,y\n1\n", "line 2: the row has 1 cells; the first line names 2"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(IntakeRefused, match=message):
        propose(tmp_path, text)


def test_parquet_and_csv_of_the_same_rows_give_the_same_table(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = {
        "id": pa.array(["a", "b"]),
        "n": pa.array([1, 2], pa.int32()),
        "ratio": pa.array([1.5, 2.0]),
        "day": pa.array([date(2014, 5, 2), date(2014, 5, 3)]),
        "noon": pa.array([datetime(2014, 5, 2, 12), None], pa.timestamp("us")),
        "ok": pa.array([True, False]),
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    csv = (
        "id,n,ratio,day,noon,ok\na,1,1.5,2014-05-02,2014-05-02T12:00:00,true\n"
        "b,2,2,2014-05-03,,false\n"
    )

    assert propose_table(tmp_path / "in.parquet", "t") == propose(tmp_path, csv)


def test_a_column_of_lists_is_no_column(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": [1], "tags": [["a"]]}), tmp_path / "in.parquet")

    with pytest.raises(IntakeRefused, match="'tags' holds lists"):
        propose_table(tmp_path / "in.parquet", "t")


@pytest.mark.parametrize(("strays", "kind"), [(1, "decimal"), (2, "text")])
def test_one_word_in_a_thousand_numbers_is_a_mistake_and_not_a_type(
    tmp_path: Path, strays: int, kind: str
) -> None:
    cells = [f"{number}.5" for number in range(1_500 - strays)] + ["about five"] * strays
    text = "id,price\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))
    assert propose(tmp_path, text).column("price").type == kind
