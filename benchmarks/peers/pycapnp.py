"""pycapnp: Cap'n Proto's two-party RPC in C++, over asyncio's TLS, as its documentation shows."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import capnp

from benchmarks.peers import _asyncio
from benchmarks.peers._certificates import client_context, server_context
from benchmarks.peers._child import Sample, Setting, one_by_one_async, say, together

SCHEMA: Any = capnp.load(str(Path(__file__).with_name("node.capnp")))


class Node(SCHEMA.Node.Server):  # type: ignore[misc]
    # The `_context` form skips unpacking parameters and packing results.
    async def null_context(self, context: Any) -> None: ...

    async def one_context(self, context: Any) -> None:
        context.results.node = Node()

    two_context = three_context = four_context = five_context = one_context
    six_context = seven_context = eight_context = nine_context = one_context

    async def ten_context(self, context: Any) -> None:
        context.results.number = 10


def serve(setting: Setting) -> None:
    _asyncio.run(setting, capnp.run(_serve(setting)))


def drive(setting: Setting) -> None:
    _asyncio.run(setting, capnp.run(_drive(setting)))


async def _serve(setting: Setting) -> None:
    async def welcome(stream: Any) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=Node()).on_disconnect()

    server = await capnp.AsyncIoStream.create_server(
        welcome, "127.0.0.1", 0, ssl=server_context(setting), family=socket.AF_INET
    )
    async with server:
        say({"port": server.sockets[0].getsockname()[1]})
        await server.serve_forever()


async def _drive(setting: Setting) -> None:
    stream = await capnp.AsyncIoStream.create_connection(
        "127.0.0.1",
        setting.port,
        ssl=client_context(setting),
        server_hostname="localhost",
        family=socket.AF_INET,
    )
    node = capnp.TwoPartyClient(stream).bootstrap().cast_as(SCHEMA.Node)

    async def batch(count: int) -> Sample:
        start = perf_counter_ns()
        for promise in [node.null() for _ in range(count)]:
            await promise
        return together(count, start)

    async def gathered(count: int) -> Sample:
        start = perf_counter_ns()
        await asyncio.gather(*[node.null() for _ in range(count)])
        return together(count, start)

    async def chain() -> None:
        five = node.one().node.two().node.three().node.four().node.five().node
        await five.six().node.seven().node.eight().node.nine().node.ten()

    async def chain10(count: int) -> Sample:
        return await one_by_one_async(chain, count)

    await _asyncio.drive(node.null, {"batch": batch, "gathered": gathered, "chain10": chain10})
