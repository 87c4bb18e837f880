"""SQLite and DuckDB: the same files give the same rows and refusals, the same questions the same
answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from psp.capability import Operation, RowDomain, TableRule, between, one_of, starts_with
from psp.errors import CallFailed, IntakeRefused
from psp.plan import Bucket, Filter, GroupKey, Measure, Plan
from psp.totebox import Column, ColumnType, Table
from psp.totebox._engines import index_file, open_engine, open_index
from psp.totebox._index import PAST_PREFIX, Index
from psp.totebox._ingest import _read_into, _Reading
from psp.values import Value

ENGINES = ("sqlite", "duckdb")
TABLE = Table(
    name="order",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="price", type=ColumnType.DECIMAL, scale=2, nullable=True),
        Column(name="day", type=ColumnType.DATE, nullable=True),
        Column(name="sold", type=ColumnType.BOOLEAN, nullable=True),
        Column(name="ratio", type=ColumnType.FLOAT, nullable=True),
        Column(name="word", type=ColumnType.TEXT, nullable=True),
        Column(name="size", type=ColumnType.TEXT, values=("S", "M"), nullable=True),
    ),
    key=("id",),
)
HEADER = ",".join(TABLE.column_names)
NAMES = frozenset(TABLE.column_names)

# Files

usual = st.tuples(
    st.integers(0, 30).map(str),
    st.sampled_from(["", "0", "1", "1.5", "-1.50", "2.000", "922337203685477.58", "0.07"]),
    st.sampled_from(["", "2014-05-02", "2016-02-29", "0001-01-01", "9999-12-31T00:00:00Z"]),
    st.sampled_from(["", "true", "F", "YES", "0", "n"]),
    st.sampled_from(["", "1", "-0.0", "0.1", "1e-5", "1.7976931348623157e308", "4.9e-324"]),
    st.sampled_from(["", " a", "ä", "NA", "null", "\\N", "x'y", "日本", "#", "zz top"]),
    st.sampled_from(["", "S", "M"]),
).map(list)
# What no reader may take differently: each of these alone, in any place.
ODD = [
    *("007", " 7", "7 ", "+7", "-0", "1.", ".5", "1e3", "1_0", "0x1f", "inf", "NaN", "1.005"),
    *("9223372036854775808", "-9223372036854775808", "99999999999999999999", "1" * 40),
    *("2014-5-2", "2015-02-29", "0000-01-01", "2014-05-02 00:00", "2014-05-02 00:01"),
    *("2014-05-02T00:00:00.000", "(BC)", "epoch", "today", "tRuE", "\u017f", "T ", "on"),
    *("1e309", "1e-400", "1.e5", "00.5", "5e", "-", "--1", "1." + "0" * 30 + "1", "infinity"),
    *('"q"', '"a""b"', '"a,b"', '"a\nb"', 'a"b', '"open', "e\u0301", "\ufb01", "s", "XL"),
    *("\u2028", "\x0b", "\x85", "\r", "a\rb", "\0", "\udc80", " ", ",", "\\", "\ufeff", "''"),
]
odd = st.sampled_from(ODD)
row = usual | st.builds(
    lambda cells, at, cell: [*cells[:at], cell, *cells[at + 1 :]],
    usual,
    st.integers(0, len(TABLE.columns) - 1),
    odd,
)
lines = row.map(",".join) | st.sampled_from(["", " ", ",", "1,2"])
files = st.builds(
    lambda rows, end, last: HEADER + end + end.join(rows) + (end if last else ""),
    st.lists(row.map(",".join), max_size=8) | st.lists(lines, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
plain_files = st.builds(
    lambda rows, end: HEADER + end + "".join(",".join(cells) + end for cells in rows),
    st.lists(usual, min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Index, Path]]]:
    """One index of each kind for all examples, emptied before each: opening one costs most."""
    paths = {name: tmp_path_factory.mktemp("two") / index_file(name) for name in ENGINES}
    opened = {
        name: (open_index(name, path, [TABLE], bytes(32), read_only=False), path)
        for name, path in paths.items()
    }
    yield opened
    for index, _ in opened.values():
        index.close()


Opened = dict[str, tuple[Index, Path]]


def empty(opened: Opened) -> Opened:
    for index, _ in opened.values():
        with index.writing():
            index.clear([TABLE])
    return opened


def put(index: Index, entry: int, path: Path, null: str) -> tuple[object, list[str]]:
    """What intake makes of a file: how many rows, or how it ends; and its refusals."""
    refusals: list[str] = []
    try:
        with index.writing(), path.open("rb") as file:
            reading = _Reading(TABLE, file, path, "in.csv", null, "")
            found: object = _read_into(
                index,
                entry,
                reading,
                refuse=lambda it: refusals.append(f"{it} {[str(cell) for cell in it.cells]}"),
                on_batch=lambda _rows, _bytes: None,
            )
    except IntakeRefused as exc:
        found = str(exc)
    return found, sorted(refusals)


def contents(index: Index) -> dict[str, list[str]]:
    run = index._connection.execute
    return {
        name: sorted(map(repr, run(f'SELECT * FROM "{name}"').fetchall()))
        for name in (TABLE.name, PAST_PREFIX + TABLE.name, "psp_sealed")
    }


@given(st.lists(files | plain_files, min_size=1, max_size=2), st.sampled_from(["", "NA"]))
@example([f"{HEADER}\n1,,,,,,\n1,2,,,,,\n"], "")
@example([f"{HEADER}\n1,,,,,,\n\n2,2,,,,,\n"], "")
@example([f"{HEADER}\n1,,,,-0.0,,\n"], "")
@example([f"{HEADER}\n1,,,,,,\n2,,,,,,,"], "")
@settings(max_examples=40, deadline=None)
def test_a_file_gives_the_same_rows_and_refusals(
    opened: Opened, texts: list[str], null: str
) -> None:
    empty(opened)
    for entry, text in enumerate(texts, 1):
        path = opened["sqlite"][1].with_name(f"{entry}.csv")
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        found = [put(index, entry, path, null) for index, _ in opened.values()]
        assert found[0] == found[1]
    held = [contents(index) for index, _ in opened.values()]
    assert held[0] == held[1]


@pytest.mark.parametrize("at", range(5))
def test_no_form_of_a_cell_is_taken_by_one_alone(opened: Opened, at: int) -> None:
    """Each alone in its file, because one refused cell sends the whole file to the other reader."""
    empty(opened)
    path = opened["sqlite"][1].with_name("odd.csv")
    for entry, cell in enumerate(ODD[:37], 1):
        cells = [str(entry), *[""] * (len(TABLE.columns) - 1)]
        cells[at] = cell
        path.write_bytes(f"{HEADER}\n{','.join(cells)}\n".encode("utf-8", "surrogateescape"))
        one, other = (put(index, entry, path, "") for index, _ in opened.values())
        assert one == other
    one_held, other_held = (contents(index) for index, _ in opened.values())
    assert one_held == other_held


@given(plain_files)
@settings(max_examples=40, deadline=None)
def test_a_plain_file_is_taken_at_once(opened: Opened, text: str) -> None:
    """Or the test above would compare one way with itself."""
    empty(opened)
    index, path = opened["duckdb"]
    file = path.with_name("in.csv")
    file.write_bytes(text.encode())
    seen: list[int] = []
    with index.writing():
        accepted = index.load_file(
            TABLE,
            1,
            file,
            null="",
            refuse=lambda _row, first: seen.append(first),
            on_batch=lambda _rows, _bytes: None,
        )
    assert accepted is not None
    assert accepted + len(seen) == text.count("\n") - 1


# Questions

numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9)
days = st.dates(date(1, 1, 1), date(9999, 12, 31)) | st.dates(date(2014, 12, 1), date(2016, 1, 31))
words = st.sampled_from(
    ["", "a", "B", "b", "ab", "ä", "z", "日本", "'", '"', "%", "_", "\U0001f600"]
)
floats = st.floats(-1e100, 1e100) | st.sampled_from([0.0, -0.0, 0.1, 0.5, 5e-324, 2.0**53])
rows = st.lists(
    st.tuples(
        st.none() | numbers,
        st.none() | days.map(date.isoformat),
        st.none() | st.integers(0, 1),
        st.none() | floats,
        st.none() | words,
        st.none() | st.sampled_from(["S", "M"]),
    ),
    max_size=12,
)
money = st.decimals(-(9 * 10**15), 9 * 10**15, places=3, allow_nan=False) | st.integers(-9, 9).map(
    Decimal
)
domains = st.fixed_dictionaries(
    {},
    optional={
        "id": st.lists(st.integers(0, 12), min_size=1, max_size=4).map(one_of),
        "price": st.builds(between, money, money, low_open=st.booleans(), high_open=st.booleans())
        | st.lists(money, min_size=1, max_size=3).map(one_of),
        "day": st.builds(between, days, days) | st.lists(days, min_size=1, max_size=3).map(one_of),
        "sold": st.lists(st.booleans(), min_size=1, max_size=2).map(one_of),
        "ratio": st.builds(between, money, money)
        | st.lists(money, min_size=1, max_size=3).map(one_of),
        "word": st.lists(words, min_size=1, max_size=3).map(one_of)
        | words.filter(bool).map(starts_with),
    },
)
keys = st.lists(
    st.sampled_from(["id", "price", "day", "sold", "ratio", "word", "size"]).map(GroupKey)
    | st.sampled_from(Bucket).map(lambda bucket: GroupKey("day", bucket)),
    max_size=2,
    unique=True,
)
measures = st.lists(
    st.just(Measure(Operation.COUNT))
    | st.builds(
        Measure,
        st.sampled_from(
            [
                *(Operation.COUNT, Operation.SUM, Operation.MEAN, Operation.MIN, Operation.MAX),
                *(Operation.VARIANCE, Operation.DISTINCT),
            ]
        ),
        st.sampled_from(sorted(NAMES)),
    ),
    min_size=1,
    max_size=3,
    unique=True,
)
histograms = st.builds(
    lambda name, edges: [Measure(Operation.HISTOGRAM, name, tuple(sorted(edges)))],
    st.sampled_from(["id", "price", "ratio"]),
    st.lists(
        st.sampled_from([-1, 0, 1, 20, Decimal("0.1"), Decimal("1.5"), 2**63 - 1]),
        min_size=1,
        max_size=3,
        unique=True,
    ),
)


def same(one: Value, other: Value) -> bool:
    """Alike to the last digit, but for floats: their sums depend on the order of the rows."""
    match one, other:
        case float(), float():
            return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e85)
        case list(), list():
            return len(one) == len(other) and all(map(same, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(same(one[it], other[it]) for it in one)
    return type(one) is type(other) and one == other


@given(
    st.lists(rows, min_size=1, max_size=2),
    domains,
    domains,
    keys,
    measures | histograms | st.just([Measure(Operation.EXISTS)]),
    st.sampled_from([1, 1, 2, 3]),
    st.sampled_from([None, None, 2]),
)
@settings(max_examples=40, deadline=None)
def test_a_question_gets_the_same_answer(
    opened: Opened,
    loads: list[Sequence[tuple[object, ...]]],
    scope: dict[str, RowDomain],
    asked: dict[str, RowDomain],
    group: list[GroupKey],
    figures: list[Measure],
    floor: int,
    as_of: int | None,
) -> None:
    rule = TableRule(
        operations=frozenset(Operation),
        output=NAMES,
        filters=NAMES,
        groups=NAMES,
        rows=scope,
        rows_max=1,
        floor=floor,
    )
    plan = Plan(
        table="order",
        filters=tuple(Filter(name, domain) for name, domain in asked.items()),
        group=() if figures[0].operation is Operation.EXISTS else tuple(group),
        measures=tuple(figures),
        as_of=as_of,
    )

    def answer(index: Index, path: Path) -> tuple[Value, list[Value], bool]:
        with index.writing():
            for entry, load in enumerate(loads, 1):
                numbered = ((at, *row, at + 2) for at, row in enumerate(load))
                index.load(
                    TABLE,
                    entry,
                    numbered,  # type: ignore[arg-type]
                    refuse=lambda _row, _line: None,
                    on_batch=lambda _rows: None,
                )
        engine = open_engine(index, path, TABLE, rule, as_of=as_of)
        try:
            found: Value = engine.query(plan)
        except CallFailed as exc:
            found = f"{type(exc).__name__}: {exc}"
        read: list[Value] = [engine.row([at]) for at in range(3)]
        empty = engine.table_is_empty()
        engine.close()
        return found, read, empty

    one, other = (answer(*it) for it in empty(opened).values())
    assert all(map(same, one, other)), (one, other)


def test_an_engine_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="oracle"):
        open_index("oracle", Path("nowhere"), [], bytes(32), read_only=True)
