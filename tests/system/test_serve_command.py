"""`psp totebox serve`, as systemd starts it, watches it and stops it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import trio

from psp.capability import Operation
from psp.endpoint import Address, connect
from psp.plan import Measure, Plan
from psp.transport import MachineKey
from tests.integration.test_totebox_service import box as box
from tests.integration.test_totebox_service import token
from tests.integration.test_totebox_service import user as user
from tests.unit.totebox.conftest import OWNER

COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),)).to_wire()


def start(box: Path, *arguments: object, notify: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "psp", "totebox", "serve", box, "--json", *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **({"NOTIFY_SOCKET": notify} if notify else {})},
    )


def scraped(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in found}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


async def test_systemd_and_prometheus_are_told_and_sigterm_ends_it_well(
    box: Path, user: MachineKey, tmp_path: Path
) -> None:
    metrics_port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(60)
        address = f"@{tmp_path}"  # Confined, it could not connect to an abstract name.
        told.bind(address.replace("@", "\0"))
        process = start(box, "--metrics-port", metrics_port, notify=address)
        try:
            assert await trio.to_thread.run_sync(told.recv, 100) == b"READY=1"
            assert process.stdout is not None
            ready: dict[str, Any] = json.loads(process.stdout.readline())
            there = Address(
                OWNER.archive_id, ready["host"], ready["port"], OWNER.box.certificate_pem, "box"
            )
            async with connect(there, key=user) as connection:
                table = await connection.present(token(user)).call("table", "sales")
                await table.call("query", COUNT)
                metrics = scraped(metrics_port)
                row: Any = await table.call("row", ["0016"]).call("values")
                process.send_signal(signal.SIGTERM)
            assert told.recv(100) == b"STOPPING=1"
            assert await trio.to_thread.run_sync(process.wait, 60) == 0
        finally:
            process.kill()
            _, said = process.communicate()
    assert ready["confinement"] == "confined"
    assert row == {"id": "0016", "rooms": 3}
    assert said == ""
    assert metrics['psp_archive_state{state="active"}'] == 1
    assert metrics['psp_archive_state{state="suspended"}'] == 0
    assert (metrics["psp_reads_recorded_total"], metrics["psp_ledger_entries"]) == (1, 3)
    assert metrics["psp_result_bytes_total"] > 0
    assert (metrics["psp_record_bytes_total"], metrics["psp_reads_stopped"]) == (0, 0)
    # Nothing but the state is a label.
    assert {name.partition("{")[2] for name in metrics} <= {
        "",
        *(f'state="{state}"}}' for state in ("active", "suspended", "archived")),
    }


def test_a_port_that_is_taken_is_said_in_a_sentence(box: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(box, "--port", taken.getsockname()[1])
        out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "Traceback" not in said
    assert "in use" in said
