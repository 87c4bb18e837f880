"""`python -m tests.attacks.arrow_mutations SEED COUNT`: mutated Arrow streams, read and then used.

A child of its own: what crashes here must not take the tests with it. It says what it did as JSON.
"""

from __future__ import annotations

import json
import os
import random
import resource
import struct
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks._process import peak_bytes
from psp.buffers import Account, Buffers, Columns
from psp.errors import MalformedFrame

ALLOCATED_BYTES_MAX = 64 * 1024 * 1024
ADDRESSES_BYTES = 2 * 1024 * 1024 * 1024

ODD = (0, 1, 7, 8, 63, 64, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, -1)


def bases() -> list[bytes]:
    """Streams of every type family, those among them that must be refused."""
    day, now = date(2020, 2, 29), datetime(2020, 2, 29, 12)
    columns: dict[str, Any] = {
        **{f"i{bits}": pa.array([1, None, 3], f"int{bits}") for bits in (8, 16, 32, 64)},
        **{f"u{bits}": pa.array([1, 2, 3], f"uint{bits}") for bits in (8, 16, 32, 64)},
        "f32": pa.array([1.5, None, 0.0], pa.float32()),
        "f64": pa.array([1.5, 2.5, float("nan")]),
        "bool": pa.array([True, None, False]),
        "utf8": pa.array(["a", None, "Straße"]),
        "large_utf8": pa.array(["a", "", "日本"], pa.large_utf8()),
        "binary": pa.array([b"", b"\xff", None]),
        "large_binary": pa.array([b"abc", b"", b"\0"], pa.large_binary()),
        "decimal128": pa.array([Decimal("1.25"), None, Decimal("-3.00")], pa.decimal128(9, 2)),
        "decimal256": pa.array([Decimal("1.25")] * 3, pa.decimal256(60, 2)),
        "date32": pa.array([day, None, day]),
        "time32": pa.array([time(1), None, time(2)], pa.time32("ms")),
        "time64": pa.array([time(1), None, time(2)], pa.time64("us")),
        "timestamp": pa.array([now, None, now], pa.timestamp("us", "Europe/Berlin")),
        "duration": pa.array([timedelta(1), None, timedelta(2)], pa.duration("ns")),
    }
    refused: dict[str, Any] = {
        "null": pa.nulls(3),
        "list": pa.array([[1], [2, 3], None]),
        "struct": pa.array([{"a": 1}, None, {"a": 3}]),
        "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
        "view": pa.array(["a", "b", "c" * 40], pa.string_view()),
    }
    tables = [pa.table({name: column}) for name, column in {**columns, **refused}.items()]
    tables += [pa.table(columns), pa.table({"empty": pa.array([], pa.utf8())})]
    # Most bytes of a stream are in its body: so a mutation often is.
    streams = [_stream(table) for table in tables]
    streams += [_stream(pa.concat_tables([table] * 40).combine_chunks()) for table in tables]
    streams.append(_stream(pa.table(columns), 1))
    compressed = pa.table({"zeros": pa.array([0] * 5000)})
    streams.append(_stream(compressed, None, pa.ipc.IpcWriteOptions(compression="lz4")))
    return streams


def _stream(table: Any, rows: int | None = None, options: Any = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _put_odd(data: bytearray, chance: random.Random) -> None:
    form = chance.choice(("<B", "<H", "<I", "<Q"))
    size = struct.calcsize(form)
    place = chance.randrange(0, max(len(data) - size, 1)) // size * size
    if place + size <= len(data):
        struct.pack_into(form, data, place, chance.choice(ODD) & (2 ** (8 * size) - 1))


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _move(data: bytearray, chance: random.Random) -> None:
    size, source = chance.randrange(1, 65), chance.randrange(len(data))
    target = chance.randrange(len(data))
    data[target : target + size] = data[source : source + size]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _flip),
    *(_put_odd, _put_odd, _put_odd),
    *(_move, _cut),
)

USES: tuple[Callable[[Any], object], ...] = (
    lambda column: column.to_pylist(),
    lambda column: column.to_numpy(zero_copy_only=False),
    lambda column: str(column),
    lambda column: pc.sort_indices(column),
    lambda column: pc.unique(column),
    lambda column: pc.is_null(column),
    lambda column: pc.cast(column, pa.utf8()),
    lambda column: pc.min_max(column),
    lambda column: pc.take(column, pa.array(range(len(column)))),
    lambda column: column.combine_chunks(),
    lambda column: column.slice(1).to_pylist(),
    lambda column: column.equals(column),
)


def use(columns: Columns, said: Counter[str]) -> None:
    """Use a result as a program might. What is wrong in it is an exception, and nothing worse."""
    for name in columns.names:
        try:
            column = columns.column(name)
        except MalformedFrame:
            said["refused at first use"] += 1
            continue
        said["columns used"] += 1
        for each in USES:
            try:
                each(column)
            except (pa.ArrowException, ValueError, OverflowError, LookupError, TypeError):
                said["uses refused by pyarrow"] += 1
    try:
        table = pa.table(columns)
    except MalformedFrame:
        return
    assert table.num_rows == columns.row_count
    said["tables used"] += 1


def main(seed: int, count: int) -> dict[str, int]:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chance, said, streams = random.Random(seed), Counter[str](), bases()
    share = Buffers(Account("process", 1 << 30).tenant("t")).share("c")
    chosen = [chance.choice(streams) for _ in range(50)]
    for stream in chosen:  # As they are: what is loaded late must not count below.
        attempt(share.take(len(stream)), stream, Counter())
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
    # What wants more than this is a MemoryError, which no code here catches.
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESSES_BYTES, used + ADDRESSES_BYTES))
    before = peak_bytes(os.getpid())  # Not `ru_maxrss`: that remembers what forked us.
    for _ in range(count):
        data = bytearray(chance.choice(streams))
        for _ in range(chance.randrange(1, 4)):
            if data:
                chance.choice(MUTATIONS)(data, chance)
        attempt(share.take(max(len(data), 1)), bytes(data), said)
    grown = peak_bytes(os.getpid()) - before
    assert grown < ALLOCATED_BYTES_MAX, f"{grown} bytes were allocated for streams of some KiB"
    assert pa.default_memory_pool().max_memory() < ALLOCATED_BYTES_MAX
    return dict(said)


def attempt(buffer: Any, data: bytes, said: Counter[str]) -> None:
    room = buffer.room()
    room[: len(data)] = data
    room.release()
    buffer.advance(len(data))
    buffer.finish()
    said["streams"] += 1
    try:
        columns = Columns(buffer)
    except MalformedFrame:
        said["refused by our check"] += 1
        buffer.release()
        return
    with columns:
        use(columns, said)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
