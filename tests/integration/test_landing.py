"""Results that land in mapped memory: over real sockets with real TLS, and every copy counted."""

from __future__ import annotations

import gc
import hashlib
import re
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.buffers import Account, Buffers
from psp.endpoint import (
    Address,
    ByteStream,
    Connection,
    Exposed,
    Progress,
    Stream,
    arrow_chunks,
    connect,
    land,
    method,
    serve,
)
from psp.errors import (
    CallCancelled,
    ConnectionLost,
    HandlerFailed,
    LimitExceeded,
    LocalProtocolError,
    RemoteProtocolError,
)
from psp.transport import MachineKey, Peer, Pin, check_certificate_untrusted

AGGREGATOR = MachineKey(Ed25519PrivateKey.generate())
TOTEBOX = MachineKey(Ed25519PrivateKey.generate())
ARCHIVE_ID = bytes(range(32))
MIB = 1024 * 1024
DATA = hashlib.shake_256(b"result").digest(8 * MIB + 12_345)


class Desk(Exposed):
    def __init__(self) -> None:
        self.scratch = bytearray(MIB)
        self.cut = trio.Event()

    @method
    def data(self, announced: int) -> Stream:
        return Stream({"bytes": announced}, _whole())

    @method
    async def endless(self) -> AsyncIterator[bytes]:
        while True:
            yield DATA[:MIB]

    @method
    async def breaks(self) -> AsyncIterator[bytes]:
        yield DATA[:MIB]
        raise RuntimeError

    @method
    async def reused(self) -> AsyncIterator[memoryview]:
        """One buffer for all pieces, as an engine with a fixed memory has."""
        for number in range(40):
            self.scratch[:] = bytes([number]) * MIB
            yield memoryview(self.scratch)

    @method
    async def overwritten(self) -> AsyncIterator[memoryview]:
        """When it is cut short it uses its buffer for something else at once."""
        self.scratch[:] = b"a" * MIB
        try:
            while True:
                yield memoryview(self.scratch)
        finally:
            self.scratch[:] = b"SECRET  " * (MIB // 8)
            self.cut.set()

    @method
    def table(self, rows: int) -> Stream:
        numbers = pa.array(range(rows))
        source = pa.table({"n": numbers, "text": pc.cast(numbers, pa.utf8())})
        reader = pa.RecordBatchReader.from_batches(source.schema, source.to_batches(20_000))
        return Stream({"rows": rows}, arrow_chunks(reader))

    @method
    def add(self, left: int, right: int) -> int:
        return left + right

    @method
    def text(self, size: int) -> str:
        return "x" * size


async def _whole() -> AsyncIterator[memoryview]:
    yield memoryview(DATA)


@asynccontextmanager
async def connected(desk: Desk | None = None) -> AsyncIterator[Connection]:
    desk = desk or Desk()

    def present(_peer: Peer, _token: bytes) -> Exposed:
        return desk

    pin = Pin("aggregator", check_certificate_untrusted(AGGREGATOR.certificate_pem))
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            partial(
                serve,
                key=TOTEBOX,
                archive_id=ARCHIVE_ID,
                pins=[pin],
                bootstrap=lambda _peer: desk,
                present=present,
                host="127.0.0.1",
                port=0,
                log=list[str]().append,
            )
        )
        address = Address(ARCHIVE_ID, host, port, TOTEBOX.certificate_pem, "98004")
        async with connect(address, key=AGGREGATOR) as connection:
            yield connection
        nursery.cancel_scope.cancel()


def pool(limit: int = 256 * MIB) -> Buffers:
    return Buffers(Account("process", limit).tenant("t"))


async def test_a_result_lands_whole_and_no_byte_passes_the_control_buffer() -> None:
    async with connected() as connection:
        answer = connection.bootstrap.call("data", len(DATA), accept_bytes=4 * MIB)
        landed = await land(answer, pool(), bytes_max=64 * MIB)
        assert landed.header == {"bytes": len(DATA)}
        with landed.buffer.lease() as lease:
            assert lease.view == DATA
        assert connection.unlanded_bytes == 0
        assert connection.inspect().streams == {}


async def test_how_far_a_result_has_come_is_seen_while_it_comes() -> None:
    async with connected() as connection:
        progress, seen = Progress(), set[int]()
        async with trio.open_nursery() as nursery:
            answer = connection.bootstrap.call("data", len(DATA))
            nursery.start_soon(partial(land, answer, pool(), bytes_max=64 * MIB, progress=progress))
            while progress.received_bytes < len(DATA):
                seen.add(progress.received_bytes)
                await trio.lowlevel.checkpoint()
        assert progress == Progress(len(DATA), len(DATA))
        assert len(seen) > 2


