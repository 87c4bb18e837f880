from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest

from psp.errors import IntakeRefused, MissingExtra
from psp.totebox import Column, ColumnType, Table
from psp.totebox._assets import open_input
from psp.totebox._intake import Quarantine, Refusal, TypedRows
from psp.totebox._readers import open_source

TABLE = Table(
    name="t",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="word", type=ColumnType.TEXT, nullable=True),
    ),
    key=("id",),
)


def read(data: bytes, *, table: Table = TABLE, null: str = "") -> tuple[list[object], list[str]]:
    """Give the accepted rows, and the refusals in words."""
    refused: list[str] = []
    source = open_source(io.BytesIO(data), shown_name="in.csv")
    rows = TypedRows(source, table, null=null, refuse=lambda one: refused.append(str(one)))
    return list(rows), refused


@pytest.mark.parametrize(
    "data",
    [
        b"id,word\n1,a\n2,b\n",
        b"\xef\xbb\xbfid,word\r\n1,a\r\n2,b\r\n",
        b"id;word\n1;a\n2;b",
        b"id\tword\n1\ta\n2\tb",
        b"id|word\n1|a\n2|b",
        b'"id","word"\n"1","a"\n"2","b"\n',
        b" id , word \n1,a\n2,b\n",
    ],
)
def test_the_usual_dialects_of_csv_give_the_same_rows(data: bytes) -> None:
    assert read(data) == ([(1, "a", 2), (2, "b", 3)], [])


def test_columns_are_found_by_name_and_not_by_place() -> None:
    assert read(b"word,id\na,1\n") == ([(1, "a", 2)], [])


def test_a_table_of_one_column_is_read() -> None:
    one = Table(name="t", columns=TABLE.columns[:1], key=("id",))

    assert read(b"id\n7\n8\n", table=one) == ([(7, 2), (8, 3)], [])


def test_a_line_number_is_the_line_on_which_the_row_begins() -> None:
    data = b'id,word\n1,"two\nlines"\n\n2,x\n'

    assert read(data) == ([(1, "two\nlines", 2), (2, "x", 5)], [])


def test_each_bad_row_is_refused_on_its_own() -> None:
    rows, refused = read(b"id,word\nx,a\n1\n2,b,c\n3,d\n")

    assert rows == [(3, "d", 5)]
    assert refused == [
        "line 2, column 'id': the cell has the form 'a', which is not a whole number",
        "line 3: the row has 1 cells; the first line names 2 columns",
        "line 4: the row has 3 cells; the first line names 2 columns",
    ]


def test_reading_twice_gives_the_same_rows_and_refusals() -> None:
    data = b"id,word\n1,a\nx,b\n1,c\n2,\n"

    assert read(data) == read(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty line where the names"),
        (b"\nid,word\n", "empty line where the names"),
        (b"id\n1\n", "no column 'word'; it has id. Add"),
        (b"id,Words\n1,a\n", "Is 'Words' meant"),
        (b"id,word,more\n1,a,b\n", "a column 'more' that the table does not have"),
        (b"id,word,id\n1,a,b\n", "two columns named 'id'"),
        # Minutes for whoever counts each name, or compares each with the one that is missing.
        (b"," * 190_000 + b"\n1\n", "two columns named ''"),
        (b",".join(b"wor%d" % at for at in range(24_000)) + b"\n1\n", "no column 'id'"),
        (b"id,word\n1,caf\xe9\n", "line 2: byte 6 is 0xe9, which is not UTF-8"),
        (b"id,word\n1,a\0\n", "line 2: it holds a NUL byte"),
        ("id,word\n1,a\n".encode("utf-16"), "line 1: .* UTF-16 or damaged"),
        (b'id,word\n1,"a\n', "line 2: .* nothing after it can be read safely"),
        (b'id,word\n1,"a"b\n', "line 2: .* nothing after it can be read safely"),
        (b"id,word\n1," + b"x" * (5 << 20), "line 2: longer than 4194304 bytes"),
        (b"id,word\n1," + b"x" * 200_000, "line 2: field larger than field limit"),
        (b"id,word\r1,a\r", "line 1: new-line character"),
    ],
)
def test_a_broken_shape_ends_the_whole_file(data: bytes, message: str) -> None:
    with pytest.raises(IntakeRefused, match=message):
        read(data)


def test_a_damaged_parquet_file_is_refused() -> None:
    pytest.importorskip("pyarrow")

    with pytest.raises(IntakeRefused, match="begins like a Parquet file"):
        read(b"PAR1" + b"x" * 100)


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)

    with pytest.raises(MissingExtra, match=r"psp-protocol\[columns\]"):
        read(b"PAR1")


def test_a_text_null_of_csv_is_a_word_in_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": [1, 2, None], "word": ["NA", None, "x"]}), path)

    rows, refused = read(path.read_bytes(), null="NA")

    assert rows == [(1, "NA", 1), (2, None, 2)]
    assert refused == ["line 3, column 'id': the cell is empty, and the column must have a value"]


def test_the_quarantine_lists_what_the_message_only_samples(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "in.csv", TABLE)
    for line in range(2, 7):
        quarantine.add(Refusal(line, "id", "is odd", ["x", None]))
    quarantine.keep()

    message = str(quarantine.refused("in.csv"))
    with quarantine.path.open(newline="") as file:
        listed = list(csv.reader(file))

    assert "5 rows refused" in message
    assert "line 4, column 'id': the cell is odd; and 2 more" in message
    assert listed[0] == ["line", "column", "reason", "id", "word"]
    assert listed[5] == ["6", "id", "is odd", "x", ""]
    assert list(tmp_path.iterdir()) == [tmp_path / "in.csv.refused.csv"]


def test_a_quarantine_without_refusals_leaves_no_file(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "in.csv", TABLE)
    quarantine.keep()
    quarantine.discard()

    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_told_even_where_it_cannot_be_listed(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "not-there" / "in.csv", TABLE)
    quarantine.add(Refusal(2, "", "is odd", ["x"]))

    message = str(quarantine.refused("in.csv"))
    assert "line 2: the row is odd" in message
    assert "could not be listed" in message


def test_only_a_file_is_an_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path, message in (
        (tmp_path / "none.csv", "No such file"),
        (tmp_path, "is not a file"),
        (tmp_path / "pipe", "is not a file"),
    ):
        with pytest.raises(IntakeRefused, match=message), open_input(path):
            pass


def test_refused_rows_are_listed_for_this_user_alone_and_through_no_planted_link(
    tmp_path: Path,
) -> None:
    """The list holds records, and stands in whatever directory the input stood in."""
    victim = tmp_path / "victim"
    victim.write_text("untouched", "utf-8")
    (tmp_path / ".in.csv.refused.csv.draft").symlink_to(victim)
    quarantine = Quarantine(tmp_path / "in.csv", TABLE)
    before = os.umask(0)
    try:
        quarantine.add(Refusal(2, "id", "has the form 'a'", ["x", "word"]))
        quarantine.keep()
    finally:
        os.umask(before)

    assert quarantine.unwritable is None
    assert victim.read_text("utf-8") == "untouched"
    assert not quarantine.path.is_symlink()
    assert quarantine.path.stat().st_mode & 0o777 == 0o600
    assert "x,word" in quarantine.path.read_text("utf-8")
