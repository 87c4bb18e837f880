"""A bulk result of PSP through its public doors, landing in a result buffer."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from time import perf_counter_ns

import trio

from benchmarks._process import memory_bytes
from benchmarks.peers._child import Sample, Setting, answer_commands_async, say
from benchmarks.peers._landing import PIECE_BYTES, payload, speed
from benchmarks.peers._pairing import Pairing
from benchmarks.peers._query import check, reader
from psp.buffers import Buffers, process_account
from psp.endpoint import Connection, Exposed, Stream, arrow_chunks, connect, land, method
from psp.endpoint import serve as serve_archive

WINDOW_BYTES = 4 * 1024 * 1024
QUERY_BYTES_MAX = 256 * 1024 * 1024


class Desk(Exposed):
    def __init__(self) -> None:
        self.data = payload(0)

    @method
    def bulk(self, size: int) -> Stream:
        if len(self.data) != size:
            self.data = payload(size)
        return Stream({"bytes": size}, _pieces(self.data))

    @method
    async def endless(self, size: int) -> AsyncIterator[memoryview]:
        piece = payload(PIECE_BYTES)
        for _ in range(0, size, PIECE_BYTES):
            yield piece

    @method
    def query(self, rows: int) -> Stream:
        return Stream({"rows": rows}, arrow_chunks(reader(rows)))


async def _pieces(data: memoryview) -> AsyncIterator[memoryview]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def serve(setting: Setting) -> None:
    trio.run(_serve, setting)


def drive(setting: Setting) -> None:
    trio.run(_drive, setting)


async def _serve(setting: Setting) -> None:
    pairing = Pairing.of(setting)
    desk = Desk()
    async with trio.open_nursery() as nursery:
        _, port = await nursery.start(
            partial(
                serve_archive,
                key=pairing.subject,
                archive_id=pairing.anchor.archive_id,
                pins=[pairing.pin],
                bootstrap=lambda _peer: desk,
                present=pairing.present(lambda _grant: desk),
                host="127.0.0.1",
                port=0,
                log=partial(print, file=sys.stderr),
            )
        )
        say({"port": port})


async def _drive(setting: Setting) -> None:
    pairing = Pairing.of(setting)
    buffers = Buffers(process_account().tenant("bulk"))
    async with connect(pairing.address(setting.port), key=pairing.controller) as connection:

        async def bulk(size: int) -> Sample:
            start = perf_counter_ns()
            answer = connection.bootstrap.call(
                "bulk", size, accept_bytes=WINDOW_BYTES, is_last=True
            )
            landed = await land(answer, buffers, bytes_max=size)
            sample = speed(size, start)
            sample["unlanded_bytes"] = connection.unlanded_bytes
            landed.buffer.release()
            return sample

        async def query(rows: int) -> Sample:
            start = perf_counter_ns()
            answer = connection.bootstrap.call(
                "query", rows, accept_bytes=WINDOW_BYTES, is_last=True
            )
            with (await land(answer, buffers, bytes_max=QUERY_BYTES_MAX)).columns() as result:
                check(result.arrow(), rows)
                seconds = (perf_counter_ns() - start) / 1e9
            return {"calls": 1, "seconds": seconds, "rows_per_s": rows / seconds}

        await answer_commands_async(
            {"bulk": bulk, "query": query, "stream": partial(stream, connection)},
            trio.to_thread.run_sync,
        )


async def stream(connection: Connection, size: int) -> Sample:
    """Read a stream into the same memory over and over, and say what that took of it."""
    place = memoryview(bytearray(WINDOW_BYTES))
    async with await connection.bootstrap.call(
        "endless", size, accept_bytes=WINDOW_BYTES, timeout_s=120
    ) as incoming:
        await incoming.read_into(place)
        before = most = memory_bytes(os.getpid())
        start = perf_counter_ns()
        count = 0
        while await incoming.read_into(place):
            count += 1
            if count % 16 == 0:
                most = max(most, memory_bytes(os.getpid()))
    return {
        **speed(size, start),
        "extra_bytes": max(most - before, 4096),
        "window_bytes": WINDOW_BYTES,
    }