async def test_neither_side_allocates_memory_for_the_bytes_of_a_result() -> None:
    """Both ends are in this process: whatever copies a chunk on its way allocates one."""
    async with connected() as connection:
        buffers = pool()
        tracemalloc.start()
        try:
            # Twice: what the first one allocates for good is not of its bytes.
            for _ in range(2):
                gc.collect()
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                answer = connection.bootstrap.call("data", len(DATA))
                landed = await land(answer, buffers, bytes_max=16 * MIB)
                _, peak = tracemalloc.get_traced_memory()
                assert landed.buffer.filled_bytes == len(DATA)
        finally:
            tracemalloc.stop()
        # Most chunks have 256 KiB: not one was ever copied. (What else comes and goes has 48.)
        assert peak - before < 128 * 1024


async def test_a_table_leaves_batch_by_batch_and_is_read_where_it_landed() -> None:
    async with connected() as connection:
        buffers = pool()
        landed = await land(connection.bootstrap.call("table", 100_000), buffers, bytes_max=8 * MIB)
        with landed.columns() as result:
            assert result.row_count == 100_000
            assert result.numpy("n").sum() == 99_999 * 50_000
            assert result.arrow().column("text")[-1].as_py() == "99999"
        assert landed.buffer.is_released
        assert connection.unlanded_bytes == 0


async def test_calls_between_the_chunks_are_answered() -> None:
    async with connected() as connection:
        buffers = pool()
        total: list[int] = []

        async def ask() -> None:
            for number in range(200):
                total.append(await connection.bootstrap.call("add", number, 1))
                assert await connection.bootstrap.call("text", number * 600) == "x" * number * 600

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for _ in range(5):
                answer = connection.bootstrap.call("data", len(DATA))
                landed = await land(answer, buffers, bytes_max=16 * MIB)
                assert landed.buffer.lease().view == DATA
        assert total == list(range(1, 201))
        assert connection.unlanded_bytes == 0


async def test_two_results_land_side_by_side() -> None:
    async with connected() as connection:
        buffers = pool()

        async def one() -> None:
            answer = connection.bootstrap.call("data", len(DATA))
            landed = await land(answer, buffers, bytes_max=16 * MIB)
            assert landed.buffer.lease().view == DATA

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)


async def test_a_piece_that_has_not_left_is_not_asked_to_be_overwritten() -> None:
    async with connected() as connection:
        stream: Any = await connection.bootstrap.call("reused", accept_bytes=300_000)
        memory = memoryview(bytearray(MIB))
        for number in range(40):
            assert await stream.read_into(memory) == MIB
            assert bytes(memory) == bytes([number]) * MIB
        assert await stream.read_into(memory) == 0


async def test_what_a_handler_writes_after_it_was_cut_short_does_not_leave() -> None:
    """A chunk is half in the kernel when its call is cancelled, and its memory is used again."""
    desk, heard = Desk(), bytearray()

    async with connected(desk) as connection:
        connection._tap = lambda way, data: heard.extend(data) if way == "in" else None
        for _ in range(5):
            desk.cut = trio.Event()
            async with await connection.bootstrap.call("overwritten", accept_bytes=64 * MIB):
                # Nothing is read meanwhile, so the kernel is full: then FINISH overtakes it.
                for _ in range(30):
                    await trio.lowlevel.checkpoint()
            await desk.cut.wait()
            assert await connection.bootstrap.call("add", 1, 2) == 3
    assert b"SECRET" not in heard


@pytest.mark.parametrize("size", [1, 1_000, 65_536, MIB, 3 * MIB])
async def test_memory_of_the_caller_is_filled_piece_by_piece(size: int) -> None:
    async with connected() as connection:
        stream: Any = await connection.bootstrap.call("data", len(DATA))
        memory, whole = memoryview(bytearray(size)), hashlib.sha256()
        left = min(len(DATA), size * 50)
        expected = hashlib.sha256(DATA[:left]).digest()
        while left and (got := await stream.read_into(memory)):
            whole.update(memory[:got])
            left -= got
        assert whole.digest() == expected
        stream.release()


async def test_a_stream_is_read_now_in_one_way_and_now_in_the_other() -> None:
    async with connected() as connection:
        stream: Any = await connection.bootstrap.call("data", len(DATA))
        came = bytearray(await anext(stream))
        memory = memoryview(bytearray(100_000))
        while size := await stream.read_into(memory):
            came += memory[:size]
            came += await anext(stream, b"")
        assert came == DATA


