"""Arrow Flight over TLS or a Unix socket: bytes as a column, and the answer of a query."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import flight

from benchmarks.peers._certificates import CERTIFICATE, KEY
from benchmarks.peers._child import Sample, Setting, answer_commands, say
from benchmarks.peers._landing import landing_place, payload, speed
from benchmarks.peers._query import check, reader

# The fastest of 256 KiB to 8 MiB where this was written.
BATCH_BYTES = 1024 * 1024


class Server(flight.FlightServerBase):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.data = payload(0)

    def do_get(self, _context: Any, ticket: Any) -> Any:
        what, size = ticket.ticket.decode().split()
        if what == "query":
            return flight.GeneratorStream(reader(1).schema, reader(int(size)))
        if len(self.data) != int(size):
            self.data = payload(int(size))
        whole = pa.array(np.frombuffer(self.data, np.uint8))
        batches = [
            pa.record_batch([whole.slice(start, BATCH_BYTES)], ["bytes"])
            for start in range(0, int(size), BATCH_BYTES)
        ]
        return flight.GeneratorStream(batches[0].schema, iter(batches))


def serve(setting: Setting) -> None:
    if setting.loop == "unix":
        server = Server(f"grpc+unix://{setting.directory}/flight.sock")
    else:
        pair = setting.file(CERTIFICATE).read_bytes(), setting.file(KEY).read_bytes()
        server = Server("grpc+tls://127.0.0.1:0", tls_certificates=[pair])
    say({"port": server.port})
    server.serve()


def client(setting: Setting) -> Any:
    if setting.loop == "unix":
        return flight.FlightClient(f"grpc+unix://{setting.directory}/flight.sock")
    return flight.FlightClient(
        f"grpc+tls://127.0.0.1:{setting.port}",
        tls_root_certs=setting.file(CERTIFICATE).read_bytes(),
        override_hostname="localhost",
    )


def drive(setting: Setting) -> None:
    asking, place = client(setting), landing_place(1)

    def bulk(size: int) -> Sample:
        """The bytes of each batch are copied to the caller's buffer: it offers nothing better."""
        nonlocal place
        if len(place) != size:
            place = landing_place(size)
        start, at = perf_counter_ns(), 0
        for batch in asking.do_get(flight.Ticket(f"bulk {size}".encode())):
            column = batch.data.column(0)
            data = memoryview(column.buffers()[1]).cast("B")[: len(column)]
            place[at : at + len(data)] = data
            at += len(data)
        assert at == size
        return speed(size, start)

    def kept(size: int) -> Sample:
        """The same, usable as it came: memory that Flight allocates each time."""
        start = perf_counter_ns()
        table = asking.do_get(flight.Ticket(f"bulk {size}".encode())).read_all()
        assert table.num_rows == size
        return speed(size, start)

    def query(rows: int) -> Sample:
        start = perf_counter_ns()
        table = asking.do_get(flight.Ticket(f"query {rows}".encode())).read_all()
        table.validate(full=True)
        check(table, rows)
        seconds = (perf_counter_ns() - start) / 1e9
        return {"calls": 1, "seconds": seconds, "rows_per_s": rows / seconds}

    answer_commands({"bulk": bulk, "kept": kept, "query": query})
