"""What pandas, polars and DuckDB make of a result: where their bytes lie, by their own word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from psp.buffers import Account, Buffers, Columns, ResultBuffer, arrow_pieces

MIB = 1024 * 1024
ROWS = 20_000
NUMBERS = np.arange(ROWS)
TABLE = pa.table(
    {
        "number": NUMBERS,
        "share": NUMBERS * 0.5,
        "some": pa.array([None if each % 3 == 0 else each for each in range(ROWS)]),
        "truth": NUMBERS % 2 == 0,
        "day": pa.array(NUMBERS.astype("int32"), pa.date32()),
        "time": NUMBERS.astype("datetime64[us]"),
        "price": pa.array([Decimal(each) / 100 for each in range(ROWS)], pa.decimal128(18, 2)),
        "text": [f"{each}, at number {each} of the street" for each in range(ROWS)],
    }
)
NAMES = TABLE.column_names


class Result:
    """A result in mapped memory, and which addresses are in it."""

    def __init__(self, batches: int) -> None:
        reader = TABLE.to_reader(ROWS // batches)
        data = b"".join(bytes(piece) for batch in arrow_pieces(reader) for piece in batch)
        self.buffer: ResultBuffer = (
            Buffers(Account("process", 64 * MIB).tenant("t")).share("c").take(len(data))
        )
        with self.buffer.room() as room:
            room[: len(data)] = data
        self.buffer.advance(len(data))
        self.buffer.finish()
        self.columns = Columns(self.buffer)
        with self.buffer.lease() as lease:
            self.start = np.frombuffer(lease.view, np.uint8).__array_interface__["data"][0]
        self.end = self.start + len(data)

    def has(self, array: Any) -> bool:
        """Whether all buffers of an Arrow array lie where the result landed."""
        addresses = [buffer.address for buffer in array.buffers() if buffer is not None]
        return all(self.start <= each < self.end for each in addresses)


@pytest.fixture(params=[1, 4])
def result(request: pytest.FixtureRequest) -> Iterator[Result]:
    made = Result(request.param)
    with made.columns:
        yield made


def test_pandas_keeps_every_column_where_it_landed_if_asked_for_arrow_types(result: Result) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = result.columns.arrow().to_pandas(types_mapper=pandas.ArrowDtype)
    for name in NAMES:
        chunks = frame[name].array.__arrow_array__().chunks
        assert len(chunks) == len(result.columns.column(name).chunks)
        assert all(map(result.has, chunks)), name
    assert frame["number"].sum() == NUMBERS.sum()


def test_pandas_types_of_numpy_share_a_column_of_one_batch_without_nulls(result: Result) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(
        {name: result.columns.numpy(name) for name in ("number", "share", "time")}, copy=False
    )
    is_one = len(result.columns.column("number").chunks) == 1
    for name in frame:
        address = frame[name].to_numpy().__array_interface__["data"][0]
        assert (result.start <= address < result.end) is is_one


def test_pandas_takes_a_result_itself_and_copies_numbers_into_blocks_of_its_own(
    result: Result,
) -> None:
    """Said in docs/zero-copy.md: pandas lays columns of one type side by side."""
    pandas = pytest.importorskip("pandas", minversion="3.0", reason="pandas 3 is not installed")
    frame = pandas.DataFrame.from_arrow(result.columns)
    assert list(frame.columns) == NAMES
    assert frame["number"].sum() == NUMBERS.sum()
    address = frame["number"].to_numpy().__array_interface__["data"][0]
    assert not result.start <= address < result.end
    for chunk in frame["text"].array.__arrow_array__().chunks:
        assert result.start <= chunk.buffers()[2].address < result.end


def polars_arrow(polars: Any, series: Any) -> list[Any]:
    """The chunks of a series as it has them, without a conversion of texts."""
    newest = polars.CompatLevel.newest()
    return [chunk.to_arrow(compat_level=newest) for chunk in series.get_chunks()]


def test_polars_keeps_columns_of_one_width_where_it_landed(result: Result) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.DataFrame(result.columns)
    fixed = [name for name in NAMES if name not in ("price", "text")]
    for name in fixed:
        chunks = polars_arrow(polars, frame[name])
        assert len(chunks) == len(result.columns.column(name).chunks)
        assert all(map(result.has, chunks)), name
    # Its decimals must lie at a multiple of sixteen; a message keeps eight.
    came = [each.buffers()[1].address % 16 == 0 for each in result.columns.column("price").chunks]
    assert [result.has(each) for each in polars_arrow(polars, frame["price"])] == came
    assert frame["number"].sum() == NUMBERS.sum()


def test_polars_points_at_long_texts_where_they_landed(result: Result) -> None:
    """It makes 16 bytes of its own for each text, in which it keeps those of 12 bytes and less."""
    polars = pytest.importorskip("polars", reason="polars is not installed")
    series = polars.DataFrame(result.columns)["text"]
    assert series[-1] == TABLE["text"][-1].as_py()
    for chunk in polars_arrow(polars, series):
        validity, views, *texts = chunk.buffers()
        assert validity is None
        assert views.size == 16 * len(chunk)
        assert texts
        assert all(result.start <= each.address < result.end for each in texts)


SEES: list[Callable[[Any, Columns], Any]] = [
    lambda duck, columns: duck.from_arrow(columns.arrow()),
    lambda duck, columns: duck.from_arrow(columns),
]


@pytest.mark.parametrize("see", SEES)
def test_duckdb_reads_where_the_result_landed_when_a_query_runs(
    result: Result, see: Callable[[Any, Columns], Any]
) -> None:
    """It tells no addresses. So the memory is changed after DuckDB was given it, as no program
    can: were there a copy, the query would not see it."""
    with duckdb.connect() as duck:
        relation = see(duck, result.columns)
        (first, *_) = result.columns.column("number").chunks
        place = first.buffers()[1].address - result.start
        memory = memoryview(result.buffer._window).cast("B")
        memory[place : place + 8] = (1_000_000).to_bytes(8, "little")
        found = relation.aggregate("sum(number), count(text), max(length(text))").fetchall()
    assert found[0][:2] == (NUMBERS.sum() + 1_000_000, ROWS)
