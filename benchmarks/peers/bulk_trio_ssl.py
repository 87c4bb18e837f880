"""`trio.SSLStream` on both sides: what one would use without a stream of one's own."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter_ns

import trio

from benchmarks.peers._certificates import client_context, server_context
from benchmarks.peers._child import Sample, Setting, answer_commands_async, say
from benchmarks.peers._landing import landing_place, payload, speed

CHUNK_BYTES = 256 * 1024


def serve(setting: Setting) -> None:
    with suppress(trio.BrokenResourceError):  # The driver has gone without a word.
        trio.run(_serve, setting)


def drive(setting: Setting) -> None:
    trio.run(_drive, setting)


async def _serve(setting: Setting) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    say({"port": listener.socket.getsockname()[1]})
    stream = trio.SSLStream(await listener.accept(), server_context(setting), server_side=True)
    data = payload(0)
    while asked := await stream.receive_some(8):
        size = int.from_bytes(asked, "big")
        if len(data) != size:
            data = payload(size)
        for start in range(0, size, CHUNK_BYTES):
            await stream.send_all(data[start : start + CHUNK_BYTES])


async def _drive(setting: Setting) -> None:
    transport = await trio.open_tcp_stream("127.0.0.1", setting.port)
    stream = trio.SSLStream(transport, client_context(setting), server_hostname="localhost")
    place = landing_place(1)

    async def bulk(size: int) -> Sample:
        nonlocal place
        if len(place) != size:
            place = landing_place(size)
        start = perf_counter_ns()
        await stream.send_all(size.to_bytes(8, "big"))
        at = 0
        while at < size:
            data = await stream.receive_some(CHUNK_BYTES)
            place[at : at + len(data)] = data
            at += len(data)
        return speed(size, start)

    await answer_commands_async({"bulk": bulk}, trio.to_thread.run_sync)
