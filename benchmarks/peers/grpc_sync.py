"""gRPC without asyncio: a blocking stub, and a server of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from benchmarks.peers._child import Sample, Setting, answer_commands, one_by_one, say
from benchmarks.peers.grpc_aio import METHOD, SERVICE, server_credentials, target


def _null(_request: bytes, _context: Any) -> bytes:
    return b""


def serve(setting: Setting) -> None:
    server = grpc.server(ThreadPoolExecutor(4))
    handler = grpc.unary_unary_rpc_method_handler(_null)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),)
    )
    port = server.add_secure_port("127.0.0.1:0", server_credentials(setting))
    server.start()
    say({"port": port})
    server.wait_for_termination()


def drive(setting: Setting) -> None:
    # The documented option for the fastest blocking stub of one thread.
    address, credentials, options = target(setting)
    single = [*options, ("SingleThreadedUnaryStream", 1)]
    with grpc.secure_channel(address, credentials, single) as channel:
        call = channel.unary_unary(f"/{SERVICE}/{METHOD}")

        def null(count: int) -> Sample:
            return one_by_one(lambda: call(b""), count)

        answer_commands({"null": null})
