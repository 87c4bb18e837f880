from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from psp.errors import ArchiveError
from psp.totebox import Column, ColumnType, Table
from psp.totebox._index import Built, Row
from psp.totebox._sqlite_index import SQLiteIndex as Index

TABLE = Table(
    name="order",  # A word of SQL, to see that names are quoted.
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="select", type=ColumnType.TEXT, nullable=True),
    ),
    key=("id",),
)
ARCHIVE_ID = bytes(32)


def open_index(path: Path, table: Table = TABLE, *, read_only: bool = False) -> Index:
    return Index.open(path / "index.sqlite", [table], ARCHIVE_ID, read_only=read_only)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = open_index(tmp_path)
    yield index
    index.close()


def load(index: Index, entry: int, rows: Sequence[Row]) -> tuple[int, list[tuple[Row, int]]]:
    refused: list[tuple[Row, int]] = []
    with index.writing():
        accepted = index.load(
            TABLE,
            entry,
            rows,
            refuse=lambda row, line: refused.append((row, line)),
            on_batch=lambda _: None,
        )
        index.mark(Built(entry + 1, bytes([entry]) * 32))
    return accepted, refused


def rows_of(index: Index) -> list[tuple[object, ...]]:
    return list(index._connection.execute('SELECT * FROM "order" ORDER BY id'))


def test_an_index_is_the_same_after_closing_and_opening(tmp_path: Path, index: Index) -> None:
    load(index, 3, [(1, "a", 2), (2, None, 3)])
    index.close()

    again = open_index(tmp_path, read_only=True)

    assert again.built == Built(4, bytes([3]) * 32)
    assert again.count(TABLE) == 2
    assert again.locate(TABLE, [2]) == (3, 3)
    assert again.locate(TABLE, [9]) is None
    again.close()


def test_a_later_entry_replaces_the_row_of_a_key(index: Index) -> None:
    load(index, 1, [(1, "a", 2), (2, "b", 3)])

    assert load(index, 2, [(2, "B", 2), (3, "c", 3)]) == (2, [])
    assert rows_of(index) == [(1, "a", 1, 2), (2, "B", 2, 2), (3, "c", 2, 3)]


def test_within_one_file_the_first_row_of_a_key_stays(index: Index) -> None:
    accepted, refused = load(index, 1, [(1, "a", 2), (2, "b", 3), (1, "c", 4), (3, "d", 5)])

    assert (accepted, refused) == (3, [((1, "c", 4), 2)])
    assert rows_of(index) == [(1, "a", 1, 2), (2, "b", 1, 3), (3, "d", 1, 5)]


def test_a_key_is_found_again_across_batches(index: Index) -> None:
    rows: list[Row] = [(n % 4_999, "x", n + 2) for n in range(5_000)]

    assert load(index, 1, rows) == (4_999, [((0, "x", 5_001), 2)])


def test_an_exception_leaves_the_index_as_it_was(index: Index) -> None:
    load(index, 1, [(1, "a", 2)])

    def rows() -> Iterator[Row]:
        yield from [(n, "x", n) for n in range(10, 5_000)]
        raise OSError("the file ended")

    with pytest.raises(OSError, match="the file ended"):
        load(index, 2, rows())  # type: ignore[arg-type]

    assert rows_of(index) == [(1, "a", 1, 2)]
    assert index.built == Built(2, bytes([1]) * 32)


def test_clearing_removes_all_rows(index: Index) -> None:
    load(index, 1, [(1, "a", 2)])
    with index.writing():
        index.clear([TABLE])
        index.mark(Built(0, bytes(32)))

    assert rows_of(index) == []


@pytest.mark.parametrize("damage", ["missing", "not sqlite", "another archive", "another layout"])
def test_an_index_that_is_not_ours_is_made_anew(tmp_path: Path, damage: str) -> None:
    index, table = open_index(tmp_path), TABLE
    load(index, 1, [(1, "a", 2)])
    index.close()
    path = tmp_path / "index.sqlite"
    if damage == "missing":
        path.unlink()
    elif damage == "not sqlite":
        path.write_bytes(b"not a database" * 100)
    elif damage == "another archive":
        connection = apsw.Connection(str(path))
        connection.execute("UPDATE psp_build SET archive_id = x'01'")
        connection.close()
    else:
        wider = Column(name="select", type=ColumnType.DECIMAL, scale=2, nullable=True)
        table = replace(TABLE, columns=(TABLE.columns[0], wider))

    with pytest.raises(ArchiveError, match="opened only to read"):
        open_index(tmp_path, table, read_only=True)
    again = open_index(tmp_path, table)

    assert again.built == Built(0, bytes(32))
    assert again.count(table) == 0
    again.close()


def test_labels_and_domains_do_not_change_the_index(tmp_path: Path) -> None:
    index = open_index(tmp_path)
    load(index, 1, [(1, "a", 2)])
    index.close()
    listed = replace(TABLE.columns[1], values=("a", "b"))

    again = open_index(tmp_path, replace(TABLE, columns=(TABLE.columns[0], listed)))

    assert again.count(TABLE) == 1
    again.close()
