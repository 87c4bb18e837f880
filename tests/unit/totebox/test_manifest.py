from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import pytest

from psp.errors import ArchiveError
from psp.totebox._manifest import Column, ColumnType, Manifest, State, Table
from psp.totebox._manifest_file import (
    read_manifest,
    table_from_dict,
    table_to_dict,
    write_manifest,
)

COLUMNS = (
    Column(name="id", type=ColumnType.TEXT),
    Column(name="sold", type=ColumnType.DATE, from_=date(2014, 5, 1), to=date(2015, 5, 31)),
    Column(name="price", type=ColumnType.DECIMAL, scale=2, currency="USD", nullable=True),
    Column(name="größe \\ m²", type=ColumnType.FLOAT),
    Column(name="zip", type=ColumnType.INTEGER, values=(98004, 98039)),
    Column(name="new", type=ColumnType.BOOLEAN, values=(False, True)),
)
TABLE = Table(name="sales", columns=COLUMNS, key=("id", "sold"), subject="id")
MANIFEST = Manifest(
    name="cluster-totebox-98004-1",
    archive_id=bytes(range(32)),
    module_id="homes",
    tables=(TABLE,),
    floor=10,
    title='A "quoted" \x7f title\n',
    labels={"region": "east", "key with space": "é"},
)


def test_a_manifest_is_the_same_after_writing_and_reading() -> None:
    assert read_manifest(write_manifest(MANIFEST)) == MANIFEST


def test_a_manifest_without_tables_is_the_same_after_writing_and_reading() -> None:
    empty = replace(MANIFEST, tables=(), labels={}, state=State.ARCHIVED)

    assert read_manifest(write_manifest(empty)) == empty


def test_a_table_is_the_same_after_its_form_in_a_ledger_entry() -> None:
    assert table_from_dict(table_to_dict(TABLE)) == TABLE


def test_a_table_finds_its_columns_and_a_manifest_its_tables() -> None:
    assert MANIFEST.table("sales").column("zip") == COLUMNS[4]
    with pytest.raises(KeyError):
        MANIFEST.table("rents")
    with pytest.raises(KeyError):
        TABLE.column("rent")


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"format = 1", "format = 2", "format 2; this release reads 1. Update"),
        (r"floor = 10", "floor = true", "'floor' is True; it must be int"),
        (r"floor = 10", "floor = 0", "floor of .* is 0"),
        (r"floor = 10", "flor = 10", "no field 'floor'"),
        (r"floor = 10", "floor = 10\nceiling = 3", "a field 'ceiling' that this release"),
        (r'archive_id = "[0-9a-f]*"', 'archive_id = "zz"', "not hexadecimal"),
        (r'archive_id = "[0-9a-f]*"', 'archive_id = "00"', "has 1 bytes; it has 32"),
        (r'state = "active"', 'state = "asleep"', "choose one of active, suspended, archived"),
        (r'engine = "sqlite"', 'engine = "oracle"', "this release has sqlite and duckdb"),
        (r'type = "float"', 'type = "money"', "choose one of integer, decimal, date"),
        (r"from = 2014-05-01", "from = 2014-05-01T00:00:00", "write a date, as in 2014-05-02"),
        (r"from = 2014-05-01", 'from = "May"', "write a date, as in 2014-05-02"),
        (r"values = \[98004, 98039\]", "values = [1.5]", "cannot hold 1.5"),
        (r"\[policy\]", "[[policy]]", "'policy' is .* it must be dict"),
        (r"name = ", "name ", "not TOML"),
    ],
)
def test_a_manifest_with_a_mistake_is_refused_with_its_place(
    pattern: str, replacement: str, message: str
) -> None:
    text = write_manifest(MANIFEST)
    broken = re.sub(pattern, replacement, text, count=1)
    assert broken != text

    with pytest.raises(ArchiveError, match=message):
        read_manifest(broken)


def test_a_table_that_is_no_table_is_refused() -> None:
    with pytest.raises(ArchiveError, match="not a table of fields"):
        table_from_dict(["name"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "1sales"}, "cannot name a table"),
        ({"name": "psp_build"}, "cannot name a table"),
        ({"name": "a b"}, "cannot name a table"),
        ({"columns": ()}, "has 0 columns"),
        ({"columns": (COLUMNS[0], replace(COLUMNS[0], name="ID"))}, "'id' and 'ID'"),
        ({"columns": (COLUMNS[0], COLUMNS[0])}, "'id' and 'id'"),
        ({"key": ()}, "has the key \\[\\]"),
        ({"key": ("id", "id")}, "each once"),
        ({"key": ("ident",)}, "no column 'ident'"),
        ({"subject": "owner"}, "no column 'owner'"),
        ({"key": ("price",)}, "may be empty"),
    ],
)
def test_a_contradictory_table_cannot_be_made(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        replace(TABLE, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "changes", "message"),
    [
        (0, {"name": 'a"b'}, "cannot name a column"),
        (0, {"name": "psp_entry"}, "cannot name a column"),
        (0, {"name": ""}, "cannot name a column"),
        (0, {"name": " id"}, "cannot name a column"),
        (0, {"name": "a\x1b[2J"}, "cannot name a column"),
        (0, {"scale": 2}, "only a decimal has them"),
        (2, {"scale": 19}, "from 0 to 18"),
        (2, {"currency": "usd"}, "three capital letters"),
        (1, {"to": None}, "only one of from and to"),
        (1, {"to": date(2014, 4, 30)}, "the earlier day first"),
        (0, {"from_": date(2014, 5, 1), "to": date(2014, 5, 2)}, "belong to a date column"),
        (4, {"values": (1, 1)}, "lists a value twice"),
    ],
)
def test_a_contradictory_column_cannot_be_made(
    column: int, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ArchiveError, match=message):
        replace(COLUMNS[column], **changes)  # type: ignore[arg-type]
