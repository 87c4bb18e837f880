"""An echo over a blocking SSL socket: the floor under every protocol on TLS."""

from __future__ import annotations

import socket
import ssl

from benchmarks.peers._certificates import client_context, server_context
from benchmarks.peers._child import Sample, Setting, answer_commands, one_by_one, say

NULL_CALL = bytes(24)
"""As long as the frame of a null call."""


def serve(setting: Setting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        say({"port": listener.getsockname()[1]})
        sock, _ = listener.accept()
        with _quick(server_context(setting).wrap_socket(sock, server_side=True)) as stream:
            while data := stream.recv(65_536):
                stream.sendall(data)


def drive(setting: Setting) -> None:
    sock = socket.create_connection(("127.0.0.1", setting.port))
    with _quick(client_context(setting).wrap_socket(sock, server_hostname="localhost")) as stream:

        def echo() -> None:
            stream.sendall(NULL_CALL)
            stream.recv(65_536)

        def null(count: int) -> Sample:
            return one_by_one(echo, count)

        answer_commands({"null": null})


def _quick(stream: ssl.SSLSocket) -> ssl.SSLSocket:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream
