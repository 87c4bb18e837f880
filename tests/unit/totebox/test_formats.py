"""JSON Lines and XLSX: what they share with CSV is in tests/property/test_formats.py."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from openpyxl.utils.datetime import MAC_EPOCH

from psp.errors import IntakeRefused
from psp.totebox import Column, ColumnType, Table, propose_table
from psp.totebox import _xlsx as xlsx
from psp.totebox._intake import TypedRows
from psp.totebox._readers import open_source

TABLE = Table(
    name="t",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="word", type=ColumnType.TEXT, nullable=True),
    ),
    key=("id",),
)


def of(kind: ColumnType, scale: int = 0) -> Table:
    return Table(
        name="t",
        columns=(TABLE.columns[0], Column(name="x", type=kind, scale=scale, nullable=True)),
        key=("id",),
    )


def read(data: bytes, table: Table = TABLE, sheet: str = "") -> tuple[list[Any], list[str]]:
    refused: list[str] = []
    source = open_source(io.BytesIO(data), shown_name="in", sheet=sheet)
    rows = TypedRows(source, table, null="", refuse=lambda one: refused.append(str(one)))
    return list(rows), refused


def book(*rows: list[Any], titles: tuple[str, ...] = ("one",)) -> Workbook:
    made = Workbook()
    made.remove(made.worksheets[0])
    for title in titles:
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    return made


def saved(made: Workbook) -> bytes:
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def edited(data: bytes, part: str, old: bytes, new: bytes) -> bytes:
    """A workbook with one part of it changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w", 8) as after:
        for name in before.namelist():
            content = before.read(name)
            if name == part:
                assert old in content
                content = content.replace(old, new)
            after.writestr(name, content)
    return out.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


# JSON Lines


def test_json_lines_are_rows_by_name_and_blank_lines_are_none() -> None:
    data = b'\xef\xbb\xbf{"id": 1, "word": "a"}\n\n{"word": null, "id": 2}\r\n'
    assert read(data) == ([(1, "a", 1), (2, None, 3)], [])


@pytest.mark.parametrize(
    ("cell", "kind", "stored"),
    [
        (b"1.10", ColumnType.DECIMAL, 110),
        (b"9007199254740993", ColumnType.INTEGER, 2**53 + 1),
        (b"0.1", ColumnType.FLOAT, 0.1),
        (b"true", ColumnType.BOOLEAN, 1),
        (b'"2014-05-02"', ColumnType.DATE, "2014-05-02"),
        (b'""', ColumnType.TEXT, ""),
    ],
)
def test_a_number_in_json_is_judged_as_it_is_written(
    cell: bytes, kind: ColumnType, stored: object
) -> None:
    data = b'{"id":1,"x":' + cell + b"}\n"
    assert read(data, of(kind, 2 * (kind is ColumnType.DECIMAL))) == ([(1, stored, 1)], [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"id":1e3,"word":"a"}', "column 'id': the cell has the form '9a9'"),
        (b'{"id":2}', "the row has no 'word', which the first line has"),
        (b'{"id":2,"word":"a","secret":1}', "the row has 1 names that the first line has not"),
        (b'{"id":2,"word":[1]}', "column 'word': the cell holds a list"),
        (b'{"id":2,"word":"\\ud800"}', "column 'word': the cell holds half of a character"),
    ],
)
def test_a_bad_line_of_json_is_refused_on_its_own(line: bytes, said: str) -> None:
    rows, refused = read(b'{"id":1,"word":"a"}\n' + line + b'\n{"id":3,"word":"b"}')
    assert [row[0] for row in rows] == [1, 3]
    assert len(refused) == 1
    assert refused[0].startswith("line 2")
    assert said in refused[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"id":1,"id":2,"word":"a"}', "a name stands twice"),
        (b'{"id":NaN,"word":"a"}', "NaN and Infinity are not JSON"),
        (b'{"id":1', "not one JSON object"),
        (b'{"id":1,"word":"a"} {}', "not one JSON object"),
        (b"[1,2]", "not a JSON object"),
        (b'{"id":' + b"[" * 200_000, "nested too deep"),
    ],
)
def test_what_is_not_one_object_a_line_ends_the_file(line: bytes, said: str) -> None:
    with pytest.raises(IntakeRefused, match=f"line 2: .*{said}"):
        read(b'{"id":1,"word":"a"}\n' + line + b"\n")


def test_a_line_of_json_beyond_the_limit_ends_the_file() -> None:
    with pytest.raises(IntakeRefused, match="longer than"):
        read(b'{"id":1,"word":"' + b"a" * (4 << 20) + b'"}')


def test_an_object_without_names_is_no_table() -> None:
    with pytest.raises(IntakeRefused, match="no names of columns"):
        read(b"{}\n")


# XLSX


def test_a_sheet_is_read_by_name_of_column_and_empty_rows_are_none() -> None:
    data = saved(book(["word", "id"], ["a", 1], [], [None, 2], ["", 3]))
    assert read(data) == ([(1, "a", 2), (2, None, 4), (3, None, 5)], [])


@pytest.mark.parametrize("epoch", [None, MAC_EPOCH])
def test_a_day_is_the_same_in_both_systems_of_dates(epoch: datetime | None) -> None:
    made = book(["id", "x"], [1, date(2014, 5, 2)], [2, datetime(2014, 5, 2, 10)])
    if epoch is not None:
        made = Workbook()
        made.epoch = epoch
        for row in (["id", "x"], [1, date(2014, 5, 2)], [2, datetime(2014, 5, 2, 10)]):
            made.worksheets[0].append(row)
    rows, refused = read(saved(made), of(ColumnType.DATE))
    assert rows == [(1, "2014-05-02", 2)]
    assert len(refused) == 1


