"""grpc.aio with TLS and with no serializer at all: bytes in, bytes out."""

from __future__ import annotations

from typing import Any

import grpc

from benchmarks.peers import _asyncio
from benchmarks.peers._certificates import CERTIFICATE, KEY
from benchmarks.peers._child import Setting, say

SERVICE, METHOD = "benchmark.Node", "Null"


def serve(setting: Setting) -> None:
    _asyncio.run(setting, _serve(setting))


def drive(setting: Setting) -> None:
    _asyncio.run(setting, _drive(setting))


def server_credentials(setting: Setting) -> Any:
    pair = setting.file(KEY).read_bytes(), setting.file(CERTIFICATE).read_bytes()
    return grpc.ssl_server_credentials([pair])


def channel_credentials(setting: Setting) -> Any:
    return grpc.ssl_channel_credentials(setting.file(CERTIFICATE).read_bytes())


def target(setting: Setting) -> tuple[str, Any, list[tuple[str, str]]]:
    named = [("grpc.ssl_target_name_override", "localhost")]
    return f"127.0.0.1:{setting.port}", channel_credentials(setting), named


async def _null(_request: bytes, _context: Any) -> bytes:
    return b""


async def _serve(setting: Setting) -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(_null)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),)
    )
    port = server.add_secure_port("127.0.0.1:0", server_credentials(setting))
    await server.start()
    say({"port": port})
    await server.wait_for_termination()


async def _drive(setting: Setting) -> None:
    async with grpc.aio.secure_channel(*target(setting)) as channel:
        null = channel.unary_unary(f"/{SERVICE}/{METHOD}")
        await _asyncio.drive(lambda: null(b""), {})
