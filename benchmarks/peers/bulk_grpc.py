"""gRPC over TLS: a server stream of bytes, by its blocking API or by asyncio (`loop`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns
from typing import Any

import grpc

from benchmarks.peers._child import Sample, Setting, answer_commands, say
from benchmarks.peers._landing import landing_place, payload, speed
from benchmarks.peers.grpc_aio import SERVICE, server_credentials, target

# The fastest of 64 KiB to 4 MiB (its limit) where this was written.
MESSAGE_BYTES = 1024 * 1024
METHOD = f"/{SERVICE}/Bulk"


def _messages() -> Any:
    # As every contestant's server has it: all of it in memory, before it is asked for. One message
    # again and again would come from the processor's cache, and no result does.
    messages: list[bytes] = []

    def bulk(request: bytes, _context: Any) -> Iterator[bytes]:
        size = int(request)
        if size != MESSAGE_BYTES * len(messages):
            whole = payload(size)
            messages[:] = [
                bytes(whole[start : start + MESSAGE_BYTES])
                for start in range(0, size, MESSAGE_BYTES)
            ]
        yield from messages

    return grpc.unary_stream_rpc_method_handler(bulk)


def serve(setting: Setting) -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    handlers = grpc.method_handlers_generic_handler(SERVICE, {"Bulk": _messages()})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(setting))
    server.start()
    say({"port": port})
    server.wait_for_termination()


class _Place:
    def __init__(self) -> None:
        self.view = landing_place(1)
        self.at = 0

    def begin(self, size: int) -> int:
        if len(self.view) != size:
            self.view = landing_place(size)
        self.at = 0
        return perf_counter_ns()

    def put(self, data: bytes) -> None:
        self.view[self.at : self.at + len(data)] = data
        self.at += len(data)


def drive(setting: Setting) -> None:
    place = _Place()
    if setting.loop == "sync":
        address, credentials, options = target(setting)
        single = [*options, ("SingleThreadedUnaryStream", 1)]
        with grpc.secure_channel(address, credentials, single) as channel:
            call = channel.unary_stream(METHOD)

            def bulk(size: int) -> Sample:
                start = place.begin(size)
                for data in call(str(size).encode()):
                    place.put(data)
                assert place.at == size
                return speed(size, start)

            answer_commands({"bulk": bulk})
        return
    with asyncio.Runner() as runner:
        channel = runner.run(_opened(setting))
        stream = channel.unary_stream(METHOD)

        async def bulk_async(size: int) -> Sample:
            start = place.begin(size)
            async for data in stream(str(size).encode()):
                place.put(data)
            assert place.at == size
            return speed(size, start)

        answer_commands({"bulk": lambda size: runner.run(bulk_async(size))})


async def _opened(setting: Setting) -> Any:
    return grpc.aio.secure_channel(*target(setting))