def test_a_decimal_is_exact_or_refused() -> None:
    data = saved(book(["id", "x"], [1, 1234.5], [2, 0.3], [3, 3.0], [4, 0.07]))
    # What a spreadsheet writes after it has added 0.1 and 0.2.
    added = edited(data, SHEET, b"<v>0.3</v>", b"<v>0.30000000000000004</v>")
    rows, refused = read(added, of(ColumnType.DECIMAL, 2))
    assert rows == [(1, 123450, 2), (3, 300, 4), (4, 7, 5)]
    assert "line 3, column 'x'" in refused[0]
    assert "17 digits after the point" in refused[0]


def test_a_formula_gives_its_value_and_without_one_is_refused() -> None:
    data = saved(book(["id", "x"], [1, "=1+1"], [2, "=2+2"]))
    without = b"<f>1+1</f><v />" if b"<v />" in _sheet(data) else b"<f>1+1</f><v></v>"
    rows, refused = read(
        edited(data, SHEET, without, b"<f>1+1</f><v>2</v>"), of(ColumnType.INTEGER)
    )
    assert rows == [(1, 2, 2)]
    assert "line 3, column 'x': the cell holds a formula without its value" in refused[0]


def _sheet(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return packed.read(SHEET)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("#REF!", "an error of the spreadsheet"),
        (time(10, 30), "holds a time"),
        (date(1900, 1, 15), "before 1 March 1900"),
    ],
)
def test_what_is_no_value_is_refused_with_its_column(value: object, said: str) -> None:
    rows, refused = read(saved(book(["id", "x"], [1, value])), of(ColumnType.TEXT))
    assert rows == []
    assert "column 'x'" in refused[0]
    assert said in refused[0]


def test_of_several_sheets_one_must_be_named() -> None:
    data = saved(book(["id", "word"], [1, "a"], titles=("May", "June")))
    assert read(data, sheet="June") == ([(1, "a", 2)], [])
    with pytest.raises(IntakeRefused, match=r"2 sheets.*'May', 'June'"):
        read(data)
    with pytest.raises(IntakeRefused, match="no sheet 'july'"):
        read(data, sheet="july")
    with pytest.raises(IntakeRefused, match="no workbook"):
        read(b"id,word\n1,a\n", sheet="June")


def test_a_sheet_that_says_it_is_smaller_than_it_is_loses_no_row() -> None:
    """openpyxl's own loop stops at the size that the sheet states."""
    data = saved(book(["id", "word"], [1, "a"], [2, "b"]))
    lying = edited(data, SHEET, b'<dimension ref="A1:B3"', b'<dimension ref="A1:B2"')
    assert len(read(lying)[0]) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'<row r="3"', b'<row r="2"', "out of order"),
        (b'<row r="3"', b'<row r="99999999"', "out of order"),
        (b'r="B2"', b'r="A2"', "out of order"),
        (b'r="B2"', b'r="ZZZ2"', "out of order|cannot be read"),
        (b"</sheetData>", b"</sheetDat>", "cannot be read"),
        (b"<sheetData>", b"<sheetData>" + b"<row/>" * 0 + b"<x>" * 2_000_000, "without the end"),
    ],
)
def test_a_sheet_out_of_order_ends_the_file(old: bytes, new: bytes, said: str) -> None:
    data = edited(saved(book(["id", "word"], [1, "a"], [2, "b"])), SHEET, old, new)
    with pytest.raises(IntakeRefused, match=said):
        read(data)


def test_merged_cells_end_the_file() -> None:
    made = book(["id", "word"], [1, "a"], [2, None])
    made.worksheets[0].merge_cells("B2:B3")
    with pytest.raises(IntakeRefused, match="merged cells"):
        read(saved(made))


def test_a_declared_entity_is_never_expanded() -> None:
    data = edited(
        saved(book(["id", "word"], [1, "a"])),
        SHEET,
        b"<worksheet",
        b'<!DOCTYPE w [<!ENTITY a "aaaa">]><worksheet',
    )
    with pytest.raises(IntakeRefused, match="cannot be read"):
        read(data)


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = saved(book(["id", "word"], [1, "a" * 5_000]))
    monkeypatch.setattr(xlsx, "PART_BYTES_MAX", 4_000)
    with pytest.raises(IntakeRefused, match="unpacks to more"):
        read(data)


def test_a_sheet_passed_off_as_the_shared_texts_has_their_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = saved(book(["id", "word"], *([n, "a"] for n in range(1, 900))))
    monkeypatch.setattr(xlsx, "PART_BYTES_MAX", 20_000)
    assert len(read(data)[0]) == 899
    posed = edited(data, "[Content_Types].xml", b"worksheet+xml", b"sharedStrings+xml")
    with pytest.raises(IntakeRefused, match="unpacks to more"):
        read(posed)


@pytest.mark.parametrize("header", [["id", None, "word"], [1, "word"], []])
def test_the_first_row_must_name_the_columns(header: list[Any]) -> None:
    with pytest.raises(IntakeRefused, match="must name every column"):
        read(saved(book(header, *([] if not header else [[1, "a", "b"]]))))


def test_a_table_is_proposed_from_a_workbook(tmp_path: Path) -> None:
    path = tmp_path / "in.xlsx"
    path.write_bytes(saved(book(["id", "price"], [1, 12.5], [2, 3])))
    table = propose_table(path, "t", currency="EUR")
    assert [(column.type, column.scale) for column in table.columns] == [
        (ColumnType.INTEGER, 0),
        (ColumnType.DECIMAL, 1),
    ]
