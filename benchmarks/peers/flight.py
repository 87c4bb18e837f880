"""Arrow Flight: an action without a body and without results, over TLS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyarrow import flight

from benchmarks.peers._certificates import CERTIFICATE, KEY
from benchmarks.peers._child import Sample, Setting, answer_commands, one_by_one, say


class Server(flight.FlightServerBase):  # type: ignore[misc]
    def do_action(self, context: Any, action: Any) -> Iterable[bytes]:
        return ()


def serve(setting: Setting) -> None:
    pair = setting.file(CERTIFICATE).read_bytes(), setting.file(KEY).read_bytes()
    server = Server("grpc+tls://127.0.0.1:0", tls_certificates=[pair])
    say({"port": server.port})
    server.serve()


def drive(setting: Setting) -> None:
    client = flight.FlightClient(
        f"grpc+tls://127.0.0.1:{setting.port}",
        tls_root_certs=setting.file(CERTIFICATE).read_bytes(),
        override_hostname="localhost",
    )
    action = flight.Action("null", b"")

    def null(count: int) -> Sample:
        return one_by_one(lambda: list(client.do_action(action)), count)

    answer_commands({"null": null})
