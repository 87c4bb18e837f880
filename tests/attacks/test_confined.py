"""Code planted in one archive reaches neither its sibling's directory nor the network."""

from __future__ import annotations

import json
import platform
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from psp.endpoint import Address, connect
from psp.estate._servers import Served, Servers
from psp.transport import MachineKey
from psp.transport._same_host import socket_path
from tests.integration.test_totebox_service import box as box
from tests.integration.test_totebox_service import token
from tests.integration.test_totebox_service import user as user
from tests.unit.totebox.conftest import OWNER

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "aarch64"}, reason="calls are filtered on two processors"
)


@contextmanager
def planted(box: Path, sibling: Path, port: int, free_port: int) -> Iterator[Any]:
    program = [sys.executable, "-m", "tests.attacks.confined_program"]
    arguments = [*map(str, (box, sibling, port, free_port))]
    with subprocess.Popen(
        [*program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = process.stdout

        def hear() -> dict[str, Any]:
            said: dict[str, Any] = json.loads(lines.readline())
            return said

        try:
            yield hear
        finally:
            process.send_signal(signal.SIGKILL)


async def test_planted_code_reaches_no_sibling_and_no_network(
    box: Path, user: MachineKey, short_path: Path
) -> None:
    """Nor a sibling's place to hand results over, in the directory where it has its own."""
    sibling = short_path / "sibling"
    sibling.mkdir(mode=0o700)
    (sibling / "rows").write_text("0099,secret")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=16) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free,
        socket.socket(socket.AF_UNIX) as local,
    ):
        free.bind(("127.0.0.1", 0))
        local.bind(str(sibling / "socket"))
        local.listen()
        ports = tcp.getsockname()[1], free.getsockname()[1]
        with planted(box, sibling, *ports) as hear:
            before = hear()["before"]
            listens = hear()
            address = Address(
                OWNER.archive_id, listens["host"], listens["port"], OWNER.box.certificate_pem, "box"
            )
            async with connect(address, key=user) as connection:
                health: Any = await connection.bootstrap.call("health")
                table = connection.present(token(user)).call("table", "sales")
                row: Any = await table.call("row", ["0016"]).call("values")
            said = hear()

    before.pop("connect over MPTCP")  # Not in every kernel.
    assert set(before.values()) == {"done"}
    # Landlock says of a link that it would lead to another disk.
    assert said["after"].pop("link a sibling's rows here") in ("EXDEV", "EACCES")
    # As an older kernel would say it, or no thread could be started either.
    assert said["after"].pop("begin another process by clone3") == "ENOSYS"
    assert set(said["after"].values()) == {"EACCES", "EPERM"}
    # It serves as ever, from its own directory.
    assert said["own"] is True
    assert socket_path(sibling, OWNER.archive_id).is_socket()
    assert health["confinement"] == "confined"
    assert row == {"id": "0016", "rooms": 3}


def test_an_estates_archives_are_confined_before_they_accept(box: Path, tmp_path: Path) -> None:
    """And hold nothing of each other's, nor what their supervisor hears and says."""
    shutil.copytree(box, tmp_path / "two")
    two = [
        Served(name=it.name, archive_id=OWNER.archive_id, directory=it, host="localhost", port=0)
        for it in (box, tmp_path / "two")
    ]
    with Servers(two) as servers:
        status = Path(f"/proc/{servers.pids['two']}/status").read_text()
        held = {
            name: {fd.name: str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
            for name, pid in servers.pids.items()
        }
    assert "NoNewPrivs:\t1\n" in status
    assert "Seccomp:\t2\n" in status
    assert {each[fd] for each in held.values() for fd in "01"} == {"/dev/null"}
    pipes = [{it for it in each.values() if it.startswith("pipe:")} for each in held.values()]
    assert len(pipes[0] & pipes[1] - {*_own_pipes()}) == 1, "what tells them to end"


def _own_pipes() -> Iterator[str]:
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(fd.readlink())


def test_a_process_with_other_threads_is_not_taken_for_confined(tmp_path: Path) -> None:
    program = (
        "import threading; from pathlib import Path; from psp.totebox import confine\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        f"confine(Path({str(tmp_path)!r}), 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "other threads run already" in done.stderr
