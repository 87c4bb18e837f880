"""What a served archive counts, for Prometheus.

Numbers about the archive, never about what it holds: no table, column, key, grant or peer stands in
a name or a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from psp.errors import EstateError, MissingExtra

from ._granted import Shared
from ._manifest import State

if TYPE_CHECKING:
    from prometheus_client import Metric

ADDRESS = "127.0.0.1"
"""Nothing protects these numbers on their way, so they are told on this machine alone."""


@contextmanager
def metrics_served(desk: Shared, port: int) -> Iterator[int]:
    """Answer Prometheus on a port of this machine, in a thread; give the port.

    Args:
        port: 0 for any.

    Raises:
        MissingExtra: prometheus_client is not installed.
        EstateError: The port is in use.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as exc:
        raise MissingExtra("metrics", library="prometheus-client", extra="metrics") from exc
    registry = CollectorRegistry()
    registry.register(Collected(desk))
    try:
        server, thread = start_http_server(port, addr=ADDRESS, registry=registry)
    except OSError as exc:
        raise EstateError(
            f"port {port} cannot be used for metrics ({exc.strerror}). Name another one."
        ) from exc
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Collected:
    """Gives the numbers of the moment; asked by a thread, it reads and changes nothing."""

    def __init__(self, desk: Shared) -> None:
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        desk = self._desk
        manifest, counters, reads = desk.archive.manifest, desk.counters, desk.reads
        state = GaugeMetricFamily(
            "psp_archive_state", "1 for the state that the archive is in.", labels=["state"]
        )
        for one in State:
            state.add_metric([one.value], float(one is manifest.state))
        yield state
        for name, text, value in (
            ("ledger_entries", "Entries in the ledger.", desk.data.tree_size),
            ("reads_waiting", "Reads whose entries are not durable yet.", reads.waiting),
            ("reads_stopped", "1 if reads cannot be recorded.", reads.failure is not None),
            ("grants_stopped", "1 if no grant is accepted.", bool(desk.memory.alarm)),
            ("clock_behind", "1 if the clock is behind its mark.", self._is_behind()),
            ("disk_free_bytes", "What the archive may still write.", reads.free_bytes()),
        ):
            yield GaugeMetricFamily(f"psp_{name}", text, value=float(value))
        for name, text, value in (
            ("reads_recorded", "Reads on record, over the archive's life.", reads.recorded),
            ("record_bytes", "Bytes of records that left.", counters.record_bytes),
            ("result_bytes", "Bytes of computed results that left.", counters.result_bytes),
        ):
            yield CounterMetricFamily(f"psp_{name}", text, value=float(value))

    def _is_behind(self) -> bool:
        return self._desk.memory.is_behind(self._desk.clocks().wall_s)