async def test_a_reader_that_goes_on_waiting_elsewhere_has_its_memory_for_itself() -> None:
    """A cancelled `read_into` has let go of the memory: nothing is written to it any more."""
    async with connected() as connection:
        stream: Any = await connection.bootstrap.call("endless")
        memory = memoryview(bytearray(2 * MIB))
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.read_into(memory)
        memory[:] = b"-" * len(memory)
        for _ in range(50):
            assert await connection.bootstrap.call("add", 1, 2) == 3
        assert bytes(memory) == b"-" * len(memory)
        stream.release()


@pytest.mark.parametrize("announced", [len(DATA) - 1, len(DATA) + 1, 1])
async def test_a_result_that_is_not_as_long_as_it_said_is_refused(announced: int) -> None:
    account = Account("process", 256 * MIB)
    buffers = Buffers(account.tenant("t"))
    async with connected() as connection:
        answer = connection.bootstrap.call("data", announced)
        with pytest.raises((RemoteProtocolError, LimitExceeded), match="announced"):
            await land(answer, buffers, bytes_max=16 * MIB)
        assert await connection.bootstrap.call("add", 1, 2) == 3
        assert connection.inspect().streams == {}
    gc.collect()
    buffers.trim()
    assert account.held_bytes == 0


async def test_more_than_was_asked_for_is_refused_before_it_comes() -> None:
    async with connected() as connection:
        with pytest.raises(LimitExceeded, match="Ask for less"):
            await land(connection.bootstrap.call("data", len(DATA)), pool(), bytes_max=MIB)
        with pytest.raises(LimitExceeded, match="more came"):
            await land(connection.bootstrap.call("endless"), pool(), bytes_max=MIB)
        assert await connection.bootstrap.call("add", 1, 2) == 3


async def test_more_buffers_than_an_account_allows_are_refused_and_the_others_stay() -> None:
    async with connected() as connection:
        buffers = pool(20 * MIB)
        answer = connection.bootstrap.call("data", len(DATA))
        first = await land(answer, buffers, bytes_max=16 * MIB)
        again = connection.bootstrap.call("data", len(DATA))
        second = await land(again, buffers, bytes_max=16 * MIB)
        third = connection.bootstrap.call("data", len(DATA))
        with pytest.raises(LimitExceeded, match="Release results"):
            await land(third, buffers, bytes_max=16 * MIB)
        assert first.buffer.lease().view == second.buffer.lease().view == DATA
        first.buffer.release()
        answer = connection.bootstrap.call("data", len(DATA))
        await land(answer, buffers, bytes_max=16 * MIB)


async def test_a_failure_in_the_middle_is_the_readers_and_leaves_no_buffer() -> None:
    account = Account("process", 1 << 40)
    # Far more than can come before they are cut short: what does not come is not touched.
    buffers = Buffers(account.tenant("t", 1 << 40), memory_bytes_max=1 << 40)
    async with connected() as connection:
        with pytest.raises(HandlerFailed):
            await land(connection.bootstrap.call("breaks"), buffers, bytes_max=16 * MIB)
        with pytest.raises(LocalProtocolError, match="no stream"):
            await land(connection.bootstrap.call("add", 1, 2), buffers, bytes_max=16 * MIB)
        async with trio.open_nursery() as nursery:
            unwanted = connection.bootstrap.call("endless")
            nursery.start_soon(partial(land, unwanted, buffers, bytes_max=1 << 31))
            assert await connection.bootstrap.call("add", 1, 1) == 2
            nursery.cancel_scope.cancel()
        answer = connection.bootstrap.call("endless")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises((ConnectionLost, CallCancelled)):
                    await land(answer, buffers, bytes_max=1 << 31)

            assert await connection.bootstrap.call("add", 1, 1) == 2
            connection.close()
    gc.collect()
    buffers.trim()
    assert account.held_bytes == 0


def _rss_bytes() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def test_reading_far_more_than_the_window_takes_no_more_memory_than_it() -> None:
    window = 2 * MIB
    async with connected() as connection:
        stream = await connection.bootstrap.call("endless", accept_bytes=window)
        assert isinstance(stream, ByteStream)
        memory = memoryview(bytearray(window))
        memory[:] = bytes(window)
        await stream.read_into(memory)
        before = most = _rss_bytes()
        for _ in range(60):
            await stream.read_into(memory)
            most = max(most, _rss_bytes())
        stream.release()
    assert most - before < 3 * window
