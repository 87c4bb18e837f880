from __future__ import annotations

import gc
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psp.buffers import Account, Buffers, Columns, ResultBuffer, arrow_pieces
from psp.errors import LocalProtocolError, MalformedFrame

MIB = 1024 * 1024


def landed(data: bytes, account: Account | None = None) -> ResultBuffer:
    account = account or Account("process", 64 * MIB)
    buffer = Buffers(account.tenant("t")).share("c").take(len(data))
    room = buffer.room()
    room[: len(data)] = data
    room.release()
    buffer.advance(len(data))
    buffer.finish()
    return buffer


def columns(source: Any) -> Columns:
    return Columns(landed(b"".join(piece for batch in arrow_pieces(source) for piece in batch)))


@pytest.fixture
def table() -> Any:
    return pa.table(
        {
            "number": [1, 2, 3],
            "share": [0.5, None, 1.5],
            "name": ["a", None, "Straße"],
            "price": pa.array([Decimal("1.20"), None, Decimal("-3.00")], pa.decimal128(9, 2)),
        }
    )


def test_a_table_arrives_as_it_left(table: Any) -> None:
    with columns(table) as result:
        assert result.names == ("number", "share", "name", "price")
        assert result.row_count == 3
        assert result.arrow().equals(table)
        assert list(result.rows()) == table.to_pylist()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.text(),
            st.none() | st.booleans(),
            st.none() | st.binary(),
        )
    ),
    st.integers(1, 7),
)
def test_every_table_arrives_as_it_left(rows: list[tuple[Any, ...]], batch_rows: int) -> None:
    kinds = {"i": pa.int64(), "t": pa.utf8(), "b": pa.bool_(), "d": pa.binary()}
    lists = zip(*rows, strict=True) if rows else [()] * 4
    sent = pa.table(
        {name: pa.array(list(values), kind) for (name, kind), values in zip(kinds.items(), lists)}  # noqa: B905
    )
    reader = pa.RecordBatchReader.from_batches(sent.schema, sent.to_batches(batch_rows))
    with columns(reader) as result:
        assert result.arrow().equals(sent)


def test_numbers_are_shown_where_they_landed() -> None:
    buffer = landed(b"".join(p for b in arrow_pieces(pa.table({"x": range(1000)})) for p in b))
    result = Columns(buffer)
    with buffer.lease() as lease:
        start = np.frombuffer(lease.view, np.uint8).__array_interface__["data"][0]
        array = result.numpy("x")
        assert start <= array.__array_interface__["data"][0] < start + buffer.filled_bytes
        address = result.arrow().column("x").chunk(0).buffers()[1].address
        assert start <= address < start + buffer.filled_bytes
    assert not array.flags.writeable


def test_a_result_is_given_to_other_libraries_without_a_copy(table: Any) -> None:
    before = pa.total_allocated_bytes()
    with columns(pa.table({"x": np.arange(500_000)})) as result:
        theirs = pa.RecordBatchReader.from_stream(result).read_all()
        assert theirs.column("x").to_pylist()[-1] == 499_999
        assert pa.total_allocated_bytes() - before < MIB


def test_duckdb_asks_a_result_where_it_landed(table: Any) -> None:
    before = pa.total_allocated_bytes()
    with columns(pa.table({"x": np.arange(500_000), "y": ["a", "b"] * 250_000})) as result:
        found = duckdb.connect().from_arrow(result.arrow()).aggregate("sum(x), count(y)").fetchall()
        assert found == [(500_000 * 499_999 // 2, 500_000)]
        # And through the capsule alone, as any library takes it that does not know pyarrow.
        capsule = Capsule(result)
        reader = duckdb.connect().from_arrow(capsule).filter("y = 'a'").aggregate("max(x)")
        assert reader.fetchall() == [(499_998,)]
        assert pa.total_allocated_bytes() - before < MIB


class Capsule:
    """Knows one method, as the Arrow PyCapsule interface asks."""

    def __init__(self, result: Columns) -> None:
        self._result = result

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._result.__arrow_c_stream__(requested_schema)


def test_after_the_release_every_use_is_an_error_and_old_arrays_stay_true(table: Any) -> None:
    account = Account("process", 64 * MIB)
    data = b"".join(p for b in arrow_pieces(pa.table({"x": range(1000)})) for p in b)
    buffer = landed(data, account)
    result = Columns(buffer)
    array = result.numpy("x")
    result.release()
    result.release()
    for use in (result.arrow, lambda: result.numpy("x"), lambda: list(result.rows())):
        with pytest.raises(LocalProtocolError, match="its lease is over"):
            use()
    assert array.sum() == 499_500
    del array, buffer, use
    gc.collect()
    Buffers(account.tenant("t")).trim()
    assert account.held_bytes == 0


def test_a_text_that_is_none_is_refused_at_first_use_and_other_columns_are_not() -> None:
    data = b"".join(p for b in arrow_pieces(pa.table({"n": [1], "t": ["secret"]})) for p in b)
    result = Columns(landed(data.replace(b"secret", b"\xffecret")))
    assert result.numpy("n")[0] == 1
    with pytest.raises(MalformedFrame, match="'t' holds bytes that are no utf8") as caught:
        result.column("t")
    assert "ecret" not in str(caught.value)


def test_an_unknown_column_is_named_with_those_that_are_there(table: Any) -> None:
    with pytest.raises(KeyError, match="no column 'nmae'; there are number, share, name, price"):
        columns(table).column("nmae")


def test_what_no_reader_takes_is_refused_before_it_leaves() -> None:
    for column in (pa.array([[1]]), pa.array(["a"]).dictionary_encode()):
        with pytest.raises(LocalProtocolError, match="Cast it"):
            next(arrow_pieces(pa.table({"a": column})))


def test_columns_leave_from_where_the_engine_has_them() -> None:
    source = pa.table({"x": np.arange(100_000)})
    address = source.column("x").chunk(0).buffers()[1].address
    views = [
        np.frombuffer(piece, np.uint8).__array_interface__["data"][0]
        for batch in arrow_pieces(source)
        for piece in batch
        if isinstance(piece, memoryview)
    ]
    assert address in views
