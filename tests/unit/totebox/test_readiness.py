"""What systemd is told, and what happens where nobody asked or the one who did has gone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from psp.totebox import Readiness


def test_each_step_is_a_line_to_the_socket_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(path))
        readiness = Readiness()
        readiness.ready()
        readiness.stopping()
        assert [told.recv(100), told.recv(100)] == [b"READY=1", b"STOPPING=1"]
    readiness.ready()  # Nobody hears it, and nothing fails.
    readiness.close()
    readiness.ready()


@pytest.mark.parametrize("name", ["", "/nobody/listens/here"])
def test_a_service_goes_on_where_nobody_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    Readiness().ready()
