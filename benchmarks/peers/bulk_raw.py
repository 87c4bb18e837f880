"""The floor of a bulk transfer: blocking `sendall` and `recv_into` on a TLS socket."""

from __future__ import annotations

import socket
from time import perf_counter_ns

from benchmarks.peers._certificates import client_context, server_context
from benchmarks.peers._child import Sample, Setting, answer_commands, say
from benchmarks.peers._landing import landing_place, payload, speed

CHUNK_BYTES = 256 * 1024


def serve(setting: Setting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        say({"port": listener.getsockname()[1]})
        sock, _ = listener.accept()
        with server_context(setting).wrap_socket(sock, server_side=True) as stream:
            data = payload(0)
            while asked := stream.recv(8):
                size = int.from_bytes(asked, "big")
                if len(data) != size:
                    data = payload(size)
                for start in range(0, size, CHUNK_BYTES):
                    stream.sendall(data[start : start + CHUNK_BYTES])


def drive(setting: Setting) -> None:
    sock = socket.create_connection(("127.0.0.1", setting.port))
    with client_context(setting).wrap_socket(sock, server_hostname="localhost") as stream:
        place = landing_place(1)

        def bulk(size: int) -> Sample:
            nonlocal place
            if len(place) != size:
                place = landing_place(size)
            start = perf_counter_ns()
            stream.sendall(size.to_bytes(8, "big"))
            left = place
            while left:
                left = left[stream.recv_into(left) :]
            return speed(size, start)

        answer_commands({"bulk": bulk})
