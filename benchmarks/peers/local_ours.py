"""Results handed over on one machine as sealed files."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import pyarrow as pa
import trio

from benchmarks.peers._child import Sample, Setting, answer_commands_async, say
from benchmarks.peers._landing import payload, speed
from benchmarks.peers._pairing import Pairing
from psp.buffers import Account, Buffers, SealedFile, arrow_pieces
from psp.endpoint import Connection, Exposed, Stream, connect, handed_over, land, method
from psp.endpoint import serve as serve_archive
from psp.transport import HandOver

BATCH_ROWS = 16 * 1024 * 1024
WINDOW_BYTES = 1


class Desk(Exposed):
    def __init__(self, hand_over: HandOver) -> None:
        self.hand_over = hand_over
        self.tables: dict[int, Any] = {}
        self.sealed: SealedFile | None = None
        self.account = Account("archive", 1 << 33)

    def table(self, size: int) -> Any:
        """What an engine has computed: columns of numbers."""
        if size not in self.tables:
            column = pa.array(np.frombuffer(payload(size), np.float64))
            self.tables[size] = pa.table({"a": column})
        return self.tables[size]

    @method
    def prepare(self, size: int) -> None:
        """Compute, and seal what the next hand-over passes."""
        self.table(size)
        if self.sealed is not None:
            self.sealed.close()
        self.sealed = self.seal(size)

    @method
    def pass_sealed(self) -> Stream:
        assert self.sealed is not None
        file, self.sealed = self.sealed, None
        return handed_over(self.hand_over, file)

    @method
    def pass_computed(self, size: int) -> Stream:
        return handed_over(self.hand_over, self.seal(size))

    @method
    def one_write(self, size: int) -> float:
        """What the bytes cost that must be written once in any case."""
        column = memoryview(self.table(size).column(0).chunk(0).buffers()[1])
        fd = os.memfd_create("floor")
        start, left = perf_counter_ns(), column
        while left:
            left = left[os.write(fd, left) :]
        seconds = (perf_counter_ns() - start) / 1e9
        os.close(fd)
        return seconds

    def seal(self, size: int) -> SealedFile:
        source = self.table(size).to_reader(max_chunksize=BATCH_ROWS)
        pieces = (piece for batch in arrow_pieces(source) for piece in batch)
        return SealedFile(pieces, self.account)


def serve(setting: Setting) -> None:
    trio.run(_serve, setting)


def drive(setting: Setting) -> None:
    trio.run(_drive, setting)


async def _serve(setting: Setting) -> None:
    pairing = Pairing.of(setting)
    desk = Desk(HandOver(Path(setting.directory), pairing.anchor.archive_id))
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.hand_over.run)
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
    place = Path(setting.directory)
    buffers = Buffers(Account("process", 1 << 33).tenant("local"))
    async with connect(
        pairing.address(setting.port), key=pairing.controller, runtime=place
    ) as connection:

        async def taken(answer: Any, size: int) -> Sample:
            start = perf_counter_ns()
            landed = await land(answer, buffers, bytes_max=1 << 31)
            with landed.columns() as result:
                assert result.arrow().num_rows == size // 8
                sample = speed(size, start)
            assert connection.inspect().local == ""
            return sample

        async def sealed(size: int) -> Sample:
            await connection.bootstrap.call("prepare", size, timeout_s=60)
            return await taken(_call(connection, "pass_sealed"), size)

        async def computed(size: int) -> Sample:
            return await taken(_call(connection, "pass_computed", size), size)

        async def one_write(size: int) -> Sample:
            seconds = await connection.bootstrap.call("one_write", size, timeout_s=60)
            return {"calls": 1, "seconds": seconds}

        await answer_commands_async(
            {"sealed": sealed, "computed": computed, "one_write": one_write},
            trio.to_thread.run_sync,
        )


def _call(connection: Connection, name: str, *arguments: int) -> Any:
    return connection.bootstrap.call(name, *arguments, accept_bytes=WINDOW_BYTES, timeout_s=60)
