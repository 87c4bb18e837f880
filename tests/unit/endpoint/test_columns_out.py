"""Batches on their way out: one ahead, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
import trio

from psp.endpoint import arrow_chunks
from psp.errors import LocalProtocolError

SCHEMA = pa.schema([("n", pa.int64())])


class Engine:
    """Counts the batches that it was made to compute."""

    def __init__(self, batches: int) -> None:
        self.computed = 0
        self.batches = batches

    def reader(self) -> Any:
        return pa.RecordBatchReader.from_batches(SCHEMA, self._compute())

    def _compute(self) -> Iterator[Any]:
        for number in range(self.batches):
            self.computed += 1
            yield pa.record_batch([pa.array([number] * 10_000)], schema=SCHEMA)
            if number == 5:
                raise RuntimeError("the engine")


async def test_a_batch_is_computed_while_the_one_before_leaves_and_none_after_it() -> None:
    engine = Engine(5)
    chunks: Any = arrow_chunks(engine.reader())
    head, column = await anext(chunks)
    assert isinstance(head, bytes), "the schema, and the head of the first batch"
    assert len(column) == 80_000
    with trio.fail_after(30):
        while engine.computed < 2:
            await trio.lowlevel.checkpoint()
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    assert engine.computed == 2
    await anext(chunks)
    await chunks.aclose()
    assert engine.computed <= 3


async def test_all_batches_come_whole_and_in_order() -> None:
    batches = [batch async for batch in arrow_chunks(Engine(5).reader())]
    data = b"".join(piece for batch in batches for piece in batch)
    table = pa.ipc.open_stream(data).read_all()
    assert table.column("n").to_pylist()[::10_000] == [0, 1, 2, 3, 4]


async def test_what_an_engine_raises_is_raised_where_its_chunks_are_asked() -> None:
    with pytest.raises(RuntimeError, match="the engine"):
        async for _ in arrow_chunks(Engine(9).reader()):
            pass


async def test_what_no_reader_takes_is_refused_before_a_byte() -> None:
    with pytest.raises(LocalProtocolError, match="Cast it"):
        await anext(aiter(arrow_chunks(pa.table({"a": [[1]]}))))
